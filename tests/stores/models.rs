//! The application's tables as jobs reach them: envelopes found by owner and key, and replaced where they stand.

#![allow(
    dead_code,
    reason = "models: their fields are columns, which nothing here reads"
)]

use std::sync::Arc;

use ophie_crypt::{CanonicalId, ColumnRef, EncryptedModel, KeyId, ModelError, Models, Reseal};
use ophie_crypt_sqlx::{Encrypted, Owner};
use uuid::Uuid;

use crate::world::{Database, Kind, Tables, literal};

every_database!(
    envelopes_are_found_by_owner_and_key,
    pages_follow_one_another,
    only_what_was_read_is_replaced,
    owners_of_every_type,
    names_are_quoted,
    other_tables_are_unknown,
    owners_that_a_collation_takes_for_one,
    owners_of_another_kind_are_others,
    a_row_has_one_owner,
    large_values_are_replaced,
    a_key_is_looked_for_in_every_row,
);

#[derive(EncryptedModel)]
#[crypt(table = "notes")]
struct Note {
    user_id: Owner<i64>,
    text: Option<Encrypted<String, note::text>>,
}

#[derive(EncryptedModel)]
#[crypt(table = "by_text")]
struct ByText {
    user_id: Owner<String>,
    text: Encrypted<String, by_text::text>,
}

#[derive(EncryptedModel)]
#[crypt(table = "by_uuid")]
struct ByUuid {
    user_id: Owner<Uuid>,
    text: Encrypted<String, by_uuid::text>,
}

#[derive(EncryptedModel)]
#[crypt(table = "odd names")]
struct OddNames {
    #[crypt(column = "the owner")]
    user_id: Owner<i64>,
    #[crypt(column = "select")]
    text: Encrypted<String, odd_names::text>,
}

/// As the one above, but for the owner.
#[derive(EncryptedModel)]
#[crypt(table = "notes", module = "note_to")]
struct NoteTo {
    recipient: Owner<i64>,
    subject: Encrypted<String, note_to::subject>,
}

#[derive(EncryptedModel)]
#[crypt(table = "strangers")]
struct Stranger {
    user_id: Owner<i64>,
    text: Encrypted<String, stranger::text>,
}

const OLD: KeyId = KeyId::from_bytes([1; 16]);
const NEW: KeyId = KeyId::from_bytes([2; 16]);

fn column(model: ophie_crypt::ModelInfo) -> ColumnRef {
    let sealed = model.columns().iter().find(|info| info.codec().is_some());
    sealed.expect("a model has a sealed column").column()
}

/// As an envelope begins; the rest tells them apart.
fn envelope(key: KeyId, rest: u8) -> Vec<u8> {
    [&[0xfa], key.as_bytes().as_slice(), &[rest; 28]].concat()
}

struct World {
    kind: Kind,
    database: Database,
    store: Arc<dyn Tables>,
}

impl World {
    async fn new(kind: Kind) -> Self {
        let database = Database::create(kind).await;
        let (bytes, uuid, quote) = match kind {
            Kind::SqlxPostgres | Kind::DieselPostgres | Kind::AsyncPostgres => {
                ("BYTEA", "UUID", "\"")
            }
            Kind::SqlxMariaDb | Kind::DieselMariaDb | Kind::AsyncMariaDb => {
                ("BLOB", "BINARY(16)", "`")
            }
            _ => ("BLOB", "BLOB", "\""),
        };
        let tables = format!(
            "CREATE TABLE notes (user_id BIGINT NOT NULL, text {bytes}); \
             CREATE TABLE by_text (user_id VARCHAR(40) NOT NULL, text {bytes} NOT NULL); \
             CREATE TABLE by_uuid (user_id {uuid} NOT NULL, text {bytes} NOT NULL); \
             CREATE TABLE {quote}odd names{quote} ({quote}the owner{quote} BIGINT, {quote}select{quote} {bytes})"
        );
        database.run_plain(&tables).await.unwrap();
        let models = Models::new()
            .with::<Note>()
            .with::<ByText>()
            .with::<ByUuid>()
            .with::<OddNames>();
        let store = database.models(kind, models).await;
        Self {
            kind,
            database,
            store,
        }
    }

