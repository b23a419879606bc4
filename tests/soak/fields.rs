//! A field in a soak, in every state: one set of statements.

use ophie_crypt::{
    Error,
    soak::{SoakError, SoakState, lookup},
};
use ophie_crypt_sqlx::{Owner, find_error};

use super::{
    db,
    world::{COLUMNS, Person, Process, World, person},
};

const OWNER: i64 = 7;

/// The statements of the release, the same in every state.
async fn write(world: &World, process: &Process, id: i32, name: Option<&str>) -> Result<(), sqlx::Error> {
    let session = process.session(OWNER).await.unwrap();
    let work = async {
        let value = match name {
            Some(name) => person::name(name),
            None => ophie_crypt_sqlx::Soak::null(),
        };
        let fp = name.map(person::name_fp).transpose()?;
        let sql = "INSERT INTO people (id, user_id, name, name_ct, name_fp) VALUES ($1, $2, $3, $4, $5)";
        let mut query = sqlx::query(db::sql(sql)).bind(id);
        for bound in [query.try_bind(Owner(OWNER)), query.try_bind(value.twin()), query.try_bind(value.sealed())] {
            bound.map_err(sqlx::Error::Encode)?;
        }
        query.bind(fp).execute(world.database.pool()).await.map(drop)
    };
    session.scope(work).await
}

async fn read(world: &World, process: &Process) -> Result<Vec<(i32, Option<String>)>, sqlx::Error> {
    let session = process.session(OWNER).await.unwrap();
    let rows = session.scope(async {
        let sql = db::sql(&format!("SELECT {COLUMNS} FROM people ORDER BY id"));
        let rows = sqlx::query_as::<_, Person>(sql);
        rows.fetch_all(world.database.pool()).await
    });
    let rows = rows.await?;
    let served = |row: Person| (row.id, row.name.expose_secret().cloned());
    Ok(rows.into_iter().map(served).collect())
}

