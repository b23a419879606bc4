//! Columns in a soak, on every database: states, triggers, and the jobs from the first row to the drop and back.

#![allow(
    dead_code,
    reason = "models: their fields are columns, which nothing here reads"
)]

use std::sync::Arc;

use ophie_crypt::{
    EncryptedModel, Keyring, LocalKms, ModelInfo, Models, Purpose, Session,
    soak::{Gate, Rows, SoakColumn, SoakJobError, SoakState, SoakStore, SoakWatch, Soaker, Wrong},
};
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner, Soak};

use crate::world::{Database, Kind, Tables};

every_database!(
    a_column_goes_all_the_way_and_back,
    the_guard_keeps_ciphertext_beside_its_plaintext,
    shapes_that_a_state_forbids_are_refused,
    a_step_waits_for_every_live_process,
    who_writes_while_a_column_retires_is_waited_for,
    backfills_share_a_table,
    verify_names_what_is_wrong,
    plaintext_of_the_shredded_is_refused,
    values_of_every_type_go_and_come_back,
);

#[derive(EncryptedModel)]
#[crypt(table = "people")]
struct Person {
    user_id: Owner<i64>,
    #[crypt(column = "name_ct", soak(twin = "name"))]
    name: Soak<Option<String>, person::name>,
    #[crypt(index_of = "name", normalize = "name")]
    name_fp: Option<BlindIndex<String, person::name_fp>>,
}

/// The release of after.
#[derive(EncryptedModel)]
#[crypt(table = "people", module = "after")]
struct PersonAfter {
    user_id: Owner<i64>,
    #[crypt(column = "name_ct")]
    name: Option<Encrypted<String, after::name>>,
    #[crypt(index_of = "name", normalize = "name")]
    name_fp: Option<BlindIndex<String, after::name_fp>>,
}

const TABLE: &str = "people";
const COLUMN: &str = "name_ct";
const ADA: i64 = 7;
const BEN: i64 = 8;

pub(crate) fn is_postgres(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::SqlxPostgres | Kind::DieselPostgres | Kind::AsyncPostgres
    )
}

fn is_mariadb(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::SqlxMariaDb | Kind::DieselMariaDb | Kind::AsyncMariaDb
    )
}

struct Soaking {
    kind: Kind,
    database: Database,
    keyring: Keyring,
    models: Arc<dyn Tables>,
    soak: SoakColumn,
    watch: SoakWatch,
    soaker: Soaker,
    ada: Session,
}

impl Soaking {
    async fn new(kind: Kind) -> Self {
        Self::of(kind, Models::new().with::<Person>(), TABLE, COLUMN, "").await
    }

    async fn of(kind: Kind, models: Models, table: &str, column: &str, tables: &str) -> Self {
        let database = Database::create(kind).await;
        let store = database.store(kind).await;
        store.migrate().await.unwrap();
        let people = "CREATE TABLE people (id INTEGER PRIMARY KEY, user_id BIGINT NOT NULL, name VARCHAR(80))";
        let tables = if tables.is_empty() { people } else { tables };
        database.run_plain(tables).await.unwrap();
        let soak = SoakColumn::of(&models, table, column).unwrap();
        let models = database.models(kind, models).await;
        let keyring = Keyring::builder()
            .kms(LocalKms::ephemeral().unwrap())
            .key_store(store)
            .build()
            .unwrap();
        let ada = keyring.open_or_provision(&ADA, Purpose::new("test"));
        Self {
            kind,
            ada: ada.await.unwrap(),
            watch: SoakWatch::new(models.clone()).unwrap(),
            soaker: Soaker::new(&keyring, models.clone()),
            database,
            keyring,
            models,
            soak,
        }
    }

    async fn run(&self, sql: &str) -> Result<(), sqlx::Error> {
        self.database.run_plain(sql).await
    }