    /// Bytes as a literal.
    fn literal(&self, bytes: &[u8]) -> String {
        literal(self.kind, bytes)
    }

    async fn make_tombstones(&self) {
        let bytes = match self.kind {
            Kind::SqlxPostgres | Kind::DieselPostgres | Kind::AsyncPostgres => "BYTEA",
            _ => "VARBINARY(1025)",
        };
        let sql = format!("CREATE TABLE ophie_crypt_tombstones (owner {bytes} PRIMARY KEY)");
        self.database.run_plain(&sql).await.unwrap();
    }

    async fn note(&self, owner: i64, envelope: &[u8]) {
        let sql = format!(
            "INSERT INTO notes (user_id, text) VALUES ({owner}, {})",
            self.literal(envelope)
        );
        self.database.run_plain(&sql).await.unwrap();
    }

    async fn under(&self, owner: &CanonicalId, column: ColumnRef, key: KeyId) -> Vec<Vec<u8>> {
        let found = self.store.sealed_under(owner, &column, key, None, 100);
        found.await.unwrap()
    }
}

async fn envelopes_are_found_by_owner_and_key(kind: Kind) {
    let tables = World::new(kind).await;
    let (ada, text) = (CanonicalId::integer(7), column(Note::MODEL));
    for (owner, key, rest) in [(7, OLD, 1), (7, OLD, 2), (7, NEW, 3), (8, OLD, 4)] {
        tables.note(owner, &envelope(key, rest)).await;
    }
    let null = "INSERT INTO notes (user_id, text) VALUES (7, NULL)";
    tables.database.run_plain(null).await.unwrap();
    tables.note(7, b"no envelope").await;

    let old = tables.under(&ada, text, OLD).await;
    assert_eq!(old, [envelope(OLD, 1), envelope(OLD, 2)]);
    assert_eq!(tables.under(&ada, text, NEW).await, [envelope(NEW, 3)]);
    let none = tables.under(&CanonicalId::integer(9), text, OLD).await;
    assert!(none.is_empty());
}

async fn pages_follow_one_another(kind: Kind) {
    let tables = World::new(kind).await;
    let (ada, text) = (CanonicalId::integer(7), column(Note::MODEL));
    for rest in [5, 1, 4, 2, 3] {
        tables.note(7, &envelope(OLD, rest)).await;
    }
    let mut seen = Vec::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = tables
            .store
            .sealed_under(&ada, &text, OLD, after.as_deref(), 2);
        let page = page.await.unwrap();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        after = Some(last.clone());
        seen.extend(page);
    }
    let all: Vec<_> = (1..=5).map(|rest| envelope(OLD, rest)).collect();
    assert_eq!(seen, all);
}

async fn only_what_was_read_is_replaced(kind: Kind) {
    let tables = World::new(kind).await;
    let (ada, text) = (CanonicalId::integer(7), column(Note::MODEL));
    for (owner, rest) in [(7, 1), (7, 1), (7, 2), (7, 3), (8, 1)] {
        tables.note(owner, &envelope(OLD, rest)).await;
    }
    let reseal = |old: u8, new: u8| Reseal::new(envelope(OLD, old), envelope(NEW, new));
    // The row of 9 was changed by the application meanwhile.
    let reseals = [reseal(1, 11), reseal(2, 12), reseal(9, 19)];
    let replaced = tables.store.replace(&ada, &text, &reseals).await.unwrap();
    assert_eq!(replaced, 3);
    assert_eq!(tables.under(&ada, text, OLD).await, [envelope(OLD, 3)]);
    let new = tables.under(&ada, text, NEW).await;
    assert_eq!(
        new,
        [envelope(NEW, 11), envelope(NEW, 11), envelope(NEW, 12)]
    );
    let bens = tables.under(&CanonicalId::integer(8), text, OLD).await;
    assert_eq!(bens, [envelope(OLD, 1)], "another owner's row");

    let again = tables.store.replace(&ada, &text, &reseals).await.unwrap();
    assert_eq!(again, 0);
    assert_eq!(tables.store.replace(&ada, &text, &[]).await.unwrap(), 0);
}

