//! The write fence: of what is written, only what the row's owner may have sealed now gets in.

#![allow(
    dead_code,
    reason = "models: their fields are columns, which nothing here reads"
)]

use std::sync::Arc;

use ophie_crypt::{EncryptedModel, Keyring, LocalKms, ModelError, Models, Purpose, Session};
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner};

use crate::world::{Database, Kind, Tables, is_postgres, is_sqlite, literal};

every_database!(
    the_owners_own_values_get_in,
    another_owners_value_is_kept_out,
    what_is_no_envelope_is_kept_out,
    retired_keys_are_kept_out,
    fingerprints_under_keys_of_no_use_are_kept_out,
    what_stood_there_is_left_alone,
    a_shredded_owners_late_row_is_kept_out,
    owners_of_every_type_are_known,
    a_fence_is_raised_again_and_lowered,
    a_table_that_is_missing_has_no_fence,
    long_names_do_not_meet,
);

#[derive(EncryptedModel)]
#[crypt(table = "notes")]
pub(crate) struct Note {
    user_id: Owner<i64>,
    pub(crate) text: Encrypted<String, note::text>,
    title: Option<Encrypted<String, note::title>>,
    #[crypt(index_of = "text", normalize = "exact")]
    text_fp: Option<BlindIndex<String, note::text_fp>>,
}

#[derive(EncryptedModel)]
#[crypt(table = "by text")]
struct ByText {
    user_id: Owner<String>,
    text: Encrypted<String, by_text::text>,
}

#[derive(EncryptedModel)]
#[crypt(table = "by_uuid")]
struct ByUuid {
    user_id: Owner<uuid::Uuid>,
    text: Encrypted<String, by_uuid::text>,
}

#[derive(EncryptedModel)]
#[crypt(table = "a_table_whose_name_is_long_and_is_told_apart_at_one")]
struct LongOne {
    user_id: Owner<i64>,
    text: Encrypted<String, long_one::text>,
}

#[derive(EncryptedModel)]
#[crypt(table = "a_table_whose_name_is_long_and_is_told_apart_at_two")]
struct LongTwo {
    user_id: Owner<i64>,
    other: Encrypted<String, long_two::other>,
}

pub(crate) const ADA: i64 = -7;
pub(crate) const BEN: i64 = 8;

/// A database with keys, two owners and a fence around the models' tables.
pub(crate) struct Fenced {
    kind: Kind,
    pub(crate) database: Database,
    keyring: Keyring,
    models: Arc<dyn Tables>,
    pub(crate) ada: Session,
    pub(crate) ben: Session,
}

impl Fenced {
    pub(crate) async fn new(kind: Kind) -> Self {
        let database = Database::create(kind).await;
        let store = database.store(kind).await;
        store.migrate().await.unwrap();
        let (bytes, uuid, quote) = match kind {
            _ if is_postgres(kind) => ("BYTEA", "UUID", '"'),
            _ if is_sqlite(kind) => ("BLOB", "BLOB", '"'),
            _ => ("BLOB", "BINARY(16)", '`'),
        };
        let tables = format!(
            "CREATE TABLE notes (id INT PRIMARY KEY, user_id INT, text {bytes}, title {bytes}, text_fp {bytes}); \
             CREATE TABLE {quote}by text{quote} (user_id VARCHAR(40), text {bytes}); \
             CREATE TABLE by_uuid (user_id {uuid}, text {bytes})"
        );
        database.run_plain(&tables).await.unwrap();
        let models = Models::new()
            .with::<Note>()
            .with::<ByText>()
            .with::<ByUuid>();
        let models = database.models(kind, models).await;
        models.raise_fence().await.unwrap();
        let keyring = Keyring::builder()
            .kms(LocalKms::ephemeral().unwrap())
            .key_store(store)
            .build()
            .unwrap();
        let session = async |owner: i64| {
            let opened = keyring.open_or_provision(&owner, Purpose::new("test"));
            opened.await.unwrap()
        };
        let (ada, ben) = (session(ADA).await, session(BEN).await);
        Self {
            kind,
            database,
            keyring,
            models,
            ada,
            ben,
        }
    }