    async fn insert(&self, id: i64, owner: i64, name: &str) -> Result<(), sqlx::Error> {
        self.run(&format!(
            "INSERT INTO people (id, user_id, name) VALUES ({id}, {owner}, {name})"
        ))
        .await
    }

    /// What a release of this state writes for Ada.
    fn sealed(&self, name: &str) -> String {
        let sealed = Encrypted::<String, person::name>::new(name).seal(&self.ada);
        self.literal(sealed.unwrap().as_bytes())
    }

    fn literal(&self, bytes: &[u8]) -> String {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match is_postgres(self.kind) {
            true => format!("'\\x{hex}'::bytea"),
            false => format!("x'{hex}'"),
        }
    }

    async fn count(&self, condition: &str) -> i64 {
        let sql = format!("SELECT COUNT(*) FROM people WHERE {condition}");
        self.database.number(&sql).await
    }

    async fn state(&self) -> SoakState {
        self.soaker.status(TABLE, COLUMN).await.unwrap().row.state
    }

    /// Goes on to a state, acknowledging each.
    async fn until(&self, to: SoakState) {
        if self.models.soaks().await.unwrap().is_empty() {
            let column = self.soak.column();
            self.soaker
                .expand(column.table(), column.name())
                .await
                .unwrap();
        }
        loop {
            let now = self.row().await;
            if now == to {
                break;
            }
            self.pass(now.next().unwrap()).await;
        }
        self.watch.beat().await.unwrap();
    }

    async fn row(&self) -> SoakState {
        let rows = self.models.soaks().await.unwrap();
        rows.first().unwrap().state
    }

    /// One step, with what it takes.
    async fn pass(&self, to: SoakState) {
        let column = self.soak.column();
        let (table, column) = (column.table(), column.name());
        if to == SoakState::Verify {
            let done = self.soaker.backfill(table, column).await.unwrap();
            assert_eq!(done.pending, 0);
        }
        if to == SoakState::Retired {
            let admitted = self.soaker.admit_old_binaries(table, column, false);
            admitted.await.unwrap();
        }
        self.watch.beat().await.unwrap();
        if matches!(to, SoakState::Soak | SoakState::Retired) {
            let report = self.soaker.verify(table, column).await.unwrap();
            assert!(report.is_clean(), "{report:?}");
        }
        self.soaker.step(table, column, to).await.unwrap();
    }
}

