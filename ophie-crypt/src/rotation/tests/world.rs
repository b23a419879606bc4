//! Keys and tables in memory, on a clock that jumps.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use async_trait::async_trait;

use super::super::*;
use crate::{
    __private::Derived,
    adapter,
    clock::Clock,
    column::{ColumnRef, ColumnType, Kind},
    envelope::Envelope,
    hazmat::data_key::KeyId,
    kms::{Kms, LocalKms},
    model::{ColumnInfo, EncryptedModel, IndexedColumn, ModelInfo, Models},
    plaintext::{Codec, Plaintext},
    session::{Purpose, Session},
    store::{
        ANNOUNCED_FOR, IndexedRow, KeyStore, LEASES_OVER_FOR, MemoryKeyStore, ModelError, Reindex,
        Reseal,
    },
};

pub(super) const ADA: &str = "ada";
pub(super) const PURPOSE: Purpose = Purpose::new("test");
pub(super) const TEXT: ColumnRef = ColumnRef::new("notes", "text");
pub(super) const NAME: ColumnRef = ColumnRef::new("notes", "name").with_padding(32);

/// A column of texts, of this kind.
macro_rules! text_column {
    ($name:ident, $kind:ident) => {
        pub(super) struct $name;

        impl ColumnType for $name {
            const KIND: Kind = Kind::$kind;
            const CODEC: Option<Codec> = Some(String::CODEC);
            type Plain = String;
            type Made = String;

            fn make(plain: String) -> String {
                plain
            }
        }
    };
}
pub(super) use text_column;

text_column!(Text, Encrypted);

struct Note;

impl Derived for Note {}

impl EncryptedModel for Note {
    const MODEL: ModelInfo = ModelInfo::new(
        "notes",
        &[
            ColumnInfo::new(ColumnRef::new("notes", "user_id"), Kind::Owner),
            ColumnInfo::of::<Text>(TEXT),
            ColumnInfo::of::<Text>(NAME),
        ],
    );
}

/// What happens to the cells.
type Event = Box<dyn FnOnce(&mut Vec<(ColumnRef, Vec<u8>)>) + Send>;

/// Ada's cells, all of one owner.
#[derive(Default)]
pub(super) struct Tables {
    pub(super) models: Models,
    pub(super) cells: Mutex<Vec<(ColumnRef, Vec<u8>)>>,
    /// In rows whose owner is not written as Ada is.
    pub(super) elsewhere: Mutex<Vec<(ColumnRef, Vec<u8>)>>,
    /// As PostgreSQL counts transactions.
    pub(super) now: AtomicU64,
    /// The oldest that is open.
    pub(super) open_since: AtomicU64,
    /// Happens before a page is replaced.
    pub(super) meanwhile: Mutex<Option<Event>>,
    /// Pages that were read.
    pub(super) pages: AtomicU64,
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tables")
    }
}

fn is_under(cell: &(ColumnRef, Vec<u8>), column: &ColumnRef, key_id: KeyId) -> bool {
    cell.0 == *column && Envelope::parse(&cell.1).is_ok_and(|envelope| envelope.key_id() == key_id)
}

#[async_trait]
impl ModelStore for Tables {
    fn models(&self) -> &Models {
        &self.models
    }

    async fn sealed_under(
        &self,
        _: &CanonicalId,
        column: &ColumnRef,
        key_id: KeyId,
        after: Option<&[u8]>,
        limit: u32,
    ) -> Result<Vec<Vec<u8>>, ModelError> {
        self.pages.fetch_add(1, SeqCst);
        let cells = self.cells.lock().unwrap();
        let mut found: Vec<_> = cells
            .iter()
            .filter(|cell| is_under(cell, column, key_id))
            .map(|cell| cell.1.clone())
            .filter(|bytes| after.is_none_or(|after| bytes.as_slice() > after))
            .collect();
        found.sort();
        found.truncate(limit.try_into().unwrap());
        Ok(found)
    }

    async fn replace(
        &self,
        _: &CanonicalId,
        column: &ColumnRef,
        reseals: &[Reseal],
    ) -> Result<u64, ModelError> {
        let mut cells = self.cells.lock().unwrap();
        if let Some(happens) = self.meanwhile.lock().unwrap().take() {
            happens(&mut cells);
        }
        let mut replaced = 0;
        for cell in cells.iter_mut().filter(|cell| cell.0 == *column) {
            if let Some(reseal) = reseals.iter().find(|reseal| reseal.old() == cell.1) {
                cell.1 = reseal.new_bytes().to_vec();
                replaced += 1;
            }
        }
        Ok(replaced)
    }

    async fn moment(&self) -> Result<u64, ModelError> {
        Ok(self.now.fetch_add(1, SeqCst))
    }

    async fn count_under(
        &self,
        owner: Option<&CanonicalId>,
        column: &ColumnRef,
        key_id: KeyId,
        since: u64,
    ) -> Result<Option<u64>, ModelError> {
        if self.open_since.load(SeqCst) < since {
            return Ok(None);
        }
        let cells = self.cells.lock().unwrap();
        let elsewhere = self.elsewhere.lock().unwrap();
        let all = cells
            .iter()
            .chain(elsewhere.iter().filter(|_| owner.is_none()));
        let under = all.filter(|cell| is_under(cell, column, key_id));
        Ok(Some(under.count().try_into().unwrap()))
    }

