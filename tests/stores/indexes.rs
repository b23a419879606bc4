//! Fingerprints in the application's tables, as jobs reach them: found by owner and generation, and replaced beside the
//! envelope that was read.

#![allow(
    dead_code,
    reason = "models: their fields are columns, which nothing here reads"
)]

use std::sync::Arc;

use ophie_crypt::{
    CanonicalId, EncryptedModel, IndexedColumn, IndexedRow, ModelError, Models, Reindex,
};
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner};

use crate::world::{Database, Kind, Tables, is_postgres, literal};

every_database!(
    rows_are_found_by_owner_and_generation,
    pages_follow_one_another,
    only_beside_what_was_read,
    a_unique_index_is_told_from_other_failures,
    the_last_generation_has_no_next,
);

#[derive(EncryptedModel)]
#[crypt(table = "odd people")]
struct Person {
    #[crypt(column = "the owner")]
    user_id: Owner<i64>,
    #[crypt(column = "select")]
    name: Option<Encrypted<String, person::name>>,
    #[crypt(column = "from", index_of = "name", normalize = "name")]
    name_fp: Option<BlindIndex<String, person::name_fp>>,
}

struct World {
    kind: Kind,
    database: Database,
    store: Arc<dyn Tables>,
    index: IndexedColumn,
}

fn fingerprint(generation: u8, rest: u8) -> Vec<u8> {
    [&[generation], [rest; 16].as_slice()].concat()
}

fn envelope(rest: u8) -> Vec<u8> {
    [&[0xfa], [rest; 50].as_slice()].concat()
}

impl World {
    async fn new(kind: Kind) -> Self {
        let database = Database::create(kind).await;
        let (quote, bytes, fp) = match kind {
            Kind::SqlxMariaDb | Kind::DieselMariaDb | Kind::AsyncMariaDb => {
                ('`', "BLOB", "BINARY(17)")
            }
            _ if is_postgres(kind) => ('"', "BYTEA", "BYTEA"),
            _ => ('"', "BLOB", "BLOB"),
        };
        let table = format!(
            "CREATE TABLE {quote}odd people{quote} \
             ({quote}the owner{quote} BIGINT, {quote}select{quote} {bytes}, {quote}from{quote} {fp}); \
             CREATE INDEX by_owner ON {quote}odd people{quote} ({quote}the owner{quote}, {quote}from{quote})"
        );
        database.run_plain(&table).await.unwrap();
        let models = Models::new().with::<Person>();
        let indexes: Vec<_> = models.indexed_columns().collect();
        let [index] = indexes.as_slice() else {
            panic!("one index: {indexes:?}")
        };
        let index = *index;
        Self {
            kind,
            store: database.models(kind, models).await,
            database,
            index,
        }
    }

    async fn put(&self, owner: i64, fingerprint: Option<&[u8]>, envelope: Option<&[u8]>) {
        let quote = match self.kind {
            Kind::SqlxMariaDb | Kind::DieselMariaDb | Kind::AsyncMariaDb => '`',
            _ => '"',
        };
        let literal = |bytes: Option<&[u8]>| match bytes {
            None => "NULL".to_owned(),
            Some(bytes) => literal(self.kind, bytes),
        };
        let sql = format!(
            "INSERT INTO {quote}odd people{quote} VALUES ({owner}, {}, {})",
            literal(envelope),
            literal(fingerprint)
        );
        self.database.run_plain(&sql).await.unwrap();
    }

    async fn row(&self, owner: i64, generation: u8, rest: u8) {
        let (fingerprint, envelope) = (fingerprint(generation, rest), envelope(rest));
        self.put(owner, Some(&fingerprint), Some(&envelope)).await;
    }

    async fn of(&self, owner: &CanonicalId, generation: u8) -> Vec<IndexedRow> {
        let found = self
            .store
            .indexed_under(owner, &self.index, generation, None, 100);
        found.await.unwrap()
    }

    async fn count(&self, owner: &CanonicalId, generation: u8) -> Option<u64> {
        let index = self.index.index();
        let counted = self.store.count_indexed(owner, &index, generation, 0);
        counted.await.unwrap()
    }
}

fn read(generation: u8, rest: u8) -> IndexedRow {
    IndexedRow::new(fingerprint(generation, rest), envelope(rest))
}

