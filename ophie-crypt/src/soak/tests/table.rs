//! A table of people in memory, whose names and nicknames soak, and a tool over it.

use core::fmt;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst},
};

use async_trait::async_trait;
use tokio::sync::{Notify, oneshot};

use super::{
    super::*,
    model::{NAME, NAME_FP, NOTE, Person, is_of, soak_of},
};
use crate::{
    blind_index::Normalizer,
    clock::Clock,
    column::ColumnRef,
    hazmat::aead::Nonce,
    keyring::Keyring,
    kms::LocalKms,
    model::{IndexedColumn, Models},
    owner::{CanonicalId, OwnerId},
    plaintext::Codec,
    session::{Purpose, Session},
    store::{MemoryKeyStore, ModelError, unasked::only_models},
};

const PURPOSE: Purpose = Purpose::new("tests");

/// What a watch said of its process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::soak) enum Said {
    Beat(Vec<Beat>),
    Leave,
}

/// A name that the plaintext column does not take.
pub(super) const UNFIT: &str = "a name that is too long";

pub(super) type Event = Box<dyn FnOnce(&mut Vec<SoakedRow>) + Send>;

/// The rows, and what the database knows of the soak of their names.
pub(in crate::soak) struct Table {
    models: Models,
    pub(in crate::soak) soak: Mutex<SoakRow>,
    /// Whether the database knows a soak of the notes, too, in the same state.
    pub(in crate::soak) notes_soak: AtomicBool,
    pub(super) rows: Arc<Mutex<Vec<SoakedRow>>>,
    pub(super) heartbeats: Mutex<Vec<Heartbeat>>,
    /// How often these were asked for, and the clock on which ten seconds pass each time.
    pub(super) looks: AtomicUsize,
    pub(super) clock: Mutex<Clock>,
    pub(in crate::soak) said: Mutex<Vec<Said>>,
    /// What becomes of the next heartbeat: `None` hangs.
    pub(in crate::soak) next_beat: Mutex<Option<Option<ModelError>>>,
    /// The next answer about the states waits for it.
    held: Mutex<Option<oneshot::Receiver<()>>>,
    pub(in crate::soak) asked: Notify,
    /// Happens before the next row is read again.
    pub(super) meanwhile: Mutex<Option<Event>>,
    /// Happen before rows get plaintext back, one each time.
    pub(super) before_decrypted: Mutex<Vec<Event>>,
    /// Rows that a page was to have.
    pub(super) limit: AtomicU32,
    /// How often the next batch of a null-out, or of rows that get plaintext back, finds them locked.
    pub(super) busy: AtomicUsize,
    /// How far a replica is behind, the last first.
    pub(super) lags: Mutex<Vec<core::time::Duration>>,
    /// Whether a trigger changes ciphertext with the plaintext.
    pub(super) touches: AtomicBool,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Table")
    }
}

impl Table {
    pub(in crate::soak) fn new(state: SoakState) -> Arc<Self> {
        Arc::new(Self {
            models: Models::new().with::<Person>(),
            soak: Mutex::new(soak_of(NAME, "name", state)),
            notes_soak: AtomicBool::default(),
            rows: Arc::default(),
            heartbeats: Mutex::default(),
            looks: AtomicUsize::default(),
            clock: Mutex::default(),
            said: Mutex::default(),
            next_beat: Mutex::default(),
            held: Mutex::default(),
            asked: Notify::new(),
            meanwhile: Mutex::default(),
            before_decrypted: Mutex::default(),
            limit: AtomicU32::default(),
            busy: AtomicUsize::default(),
            lags: Mutex::default(),
            touches: AtomicBool::default(),
        })
    }

    /// Holds back the next answer about the states until it is told to give it.
    pub(in crate::soak) fn hold(&self) -> oneshot::Sender<()> {
        let (tell, held) = oneshot::channel();
        *self.held.lock().unwrap() = Some(held);
        tell
    }

    pub(super) fn state(&self) -> SoakState {
        self.soak.lock().unwrap().state
    }

