//! Rotations of real tables, while others read and write them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use ophie_crypt::{
    EncryptedModel, KeyStore, Keyring, LocalKms, Models, OwnerId, Progress, Purpose, Rotation,
    RotationStore, Session, WaitsFor,
};
use ophie_crypt_sqlx::{Encrypted, Owner, Sealed};
use tokio::sync::watch;

use crate::world::{Database, Kind, Store};

every_database!(
    all_rows_while_others_write,
    what_is_cut_off_goes_on,
    odd_values_stay_as_they_are,
);

const PURPOSE: Purpose = Purpose::new("tests");
const ADA: i64 = 7;
const BEN: i64 = 8;

#[derive(EncryptedModel)]
#[crypt(table = "rotated_notes")]
#[expect(dead_code, reason = "its markers and its model are what the tests use")]
struct Note {
    #[crypt(plain)]
    id: i64,
    user_id: Owner<i64>,
    text: Option<Encrypted<String, note::text>>,
    #[crypt(pad = 64)]
    mood: Encrypted<String, note::mood>,
}

/// Keys in one database, the application's rows in another.
struct Place {
    kind: Kind,
    keys: Database,
    app: Database,
    kms: Arc<LocalKms>,
    keyring: Keyring,
    store: Arc<dyn Store>,
}

