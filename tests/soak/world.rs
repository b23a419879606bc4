//! A table with a column in a soak, and processes that write it.

use std::sync::Arc;

use ophie_crypt::{
    EncryptedModel, Keyring, LocalKms, MemoryKeyStore, Models, Purpose, Session,
    soak::{SoakColumn, SoakState, SoakStore, SoakWatch, Soaker},
};
use ophie_crypt_sqlx::{BlindIndex, Owner, Soak};

use super::{GUARD, ON, TABLE, Tables, db};

/// The release that is deployed for the soak.
#[derive(EncryptedModel, sqlx::FromRow)]
#[crypt(table = "people")]
pub(super) struct Person {
    #[crypt(plain)]
    pub(super) id: i32,
    #[allow(dead_code, reason = "its hook reads it")]
    pub(super) user_id: Owner<i64>,
    #[sqlx(flatten)]
    #[crypt(column = "name_ct", soak(twin = "name"))]
    pub(super) name: Soak<Option<String>, person::name>,
    #[allow(dead_code, reason = "its hook reads it")]
    #[crypt(index_of = "name")]
    pub(super) name_fp: Option<BlindIndex<String, person::name_fp>>,
}

/// By name: SQLx's connections to SQLite that are open while a column is added take `*` for what it was before, and then
/// give no row at all.
pub(super) const COLUMNS: &str = "id, user_id, name, name_ct, name_fp";

pub(super) struct World {
    pub(super) database: db::Database,
    pub(super) tables: Tables,
    pub(super) soak: SoakColumn,
    master: tempfile::TempDir,
    keys: Arc<MemoryKeyStore>,
}

/// One run of a release: its keys, its watch.
pub(super) struct Process {
    pub(super) keyring: Keyring,
    pub(super) watch: SoakWatch,
    pub(super) tables: Tables,
}

impl World {
    pub(super) async fn new() -> Self {
        let database = db::Database::create().await;
        let models = Models::new().with::<Person>();
        let tables = Tables::new(database.pool().clone(), models.clone());
        tables.migrate().await.unwrap();
        sqlx::raw_sql(TABLE).execute(database.pool()).await.unwrap();
        let master = tempfile::tempdir().unwrap();
        LocalKms::open_or_create(master.path().join("master.key")).unwrap();
        Self {
            soak: SoakColumn::of(&models, "people", "name_ct").unwrap(),
            database,
            tables,
            master,
            keys: Arc::new(MemoryKeyStore::new()),
        }
    }

    fn kms(&self) -> LocalKms {
        LocalKms::open(self.master.path().join("master.key")).unwrap()
    }

    /// For jobs.
    pub(super) fn keyring(&self) -> Keyring {
        let keyring = Keyring::builder().kms(self.kms()).key_store(self.keys.clone());
        keyring.build().unwrap()
    }

    /// Whose heartbeat only a call of its watch writes.
    pub(super) fn process(&self) -> Process {
        let tables = self.tables.clone();
        let watch = SoakWatch::new(tables.clone()).unwrap();
        let keyring = Keyring::builder()
            .kms(self.kms())
            .key_store(self.keys.clone())
            .soak_watch(watch.clone());
        Process {
            keyring: keyring.build().unwrap(),
            watch,
            tables,
        }
    }

    pub(super) fn soaker(&self) -> Soaker {
        Soaker::new(&self.keyring(), self.tables.clone()).pause(std::time::Duration::ZERO)
    }

    pub(super) async fn state(&self) -> SoakState {
        let rows = self.tables.soaks().await.unwrap();
        rows.first().map_or(SoakState::Plain, |row| row.state)
    }

    /// Without looking whether what must hold does.
    pub(super) async fn step_at_once(&self, to: SoakState) {
        let rows = self.tables.soaks().await.unwrap();
        self.tables.step(&self.soak, &rows[0], to).await.unwrap();
    }

    pub(super) async fn drop_guard(&self) {
        let names: Vec<String> = sqlx::query_scalar(GUARD).fetch_all(self.database.pool()).await.unwrap();
        for name in names {
            self.run(&format!("DROP TRIGGER {name}{ON}")).await.unwrap();
        }
    }

    pub(super) async fn run(&self, sql: &str) -> Result<(), sqlx::Error> {
        let done = sqlx::raw_sql(db::sql(sql)).execute(self.database.pool()).await;
        done.map(drop)
    }
}

impl Process {
    pub(super) async fn session(&self, owner: i64) -> Option<Session> {
        let purpose = Purpose::new("soak");
        self.keyring.open_or_provision(&owner, purpose).await.ok()
    }

    /// With what must come before this step on.
    pub(super) async fn go_on(&self, soaker: &Soaker, state: SoakState, next: SoakState) {
        if state.is_filled() {
            assert_eq!(soaker.backfill("people", "name_ct").await.unwrap().pending, 0);
        }
        if next == SoakState::Retired {
            soaker.admit_old_binaries("people", "name_ct", false).await.unwrap();
            self.watch.beat().await.unwrap();
        }
        if matches!(next, SoakState::Soak | SoakState::Retired) {
            assert!(soaker.verify("people", "name_ct").await.unwrap().is_clean());
        }
        soaker.step("people", "name_ct", next).await.unwrap();
        self.watch.beat().await.unwrap();
    }
}