    pub(crate) fn literal(&self, bytes: &[u8]) -> String {
        literal(self.kind, bytes)
    }

    /// A sealed text as a literal.
    pub(crate) fn sealed(&self, session: &Session) -> String {
        let sealed = note::text("slept badly").seal(session).unwrap();
        self.literal(sealed.as_bytes())
    }

    pub(crate) async fn run(&self, sql: &str) -> Result<(), sqlx::Error> {
        self.database.run_plain(sql).await
    }

    pub(crate) async fn insert(&self, id: i64, owner: i64, text: &str) -> Result<(), sqlx::Error> {
        let sql = format!("INSERT INTO notes (id, user_id, text) VALUES ({id}, {owner}, {text})");
        self.run(&sql).await
    }

    /// The fence's own refusal; on SQLite, which does not know keys, the row gets in instead.
    fn assert_unknown_key(&self, written: Result<(), sqlx::Error>) {
        if is_sqlite(self.kind) {
            written.unwrap();
        } else {
            assert_refused(written);
        }
    }
}

pub(crate) fn assert_refused(written: Result<(), sqlx::Error>) {
    let error = written.expect_err("the fence let it in").to_string();
    assert!(error.contains("the write fence refused"), "{error}");
}

async fn the_owners_own_values_get_in(kind: Kind) {
    let fenced = Fenced::new(kind).await;
    let (first, second) = (fenced.sealed(&fenced.ada), fenced.sealed(&fenced.ada));
    fenced.insert(1, ADA, &first).await.unwrap();
    fenced.insert(2, ADA, "NULL").await.unwrap();
    fenced
        .insert(3, BEN, &fenced.sealed(&fenced.ben))
        .await
        .unwrap();
    let update = format!("UPDATE notes SET text = {second}, title = {first} WHERE id = 1");
    fenced.run(&update).await.unwrap();
    fenced
        .run("UPDATE notes SET text = NULL WHERE id = 1")
        .await
        .unwrap();
}

async fn another_owners_value_is_kept_out(kind: Kind) {
    let fenced = Fenced::new(kind).await;
    let (adas, bens) = (fenced.sealed(&fenced.ada), fenced.sealed(&fenced.ben));
    fenced.insert(1, ADA, &adas).await.unwrap();
    // Which `Owner` does not see.
    let by_key = format!("UPDATE notes SET text = {bens} WHERE id = 1");
    fenced.assert_unknown_key(fenced.run(&by_key).await);
    let title = format!("UPDATE notes SET title = {bens} WHERE id = 1");
    fenced.assert_unknown_key(fenced.run(&title).await);
    fenced.assert_unknown_key(fenced.insert(2, ADA, &bens).await);
    let given_away = format!("UPDATE notes SET user_id = {BEN} WHERE id = 1");
    fenced.assert_unknown_key(fenced.run(&given_away).await);
    fenced.assert_unknown_key(fenced.insert(3, 99, &adas).await);
}

async fn what_is_no_envelope_is_kept_out(kind: Kind) {
    let fenced = Fenced::new(kind).await;
    let sealed = note::text("x").seal(&fenced.ada).unwrap();
    let mut marked = sealed.as_bytes().to_vec();
    marked[0] = 0xf9;
    let short = &sealed.as_bytes()[..44];
    for bytes in [b"slept badly".as_slice(), b"", short, &marked] {
        assert_refused(fenced.insert(1, ADA, &fenced.literal(bytes)).await);
    }
    fenced.insert(1, ADA, "NULL").await.unwrap();
    let text = format!("UPDATE notes SET text = {}", fenced.literal(b"slept badly"));
    assert_refused(fenced.run(&text).await);
    if !is_postgres(kind) {
        assert_refused(
            fenced
                .insert(2, ADA, "'slept badly, and called Mom, and a lot besides'")
                .await,
        );
    }
}