async fn a_column_goes_all_the_way_and_back(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    for (id, owner, name) in [
        (1, ADA, "'Mom'"),
        (2, ADA, "''"),
        (3, BEN, "'Ben'"),
        (4, ADA, "NULL"),
    ] {
        soaking.insert(id, owner, name).await.unwrap();
    }
    soaking.until(SoakState::Retired).await;
    assert_eq!(
        soaking
            .count("name_ct IS NOT NULL AND name_fp IS NOT NULL")
            .await,
        3
    );
    assert_eq!(
        soaking.count("name IS NOT NULL").await,
        3,
        "it stands until it is emptied"
    );
    assert_eq!(soaking.soaker.null_out(TABLE, COLUMN).await.unwrap(), 3);
    assert_eq!(
        soaking
            .count("name IS NULL AND name_ct IS NOT NULL AND name_fp IS NOT NULL")
            .await,
        3
    );

    // Back, to the very beginning.
    soaking
        .soaker
        .step(TABLE, COLUMN, SoakState::Sealed)
        .await
        .unwrap();
    soaking.watch.beat().await.unwrap();
    let early = soaking.soaker.step(TABLE, COLUMN, SoakState::Soak).await;
    let Err(SoakJobError::Gates { unmet, .. }) = early else {
        panic!("{early:?}")
    };
    assert_eq!(unmet, [Gate::Decrypted]);
    assert_eq!(soaking.soaker.decrypt_back(TABLE, COLUMN).await.unwrap(), 3);
    assert_eq!(
        soaking
            .count(
                "(id = 1 AND name = 'Mom') OR (id = 2 AND name = '') OR (id = 3 AND name = 'Ben')"
            )
            .await,
        3
    );
    assert_eq!(
        soaking
            .count("id = 4 AND name IS NULL AND name_ct IS NULL")
            .await,
        1
    );
    let report = soaking.soaker.verify(TABLE, COLUMN).await.unwrap();
    assert!(report.is_clean() && report.rows == 3, "{report:?}");
    while let Some(back) = soaking
        .state()
        .await
        .back()
        .filter(|back| *back > SoakState::Plain)
    {
        soaking.watch.beat().await.unwrap();
        soaking.soaker.step(TABLE, COLUMN, back).await.unwrap();
    }

    // And on, to the end.
    soaking.watch.beat().await.unwrap();
    soaking.until(SoakState::Retired).await;
    soaking.soaker.null_out(TABLE, COLUMN).await.unwrap();
    let known = soaking.soaker.drop_twin(TABLE, COLUMN, "people.name").await;
    let Err(SoakJobError::Gates { unmet, .. }) = known else {
        panic!("{known:?}")
    };
    assert_eq!(unmet, [Gate::TwinUnknown]);
    soaking.watch.stop().await.unwrap();
    let after = soaking
        .database
        .models(kind, Models::new().with::<PersonAfter>())
        .await;
    let (soaker, watch) = (
        Soaker::new(&soaking.keyring, after.clone()),
        SoakWatch::new(after).unwrap(),
    );
    let nobody = soaker.drop_twin(TABLE, COLUMN, "people.name").await;
    assert!(
        matches!(nobody, Err(SoakJobError::Gates { .. })),
        "{nobody:?}"
    );
    watch.beat().await.unwrap();
    let unsaid = soaker.drop_twin(TABLE, COLUMN, "people.name_ct").await;
    assert!(matches!(unsaid, Err(SoakJobError::NotConfirmed { .. })));
    let residue = soaker
        .drop_twin(TABLE, COLUMN, "people.name")
        .await
        .unwrap();
    assert!(!residue.is_empty());
    assert!(
        soaking.run("SELECT name FROM people").await.is_err(),
        "the column is gone"
    );
    assert_eq!(
        soaking
            .count("name_ct IS NOT NULL AND name_fp IS NOT NULL")
            .await,
        3
    );
}

async fn the_guard_keeps_ciphertext_beside_its_plaintext(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    soaking.until(SoakState::DualWrite).await;
    let sealed = soaking.sealed("Mom");
    let fp = soaking.literal(&[1; 17]);
    let whole = format!(
        "INSERT INTO people (id, user_id, name, name_ct, name_fp) VALUES (1, {ADA}, 'Mom', {sealed}, {fp})"
    );
    soaking.run(&whole).await.unwrap();
    let beside = "name_ct IS NOT NULL AND name_fp IS NOT NULL";
    // A collation may take the first for the same.
    for (change, stays) in [
        ("name = 'mom'", false),
        ("name = 'Mom '", false),
        ("name = NULL", false),
        ("name = ''", false),
        ("user_id = 8", false),
        ("name = 'Mom'", true),
        ("user_id = 7", true),
    ] {
        soaking.run("DELETE FROM people").await.unwrap();
        soaking.run(&whole).await.unwrap();
        soaking
            .run(&format!("UPDATE people SET {change}"))
            .await
            .unwrap();
        assert_eq!(soaking.count(beside).await, i64::from(stays), "{change}");
    }
    // Who changes both is believed, and a fingerprint never stands without ciphertext.
    let other = soaking.sealed("Dad");
    let both = format!("UPDATE people SET name = 'Dad', name_ct = {other}");
    soaking.run(&both).await.unwrap();
    assert_eq!(soaking.count(beside).await, 1);
    soaking
        .run("UPDATE people SET name_ct = NULL")
        .await
        .unwrap();
    assert_eq!(soaking.count("name_fp IS NULL").await, 1);
    let stray =
        format!("INSERT INTO people (id, user_id, name, name_fp) VALUES (2, {ADA}, 'Mom', {fp})");
    soaking.run(&stray).await.unwrap();
    assert_eq!(soaking.count("name_fp IS NULL").await, 2);
    // No bytes but envelopes.
    let short = soaking.literal(b"no envelope");
    let text = soaking.literal(&[b'a'; 60]);
    for bytes in [short, text] {
        let refused = soaking
            .run(&format!("UPDATE people SET name_ct = {bytes}"))
            .await;
        assert!(refused.is_err(), "{bytes}");
    }
}