    async fn indexed_under(
        &self,
        _: &CanonicalId,
        _: &IndexedColumn,
        _: u8,
        _: Option<&IndexedRow>,
        _: u32,
    ) -> Result<Vec<IndexedRow>, ModelError> {
        unreachable!("no model here has an index")
    }

    async fn reindex(
        &self,
        _: &CanonicalId,
        _: &IndexedColumn,
        _: &[Reindex],
    ) -> Result<u64, ModelError> {
        unreachable!("no model here has an index")
    }

    async fn count_indexed(
        &self,
        _: &CanonicalId,
        _: &ColumnRef,
        _: u8,
        _: u64,
    ) -> Result<Option<u64>, ModelError> {
        unreachable!("no model here has an index")
    }
}

pub(super) struct World {
    pub(super) clock: Clock,
    pub(super) keys: Arc<MemoryKeyStore>,
    pub(super) keyring: Keyring,
    pub(super) tables: Arc<Tables>,
    pub(super) rotation: Rotation,
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(LocalKms::ephemeral().unwrap()).await
    }

    pub(super) async fn with(kms: impl Kms) -> Self {
        let clock = Clock::default();
        let keys = Arc::new(MemoryKeyStore::with_clock(clock.clone()));
        let keyring = keyring(kms, &keys, &clock);
        keyring.provision(ADA).await.unwrap();
        let tables = Arc::new(Tables {
            models: Models::new().with::<Note>(),
            open_since: AtomicU64::new(u64::MAX),
            ..Tables::default()
        });
        let rotation = Rotation::new(keyring.clone(), Arc::clone(&keys), Arc::clone(&tables));
        Self {
            clock,
            keys,
            keyring,
            tables,
            rotation: rotation.page(3).without_sidecars(),
        }
    }

    /// The same keys and tables with another KMS, as a process of the next deploy has them.
    pub(super) fn next(self, kms: impl Kms) -> Self {
        let keyring = keyring(kms, &self.keys, &self.clock);
        let tables = Arc::clone(&self.tables);
        let rotation = Rotation::new(keyring.clone(), Arc::clone(&self.keys), tables);
        Self {
            keyring,
            rotation: rotation.page(3).without_sidecars(),
            ..self
        }
    }

    pub(super) async fn session(&self) -> Session {
        self.keyring.open(ADA, PURPOSE).await.unwrap()
    }

    pub(super) async fn write(&self, count: usize) {
        let session = self.session().await;
        for n in 0..count {
            for column in [TEXT, NAME] {
                let sealed = adapter::seal_in(&session, column, None, &format!("{column} {n}"));
                self.put(column, sealed.unwrap());
            }
        }
    }

    pub(super) fn put(&self, column: ColumnRef, bytes: Vec<u8>) {
        self.tables.cells.lock().unwrap().push((column, bytes));
    }

    /// What can be read, and how many cells cannot.
    pub(super) async fn read(&self) -> (Vec<String>, usize) {
        let session = self.session().await;
        let cells = self.tables.cells.lock().unwrap().clone();
        let total = cells.len();
        let open = |(column, bytes): &(ColumnRef, Vec<u8>)| {
            adapter::open_in::<String>(&session, *column, None, bytes).ok()
        };
        let mut texts: Vec<_> = cells.iter().filter_map(open).collect();
        texts.sort();
        let failed = total - texts.len();
        (texts, failed)
    }

    pub(super) async fn states(&self) -> Vec<(u32, DekState)> {
        let record = self.keys.load(&ADA.canonical()).await.unwrap().unwrap();
        let deks = record.deks().iter();
        deks.map(|dek| (dek.generation(), dek.state())).collect()
    }

    /// How many cells are under each generation, newest first.
    pub(super) async fn under(&self) -> Vec<usize> {
        let record = self.keys.load(&ADA.canonical()).await.unwrap().unwrap();
        let cells = self.tables.cells.lock().unwrap().clone();
        let count = |dek: &DekRecord| {
            let under = |cell: &&(ColumnRef, Vec<u8>)| is_under(cell, &cell.0, dek.key_id());
            cells.iter().filter(under).count()
        };
        record.deks().iter().map(count).collect()
    }

    pub(super) async fn advance(&self) -> Progress {
        self.rotation.advance(ADA).await.unwrap()
    }

    /// A second generation that seals, and the old one's leases are over.
    pub(super) async fn to_the_end_of_leases(&self) {
        self.rotation.begin(ADA).await.unwrap();
        self.clock.pass(ANNOUNCED_FOR);
        let progress = self.advance().await;
        assert_eq!(progress.waits_for, Some(WaitsFor::Leases));
        self.clock
            .pass(Keyring::MAX_TTL + LEASES_OVER_FOR + Duration::from_secs(1));
    }
}

pub(super) fn keyring(kms: impl Kms, keys: &Arc<MemoryKeyStore>, clock: &Clock) -> Keyring {
    Keyring::builder()
        .kms(kms)
        .key_store(Arc::clone(keys))
        .clock(clock.clone())
        .build()
        .unwrap()
}