/// Ids of the rows that a look-up finds.
async fn found(world: &World, process: &Process, name: &str) -> Vec<i32> {
    let session = process.session(OWNER).await.unwrap();
    let rows = session.scope(async {
        let sql = format!("SELECT id FROM people WHERE {} ORDER BY id", lookup("name_fp", "name", "$1", "$2"));
        let rows = sqlx::query_scalar(db::sql(&sql))
            .bind(person::name_fp(name)?)
            .bind(person::name(name).twin());
        rows.fetch_all(world.database.pool()).await
    });
    rows.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_set_of_statements_in_every_state() {
    let world = World::new().await;
    world.run("INSERT INTO people (id, user_id, name) VALUES (1, 7, 'before'), (2, 7, ''), (3, 7, NULL)").await.unwrap();
    let (soaker, process) = (world.soaker(), world.process());
    soaker.expand("people", "name_ct").await.unwrap();
    process.watch.beat().await.unwrap();
    let mut expected = vec![(1, Some("before".to_owned())), (2, Some(String::new())), (3, None)];
    let mut id = 10;
    let mut states = vec![SoakState::Expand];
    loop {
        let state = world.state().await;
        assert_eq!(process.watch.state(&world.soak.column()), Some(state));
        for name in [Some("new"), Some(""), None] {
            write(&world, &process, id, name).await.unwrap();
            expected.push((id, name.map(str::to_owned)));
            id += 1;
        }
        if state < SoakState::Retired {
            // The release of before: it names neither of the new columns.
            world.run(&format!("INSERT INTO people (id, user_id, name) VALUES ({id}, 7, 'old')")).await.unwrap();
            world.run("UPDATE people SET name = 'again' WHERE name = 'before'").await.unwrap();
            world.run("UPDATE people SET name = 'before' WHERE name = 'again'").await.unwrap();
            expected.push((id, Some("old".to_owned())));
            id += 1;
        }
        assert_eq!(read(&world, &process).await.unwrap(), expected, "{state}");
        for name in ["before", "new", "", "old"] {
            let ids = expected.iter().filter(|(_, value)| value.as_deref() == Some(name));
            let ids: Vec<i32> = ids.map(|(id, _)| *id).collect();
            assert_eq!(found(&world, &process, name).await, ids, "{name} in {state}");
        }
        let Some(next) = state.next().filter(|next| *next < SoakState::Dropped) else {
            break;
        };
        process.go_on(&soaker, state, next).await;
        states.push(next);
    }
    assert_eq!(states.len(), 7);
    soaker.null_out("people", "name_ct").await.unwrap();
    assert_eq!(read(&world, &process).await.unwrap(), expected, "without plaintext");
    assert_eq!(process.watch.counts(&world.soak.column()), Default::default());
}

/// The error of a write and of a read.
async fn both(world: &World, process: &Process, id: i32) -> [SoakError; 2] {
    let written = write(world, process, id, Some("x")).await.unwrap_err();
    let read = read(world, process).await.unwrap_err();
    [written, read].map(|error| match find_error(&error) {
        Some(Error::Soak(error)) => error.clone(),
        _ => panic!("{error:?}"),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_fresh_state_nothing_is_read_or_written() {
    let world = World::new().await;
    let (soaker, process) = (world.soaker(), world.process());
    world.run("INSERT INTO people (id, user_id, name) VALUES (1, 7, 'x')").await.unwrap();
    soaker.expand("people", "name_ct").await.unwrap();
    for error in both(&world, &process, 2).await {
        assert!(matches!(error, SoakError::Stale { .. }), "{error}");
    }
    process.watch.beat().await.unwrap();
    write(&world, &process, 3, Some("x")).await.unwrap();
    process.watch.stop().await.unwrap();
    for error in both(&world, &process, 4).await {
        assert!(matches!(error, SoakError::Stale { .. }), "{error}");
    }
    // Whoever writes the database can take the state back; below the release's floor it is not believed.
    world.run("DELETE FROM ophie_crypt_soaks").await.unwrap();
    let process = world.process(); // one that stopped stays so
    process.watch.beat().await.unwrap();
    for error in both(&world, &process, 5).await {
        let floor = SoakState::Expand;
        assert!(matches!(error, SoakError::BelowFloor { floor: at, .. } if at == floor), "{error}");
    }
    // A keyring that nobody gave a watch.
    let keyring = world.keyring();
    let process = Process { keyring, ..process };
    for error in both(&world, &process, 6).await {
        assert!(matches!(error, SoakError::NoWatch { .. }), "{error}");
    }
}

/// In `Soak`, a reader is given the plaintext, and what is odd is counted and said; the next step waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_compare_and_count() {
    use ophie_crypt::soak::{Gate, Rows, SoakStore};

    let world = World::new().await;
    let (soaker, process) = (world.soaker(), world.process());
    soaker.expand("people", "name_ct").await.unwrap();
    process.watch.beat().await.unwrap();
    for to in [SoakState::DualWrite, SoakState::Backfill, SoakState::Verify, SoakState::Soak] {
        soaker.verify("people", "name_ct").await.ok();
        soaker.step("people", "name_ct", to).await.unwrap();
        process.watch.beat().await.unwrap();
    }
    for (id, name) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
        write(&world, &process, id, Some(name)).await.unwrap();
    }
    let swap = "UPDATE people SET name_ct = (SELECT ct FROM (SELECT name_ct AS ct FROM people WHERE id = 2) AS two) WHERE id = 1";
    world.run(swap).await.unwrap();
    world.run("UPDATE people SET name = 'old' WHERE id = 4").await.unwrap();
    let cut = "UPDATE people SET name_ct = name_fp WHERE id = 3";
    assert!(world.run(cut).await.is_err(), "no envelope gets in");
    let served = read(&world, &process).await.unwrap();
    let served: Vec<_> = served.iter().map(|(_, name)| name.as_deref().unwrap()).collect();
    assert_eq!(served, ["a", "b", "c", "old"]);
    let counts = process.watch.counts(&world.soak.column());
    assert_eq!((counts.mismatched, counts.pending, counts.failed), (1, 1, 0));
    process.watch.beat().await.unwrap();
    soaker.backfill("people", "name_ct").await.unwrap();
    assert_eq!(world.tables.count(&world.soak, Rows::Pending).await.unwrap(), 0);
    let unmet = soaker.unmet("people", "name_ct", SoakState::Sealed).await.unwrap();
    assert_eq!(unmet, [Gate::Quiet]);
    assert_eq!(process.tables.soaks().await.unwrap().len(), 1);
}