async fn owners_of_every_type(kind: Kind) {
    let tables = World::new(kind).await;
    let uuid = Uuid::from_bytes([0xab; 16]);
    let uuid_literal = match kind {
        Kind::SqlxPostgres | Kind::DieselPostgres | Kind::AsyncPostgres => format!("'{uuid}'"),
        _ => tables.literal(uuid.as_bytes()),
    };
    let bytes = tables.literal(&envelope(OLD, 1));
    let rows = format!(
        "INSERT INTO by_text (user_id, text) VALUES ('ada', {bytes}), ('ben', {bytes}); \
         INSERT INTO by_uuid (user_id, text) VALUES ({uuid_literal}, {bytes})"
    );
    tables.database.run_plain(&rows).await.unwrap();
    for (owner, model) in [
        (CanonicalId::text("ada"), ByText::MODEL),
        (CanonicalId::uuid(uuid.as_bytes()), ByUuid::MODEL),
    ] {
        let column = column(model);
        assert_eq!(tables.under(&owner, column, OLD).await, [envelope(OLD, 1)]);
        let reseals = [Reseal::new(envelope(OLD, 1), envelope(NEW, 1))];
        let replaced = tables
            .store
            .replace(&owner, &column, &reseals)
            .await
            .unwrap();
        assert_eq!(replaced, 1, "{column}");
    }
    let ben = CanonicalId::text("ben");
    let bens = tables.under(&ben, column(ByText::MODEL), OLD).await;
    assert_eq!(bens.len(), 1);
}

async fn names_are_quoted(kind: Kind) {
    let tables = World::new(kind).await;
    let (ada, text) = (CanonicalId::integer(7), column(OddNames::MODEL));
    let quote = match kind {
        Kind::SqlxMariaDb | Kind::DieselMariaDb | Kind::AsyncMariaDb => '`',
        _ => '"',
    };
    let sql = format!(
        "INSERT INTO {quote}odd names{quote} VALUES (7, {})",
        tables.literal(&envelope(OLD, 1))
    );
    tables.database.run_plain(&sql).await.unwrap();
    assert_eq!(tables.under(&ada, text, OLD).await, [envelope(OLD, 1)]);
    let reseals = [Reseal::new(envelope(OLD, 1), envelope(NEW, 1))];
    assert_eq!(
        tables.store.replace(&ada, &text, &reseals).await.unwrap(),
        1
    );
}

async fn other_tables_are_unknown(kind: Kind) {
    let tables = World::new(kind).await;
    let ada = CanonicalId::integer(7);
    let column = column(Stranger::MODEL);
    let found = tables.store.sealed_under(&ada, &column, OLD, None, 1).await;
    assert!(
        matches!(found, Err(ModelError::Unknown { table: "strangers" })),
        "{found:?}"
    );

    let models = Models::new().with::<Stranger>();
    let store = tables.database.models(kind, models).await;
    let missing = store.sealed_under(&ada, &column, OLD, None, 1).await;
    assert!(
        matches!(missing, Err(ModelError::Unavailable { .. })),
        "{missing:?}"
    );
    let nobody = CanonicalId::from_bytes(b"");
    let damaged = store.sealed_under(&nobody, &column, OLD, None, 1).await;
    assert!(matches!(damaged, Err(ModelError::NotAnOwner)));
}

/// Ada, and others whom many collations take for her.
async fn owners_that_a_collation_takes_for_one(kind: Kind) {
    let tables = World::new(kind).await;
    let (ada, text) = (CanonicalId::text("ada"), column(ByText::MODEL));
    if matches!(kind, Kind::SqlxSqlite | Kind::DieselSqlite) {
        let blind = "DROP TABLE by_text; \
                     CREATE TABLE by_text (user_id TEXT NOT NULL COLLATE NOCASE, text BLOB NOT NULL)";
        tables.database.run_plain(blind).await.unwrap();
    }
    for (rest, owner) in (1..).zip(["ada", "Ada", "ADA", "ada ", "\u{e5}da"]) {
        let row = format!(
            "INSERT INTO by_text (user_id, text) VALUES ('{owner}', {})",
            tables.literal(&envelope(OLD, rest))
        );
        tables.database.run_plain(&row).await.unwrap();
    }
    assert_eq!(tables.under(&ada, text, OLD).await, [envelope(OLD, 1)]);
    let count = tables.store.count_under(Some(&ada), &text, OLD, 0).await;
    assert_eq!(count.unwrap(), Some(1));
    let all: Vec<_> = (1..=5)
        .map(|rest| Reseal::new(envelope(OLD, rest), envelope(NEW, rest)))
        .collect();
    assert_eq!(tables.store.replace(&ada, &text, &all).await.unwrap(), 1);

    tables.make_tombstones().await;
    tables.store.bury(&ada).await.unwrap();
    assert_eq!(tables.store.sweep(&ada, "by_text", 100).await.unwrap(), 1);
    let left = tables.database.number("SELECT COUNT(*) FROM by_text").await;
    assert_eq!(left, 4);
}