async fn rows_are_found_by_owner_and_generation(kind: Kind) {
    let world = World::new(kind).await;
    let ada = CanonicalId::integer(7);
    for (owner, generation, rest) in [(7, 1, 0), (7, 1, 0xff), (7, 2, 0), (7, 255, 1), (8, 1, 3)] {
        world.row(owner, generation, rest).await;
    }
    world.put(7, None, None).await;
    world.put(7, None, Some(&envelope(4))).await;
    world.put(7, Some(&fingerprint(1, 5)), None).await;
    assert_eq!(world.of(&ada, 1).await, [read(1, 0), read(1, 0xff)]);
    assert_eq!(world.of(&ada, 2).await, [read(2, 0)]);
    // One has no value to be made anew from, and counts all the same.
    assert_eq!(world.count(&ada, 1).await, Some(3));
    assert_eq!(world.count(&ada, 2).await, Some(1));
    for other in [CanonicalId::integer(9), CanonicalId::text("7")] {
        assert_eq!(world.of(&other, 1).await, []);
        assert_eq!(world.count(&other, 1).await, Some(0));
    }
}

async fn pages_follow_one_another(kind: Kind) {
    let world = World::new(kind).await;
    let ada = CanonicalId::integer(7);
    for (value, rest) in [(2, 5), (1, 1), (1, 4), (2, 2), (1, 3)] {
        let (fingerprint, envelope) = (fingerprint(1, value), envelope(rest));
        world.put(7, Some(&fingerprint), Some(&envelope)).await;
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = world
            .store
            .indexed_under(&ada, &world.index, 1, after.as_ref(), 2);
        let page = page.await.unwrap();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        after = Some(last.clone());
        seen.extend(page);
    }
    let all: Vec<_> = [(1, 1), (1, 3), (1, 4), (2, 2), (2, 5)]
        .map(|(value, rest)| IndexedRow::new(fingerprint(1, value), envelope(rest)))
        .into();
    assert_eq!(seen, all);
}

async fn only_beside_what_was_read(kind: Kind) {
    let world = World::new(kind).await;
    let ada = CanonicalId::integer(7);
    for (owner, generation, rest) in [(7, 1, 1), (7, 1, 1), (7, 1, 2), (7, 1, 3), (8, 1, 1)] {
        world.row(owner, generation, rest).await;
    }
    // One that was written under the new key meanwhile.
    world
        .put(7, Some(&fingerprint(2, 9)), Some(&envelope(4)))
        .await;
    let anew = |rest: u8| Reindex::new(read(1, rest), fingerprint(2, rest));
    let all = [anew(1), anew(2), anew(4), anew(5)];
    let done = world.store.reindex(&ada, &world.index, &all).await;
    assert_eq!(done.unwrap(), 3);
    assert_eq!(world.of(&ada, 1).await, [read(1, 3)]);
    let written = IndexedRow::new(fingerprint(2, 9), envelope(4));
    assert_eq!(
        world.of(&ada, 2).await,
        [read(2, 1), read(2, 1), read(2, 2), written]
    );
    let ben = CanonicalId::integer(8);
    assert_eq!(world.of(&ben, 1).await, [read(1, 1)], "another owner's row");
    for none in [&all[..], &[]] {
        let again = world.store.reindex(&ada, &world.index, none).await;
        assert_eq!(again.unwrap(), 0);
    }
    let one = [anew(3)];
    let done = world.store.reindex(&ada, &world.index, &one).await;
    assert_eq!(done.unwrap(), 1);
}

async fn a_unique_index_is_told_from_other_failures(kind: Kind) {
    let world = World::new(kind).await;
    let ada = CanonicalId::integer(7);
    let unique = match kind {
        Kind::SqlxMariaDb | Kind::DieselMariaDb | Kind::AsyncMariaDb => {
            "CREATE UNIQUE INDEX one ON `odd people` (`the owner`, `from`)"
        }
        _ => "CREATE UNIQUE INDEX one ON \"odd people\" (\"the owner\", \"from\")",
    };
    world.database.run_plain(unique).await.unwrap();
    for (generation, rest) in [(1, 1), (1, 2), (2, 2)] {
        world.row(7, generation, rest).await;
    }
    let anew = |rest: u8| Reindex::new(read(1, rest), fingerprint(2, rest));
    let both = [anew(1), anew(2)];
    let refused = world.store.reindex(&ada, &world.index, &both).await;
    assert!(matches!(refused, Err(ModelError::Duplicate)), "{refused:?}");
    assert_eq!(
        world.of(&ada, 1).await,
        [read(1, 1), read(1, 2)],
        "none of them"
    );
    let done = world.store.reindex(&ada, &world.index, &both[..1]).await;
    assert_eq!(done.unwrap(), 1);
}

async fn the_last_generation_has_no_next(kind: Kind) {
    let world = World::new(kind).await;
    let ada = CanonicalId::integer(7);
    for (generation, rest) in [(254, 1), (255, 2)] {
        world.row(7, generation, rest).await;
    }
    assert_eq!(world.of(&ada, 255).await, [read(255, 2)]);
    assert_eq!(world.of(&ada, 254).await, [read(254, 1)]);
}
