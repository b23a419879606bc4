//! Rotations of index keys over real tables, while others write and look up.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use ophie_crypt::{
    EncryptedModel, IndexKeyState, KeyStore, LocalKms, Models, OwnerId, Progress, Purpose,
    Rotation, RotationStore, Session, WaitsFor,
};
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner};

use crate::{
    place::{ADA, BEN, is_postgres, keyring},
    world::{Database, Kind, Store},
};

every_database!(
    no_look_up_misses_while_others_write,
    what_is_cut_off_goes_on,
    odd_rows_stay_as_they_are,
    two_rows_of_one_value_keep_the_old_key,
);

const PURPOSE: Purpose = Purpose::new("tests");

#[derive(EncryptedModel)]
#[crypt(table = "indexed_people")]
#[expect(dead_code, reason = "its markers and its model are what the tests use")]
struct Person {
    #[crypt(plain)]
    id: i64,
    user_id: Owner<i64>,
    name: Option<Encrypted<String, person::name>>,
    #[crypt(index_of = "name", normalize = "name")]
    name_fp: Option<BlindIndex<String, person::name_fp>>,
    mail: Encrypted<String, person::mail>,
    #[crypt(index_of = "mail", normalize = "email")]
    mail_fp: BlindIndex<String, person::mail_fp>,
}

type NameFp = BlindIndex<String, person::name_fp>;
type MailFp = BlindIndex<String, person::mail_fp>;

/// Keys in one database, the application's rows in another.
struct World {
    kind: Kind,
    keys: Database,
    app: Database,
    kms: Arc<LocalKms>,
    keyring: ophie_crypt::Keyring,
    store: Arc<dyn Store>,
}