async fn shapes_that_a_state_forbids_are_refused(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    let mut id = 0;
    let mut state = SoakState::Expand;
    soaking.until(state).await;
    loop {
        let sealed = soaking.sealed("Mom");
        let mut admits = async |name: &str, sealed: &str| {
            id += 1;
            let sql = format!(
                "INSERT INTO people (id, user_id, name, name_ct) VALUES ({id}, {ADA}, {name}, {sealed})"
            );
            soaking.run(&sql).await.is_ok()
        };
        let retired = state == SoakState::Retired;
        assert_eq!(admits("'Mom'", &sealed).await, !retired, "both in {state}");
        let twinless = admits("NULL", &sealed).await;
        assert_eq!(
            twinless,
            retired || state == SoakState::Sealed,
            "ciphertext in {state}"
        );
        assert!(admits("NULL", "NULL").await, "NULL in {state}");
        assert_eq!(
            admits("'Mom'", "NULL").await,
            !retired,
            "an old binary in {state}"
        );
        if state > SoakState::DualWrite && !retired {
            let admitted = soaking.soaker.admit_old_binaries(TABLE, COLUMN, false);
            admitted.await.unwrap();
            assert!(!admits("'Mom'", "NULL").await, "no old binary in {state}");
            let alone = soaking
                .run("UPDATE people SET name = 'x' WHERE name_ct IS NOT NULL AND name IS NOT NULL");
            assert!(alone.await.is_err(), "no old binary in {state}");
            // Or they would find rows without plaintext.
            soaking.run("DELETE FROM people").await.unwrap();
            soaking.watch.beat().await.unwrap();
            let admitted = soaking.soaker.admit_old_binaries(TABLE, COLUMN, true);
            admitted.await.unwrap();
        }
        let Some(next) = state.next().filter(|_| !retired) else {
            break;
        };
        soaking.run("DELETE FROM people").await.unwrap();
        soaking.pass(next).await;
        state = next;
    }
    // What stands in a retired row may stay and be emptied, and its other columns may change.
    soaking
        .run("UPDATE people SET user_id = user_id")
        .await
        .unwrap();
}

