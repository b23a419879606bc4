//! Every shape of a write in every state, to the triggers of a real database: it stores what the reference says, which the
//! simulation's table goes by.
//!
//! A shape is what of plaintext, ciphertext, fingerprint and owner was there, and what is written: nothing, the same, another.
//! Absent: the reference (`ophie-crypt/src/soak/tests/guard.rs`).

use std::{collections::BTreeMap, fmt::Write};

use ophie_crypt::{
    CanonicalId, RowStore,
    soak::{SoakState, SoakStore},
};

use super::{BYTES, FORGETS, REMEMBERS, TABLE_IS_SAFE, db, world::World};
use crate::guard::{Refusal, Row, Told, is_closed_to, mended, refusals};

const ADA: i64 = 7;
/// Whose keys were destroyed.
const BEN: i64 = 8;
const CY: i64 = 9;

/// Of one row: what was there, and what it is to be.
struct Shape {
    old: Option<Row>,
    new: Row,
}

fn envelope(kind: u8) -> Vec<u8> {
    let mut bytes = vec![kind; 60];
    bytes[0] = 0xFA;
    bytes
}

fn row(owner: i64, plain: bool, sealed: bool, fingerprint: bool) -> Row {
    Row {
        owner,
        plain: plain.then(|| b"Mom".to_vec()),
        sealed: sealed.then(|| envelope(1)),
        fingerprint: fingerprint.then(|| vec![1; 17]),
    }
}

/// What may become of a cell: it stays, goes, or is another.
fn cells(old: &Option<Vec<u8>>, other: &[u8]) -> Vec<Option<Vec<u8>>> {
    let mut cells = vec![old.clone(), None, Some(other.to_vec())];
    cells.dedup();
    cells
}

fn shapes() -> Vec<Shape> {
    let mut shapes = Vec::new();
    let no = Row::default();
    // A fingerprint without ciphertext comes about in no state.
    for (owner, owners) in [(ADA, [ADA, CY, BEN].as_slice()), (BEN, &[BEN, ADA])] {
        for plain in [false, true] {
            for (sealed, fingerprint) in [(false, false), (true, false), (true, true)] {
                let old = row(owner, plain, sealed, fingerprint);
                push(&mut shapes, owners, Some(&old), &old);
            }
        }
        push(&mut shapes, &[owner], None, &no);
    }
    shapes
}

/// All that may be written there. To a collation, the other plaintext may be the same.
fn push(shapes: &mut Vec<Shape>, owners: &[i64], old: Option<&Row>, from: &Row) {
    for owner in owners {
        for plain in cells(&from.plain, b"mom") {
            for sealed in cells(&from.sealed, &envelope(2)) {
                for fingerprint in cells(&from.fingerprint, &[2; 17]) {
                    shapes.push(Shape {
                        old: old.cloned(),
                        new: Row {
                            owner: *owner,
                            plain: plain.clone(),
                            sealed: sealed.clone(),
                            fingerprint,
                        },
                    });
                }
            }
        }
    }
}

fn literal(bytes: &Option<Vec<u8>>) -> String {
    let Some(bytes) = bytes else { return "NULL".to_owned() };
    let mut hex = String::new();
    for byte in bytes {
        write!(hex, "{byte:02X}").unwrap();
    }
    BYTES.replace('%', &hex)
}

fn text(bytes: &Option<Vec<u8>>) -> String {
    let text = bytes.as_deref().map(|bytes| std::str::from_utf8(bytes).unwrap());
    text.map_or("NULL".to_owned(), |text| format!("'{text}'"))
}

fn insert(id: usize, row: &Row) -> String {
    format!(
        "INSERT INTO people (id, user_id, name, name_ct, name_fp) VALUES ({id}, {}, {}, {}, {})",
        row.owner,
        text(&row.plain),
        literal(&row.sealed),
        literal(&row.fingerprint)
    )
}

/// Names what changes.
fn update(id: usize, old: &Row, new: &Row) -> String {
    let mut sets = Vec::new();
    if new.owner != old.owner {
        sets.push(format!("user_id = {}", new.owner));
    }
    if new.plain != old.plain {
        sets.push(format!("name = {}", text(&new.plain)));
    }
    for (name, new, old) in [
        ("name_ct", &new.sealed, &old.sealed),
        ("name_fp", &new.fingerprint, &old.fingerprint),
    ] {
        if new != old {
            sets.push(format!("{name} = {}", literal(new)));
        }
    }
    if sets.is_empty() {
        sets.push("name = name".to_owned());
    }
    format!("UPDATE people SET {} WHERE id = {id}", sets.join(", "))
}

/// What the reference says.
fn stored(told: Told, closed: bool, shape: &Shape) -> Result<Row, Refusal> {
    let Shape { old, new } = shape;
    let old = old.as_ref();
    if closed {
        return match is_closed_to(old, new) {
            true => Err(Refusal::Retired),
            false => Ok(new.clone()),
        };
    }
    let refusal = refusals(told, new.owner == BEN, old, new).next();
    refusal.map_or_else(|| Ok(mended(told, old, new.clone())), Err)
}