    fn is_free(&self) -> Result<(), ModelError> {
        let fewer = |busy: usize| busy.checked_sub(1);
        match self.busy.fetch_update(SeqCst, SeqCst, fewer) {
            Ok(_) => Err(ModelError::Busy),
            Err(_) => Ok(()),
        }
    }

    fn with_version(&self, from: &SoakRow, change: impl FnOnce(&mut SoakRow)) -> bool {
        let mut soak = self.soak.lock().unwrap();
        let same = soak.version == from.version;
        if same {
            change(&mut soak);
        }
        same
    }
}

pub(super) fn copy(row: &SoakedRow) -> SoakedRow {
    SoakedRow {
        key: row.key.clone(),
        owner: row.owner.clone(),
        plain: row.plain.clone(),
        sealed: row.sealed.clone(),
        fingerprints: row.fingerprints.clone(),
    }
}

only_models!(Table);

#[async_trait]
impl SoakStore for Table {
    async fn soaks(&self) -> Result<Vec<SoakRow>, ModelError> {
        let held = self.held.lock().unwrap().take();
        if let Some(held) = held {
            self.asked.notify_one();
            held.await.unwrap();
        }
        let soak = self.soak.lock().unwrap().clone();
        let notes = self.notes_soak.load(SeqCst);
        let notes = notes.then(|| soak_of(NOTE, "note_plain", soak.state));
        Ok([Some(soak), notes].into_iter().flatten().collect())
    }

    async fn beat(&self, _: SoakProcess, beats: &[Beat]) -> Result<(), ModelError> {
        let next = self.next_beat.lock().unwrap().take();
        match next {
            None => {}
            Some(None) => core::future::pending().await,
            Some(Some(error)) => return Err(error),
        }
        self.said.lock().unwrap().push(Said::Beat(beats.to_vec()));
        Ok(())
    }

    async fn leave(&self, _: SoakProcess) -> Result<(), ModelError> {
        self.said.lock().unwrap().push(Said::Leave);
        Ok(())
    }

    async fn heartbeats(&self, _: &ColumnRef) -> Result<Vec<Heartbeat>, ModelError> {
        self.looks.fetch_add(1, SeqCst);
        let ten_seconds = core::time::Duration::from_secs(10);
        self.clock.lock().unwrap().pass(ten_seconds);
        Ok(self.heartbeats.lock().unwrap().clone())
    }

    async fn expand(&self, _: &SoakColumn) -> Result<bool, ModelError> {
        let mut soak = self.soak.lock().unwrap();
        let begins = soak.state == SoakState::Plain;
        if begins {
            soak.state = SoakState::Expand;
        }
        Ok(begins)
    }

    async fn expansion(&self, _: &SoakColumn) -> Result<SoakMigration, ModelError> {
        let (up, down) = ("up".to_owned(), "down".to_owned());
        Ok(SoakMigration { up, down })
    }

    async fn step(
        &self,
        _: &SoakColumn,
        from: &SoakRow,
        to: SoakState,
    ) -> Result<bool, ModelError> {
        Ok(self.with_version(from, |soak| {
            soak.version += 1;
            (soak.state, soak.since) = (to, soak.version);
        }))
    }

    async fn close(&self, _: &SoakColumn, from: &SoakRow) -> Result<bool, ModelError> {
        Ok(self.with_version(from, |_| {}))
    }

    async fn admit_old(
        &self,
        _: &SoakColumn,
        from: &SoakRow,
        admit: bool,
    ) -> Result<bool, ModelError> {
        Ok(self.with_version(from, |soak| soak.admits_old = admit))
    }

    async fn pass(&self, _: &SoakColumn) -> Result<Box<dyn SoakPass>, ModelError> {
        Ok(Box::new(Pass(Arc::clone(&self.rows))))
    }

    async fn empty_buried(&self, _: &SoakColumn, _: u32) -> Result<u64, ModelError> {
        Ok(0)
    }