impl Place {
    async fn new(kind: Kind) -> Self {
        let (keys, app) = (Database::create(kind).await, Database::create(kind).await);
        let bytes = if is_postgres(kind) { "BYTEA" } else { "BLOB" };
        let table = format!(
            "CREATE TABLE rotated_notes (id BIGINT PRIMARY KEY, user_id BIGINT NOT NULL, \
             text {bytes}, mood {bytes} NOT NULL); \
             CREATE INDEX by_owner ON rotated_notes (user_id)"
        );
        app.run_plain(&table).await.unwrap();
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
        }
    }

    /// As another process would rotate.
    async fn rotation(&self) -> Rotation {
        let store = self.keys.store(self.kind).await;
        let models = self.app.models(self.kind, Models::new().with::<Note>());
        let keys: Arc<dyn RotationStore> = store.clone();
        Rotation::new(keyring(&self.kms, store), keys, models.await).page(7)
    }

    async fn session(&self, owner: i64) -> Session {
        self.keyring.open(&owner, PURPOSE).await.unwrap()
    }

    fn literal(&self, bytes: &[u8]) -> String {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match is_postgres(self.kind) {
            true => format!("'\\x{hex}'::bytea"),
            false => format!("x'{hex}'"),
        }
    }

    async fn put(&self, id: i64, owner: i64, text: Option<&[u8]>, mood: &[u8]) {
        let sql = self.insert(id, owner, text, mood);
        self.app.run_plain(&sql).await.unwrap();
    }

    fn insert(&self, id: i64, owner: i64, text: Option<&[u8]>, mood: &[u8]) -> String {
        let text = text.map_or_else(|| "NULL".to_owned(), |bytes| self.literal(bytes));
        let mood = self.literal(mood);
        format!(
            "INSERT INTO rotated_notes (id, user_id, text, mood) VALUES ({id}, {owner}, {text}, {mood})"
        )
    }

    /// A row whose values say whose and which they are; every fifth has no text.
    async fn write(&self, session: &Session, id: i64, owner: i64) {
        let (text, mood) = (
            seal_text(session, &said(id, owner)),
            seal_mood(session, "fine"),
        );
        let text = (id % 5 != 0).then_some(text.as_slice());
        self.put(id, owner, text, &mood).await;
    }

    /// Time passes for generation 2: it was announced, and the leases of the first are over.
    async fn pass(&self, announced: bool) {
        let (table, set) = match announced {
            true => ("budgets", "announced_at = '2020-01-01 00:00:00'"),
            false => ("budgets", "leased_until = '2020-01-01 00:00:00'"),
        };
        let sql = format!("UPDATE ophie_crypt_{table} SET {set} WHERE owner = $1");
        self.keys.run(&sql, &ADA.canonical()).await.unwrap();
    }

    /// What each row holds, opened.
    async fn read(&self, owner: i64) -> BTreeMap<i64, Option<String>> {
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
    async fn old_rows(&self, owner: i64) -> usize {
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
    async fn begin(&self, rotation: &Rotation) {
        assert_eq!(rotation.begin(&ADA).await.unwrap(), 2);
        let waits = rotation.advance(&ADA).await.unwrap().waits_for;
        assert_eq!(waits, Some(WaitsFor::Announcement));
        self.pass(true).await;
    }
}

/// As far as it comes. PostgreSQL does not say whose transactions are open: those of other tests are waited for too.
async fn settle(rotation: &Rotation) -> Progress {
    loop {
        let progress = rotation.advance(&ADA).await.unwrap();
        if progress.waits_for != Some(WaitsFor::Transactions) {
            return progress;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn destroy(rotation: &Rotation) {
    loop {
        let progress = rotation.destroy(&ADA, Duration::ZERO).await.unwrap();
        if progress.waits_for.is_none() {
            return;
        }
        assert_eq!(progress.waits_for, Some(WaitsFor::Transactions));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn is_postgres(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::SqlxPostgres | Kind::DieselPostgres | Kind::AsyncPostgres
    )
}

fn keyring(kms: &Arc<LocalKms>, store: Arc<dyn Store>) -> Keyring {
    let store: Arc<dyn KeyStore> = store;
    let builder = Keyring::builder().kms(Arc::clone(kms)).key_store(store);
    builder.recheck(Duration::from_millis(50)).build().unwrap()
}

fn said(id: i64, owner: i64) -> String {
    format!("note {id} of {owner}")
}

fn seal_text(session: &Session, text: &str) -> Vec<u8> {
    note::text(text).seal(session).unwrap().into_bytes()
}

fn seal_mood(session: &Session, text: &str) -> Vec<u8> {
    note::mood(text).seal(session).unwrap().into_bytes()
}

fn expected(ids: impl Iterator<Item = i64>, owner: i64) -> BTreeMap<i64, Option<String>> {
    ids.map(|id| (id, (id % 5 != 0).then(|| said(id, owner))))
        .collect()
}

/// Two workers of two processes, and the application, which inserts, changes and reads in a third.
async fn all_rows_while_others_write(kind: Kind) {
    let place = Arc::new(Place::new(kind).await);
    let session = place.session(ADA).await;
    for id in 0..60 {
        place.write(&session, id, ADA).await;
    }
    drop(session);
    let bens = place.session(BEN).await;
    for id in 1_000..1_010 {
        place.write(&bens, id, BEN).await;
    }
    let done = Arc::new(AtomicBool::new(false));
    let (wrote, mut writes) = watch::channel(2_000);
    let application = {
        let (place, done) = (Arc::clone(&place), Arc::clone(&done));
        tokio::spawn(async move {
            let mut id = 2_000;
            while !done.load(SeqCst) {
                let session = place.session(ADA).await;
                place.write(&session, id, ADA).await;
                let old = id % 60;
                if old % 5 != 0 {
                    let text =
                        place.literal(&seal_text(&session, &format!("{} anew", said(old, ADA))));
                    let change = format!("UPDATE rotated_notes SET text = {text} WHERE id = {old}");
                    place.app.run_plain(&change).await.unwrap();
                }
                place.read(ADA).await; // fails on what does not open
                id += 1;
                wrote.send_replace(id);
            }
            id
        })
    };
    let workers = [place.rotation().await, place.rotation().await];
    place.begin(&workers[0]).await;
    for round in 1..4 {
        let written = writes
            .wait_for(|id| *id > 2_000 + round * 3)
            .await
            .map(|_| ());
        written.expect("the application goes on");
        let (one, two) = tokio::join!(workers[0].advance(&ADA), workers[1].advance(&ADA));
        for progress in [one.unwrap(), two.unwrap()] {
            assert_eq!(
                (progress.failed, progress.row_bound),
                (0, 0),
                "{progress:?}"
            );
        }
    }
    // The application's process has the new keys by now, or gets them at its next look.
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        place.pass(false).await;
        let progress = workers[1].advance(&ADA).await.unwrap();
        if progress.waits_for.is_none() {
            break;
        }
    }
    done.store(true, SeqCst);
    let end = application.await.unwrap();
    assert_eq!(place.old_rows(ADA).await, 0);
    let record = place.store.load(&ADA.canonical()).await.unwrap().unwrap();
    assert_eq!(record.deks()[1].state().as_str(), "retired");

    let mut rows = expected((0..60).chain(2_000..end), ADA);
    for id in 2_000..end {
        let old = id % 60;
        if old % 5 != 0 {
            rows.insert(old, Some(format!("{} anew", said(old, ADA))));
        }
    }
    assert_eq!(place.read(ADA).await, rows);
    assert_eq!(place.read(BEN).await, expected(1_000..1_010, BEN));
    assert_eq!(place.old_rows(BEN).await, 0, "nobody rotated Ben");
}

/// The worker is dropped between any two of its steps.
async fn what_is_cut_off_goes_on(kind: Kind) {
    let place = Place::new(kind).await;
    let session = place.session(ADA).await;
    for id in 0..40 {
        place.write(&session, id, ADA).await;
    }
    drop(session);
    let rotation = place.rotation().await;
    for turns in 0..6 {
        let begun = crate::cancelled::cut_off(turns * turns * 8, rotation.begin(&ADA)).await;
        assert!(begun.is_none_or(|begun| begun.unwrap() == 2));
    }
    place.begin(&rotation).await;
    for turns in 0..30 {
        crate::cancelled::cut_off(turns * turns, rotation.advance(&ADA)).await;
    }
    rotation.advance(&ADA).await.unwrap();
    assert_eq!(place.old_rows(ADA).await, 0);
    place.pass(false).await;
    for turns in 0..20 {
        crate::cancelled::cut_off(turns * turns, rotation.advance(&ADA)).await;
    }
    assert_eq!(settle(&rotation).await.waits_for, None);
    let expected = expected(0..40, ADA);
    assert_eq!(place.read(ADA).await, expected);
    for turns in 0..15 {
        let destroying = rotation.destroy(&ADA, Duration::ZERO);
        crate::cancelled::cut_off(turns * turns, destroying).await;
    }
    destroy(&rotation).await;
    let record = place.store.load(&ADA.canonical()).await.unwrap().unwrap();
    assert_eq!(record.deks().len(), 1);
    assert_eq!(place.read(ADA).await, expected);
}

async fn odd_values_stay_as_they_are(kind: Kind) {
    let place = Place::new(kind).await;
    let (session, bens) = (place.session(ADA).await, place.session(BEN).await);
    place.write(&session, 1, ADA).await;
    let mood = seal_mood(&session, "fine");
    let mut changed = seal_text(&session, "changed");
    changed[40] ^= 1;
    let another_column = seal_mood(&session, "moved");
    let anothers = seal_text(&bens, "Ben's");
    let row_bound = note::text("bound")
        .seal_row(&session, &5)
        .unwrap()
        .into_bytes();
    for (id, text) in (2..).zip([&changed, &another_column, &anothers, &row_bound]) {
        place.put(id, ADA, Some(text), &mood).await;
    }
    place.put(6, ADA, None, &mood).await;
    drop(session);
    let rotation = place.rotation().await;
    place.begin(&rotation).await;
    rotation.advance(&ADA).await.unwrap();
    place.pass(false).await;
    let progress = settle(&rotation).await;
    let Progress {
        row_bound: bound,
        failed,
        left,
        waits_for,
        ..
    } = progress;
    assert_eq!((bound, failed, left), (1, 2, 3));
    assert_eq!(waits_for, Some(WaitsFor::Values));
    let rows = place.app.rows(ADA).await;
    let texts: Vec<_> = rows.into_iter().map(|(_, text, _)| text).collect();
    assert_eq!(
        texts[1..],
        [
            Some(changed),
            Some(another_column),
            Some(anothers),
            Some(row_bound),
            None
        ]
    );

    // The application opens the one and seals it anew, and removes the others.
    let session = place.session(ADA).await;
    session.refresh().await.unwrap();
    let bound = Sealed::<String, note::text>::from_bytes(texts[4].clone().unwrap());
    let bound = bound.open_row(&session, &5).unwrap();
    let anew = bound.seal_row(&session, &5).unwrap();
    let anew = place.literal(anew.as_bytes());
    for change in [
        "DELETE FROM rotated_notes WHERE id IN (2, 3)",
        &format!("UPDATE rotated_notes SET text = {anew} WHERE id = 5"),
    ] {
        place.app.run_plain(change).await.unwrap();
    }
    assert_eq!(settle(&rotation).await.waits_for, None);
}

/// Rows of the old generation that are not committed: one that is to be sealed anew, and one that nobody sees when
/// nobody can seal under that generation any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_transaction_is_waited_for() {
    for kind in [
        Kind::SqlxPostgres,
        Kind::SqlxMariaDb,
        Kind::DieselPostgres,
        Kind::DieselMariaDb,
        Kind::AsyncPostgres,
        Kind::AsyncMariaDb,
    ] {
        let place = Place::new(kind).await;
        let session = place.session(ADA).await;
        place.write(&session, 1, ADA).await;
        let text = seal_text(&session, &said(2, ADA));
        let mood = seal_mood(&session, "fine");
        drop(session);
        let rotation = place.rotation().await;
        place.begin(&rotation).await;
        // One holds a row that is to be sealed anew.
        let change = format!(
            "UPDATE rotated_notes SET mood = {} WHERE id = 1",
            place.literal(&mood)
        );
        let held = place.app.hold(&change).await;
        let progress = rotation.advance(&ADA).await.unwrap();
        assert_eq!(progress.waits_for, Some(WaitsFor::Transactions), "{kind:?}");
        held.commit().await;
        let progress = settle(&rotation).await;
        assert_eq!(progress.waits_for, Some(WaitsFor::Leases), "{kind:?}");
        assert_eq!(place.old_rows(ADA).await, 0);
        // One wrote a row that nobody else sees.
        let insert = place.insert(2, ADA, Some(&text), &mood);
        let held = place.app.hold(&insert).await;
        place.pass(false).await;
        for _ in 0..2 {
            let progress = rotation.advance(&ADA).await.unwrap();
            assert_eq!(progress.waits_for, Some(WaitsFor::Transactions), "{kind:?}");
        }
        held.commit().await;
        assert_eq!(settle(&rotation).await.waits_for, None, "{kind:?}");
        assert_eq!(place.old_rows(ADA).await, 0);
        assert_eq!(place.read(ADA).await, expected(1..3, ADA));
    }
}