/// The rows of before, as if they had come about in states that admit them; then the state of now again.
async fn put(world: &World, shapes: &[Shape], told: Told) {
    let says = async |state: SoakState, admits_old: bool| {
        let sql = format!("UPDATE ophie_crypt_soaks SET state = '{state}', admits_old = {}", i64::from(admits_old));
        world.run(&sql).await.unwrap();
    };
    let olds = |sealed: bool| {
        let olds = shapes.iter().enumerate().filter_map(|(id, shape)| Some((id, shape.old.as_ref()?)));
        let olds = olds.filter(move |(_, old)| old.sealed.is_some() == sealed);
        olds.map(|(id, old)| insert(id, old)).collect::<Vec<_>>()
    };
    for sql in ["DELETE FROM people", "DELETE FROM ophie_crypt_tombstones", FORGETS] {
        world.run(sql).await.unwrap();
    }
    for (state, admits_old, sealed) in [(SoakState::Retired, false, true), (SoakState::Expand, true, false)] {
        says(state, admits_old).await;
        world.run(&olds(sealed).join("; ")).await.unwrap();
    }
    says(told.state, told.admits_old).await;
    world.run(REMEMBERS).await.unwrap();
    world.tables.bury(&CanonicalId::integer(BEN)).await.unwrap();
}

async fn compare(world: &World, shapes: &[Shape], told: Told, closed: bool) -> usize {
    put(world, shapes, told).await;
    if closed {
        let row = world.tables.soaks().await.unwrap().remove(0);
        assert!(world.tables.close(&world.soak, &row).await.unwrap());
    }
    let at = format!("{told:?}, closed: {closed}");
    let mut connection = world.database.pool().acquire().await.unwrap();
    if TABLE_IS_SAFE {
        sqlx::raw_sql("BEGIN").execute(&mut *connection).await.unwrap();
    }
    let (mut expected, mut refused) = (BTreeMap::new(), 0);
    for (id, shape) in shapes.iter().enumerate() {
        let sql = match &shape.old {
            None => insert(id, &shape.new),
            Some(old) => update(id, old, &shape.new),
        };
        let done = sqlx::raw_sql(db::sql(&sql)).execute(&mut *connection).await;
        let stored = stored(told, closed, shape);
        let said = done.err().map(|error| error.to_string());
        let is_so = match (&stored, &said) {
            (Ok(_), None) => true,
            (Err(refusal), Some(said)) => said.contains(refusal.says()),
            _ => false,
        };
        assert!(is_so, "{at}: {sql}: {said:?} instead of {stored:?}");
        refused += usize::from(said.is_some());
        if let Some(row) = stored.ok().or_else(|| shape.old.clone()) {
            expected.insert(id, row);
        }
    }
    if TABLE_IS_SAFE {
        sqlx::raw_sql("COMMIT").execute(&mut *connection).await.unwrap();
    }
    type Cells = (i32, i64, Option<String>, Option<Vec<u8>>, Option<Vec<u8>>);
    let rows: Vec<Cells> = sqlx::query_as("SELECT id, user_id, name, name_ct, name_fp FROM people ORDER BY id")
        .fetch_all(&mut *connection)
        .await
        .unwrap();
    let found: BTreeMap<usize, Row> = rows
        .into_iter()
        .map(|(id, owner, plain, sealed, fingerprint)| {
            let plain = plain.map(String::into_bytes);
            let row = Row { owner, plain, sealed, fingerprint };
            (usize::try_from(id).unwrap(), row)
        })
        .collect();
    for (id, row) in &expected {
        let shape = &shapes[*id];
        assert_eq!(found.get(id), Some(row), "{at}: {:?} to {:?}", shape.old, shape.new);
    }
    assert_eq!(found.len(), expected.len(), "{at}");
    refused
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_shape_is_stored_as_the_reference_says() {
    let world = World::new().await;
    let shapes = shapes();
    world.soaker().expand("people", "name_ct").await.unwrap();
    let (mut settings, mut refused) = (0, 0);
    loop {
        let state = world.state().await;
        for admits_old in [true, false] {
            let row = world.tables.soaks().await.unwrap().remove(0);
            world.tables.admit_old(&world.soak, &row, admits_old).await.unwrap();
            refused += compare(&world, &shapes, Told { state, admits_old }, false).await;
            world.run("DELETE FROM people").await.unwrap();
            settings += 1;
        }
        let row = world.tables.soaks().await.unwrap().remove(0);
        world.tables.admit_old(&world.soak, &row, true).await.unwrap();
        match state.next() {
            Some(SoakState::Dropped) | None => break,
            Some(next) => world.step_at_once(next).await,
        }
    }
    let told = Told { state: SoakState::Retired, admits_old: true };
    refused += compare(&world, &shapes, told, true).await;
    assert_eq!((shapes.len(), settings), (491, 14), "a shape is missing");
    assert!(refused > 1_000, "{refused} of {} were refused", shapes.len() * (settings + 1));
}