impl World {
    async fn new(kind: Kind) -> Self {
        let (keys, app) = (Database::create(kind).await, Database::create(kind).await);
        let (bytes, fp) = match kind {
            _ if is_postgres(kind) => ("BYTEA", "BYTEA"),
            Kind::SqlxSqlite | Kind::DieselSqlite => ("BLOB", "BLOB"),
            _ => ("BLOB", "BINARY(17)"),
        };
        let table = format!(
            "CREATE TABLE indexed_people (id BIGINT PRIMARY KEY, user_id BIGINT NOT NULL, \
             name {bytes}, name_fp {fp}, mail {bytes} NOT NULL, mail_fp {fp} NOT NULL); \
             CREATE INDEX by_name ON indexed_people (user_id, name_fp); \
             CREATE INDEX by_mail ON indexed_people (user_id, mail_fp)"
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
        let models = self.app.models(self.kind, Models::new().with::<Person>());
        let keys: Arc<dyn RotationStore> = store.clone();
        Rotation::new(keyring(&self.kms, store), keys, models.await).page(7)
    }

    async fn session(&self, owner: i64) -> Session {
        let session = self.keyring.open(&owner, PURPOSE).await.unwrap();
        session.refresh().await.unwrap();
        session
    }

    fn literal(&self, bytes: &[u8]) -> String {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match is_postgres(self.kind) {
            true => format!("'\\x{hex}'::bytea"),
            false => format!("x'{hex}'"),
        }
    }

    /// A row as the application writes it; every fifth has no name.
    fn insert(&self, session: &Session, id: i64, owner: i64) -> String {
        let name = (id % 5 != 0).then(|| {
            let sealed = person::name(name_of(id)).seal(session).unwrap();
            let fingerprint = NameFp::of_in(session, name_of(id)).unwrap().for_write();
            (sealed.into_bytes(), fingerprint)
        });
        let (name, name_fp) = match name {
            Some((name, name_fp)) => (self.literal(&name), self.literal(name_fp.as_bytes())),
            None => ("NULL".to_owned(), "NULL".to_owned()),
        };
        let mail = person::mail(mail_of(id)).seal(session).unwrap();
        let mail_fp = MailFp::of_in(session, mail_of(id)).unwrap().for_write();
        format!(
            "INSERT INTO indexed_people (id, user_id, name, name_fp, mail, mail_fp) \
             VALUES ({id}, {owner}, {name}, {name_fp}, {}, {})",
            self.literal(mail.as_bytes()),
            self.literal(mail_fp.as_bytes())
        )
    }

    async fn write(&self, session: &Session, id: i64, owner: i64) {
        let sql = self.insert(session, id, owner);
        self.app.run_plain(&sql).await.unwrap();
    }

    async fn count(&self, column: &str, owner: i64, [one, other]: [&[u8]; 2]) -> i64 {
        let (one, other) = (self.literal(one), self.literal(other));
        let sql = format!(
            "SELECT COUNT(*) FROM indexed_people WHERE user_id = {owner} AND {column} IN ({one}, {other})"
        );
        self.app.number(&sql).await
    }

    /// How many rows look-ups by name and by mail find.
    async fn find(&self, session: &Session, id: i64, owner: i64) -> (i64, i64) {
        let name = NameFp::of_in(session, name_of(id).to_uppercase()).unwrap();
        let mail = MailFp::of_in(session, mail_of(id)).unwrap();
        let (names, mails) = (name.candidates(), mail.candidates());
        let names = names.each_ref().map(|name| name.as_bytes());
        let mails = mails.each_ref().map(|mail| mail.as_bytes());
        (
            self.count("name_fp", owner, names).await,
            self.count("mail_fp", owner, mails).await,
        )
    }

    async fn assert_found(&self, ids: impl Iterator<Item = i64>, owner: i64) {
        let session = self.session(owner).await;
        for id in ids {
            let found = self.find(&session, id, owner).await;
            assert_eq!(found, (i64::from(id % 5 != 0), 1), "{id}");
        }
    }

    /// Fingerprints of this generation.
    async fn of(&self, owner: i64, generation: u8) -> i64 {
        let mut count = 0;
        for column in ["name_fp", "mail_fp"] {
            let first = self.literal(&[generation]);
            let sql = format!(
                "SELECT COUNT(*) FROM indexed_people WHERE user_id = {owner} AND substr({column}, 1, 1) = {first}"
            );
            count += self.app.number(&sql).await;
        }
        count
    }

    /// Time passes: since the second key was announced, and since nobody writes under the first.
    async fn pass(&self, announced: bool) {
        let sql = match announced {
            true => {
                "UPDATE ophie_crypt_index_keys SET announced_at = '2020-01-01 00:00:00' \
                 WHERE owner = $1 AND state = 'announced'"
            }
            false => {
                "UPDATE ophie_crypt_index_keys SET stated_at = '2020-01-01 00:00:00' \
                 WHERE owner = $1 AND state = 'draining'"
            }
        };
        self.keys.run(sql, &ADA.canonical()).await.unwrap();
    }

    /// To a second key that may be written.
    async fn begin(&self, rotation: &Rotation) {
        assert_eq!(rotation.begin_index(&ADA).await.unwrap(), 2);
        let waits = rotation.advance(&ADA).await.unwrap().waits_for;
        assert_eq!(waits, Some(WaitsFor::Announcement));
        self.pass(true).await;
    }

    async fn states(&self) -> Vec<(u8, IndexKeyState)> {
        let record = self.store.load(&ADA.canonical()).await.unwrap().unwrap();
        let keys = record.index_keys().iter();
        keys.map(|key| (key.generation(), key.state())).collect()
    }
}

fn name_of(id: i64) -> String {
    format!("Person {id}")
}

fn mail_of(id: i64) -> String {
    format!("p{id}@example.org")
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

/// Two workers of two processes, and the application, which writes and looks up in a third that hears late of each step.
async fn no_look_up_misses_while_others_write(kind: Kind) {
    let world = Arc::new(World::new(kind).await);
    let session = world.session(ADA).await;
    for id in 0..30 {
        world.write(&session, id, ADA).await;
    }
    let bens = world.session(BEN).await;
    for id in 500..505 {
        world.write(&bens, id, BEN).await;
    }
    let workers = [world.rotation().await, world.rotation().await];
    world.begin(&workers[0]).await;
    let done = Arc::new(AtomicBool::new(false));
    let (wrote, mut writes) = tokio::sync::watch::channel(1_000);
    // It knows of the announcement, as every process does by then.
    let session = world.session(ADA).await;
    let application = {
        let (world, done) = (Arc::clone(&world), Arc::clone(&done));
        tokio::spawn(async move {
            let mut id = 1_000;
            while !done.load(SeqCst) {
                world.write(&session, id, ADA).await;
                for old in [id, id % 30] {
                    let found = world.find(&session, old, ADA).await;
                    assert_eq!(found, (i64::from(old % 5 != 0), 1), "{old} at {id}");
                }
                id += 1;
                wrote.send_replace(id);
            }
            id
        })
    };
    for round in 1..4 {
        let written = writes.wait_for(|id| *id > 1_000 + round * 3).await;
        drop(written.expect("no look-up misses"));
        let (one, two) = tokio::join!(workers[0].advance(&ADA), workers[1].advance(&ADA));
        for progress in [one.unwrap(), two.unwrap()] {
            assert_eq!(
                (progress.failed, progress.row_bound),
                (0, 0),
                "{progress:?}"
            );
        }
    }
    // The application's process hears of each step at its next look, at the latest.
    for _ in 0..200 {
        world.pass(false).await;
        let progress = workers[1].advance(&ADA).await.unwrap();
        if progress.waits_for.is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    done.store(true, SeqCst);
    let end = application.await.expect("no look-up misses");
    assert_eq!(world.states().await[1], (1, IndexKeyState::Retired));
    assert_eq!(world.of(ADA, 1).await, 0);
    world.assert_found((0..30).chain(1_000..end), ADA).await;
    world.assert_found(500..505, BEN).await;
    assert_eq!(world.of(BEN, 2).await, 0, "nobody rotated Ben");
}

/// The worker is dropped between any two of its steps.
async fn what_is_cut_off_goes_on(kind: Kind) {
    let world = World::new(kind).await;
    let session = world.session(ADA).await;
    for id in 0..20 {
        world.write(&session, id, ADA).await;
    }
    drop(session);
    let rotation = world.rotation().await;
    for turns in 0..6 {
        let begun = crate::cancelled::cut_off(turns * turns * 8, rotation.begin_index(&ADA)).await;
        assert!(begun.is_none_or(|begun| begun.unwrap() == 2));
    }
    world.begin(&rotation).await;
    for (turns, id) in (0..20).zip(0..20_i64) {
        crate::cancelled::cut_off(turns * turns, rotation.advance(&ADA)).await;
        world.assert_found([id, 19].into_iter(), ADA).await;
    }
    rotation.advance(&ADA).await.unwrap();
    assert_eq!(world.of(ADA, 1).await, 0);
    world.pass(false).await;
    for turns in 0..10 {
        crate::cancelled::cut_off(turns * turns, rotation.advance(&ADA)).await;
    }
    assert_eq!(settle(&rotation).await.waits_for, None);
    for turns in 0..10 {
        let destroying = rotation.destroy(&ADA, Duration::ZERO);
        crate::cancelled::cut_off(turns * turns, destroying).await;
    }
    loop {
        let destroyed = rotation.destroy(&ADA, Duration::ZERO).await.unwrap();
        if destroyed.waits_for.is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(world.states().await, [(2, IndexKeyState::Writing)]);
    world.assert_found(0..20, ADA).await;
}

async fn odd_rows_stay_as_they_are(kind: Kind) {
    let world = World::new(kind).await;
    let (session, bens) = (world.session(ADA).await, world.session(BEN).await);
    for id in 1..6 {
        world.write(&session, id, ADA).await;
    }
    let mut changed = person::name("changed").seal(&session).unwrap().into_bytes();
    changed[40] ^= 1;
    let anothers = person::name("Ben's").seal(&bens).unwrap().into_bytes();
    let bound = person::name("Person 3").seal_row(&session, &3).unwrap();
    for (id, name) in [(1, &changed), (2, &anothers), (3, &bound.into_bytes())] {
        let name = world.literal(name);
        let sql = format!("UPDATE indexed_people SET name = {name} WHERE id = {id}");
        world.app.run_plain(&sql).await.unwrap();
    }
    let lost = "UPDATE indexed_people SET name = NULL WHERE id = 4";
    world.app.run_plain(lost).await.unwrap();
    let rotation = world.rotation().await;
    world.begin(&rotation).await;
    rotation.advance(&ADA).await.unwrap();
    world.pass(false).await;
    let progress = settle(&rotation).await;
    let Progress {
        row_bound,
        failed,
        left,
        waits_for,
        ..
    } = progress;
    // One has a fingerprint and no value.
    assert_eq!((row_bound, failed, left), (1, 2, 4));
    assert_eq!(waits_for, Some(WaitsFor::Values));
    assert_eq!(world.of(ADA, 1).await, 4);
    world.assert_found(1..6, ADA).await;
    assert_eq!(world.states().await[1], (1, IndexKeyState::Draining));
    // The application writes the one, and removes the others.
    let session = world.session(ADA).await;
    let fingerprint = NameFp::of_in(&session, "Person 3").unwrap().for_write();
    let fingerprint = world.literal(fingerprint.as_bytes());
    for change in [
        "DELETE FROM indexed_people WHERE id IN (1, 2, 4)",
        &format!("UPDATE indexed_people SET name_fp = {fingerprint} WHERE id = 3"),
    ] {
        world.app.run_plain(change).await.unwrap();
    }
    assert_eq!(settle(&rotation).await.waits_for, None);
}

/// A unique index sees no equal value under the other key; it does when the old one is made anew.
async fn two_rows_of_one_value_keep_the_old_key(kind: Kind) {
    let world = World::new(kind).await;
    let unique = "CREATE UNIQUE INDEX one_mail ON indexed_people (user_id, mail_fp)";
    world.app.run_plain(unique).await.unwrap();
    let session = world.session(ADA).await;
    for id in 1..10 {
        world.write(&session, id, ADA).await;
    }
    let again = world
        .insert(&session, 3, ADA)
        .replace("VALUES (3,", "VALUES (103,");
    let rotation = world.rotation().await;
    world.begin(&rotation).await;
    let made = settle(&rotation).await;
    assert_eq!((made.reindexed, made.duplicates), (17, 0));
    // From a process that does not write the new key yet, past the index.
    world.app.run_plain(&again).await.unwrap();
    world.pass(false).await;
    let progress = settle(&rotation).await;
    assert_eq!(progress.waits_for, Some(WaitsFor::Values));
    assert_eq!((progress.duplicates, progress.left), (1, 1));
    let session = world.session(ADA).await;
    assert_eq!(world.find(&session, 3, ADA).await.1, 2, "both are found");
    let delete = "DELETE FROM indexed_people WHERE id = 103";
    world.app.run_plain(delete).await.unwrap();
    assert_eq!(settle(&rotation).await.waits_for, None);
}

/// Rows of the old key that are not committed: one that is to be made anew, and one that nobody sees when nobody writes
/// under that key any more.
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
        let world = World::new(kind).await;
        let session = world.session(ADA).await;
        world.write(&session, 1, ADA).await;
        let second = world.insert(&session, 2, ADA);
        let rotation = world.rotation().await;
        world.begin(&rotation).await;
        let change = "UPDATE indexed_people SET user_id = user_id WHERE id = 1";
        let held = world.app.hold(change).await;
        let progress = rotation.advance(&ADA).await.unwrap();
        assert_eq!(progress.waits_for, Some(WaitsFor::Transactions), "{kind:?}");
        held.commit().await;
        let progress = settle(&rotation).await;
        assert_eq!(progress.waits_for, Some(WaitsFor::Writers), "{kind:?}");
        assert_eq!(world.of(ADA, 1).await, 0);
        let held = world.app.hold(&second).await;
        world.pass(false).await;
        for _ in 0..2 {
            let progress = rotation.advance(&ADA).await.unwrap();
            assert_eq!(progress.waits_for, Some(WaitsFor::Transactions), "{kind:?}");
        }
        held.commit().await;
        assert_eq!(settle(&rotation).await.waits_for, None, "{kind:?}");
        world.assert_found(1..3, ADA).await;
    }
}