    async fn empty_sealed(
        &self,
        _: &SoakColumn,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, ModelError> {
        let mut rows = self.rows.lock().unwrap();
        let behind = rows
            .iter_mut()
            .filter(|row| after.is_none_or(|after| &*row.key > after))
            .take(limit.try_into().unwrap());
        let keys = behind.map(|row| {
            (row.sealed, row.fingerprints) = (None, vec![None]);
            row.key.clone()
        });
        Ok(keys.collect())
    }

    async fn rewind(&self, _: &SoakColumn) -> Result<(), ModelError> {
        Ok(())
    }

    async fn count(&self, _: &SoakColumn, which: Rows) -> Result<u64, ModelError> {
        let rows = self.rows.lock().unwrap();
        let rows = rows.iter().filter(|row| is_of(row, which));
        Ok(rows.count().try_into().unwrap())
    }

    async fn page(
        &self,
        _: &SoakColumn,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<SoakedRow>, ModelError> {
        self.limit.store(limit, SeqCst);
        let rows = self.rows.lock().unwrap();
        let behind = rows
            .iter()
            .filter(|row| after.is_none_or(|after| &*row.key > after));
        Ok(behind.take(limit.try_into().unwrap()).map(copy).collect())
    }

    async fn reread(&self, _: &SoakColumn, key: &str) -> Result<Option<SoakedRow>, ModelError> {
        let mut rows = self.rows.lock().unwrap();
        if let Some(happens) = self.meanwhile.lock().unwrap().take() {
            happens(&mut rows);
        }
        Ok(rows.iter().find(|row| row.key == key).map(copy))
    }

    async fn verified(&self, _: &SoakColumn, version: i64, clean: bool) -> Result<(), ModelError> {
        self.soak.lock().unwrap().verified = clean.then_some(version);
        Ok(())
    }

    async fn empty(&self, _: &SoakColumn, limit: u32) -> Result<Option<u64>, ModelError> {
        self.is_free()?;
        if self.touches.load(SeqCst) {
            return Ok(None);
        }
        let (mut rows, mut emptied) = (self.rows.lock().unwrap(), 0);
        let whole = rows
            .iter_mut()
            .filter(|row| row.plain.is_some() && row.sealed.is_some());
        for row in whole.take(limit.try_into().unwrap()) {
            row.plain = None;
            emptied += 1;
        }
        Ok(Some(emptied))
    }

    async fn decrypted(&self, _: &SoakColumn, anew: Vec<Decrypted>) -> Result<u64, ModelError> {
        let (mut rows, mut count) = (self.rows.lock().unwrap(), 0);
        if let Some(happens) = self.before_decrypted.lock().unwrap().pop() {
            happens(&mut rows);
        }
        self.is_free()?;
        if anew.iter().any(|anew| *anew.plain == UNFIT.as_bytes()) {
            return Err(ModelError::unavailable("too long for the column"));
        }
        for anew in anew {
            let stands =
                |row: &&mut SoakedRow| row.key == anew.row.key && row.sealed == anew.row.sealed;
            if let Some(row) = rows.iter_mut().find(stands) {
                (row.plain, row.sealed) = (Some(anew.plain), Some(anew.anew.sealed));
                count += 1;
            }
        }
        Ok(count)
    }

    async fn drop_twin(&self, _: &SoakColumn, from: &SoakRow) -> Result<bool, ModelError> {
        Ok(self.with_version(from, |soak| soak.state = SoakState::Dropped))
    }

    async fn rewrite(&self, _: &SoakColumn) -> Result<(), ModelError> {
        Ok(())
    }

    async fn lag(&self) -> Result<Option<core::time::Duration>, ModelError> {
        Ok(self.lags.lock().unwrap().pop())
    }

    fn residue(&self) -> &'static [&'static str] {
        &["old pages"]
    }
}

/// One worker's way through the pending rows, from the first each time.
struct Pass(Arc<Mutex<Vec<SoakedRow>>>);

#[async_trait]
impl SoakPass for Pass {
    async fn owners_ahead(&mut self, limit: u32) -> Result<Vec<CanonicalId>, ModelError> {
        let rows = self.0.lock().unwrap();
        let pending = rows.iter().filter(|row| is_of(row, Rows::Pending));
        let mut owners: Vec<_> = pending.map(|row| row.owner.clone()).collect();
        owners.dedup();
        owners.truncate(limit.try_into().unwrap());
        Ok(owners)
    }