async fn owners_of_another_kind_are_others(kind: Kind) {
    let tables = World::new(kind).await;
    let (number, word) = (CanonicalId::integer(7), CanonicalId::text("7"));
    tables.note(7, &envelope(OLD, 1)).await;
    let row = format!(
        "INSERT INTO by_text (user_id, text) VALUES ('7', {})",
        tables.literal(&envelope(OLD, 2))
    );
    tables.database.run_plain(&row).await.unwrap();
    tables.make_tombstones().await;
    for owner in [&number, &word] {
        tables.store.bury(owner).await.unwrap();
    }
    for (owner, table, column, other) in [
        (&number, "notes", column(Note::MODEL), column(ByText::MODEL)),
        (&word, "by_text", column(ByText::MODEL), column(Note::MODEL)),
    ] {
        assert_eq!(tables.under(owner, column, OLD).await.len(), 1, "{table}");
        assert!(tables.under(owner, other, OLD).await.is_empty(), "{table}");
        let count = tables.store.count_under(Some(owner), &other, OLD, 0).await;
        assert_eq!(count.unwrap(), Some(0), "{table}");
        let swept = tables.store.sweep(owner, other.table(), 100).await;
        assert_eq!(swept.unwrap(), 0, "{table}");
    }
    let uuid = CanonicalId::uuid(&[0xab; 16]);
    assert!(
        tables
            .under(&uuid, column(Note::MODEL), OLD)
            .await
            .is_empty()
    );
}

async fn a_row_has_one_owner(kind: Kind) {
    let tables = World::new(kind).await;
    let models = Models::new().with::<Note>().with::<NoteTo>();
    let store = tables.database.models(kind, models).await;
    let (ada, text) = (CanonicalId::integer(7), column(Note::MODEL));
    let found = store.sealed_under(&ada, &text, OLD, None, 1).await;
    assert!(
        matches!(found, Err(ModelError::TwoOwners { table: "notes" })),
        "{found:?}"
    );
    assert!(store.raise_fence().await.is_err());
}

/// More in all than a statement may have on MariaDB.
async fn large_values_are_replaced(kind: Kind) {
    let tables = World::new(kind).await;
    let blob = "ALTER TABLE notes MODIFY text LONGBLOB";
    if matches!(
        kind,
        Kind::SqlxMariaDb | Kind::DieselMariaDb | Kind::AsyncMariaDb
    ) {
        tables.database.run_plain(blob).await.unwrap();
    }
    let (ada, text) = (CanonicalId::integer(7), column(Note::MODEL));
    let large = |key: KeyId, rest: u8| [envelope(key, rest), vec![rest; 900_000]].concat();
    let reseals: Vec<_> = (1..=8)
        .map(|rest| Reseal::new(large(OLD, rest), large(NEW, rest)))
        .collect();
    for reseal in &reseals {
        tables.note(7, reseal.old()).await;
    }
    let replaced = tables.store.replace(&ada, &text, &reseals).await.unwrap();
    assert_eq!(replaced, 8);
    assert_eq!(tables.under(&ada, text, NEW).await.len(), 8);
}

async fn a_key_is_looked_for_in_every_row(kind: Kind) {
    let tables = World::new(kind).await;
    let (ada, text) = (CanonicalId::integer(7), column(Note::MODEL));
    tables.note(8, &envelope(OLD, 1)).await; // of a row that was given away, say
    let count = async |owner| {
        let counted = tables.store.count_under(owner, &text, OLD, 0);
        counted.await.unwrap()
    };
    assert_eq!(count(Some(&ada)).await, Some(0));
    assert_eq!(count(None).await, Some(1));
}
