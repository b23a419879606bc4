//! Keys in one database and an application's rows in another, for rotations.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ophie_crypt::{
    EncryptedModel, KeyStore, Keyring, LocalKms, Models, OwnerId, Progress, Purpose, Rotation,
    RotationStore, Session, WaitsFor,
};
use ophie_crypt_sqlx::{Encrypted, Owner, Sealed};

use crate::world::{Database, Kind, Store, is_postgres, literal};

const PURPOSE: Purpose = Purpose::new("tests");
pub(crate) const ADA: i64 = 7;
pub(crate) const BEN: i64 = 8;

#[derive(EncryptedModel)]
#[crypt(table = "rotated_notes")]
#[expect(dead_code, reason = "its markers and its model are what the tests use")]
pub(crate) struct Note {
    #[crypt(plain)]
    id: i64,
    user_id: Owner<i64>,
    pub(crate) text: Option<Encrypted<String, note::text>>,
    #[crypt(pad = 64)]
    mood: Encrypted<String, note::mood>,
}

/// Keys in one database, the application's rows in another.
pub(crate) struct Place {
    kind: Kind,
    pub(crate) keys: Database,
    pub(crate) app: Database,
    kms: Arc<LocalKms>,
    keyring: Keyring,
    pub(crate) store: Arc<dyn Store>,
    models: Models,
}

impl Place {
    /// With notes.
    pub(crate) async fn new(kind: Kind) -> Self {
        let bytes = if is_postgres(kind) { "BYTEA" } else { "BLOB" };
        let table = format!(
            "CREATE TABLE rotated_notes (id BIGINT PRIMARY KEY, user_id BIGINT NOT NULL, \
             text {bytes}, mood {bytes} NOT NULL, frozen {bytes}, CHECK (frozen = mood)); \
             CREATE INDEX by_owner ON rotated_notes (user_id)"
        );
        Self::with(kind, &table, Models::new().with::<Note>()).await
    }

    /// With another table, of these models.
    pub(crate) async fn with(kind: Kind, table: &str, models: Models) -> Self {
        let (keys, app) = (Database::create(kind).await, Database::create(kind).await);
        app.run_plain(table).await.unwrap();
        let kms = Arc::new(LocalKms::ephemeral().unwrap());
        let store = keys.store(kind).await;
        store.migrate().await.unwrap();
        let keyring = keyring(&kms, Arc::clone(&store));
        for owner in [ADA, BEN] {
            keyring.provision(&owner).await.unwrap();
        }
        Self {
            kind,
            keys,
            app,
            kms,
            keyring,
            store,
            models,
        }
    }

    /// As another process would rotate.
    pub(crate) async fn rotation(&self) -> Rotation {
        let store = self.keys.store(self.kind).await;
        let models = self.app.models(self.kind, self.models.clone());
        let keys: Arc<dyn RotationStore> = store.clone();
        Rotation::new(keyring(&self.kms, store), keys, models.await)
            .page(7)
            .without_sidecars()
    }

    pub(crate) async fn session(&self, owner: i64) -> Session {
        self.keyring.open(&owner, PURPOSE).await.unwrap()
    }

    /// Of a process that looks for changed keys as seldom as one may: every 30 seconds.
    pub(crate) async fn unaware(&self, owner: i64) -> Session {
        let builder = Keyring::builder().kms(Arc::clone(&self.kms));
        let builder = builder.key_store(self.keys.store(self.kind).await);
        let keyring = builder.build().unwrap();
        keyring.open(&owner, PURPOSE).await.unwrap()
    }

    pub(crate) fn literal(&self, bytes: &[u8]) -> String {
        literal(self.kind, bytes)
    }

    pub(crate) async fn put(&self, id: i64, owner: i64, text: Option<&[u8]>, mood: &[u8]) {
        let sql = self.insert(id, owner, text, mood);
        self.app.run_plain(&sql).await.unwrap();
    }

    pub(crate) fn insert(&self, id: i64, owner: i64, text: Option<&[u8]>, mood: &[u8]) -> String {
        let text = text.map_or_else(|| "NULL".to_owned(), |bytes| self.literal(bytes));
        let mood = self.literal(mood);
        format!(
            "INSERT INTO rotated_notes (id, user_id, text, mood) VALUES ({id}, {owner}, {text}, {mood})"
        )
    }