async fn a_step_waits_for_every_live_process(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    soaking.soaker.expand(TABLE, COLUMN).await.unwrap();
    let other = SoakWatch::new(soaking.models.clone()).unwrap();
    soaking.watch.beat().await.unwrap();
    other.beat().await.unwrap();
    // Back to where their releases do not go.
    let below = soaking.soaker.step(TABLE, COLUMN, SoakState::Plain).await;
    let Err(SoakJobError::Gates { unmet, .. }) = below else {
        panic!("{below:?}")
    };
    assert_eq!(unmet, [Gate::Floor]);
    soaking
        .soaker
        .step(TABLE, COLUMN, SoakState::DualWrite)
        .await
        .unwrap();
    soaking.watch.beat().await.unwrap();
    let early = soaking
        .soaker
        .step(TABLE, COLUMN, SoakState::Backfill)
        .await;
    let Err(SoakJobError::Gates { unmet, .. }) = early else {
        panic!("{early:?}")
    };
    assert_eq!(unmet, [Gate::Acknowledged]);
    // It is suspended for longer than its heartbeat lives.
    let process = soaking.literal(other.process().as_bytes());
    let age = format!(
        "UPDATE ophie_crypt_soak_heartbeats SET beat_at = beat_at - 31000000 WHERE process = {process}"
    );
    soaking.run(&age).await.unwrap();
    soaking
        .soaker
        .step(TABLE, COLUMN, SoakState::Backfill)
        .await
        .unwrap();
    // It comes back, and the next step waits for it again until it has read.
    other.beat().await.unwrap();
    assert_eq!(
        other.state(&soaking.soak.column()),
        Some(SoakState::Backfill)
    );
    let two_steps = soaking.soaker.step(TABLE, COLUMN, SoakState::Soak).await;
    assert!(matches!(two_steps, Err(SoakJobError::NotNow { .. })));
    other.stop().await.unwrap();
    assert_eq!(
        other.state(&soaking.soak.column()),
        None,
        "it goes by nothing any more"
    );
    // Two tools: one of them steps.
    soaking.watch.beat().await.unwrap();
    let row = soaking.soaker.status(TABLE, COLUMN).await.unwrap().row;
    assert!(
        soaking
            .models
            .step(&soaking.soak, &row, SoakState::Verify)
            .await
            .unwrap()
    );
    assert!(
        !soaking
            .models
            .step(&soaking.soak, &row, SoakState::Verify)
            .await
            .unwrap()
    );
}

/// An old binary has written a row, and not committed it, when the tool looks for pending rows for the last time.
async fn who_writes_while_a_column_retires_is_waited_for(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    soaking.insert(1, ADA, "'Mom'").await.unwrap();
    soaking.until(SoakState::Sealed).await;
    let status = soaking.soaker.status(TABLE, COLUMN).await.unwrap();
    let late = format!("INSERT INTO people (id, user_id, name) VALUES (2, {ADA}, 'late')");
    let held = soaking.database.hold(&late).await;
    let (models, soak) = (soaking.models.clone(), soaking.soak.clone());
    let stepping =
        tokio::spawn(async move { models.step(&soak, &status.row, SoakState::Retired).await });
    let waits = match kind {
        _ if is_postgres(kind) => {
            "SELECT COUNT(*) FROM pg_locks WHERE NOT granted \
             AND relation = CAST('people' AS regclass) AND mode = 'ShareRowExclusiveLock'"
        }
        _ if is_mariadb(kind) => {
            "SELECT COUNT(*) FROM information_schema.processlist \
             WHERE db = database() AND state LIKE 'Waiting for table metadata lock'"
        }
        _ => "SELECT 1",
    };
    while soaking.database.number(waits).await == 0 {
        assert!(
            !stepping.is_finished(),
            "it did not wait: {:?}",
            stepping.await
        );
    }
    held.commit().await;
    let stepped = stepping.await.unwrap().unwrap();
    assert!(!stepped, "a pending row was left behind");
    assert_eq!(soaking.state().await, SoakState::Sealed);
    // Nobody is kept out after that.
    soaking.insert(3, ADA, "'later'").await.unwrap();
}

async fn backfills_share_a_table(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    for id in 0..60_i64 {
        let owner = id.rem_euclid(5);
        soaking.insert(id, owner, "'slept badly'").await.unwrap();
    }
    soaking.until(SoakState::Backfill).await;
    let workers = [1, 2].map(|_| soaking.soaker.clone().batch(7));
    let [one, two] = &workers;
    let (one, two) = tokio::join!(one.backfill(TABLE, COLUMN), two.backfill(TABLE, COLUMN));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.written + two.written, 60, "each row once");
    assert_eq!(
        soaking
            .models
            .count(&soaking.soak, Rows::Pending)
            .await
            .unwrap(),
        0
    );
    let status = soaking.soaker.status(TABLE, COLUMN).await.unwrap();
    assert_eq!(status.row.filled, 60);
    // An old binary goes on: the next backfill looks from the beginning.
    soaking
        .run("UPDATE people SET name = 'slept well' WHERE id = 3")
        .await
        .unwrap();
    let again = soaking.soaker.backfill(TABLE, COLUMN).await.unwrap();
    assert_eq!((again.written, again.pending), (1, 0));
    soaking.pass(SoakState::Verify).await;
    soaking.pass(SoakState::Soak).await;
    // It stops between two batches.
    soaking
        .run("UPDATE people SET name = 'slept'")
        .await
        .unwrap();
    let stopping = soaking.soaker.clone().batch(7);
    let stop = stopping.stop_handle();
    let stopping = stopping.watch(move |_| stop.stop());
    let stopped = stopping.backfill(TABLE, COLUMN).await.unwrap();
    assert!(stopped.stopped && stopped.written < 60 && stopped.pending == 60 - stopped.written);
}