    async fn fill(&mut self, limit: u32, seal: SealRows) -> Result<Filled, ModelError> {
        let mut filled = Filled {
            admitted: true,
            ..Filled::default()
        };
        let mut rows = self.0.lock().unwrap();
        let pending = rows.iter_mut().filter(|row| is_of(row, Rows::Pending));
        for row in pending.take(limit.try_into().unwrap()) {
            filled.read += 1;
            let plain = PlainRow {
                key: row.key.clone(),
                owner: row.owner.clone(),
                plain: row.plain.clone().unwrap(),
            };
            if let Some(Sealing::Sealed(sealed)) = seal(&[plain]).pop() {
                row.sealed = Some(sealed.sealed);
                row.fingerprints = sealed.fingerprints.into_iter().map(Some).collect();
                filled.written += 1;
            }
        }
        Ok(filled)
    }

    fn restart(&mut self) {}
}

/// Ada's session, and a tool over the table.
pub(super) struct World {
    pub(super) table: Arc<Table>,
    pub(super) keys: Arc<MemoryKeyStore>,
    pub(super) watch: SoakWatch,
    pub(super) session: Session,
    pub(super) soaker: Soaker,
}

impl World {
    pub(super) async fn new(state: SoakState) -> Self {
        let table = Table::new(state);
        let watch = SoakWatch::new(Arc::clone(&table)).unwrap();
        watch.beat().await.unwrap();
        let keys = Arc::new(MemoryKeyStore::new());
        let keyring = Keyring::builder()
            .kms(LocalKms::ephemeral().unwrap())
            .key_store(Arc::clone(&keys))
            .soak_watch(watch.clone())
            .build()
            .unwrap();
        let soaker = Soaker::new(&keyring, Arc::clone(&table));
        *table.clock.lock().unwrap() = soaker.deaths.clock.clone();
        Self {
            session: keyring.open_or_provision("ada", PURPOSE).await.unwrap(),
            soaker: soaker.pause(core::time::Duration::ZERO),
            table,
            keys,
            watch,
        }
    }

    /// An envelope of a name of Ada's, and its fingerprint.
    pub(super) fn seal(&self, name: &str) -> (Vec<u8>, Vec<u8>) {
        let pinned = self.session.pin().unwrap();
        let bytes = name.as_bytes();
        let sealed = pinned
            .keys()
            .seal_bytes(&NAME, Codec::TEXT, bytes, Nonce::make());
        (sealed.unwrap(), self.fingerprints(name).0)
    }

    /// Under the key that is written, and under the other, while there is one.
    pub(super) fn fingerprints(&self, name: &str) -> (Vec<u8>, Option<Vec<u8>>) {
        let pinned = self.session.pin().unwrap();
        let indexed = IndexedColumn::new(NAME_FP, NAME, Normalizer::Name);
        let both = pinned.keys().fingerprints_of(&indexed, name.as_bytes());
        let (newest, other) = both.unwrap();
        (newest.to_vec(), other.map(|other| other.to_vec()))
    }

    /// A row of Ada's.
    pub(super) fn row(&self, key: &str, plain: Option<&str>, sealed: Option<&str>) -> SoakedRow {
        let (sealed, fingerprint) = sealed.map(|name| self.seal(name)).unzip();
        SoakedRow {
            key: key.to_owned(),
            owner: "ada".canonical(),
            plain: plain.map(|plain| plain.as_bytes().to_vec().into()),
            sealed,
            fingerprints: vec![fingerprint],
        }
    }

    pub(super) fn put(&self, rows: impl IntoIterator<Item = SoakedRow>) {
        self.table.rows.lock().unwrap().extend(rows);
    }
}
