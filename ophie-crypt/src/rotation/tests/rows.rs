//! Rows with fingerprints in memory, and two processes with Ada's keys, on a clock that jumps.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};

use async_trait::async_trait;

use super::{
    super::*,
    world::{ADA, PURPOSE, Text, keyring, text_column},
};
use crate::{
    __private::Derived,
    adapter,
    blind_index::{Fingerprint, Normalizer},
    clock::Clock,
    column::{BoundColumn, ColumnRef, ColumnType, IndexColumn, Kind},
    envelope::Envelope,
    error::Error,
    hazmat::data_key::KeyId,
    kms::LocalKms,
    model::{ColumnInfo, EncryptedModel, IndexedColumn, ModelInfo, Models},
    plaintext::{Codec, Plaintext},
    session::Session,
    store::{
        IndexKeyState, IndexedRow, KeyStore, MemoryKeyStore, ModelError, Reindex, Reseal,
        WRITERS_OVER_FOR,
    },
};

pub(super) const WORD: ColumnRef = ColumnRef::new("words", "word").with_padding(32);
const WORD_FP: ColumnRef = ColumnRef::new("words", "word_fp");

text_column!(TextFp, BlindIndex);

/// The marker of the index.
pub(super) struct WordFp;

impl BoundColumn for WordFp {
    const COLUMN: ColumnRef = WORD_FP;
}

impl IndexColumn for WordFp {
    const OF: ColumnRef = WORD;
    const NORMALIZER: Normalizer = Normalizer::Name;
}

struct Word;

impl Derived for Word {}

impl EncryptedModel for Word {
    const MODEL: ModelInfo = ModelInfo::new(
        "words",
        &[
            ColumnInfo::new(ColumnRef::new("words", "user_id"), Kind::Owner),
            ColumnInfo::of::<Text>(WORD),
            ColumnInfo::of::<TextFp>(WORD_FP).indexing::<WordFp>(),
        ],
    );
}

type Rows = Vec<IndexedRow>;
type Event = Box<dyn FnOnce(&mut Rows) + Send>;

/// Ada's rows.
#[derive(Default)]
pub(super) struct Tables {
    models: Models,
    pub(super) rows: Mutex<Rows>,
    /// Whether a unique index is on the fingerprints.
    pub(super) unique: AtomicBool,
    pub(super) now: AtomicU64,
    /// The oldest transaction that is open.
    pub(super) open_since: AtomicU64,
    /// Happens before a page is written.
    pub(super) meanwhile: Mutex<Option<Event>>,
    /// Pages that were read.
    pub(super) pages: AtomicU64,
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tables")
    }
}

fn is_under(row: &IndexedRow, key_id: KeyId) -> bool {
    Envelope::parse(row.sealed()).is_ok_and(|envelope| envelope.key_id() == key_id)
}

fn is_of(row: &IndexedRow, generation: u8) -> bool {
    row.fingerprint().first() == Some(&generation)
}

#[async_trait]
impl ModelStore for Tables {
    fn models(&self) -> &Models {
        &self.models
    }

    async fn sealed_under(
        &self,
        _: &CanonicalId,
        _: &ColumnRef,
        key_id: KeyId,
        after: Option<&[u8]>,
        limit: u32,
    ) -> Result<Vec<Vec<u8>>, ModelError> {
        let rows = self.rows.lock().unwrap();
        let under = rows.iter().filter(|row| is_under(row, key_id));
        let mut found: Vec<_> = under
            .map(|row| row.sealed().to_vec())
            .filter(|bytes| after.is_none_or(|after| bytes.as_slice() > after))
            .collect();
        found.sort();
        found.truncate(limit.try_into().unwrap());
        Ok(found)
    }