async fn verify_names_what_is_wrong(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    for id in 0..40_i64 {
        soaking
            .insert(id, ADA, &format!("'name {id}'"))
            .await
            .unwrap();
    }
    soaking.insert(40, ADA, "NULL").await.unwrap();
    soaking.until(SoakState::Verify).await;
    // As by a hand that passes the guard: one bit, two rows that change places, NULL and "" taken for each other, one
    // fingerprint.
    let column = soaking.soak.column();
    let flipped = Encrypted::<String, person::name>::new("name 5")
        .seal(&soaking.ada)
        .unwrap();
    let mut flipped = flipped.into_bytes();
    flipped[40] ^= 1;
    let [seven, eight] = ["name 7", "name 8"].map(|name| soaking.sealed(name));
    let empty = soaking.sealed("");
    let fp = soaking.literal(&[1; 17]);
    for (id, change) in [
        (5, format!("name_ct = {}", soaking.literal(&flipped))),
        (7, format!("name_ct = {eight}")),
        (8, format!("name_ct = {seven}")),
        (9, format!("name_fp = {fp}")),
    ] {
        soaking
            .run(&format!("UPDATE people SET {change} WHERE id = {id}"))
            .await
            .unwrap();
    }
    let beside_null = soaking
        .run(&format!(
            "UPDATE people SET name_ct = {empty} WHERE id = 40"
        ))
        .await;
    assert!(beside_null.is_err(), "the guard knows that much");
    soaking.models.admit_old(&soaking.soak, true).await.unwrap();
    let trick = "UPDATE ophie_crypt_soaks SET state = 'sealed'";
    soaking.run(trick).await.unwrap();
    soaking
        .run(&format!(
            "UPDATE people SET name_ct = {empty} WHERE id = 40"
        ))
        .await
        .unwrap();
    soaking
        .run("UPDATE ophie_crypt_soaks SET state = 'verify'")
        .await
        .unwrap();

    let report = soaking
        .soaker
        .clone()
        .batch(6)
        .verify(TABLE, COLUMN)
        .await
        .unwrap();
    let mut wrong: Vec<(i64, Wrong)> = report
        .wrong
        .iter()
        .map(|row| (row.key.parse().unwrap(), row.wrong))
        .collect();
    wrong.sort_by_key(|(key, _)| *key);
    assert_eq!(
        wrong,
        [
            (5, Wrong::DoesNotOpen),
            (7, Wrong::Differs),
            (8, Wrong::Differs),
            (9, Wrong::Fingerprint),
            (40, Wrong::NoPlaintext),
        ]
    );
    assert_eq!((report.rows, report.wrong_rows, report.pending), (41, 5, 0));
    let on = soaking
        .soaker
        .unmet(TABLE, COLUMN, SoakState::Soak)
        .await
        .unwrap();
    assert!(on.contains(&Gate::Verified), "{on:?}");
    assert_eq!(column.name(), COLUMN);
}