    /// A row whose values say whose and which they are; every fifth has no text.
    pub(crate) async fn write(&self, session: &Session, id: i64, owner: i64) {
        let (text, mood) = (
            seal_text(session, &said(id, owner)),
            seal_mood(session, "fine"),
        );
        let text = (id % 5 != 0).then_some(text.as_slice());
        self.put(id, owner, text, &mood).await;
    }

    /// Time passes for generation 2: it was announced, and the leases of the first are over.
    pub(crate) async fn pass(&self, announced: bool) {
        let (table, set) = match announced {
            true => ("budgets", "announced_at = '2020-01-01 00:00:00'"),
            false => ("budgets", "leased_until = '2020-01-01 00:00:00'"),
        };
        let sql = format!("UPDATE ophie_crypt_{table} SET {set} WHERE owner = $1");
        self.keys.run(&sql, &ADA.canonical()).await.unwrap();
    }

    /// What each row holds, opened.
    pub(crate) async fn read(&self, owner: i64) -> BTreeMap<i64, Option<String>> {
        let session = self.session(owner).await;
        session.refresh().await.unwrap();
        let mut read = BTreeMap::new();
        for (id, text, mood) in self.app.rows(owner).await {
            let mood = Sealed::<String, note::mood>::from_bytes(mood);
            let mood = mood
                .open(&session)
                .unwrap_or_else(|error| panic!("{id}: {error}"));
            assert_eq!(mood.expose_secret(), "fine");
            let text = text.map(|text| {
                let text = Sealed::<String, note::text>::from_bytes(text);
                let text = text
                    .open(&session)
                    .unwrap_or_else(|error| panic!("{id}: {error}"));
                text.expose_secret().clone()
            });
            read.insert(id, text);
        }
        read
    }

    /// Rows whose text or mood is not under the newest generation.
    pub(crate) async fn old_rows(&self, owner: i64) -> usize {
        let record = self.store.load(&owner.canonical()).await.unwrap().unwrap();
        let newest = record.deks()[0].key_id();
        let under = |bytes: &[u8]| bytes[1..17] == *newest.as_bytes();
        let rows = self.app.rows(owner).await;
        let old = rows.iter().filter(|(_, text, mood)| {
            !under(mood) || text.as_ref().is_some_and(|text| !under(text))
        });
        old.count()
    }

    /// To a generation that seals.
    pub(crate) async fn begin(&self, rotation: &Rotation) {
        assert_eq!(rotation.begin(&ADA).await.unwrap(), 2);
        let waits = rotation.advance(&ADA).await.unwrap().waits_for;
        assert_eq!(waits, Some(WaitsFor::Announcement));
        self.pass(true).await;
    }
}

fn keyring(kms: &Arc<LocalKms>, store: Arc<dyn Store>) -> Keyring {
    let store: Arc<dyn KeyStore> = store;
    let builder = Keyring::builder().kms(Arc::clone(kms)).key_store(store);
    builder.recheck(Duration::from_millis(50)).build().unwrap()
}

/// As far as it comes. PostgreSQL does not say whose transactions are open: those of other tests are waited for too.
pub(crate) async fn settle(rotation: &Rotation) -> Progress {
    loop {
        let progress = rotation.advance(&ADA).await.unwrap();
        if progress.waits_for != Some(WaitsFor::Transactions) {
            return progress;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) fn said(id: i64, owner: i64) -> String {
    format!("note {id} of {owner}")
}

pub(crate) fn seal_text(session: &Session, text: &str) -> Vec<u8> {
    note::text(text).seal(session).unwrap().into_bytes()
}

pub(crate) fn seal_mood(session: &Session, text: &str) -> Vec<u8> {
    note::mood(text).seal(session).unwrap().into_bytes()
}

pub(crate) fn expected(
    ids: impl Iterator<Item = i64>,
    owner: i64,
) -> BTreeMap<i64, Option<String>> {
    ids.map(|id| (id, (id % 5 != 0).then(|| said(id, owner))))
        .collect()
}