    async fn replace(
        &self,
        _: &CanonicalId,
        _: &ColumnRef,
        reseals: &[Reseal],
    ) -> Result<u64, ModelError> {
        let mut replaced = 0;
        for row in self.rows.lock().unwrap().iter_mut() {
            if let Some(reseal) = reseals.iter().find(|reseal| reseal.old() == row.sealed()) {
                *row = IndexedRow::new(row.fingerprint(), reseal.new_bytes());
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
        _: Option<&CanonicalId>,
        _: &ColumnRef,
        key_id: KeyId,
        _: u64,
    ) -> Result<Option<u64>, ModelError> {
        let rows = self.rows.lock().unwrap();
        let under = rows.iter().filter(|row| is_under(row, key_id));
        Ok(Some(under.count().try_into().unwrap()))
    }

    async fn indexed_under(
        &self,
        _: &CanonicalId,
        index: &IndexedColumn,
        generation: u8,
        after: Option<&IndexedRow>,
        limit: u32,
    ) -> Result<Vec<IndexedRow>, ModelError> {
        assert_eq!((index.index(), index.of()), (WORD_FP, WORD));
        self.pages.fetch_add(1, SeqCst);
        let at = |row: &IndexedRow| (row.fingerprint().to_vec(), row.sealed().to_vec());
        let rows = self.rows.lock().unwrap();
        let mut found: Vec<_> = rows
            .iter()
            .filter(|row| is_of(row, generation))
            .filter(|row| after.is_none_or(|after| at(row) > at(after)))
            .cloned()
            .collect();
        found.sort_by_key(at);
        found.truncate(limit.try_into().unwrap());
        Ok(found)
    }

    async fn reindex(
        &self,
        _: &CanonicalId,
        _: &IndexedColumn,
        anew: &[Reindex],
    ) -> Result<u64, ModelError> {
        let mut rows = self.rows.lock().unwrap();
        if let Some(happens) = self.meanwhile.lock().unwrap().take() {
            happens(&mut rows);
        }
        let (mut changed, mut count) = (rows.clone(), 0);
        for row in &mut changed {
            if let Some(anew) = anew.iter().find(|anew| anew.row() == row) {
                *row = IndexedRow::new(anew.fingerprint(), row.sealed());
                count += 1;
            }
        }
        if self.unique.load(SeqCst) {
            let mut fingerprints: Vec<_> = changed.iter().map(IndexedRow::fingerprint).collect();
            fingerprints.sort_unstable();
            fingerprints.dedup();
            if fingerprints.len() < changed.len() {
                return Err(ModelError::Duplicate);
            }
        }
        *rows = changed;
        Ok(count)
    }

    async fn count_indexed(
        &self,
        _: &CanonicalId,
        _: &ColumnRef,
        generation: u8,
        since: u64,
    ) -> Result<Option<u64>, ModelError> {
        if self.open_since.load(SeqCst) < since {
            return Ok(None);
        }
        let rows = self.rows.lock().unwrap();
        let old = rows.iter().filter(|row| is_of(row, generation));
        Ok(Some(old.count().try_into().unwrap()))
    }
}

/// Two processes: one with the application and the rotation, and one that hears of changes only when it is told to look.
pub(super) struct World {
    pub(super) clock: Clock,
    pub(super) keys: Arc<MemoryKeyStore>,
    pub(super) keyring: Keyring,
    pub(super) late: Keyring,
    pub(super) tables: Arc<Tables>,
    pub(super) rotation: Rotation,
}

impl World {
    pub(super) async fn new() -> Self {
        let clock = Clock::default();
        let keys = Arc::new(MemoryKeyStore::with_clock(clock.clone()));
        let kms = Arc::new(LocalKms::ephemeral().unwrap());
        let keyring = || keyring(Arc::clone(&kms), &keys, &clock);
        let (keyring, late) = (keyring(), keyring());
        keyring.provision(ADA).await.unwrap();
        let tables = Arc::new(Tables {
            models: Models::new().with::<Word>(),
            open_since: AtomicU64::new(u64::MAX),
            ..Tables::default()
        });
        let rotation = Rotation::new(keyring.clone(), Arc::clone(&keys), Arc::clone(&tables))
            .without_sidecars();
        Self {
            clock,
            keys,
            keyring,
            late,
            tables,
            rotation: rotation.page(3),
        }
    }

    pub(super) async fn session(&self) -> Session {
        let session = self.keyring.open(ADA, PURPOSE).await.unwrap();
        session.refresh().await.unwrap();
        session
    }

    pub(super) fn write(&self, session: &Session, word: &str) {
        let fingerprint = fingerprint(session, word).for_write();
        bound(session, &fingerprint).unwrap();
        let sealed = adapter::seal_in(session, WORD, None, &word.to_owned()).unwrap();
        self.put(fingerprint.as_bytes(), sealed);
    }

    pub(super) fn put(&self, fingerprint: &[u8], sealed: Vec<u8>) {
        let row = IndexedRow::new(fingerprint, sealed);
        self.tables.rows.lock().unwrap().push(row);
    }

    /// How many rows a look-up finds.
    pub(super) fn find(&self, session: &Session, word: &str) -> usize {
        let candidates = fingerprint(session, word).candidates();
        for candidate in &candidates {
            bound(session, candidate).unwrap();
        }
        let rows = self.tables.rows.lock().unwrap();
        let found = rows.iter().filter(|row| {
            candidates
                .iter()
                .any(|candidate| candidate.as_bytes().as_slice() == row.fingerprint())
        });
        found.count()
    }

    pub(super) async fn states(&self) -> Vec<(u8, IndexKeyState)> {
        let record = self.keys.load(&ADA.canonical()).await.unwrap().unwrap();
        let keys = record.index_keys().iter();
        keys.map(|key| (key.generation(), key.state())).collect()
    }

    /// How many rows are of each generation.
    pub(super) fn of(&self, generations: [u8; 2]) -> [usize; 2] {
        let rows = self.tables.rows.lock().unwrap();
        generations.map(|generation| rows.iter().filter(|row| is_of(row, generation)).count())
    }

    pub(super) async fn advance(&self) -> Progress {
        self.rotation.advance(ADA).await.unwrap()
    }

    /// To a second generation that is written.
    pub(super) async fn to_writing(&self) -> Progress {
        self.rotation.begin_index(ADA).await.unwrap();
        self.clock.pass(WRITERS_OVER_FOR);
        self.advance().await
    }

    pub(super) fn to_the_end_of_writers(&self) {
        self.clock.pass(WRITERS_OVER_FOR + Duration::from_secs(1));
    }
}

pub(super) fn fingerprint(session: &Session, word: &str) -> Fingerprint {
    adapter::fingerprint_in::<String, WordFp>(session, word.to_owned()).unwrap()
}

/// What a hook says in this session.
pub(super) fn bound(session: &Session, fingerprint: &Fingerprint) -> Result<(), Error> {
    session.scope_sync(|| adapter::check_fingerprint(WORD_FP, fingerprint))
}