async fn retired_keys_are_kept_out(kind: Kind) {
    let fenced = Fenced::new(kind).await;
    // Announced too: an older snapshot of the application's transaction still shows what seals by now as that.
    for (number, state) in (1..).zip(["announced", "sealing", "draining"]) {
        let change = format!("UPDATE ophie_crypt_deks SET state = '{state}'");
        fenced.run(&change).await.unwrap();
        fenced
            .insert(number, ADA, &fenced.sealed(&fenced.ada))
            .await
            .unwrap();
    }
    fenced
        .run("UPDATE ophie_crypt_deks SET state = 'retired'")
        .await
        .unwrap();
    let written = fenced.insert(10, ADA, &fenced.sealed(&fenced.ada)).await;
    fenced.assert_unknown_key(written);
}

async fn fingerprints_under_keys_of_no_use_are_kept_out(kind: Kind) {
    let fenced = Fenced::new(kind).await;
    fenced.insert(1, ADA, "NULL").await.unwrap();
    let fingerprint = |generation: u8, len: usize| {
        let mut bytes = vec![generation; len];
        bytes[1..].fill(9);
        fenced.literal(&bytes)
    };
    let write = async |fingerprint: &str| {
        let sql = format!("UPDATE notes SET text_fp = {fingerprint} WHERE id = 1");
        fenced.run(&sql).await
    };
    for state in ["announced", "writing", "draining"] {
        let change = format!("UPDATE ophie_crypt_index_keys SET state = '{state}'");
        fenced.run(&change).await.unwrap();
        write("NULL").await.unwrap();
        write(&fingerprint(1, 17)).await.unwrap();
    }
    for (generation, len) in [(1, 16), (1, 18), (0, 17)] {
        assert_refused(write(&fingerprint(generation, len)).await);
    }
    let text = "UPDATE notes SET text_fp = '' WHERE id = 1";
    assert_refused(fenced.run(text).await);
    fenced.assert_unknown_key(write(&fingerprint(2, 17)).await);
    write(&fingerprint(1, 17)).await.unwrap();
    let retired = "UPDATE ophie_crypt_index_keys SET state = 'retired'";
    fenced.run(retired).await.unwrap();
    // What stands there is left alone.
    fenced
        .run("UPDATE notes SET text = NULL WHERE id = 1")
        .await
        .unwrap();
    write("NULL").await.unwrap();
    fenced.assert_unknown_key(write(&fingerprint(1, 17)).await);
}

async fn what_stood_there_is_left_alone(kind: Kind) {
    let fenced = Fenced::new(kind).await;
    fenced
        .insert(1, ADA, &fenced.sealed(&fenced.ada))
        .await
        .unwrap();
    let title = fenced.sealed(&fenced.ada);
    fenced
        .run("UPDATE ophie_crypt_deks SET state = 'retired'")
        .await
        .unwrap();
    // The text stands under a retired key, and nobody changes it.
    fenced
        .run("UPDATE notes SET id = 5 WHERE id = 1")
        .await
        .unwrap();
    let titled = format!("UPDATE notes SET title = {title} WHERE id = 5");
    fenced.assert_unknown_key(fenced.run(&titled).await);
}

async fn a_shredded_owners_late_row_is_kept_out(kind: Kind) {
    let fenced = Fenced::new(kind).await;
    let (late, bens) = (fenced.sealed(&fenced.ada), fenced.sealed(&fenced.ben));
    let owner = ophie_crypt::CanonicalId::integer(ADA);
    fenced.insert(1, ADA, "NULL").await.unwrap();
    // What `shred` and `shred_in` run.
    let shred = "INSERT INTO ophie_crypt_shreds (owner) VALUES ($1)";
    assert_eq!(fenced.database.run(shred, &owner).await.unwrap(), 1);
    let told_apart = |written: Result<(), sqlx::Error>| {
        let error = written.as_ref().err().map(ToString::to_string);
        let says = |error: String| error.contains("owner were destroyed");
        assert!(is_sqlite(kind) || error.is_some_and(says), "{written:?}");
        fenced.assert_unknown_key(written);
    };
    told_apart(fenced.insert(2, ADA, &late).await);
    told_apart(fenced.insert(4, ADA, &bens).await);
    let update = format!("UPDATE notes SET text = {late} WHERE id = 1");
    told_apart(fenced.run(&update).await);
    let mut fingerprint = [9; 17];
    fingerprint[0] = 1;
    let fingerprint = fenced.literal(&fingerprint);
    let indexed = format!("UPDATE notes SET text_fp = {fingerprint} WHERE id = 1");
    told_apart(fenced.run(&indexed).await);
    fenced.insert(3, BEN, &bens).await.unwrap();
}