async fn plaintext_of_the_shredded_is_refused(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    soaking.insert(1, ADA, "'Mom'").await.unwrap();
    soaking.insert(2, BEN, "'Ben'").await.unwrap();
    soaking.until(SoakState::Backfill).await;
    soaking.soaker.backfill(TABLE, COLUMN).await.unwrap();
    let shred = soaking.keyring.shred(&ADA);
    shred.await.unwrap();
    let ada = ophie_crypt::CanonicalId::integer(ADA);
    soaking.models.bury(&ada).await.unwrap();
    soaking.models.tombstone(&ada, TABLE, 100).await.unwrap();
    assert_eq!(
        soaking
            .count("id = 1 AND name IS NULL AND name_ct IS NULL AND name_fp IS NULL")
            .await,
        1
    );
    let late = soaking.insert(3, ADA, "'late'").await;
    assert!(late.is_err(), "a new row");
    let late = soaking
        .run("UPDATE people SET name = 'late' WHERE id = 1")
        .await;
    assert!(late.is_err(), "an old one");
    soaking
        .run("UPDATE people SET name = 'Benjamin' WHERE id = 2")
        .await
        .unwrap();
    let done = soaking.soaker.backfill(TABLE, COLUMN).await.unwrap();
    assert_eq!((done.written, done.pending), (1, 0));
}

#[derive(EncryptedModel)]
#[crypt(table = "kinds")]
struct Kinds {
    user_id: Owner<i64>,
    #[crypt(column = "bytes_ct", soak(twin = "bytes"))]
    bytes: Soak<Option<Vec<u8>>, kinds::bytes>,
    #[crypt(column = "number_ct", soak(twin = "number"))]
    number: Soak<Option<i64>, kinds::number>,
    #[crypt(column = "yes_ct", soak(twin = "yes"))]
    yes: Soak<Option<bool>, kinds::yes>,
    #[crypt(column = "uid_ct", soak(twin = "uid"))]
    uid: Soak<Option<uuid::Uuid>, kinds::uid>,
}

const KINDS: ModelInfo = Kinds::MODEL;

async fn values_of_every_type_go_and_come_back(kind: Kind) {
    let (bytes, uid, made) = match kind {
        _ if is_postgres(kind) => ("BYTEA", "UUID", "'00112233-4455-6677-8899-aabbccddeeff'"),
        _ if is_mariadb(kind) => ("BLOB", "BINARY(16)", "x'00112233445566778899aabbccddeeff'"),
        _ => ("BLOB", "BLOB", "x'00112233445566778899aabbccddeeff'"),
    };
    let table = format!(
        "CREATE TABLE kinds (id INT PRIMARY KEY, user_id BIGINT NOT NULL, bytes {bytes}, number BIGINT, yes BOOLEAN, uid {uid})"
    );
    for (column, value) in [
        ("bytes", "bytes"),
        ("number", "-9007199254740993"),
        ("yes", "TRUE"),
        ("uid", made),
    ] {
        let sealed = format!("{column}_ct");
        let models = Models::new().with::<Kinds>();
        let soaking = Soaking::of(kind, models, KINDS.table(), &sealed, &table).await;
        let value = match value {
            "bytes" => soaking.literal(&[0, 255, b'\'']),
            value => value.to_owned(),
        };
        let rows = format!(
            "INSERT INTO kinds (id, user_id, {column}) VALUES (1, {ADA}, {value}), (2, {ADA}, NULL)"
        );
        soaking.run(&rows).await.unwrap();
        soaking.until(SoakState::Retired).await;
        soaking.soaker.null_out("kinds", &sealed).await.unwrap();
        let gone = format!("SELECT COUNT(*) FROM kinds WHERE {column} IS NULL");
        assert_eq!(soaking.database.number(&gone).await, 2);
        soaking
            .soaker
            .step("kinds", &sealed, SoakState::Sealed)
            .await
            .unwrap();
        assert_eq!(
            soaking.soaker.decrypt_back("kinds", &sealed).await.unwrap(),
            1
        );
        let back = format!("SELECT COUNT(*) FROM kinds WHERE {column} = {value} AND id = 1");
        assert_eq!(soaking.database.number(&back).await, 1, "{column}");
    }
}
