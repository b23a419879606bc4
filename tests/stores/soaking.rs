//! Columns in a soak, on every database: states, triggers, and the jobs from the first row to the drop and back.

#![allow(
    dead_code,
    reason = "models: their fields are columns, which nothing here reads"
)]

use std::sync::Arc;

use ophie_crypt::{
    EncryptedModel, Keyring, LocalKms, Models, Purpose, Session,
    soak::{Gate, SoakColumn, SoakJobError, SoakState, SoakStore, SoakWatch, Soaker},
};
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner, Soak};

use crate::world::{Database, Kind, Tables, literal};
pub(crate) use crate::world::{is_mariadb, is_postgres};

every_database!(
    a_column_goes_all_the_way_and_back,
    a_step_waits_for_every_live_process,
    who_writes_while_a_column_retires_is_waited_for,
);

#[derive(EncryptedModel)]
#[crypt(table = "people")]
pub(crate) struct Person {
    user_id: Owner<i64>,
    #[crypt(column = "name_ct", soak(twin = "name"))]
    pub(crate) name: Soak<Option<String>, person::name>,
    #[crypt(index_of = "name", normalize = "name")]
    name_fp: Option<BlindIndex<String, person::name_fp>>,
}

/// The release of after.
#[derive(EncryptedModel)]
#[crypt(table = "people", module = "after")]
pub(crate) struct PersonAfter {
    user_id: Owner<i64>,
    #[crypt(column = "name_ct")]
    pub(crate) name: Option<Encrypted<String, after::name>>,
    #[crypt(index_of = "name", normalize = "name")]
    name_fp: Option<BlindIndex<String, after::name_fp>>,
}

pub(crate) const TABLE: &str = "people";
pub(crate) const COLUMN: &str = "name_ct";
pub(crate) const ADA: i64 = 7;
pub(crate) const BEN: i64 = 8;

pub(crate) struct Soaking {
    pub(crate) kind: Kind,
    pub(crate) database: Database,
    pub(crate) keyring: Keyring,
    pub(crate) models: Arc<dyn Tables>,
    pub(crate) soak: SoakColumn,
    pub(crate) watch: SoakWatch,
    pub(crate) soaker: Soaker,
    pub(crate) ada: Session,
}

impl Soaking {
    pub(crate) async fn new(kind: Kind) -> Self {
        Self::of(kind, Models::new().with::<Person>(), TABLE, COLUMN, "").await
    }

    pub(crate) async fn of(
        kind: Kind,
        models: Models,
        table: &str,
        column: &str,
        tables: &str,
    ) -> Self {
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

    pub(crate) async fn run(&self, sql: &str) -> Result<(), sqlx::Error> {
        self.database.run_plain(sql).await
    }

    pub(crate) async fn insert(&self, id: i64, owner: i64, name: &str) -> Result<(), sqlx::Error> {
        self.run(&format!(
            "INSERT INTO people (id, user_id, name) VALUES ({id}, {owner}, {name})"
        ))
        .await
    }

    /// What a release of this state writes for Ada.
    pub(crate) fn sealed(&self, name: &str) -> String {
        let sealed = Encrypted::<String, person::name>::new(name).seal(&self.ada);
        self.literal(sealed.unwrap().as_bytes())
    }

    /// What goes beside it.
    pub(crate) fn fingerprint(&self, name: &str) -> String {
        let fingerprint = BlindIndex::<String, person::name_fp>::of_in(&self.ada, name);
        self.literal(fingerprint.unwrap().as_bytes())
    }

    pub(crate) fn literal(&self, bytes: &[u8]) -> String {
        literal(self.kind, bytes)
    }

    pub(crate) async fn count(&self, condition: &str) -> i64 {
        let sql = format!("SELECT COUNT(*) FROM people WHERE {condition}");
        self.database.number(&sql).await
    }

    pub(crate) async fn state(&self) -> SoakState {
        self.soaker.status(TABLE, COLUMN).await.unwrap().row.state
    }

    /// Goes on to a state, acknowledging each.
    pub(crate) async fn until(&self, to: SoakState) {
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

    pub(crate) async fn row(&self) -> SoakState {
        let rows = self.models.soaks().await.unwrap();
        rows.first().unwrap().state
    }

    /// One step, with what it takes.
    pub(crate) async fn pass(&self, to: SoakState) {
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

    /// Until it waits for who writes the table; where there is one writer at a time, it is this one's turn.
    pub(crate) async fn waited<T>(&self, waiting: &tokio::task::JoinHandle<T>) {
        let waits = match self.kind {
            _ if is_postgres(self.kind) => {
                "SELECT COUNT(*) FROM pg_locks WHERE NOT granted \
                 AND relation = CAST('people' AS regclass) \
                 AND mode IN ('AccessExclusiveLock', 'ShareRowExclusiveLock')"
            }
            _ if is_mariadb(self.kind) => {
                "SELECT COUNT(*) FROM information_schema.processlist \
                 WHERE db = database() AND state LIKE 'Waiting for table metadata lock'"
            }
            _ => "SELECT 1",
        };
        while self.database.number(waits).await == 0 {
            assert!(!waiting.is_finished(), "it did not wait");
        }
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
    assert_eq!(unmet, [Gate::Decrypted, Gate::Verified]);
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
    assert_eq!(report.pending, 0, "each has its fingerprint yet");
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
    // It is suspended for longer than its heartbeat lives, or the database's clock went ahead: who has just come, and does
    // not stay to see, cannot tell.
    let process = soaking.literal(other.process().as_bytes());
    let age = format!(
        "UPDATE ophie_crypt_soak_heartbeats SET beat_at = beat_at - 31000000 WHERE process = {process}"
    );
    soaking.run(&age).await.unwrap();
    let hasty = Soaker::new(&soaking.keyring, soaking.models.clone());
    hasty.stop_handle().stop();
    let early = hasty.step(TABLE, COLUMN, SoakState::Backfill).await;
    let Err(SoakJobError::Gates { unmet, .. }) = early else {
        panic!("{early:?}")
    };
    assert_eq!(unmet, [Gate::Acknowledged]);
    // As if it had been seen to.
    let ended = age.replace("beat_at - 31000000", "0");
    soaking.run(&ended).await.unwrap();
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
    soaking.waited(&stepping).await;
    held.commit().await;
    let stepped = stepping.await.unwrap().unwrap();
    assert!(!stepped, "a pending row was left behind");
    assert_eq!(soaking.state().await, SoakState::Sealed);
    // Nobody is kept out after that.
    soaking.insert(3, ADA, "'later'").await.unwrap();
}