async fn owners_of_every_type_are_known(kind: Kind) {
    let fenced = Fenced::new(kind).await;
    let uuid = uuid::Uuid::from_bytes([0xab; 16]);
    let open = |owner: ophie_crypt::CanonicalId| {
        let keyring = fenced.keyring.clone();
        async move {
            let opened = keyring
                .open_or_provision(&owner, Purpose::new("test"))
                .await;
            opened.unwrap()
        }
    };
    let text = open(ophie_crypt::CanonicalId::text("Ädä")).await;
    let uuids = open(ophie_crypt::CanonicalId::uuid(uuid.as_bytes())).await;
    let (table, id) = match kind {
        _ if is_postgres(kind) => ("\"by text\"", format!("'{uuid}'")),
        _ if is_sqlite(kind) => ("\"by text\"", fenced.literal(uuid.as_bytes())),
        _ => ("`by text`", fenced.literal(uuid.as_bytes())),
    };
    let rows = |owner: &str, id: &str, text: &Session, uuids: &Session| {
        [
            format!(
                "INSERT INTO {table} VALUES ('{owner}', {})",
                fenced.sealed(text)
            ),
            format!(
                "INSERT INTO by_uuid VALUES ({id}, {})",
                fenced.sealed(uuids)
            ),
        ]
    };
    for sql in rows("Ädä", &id, &text, &uuids) {
        fenced.run(&sql).await.unwrap();
    }
    for sql in rows("Ädä", &id, &uuids, &text) {
        fenced.assert_unknown_key(fenced.run(&sql).await);
    }
}

async fn a_fence_is_raised_again_and_lowered(kind: Kind) {
    let fenced = Fenced::new(kind).await;
    let plain = fenced.literal(b"slept badly");
    fenced.models.raise_fence().await.unwrap();
    assert_refused(fenced.insert(1, ADA, &plain).await);
    fenced.models.lower_fence().await.unwrap();
    fenced.insert(1, ADA, &plain).await.unwrap();
    fenced.models.lower_fence().await.unwrap();
    // What stands there stays; as SQL for a migration it is the same.
    let sql = fenced.models.fence().await.unwrap();
    fenced.run(&sql).await.unwrap();
    assert_refused(fenced.insert(2, ADA, &plain).await);
}

async fn a_table_that_is_missing_has_no_fence(kind: Kind) {
    let database = Database::create(kind).await;
    let models = database.models(kind, Models::new().with::<Note>()).await;
    let raised = models.raise_fence().await;
    assert!(
        matches!(
            raised,
            Err(ModelError::NoColumn { .. } | ModelError::Unavailable { .. })
        ),
        "{raised:?}"
    );
}

async fn long_names_do_not_meet(kind: Kind) {
    let fenced = Fenced::new(kind).await;
    let bytes = if is_postgres(kind) { "BYTEA" } else { "BLOB" };
    let (one, two) = (LongOne::MODEL.table(), LongTwo::MODEL.table());
    let tables = format!(
        "CREATE TABLE {one} (user_id INT, text {bytes}); CREATE TABLE {two} (user_id INT, other {bytes})"
    );
    fenced.run(&tables).await.unwrap();
    let models = Models::new().with::<LongOne>().with::<LongTwo>();
    let models = fenced.database.models(kind, models).await;
    models.raise_fence().await.unwrap();
    let plain = fenced.literal(b"slept badly");
    for table in [one, two] {
        assert_refused(
            fenced
                .run(&format!("INSERT INTO {table} VALUES ({ADA}, {plain})"))
                .await,
        );
        let sealed = fenced.sealed(&fenced.ada);
        fenced
            .run(&format!("INSERT INTO {table} VALUES ({ADA}, {sealed})"))
            .await
            .unwrap();
    }
}
