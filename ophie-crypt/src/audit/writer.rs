//! Writes the audit trail of one process.
//!
//! Invariant: an event is confirmed after its record is stored for good. Records whose storing is in
//! doubt are stored again, the same, before any other: the chain neither forks nor has a gap.
//! Absent: the bytes (`chain`), rows (`store`), the ledger's entries (`checkpoint`).

use core::fmt;
use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{
    select,
    sync::{mpsc, oneshot, watch},
    time::{sleep, timeout},
};

use super::{
    APP, AuditError, AuditEvent, AuditSink, AuditStep, AuditStore, AuditStoreError,
    chain::{AuditRow, Chain, Head, WriterId},
    checkpoint::Checkpoints,
};
use crate::{
    clock::Clock,
    hazmat::fill_random,
    kms::{EncryptionContext, Kms, KmsCall, KmsError},
    ledger::{Ledger, LedgerError},
};

/// Records in one INSERT.
const MOST: usize = 128;
/// Events that wait; who comes then waits to be one of them.
const WAITING: usize = 1024;
/// For storing records, and for a new writer where one is needed.
const WITHIN: Duration = Duration::from_secs(5);
const CHECKPOINT_EVERY: Duration = Duration::from_secs(60);

/// An [`AuditSink`] that proves itself: each record is tied to those before it by a MAC whose key is gone
/// once it was used, and heads of the chain go into a [`Ledger`] outside the database.
///
/// One per process. Events that come at the same time share one INSERT; processes share no lock. Clones
/// share the chain.
///
/// ```
/// use ophie_crypt::{ChainedAudit, FileLedger, Keyring, LocalKms, Purpose};
/// use ophie_crypt_sqlx::SqliteKeyStore;
/// # use std::sync::Arc;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = std::env::temp_dir().join(format!("ophie-crypt-chain-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// let kms = Arc::new(LocalKms::open_or_create(dir.join("master.key"))?);
/// let store = SqliteKeyStore::open(dir.join("keys.db")).await?;
/// let ledger = FileLedger::open_or_create(dir.join("ledger"))?;
/// let audit = ChainedAudit::builder(store.audit(), kms.clone()).ledger(ledger).start().await?;
///
/// let keyring = Keyring::builder().kms(kms).key_store(store).audit(audit.clone()).build()?;
/// let session = keyring.open_or_provision("ada", Purpose::new("docs")).await?;
/// # drop(session);
/// audit.checkpoint().await?; // before the process ends
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok(()) }
/// ```
///
/// # Security
///
/// Whoever changes, removes or moves records is found by [`AuditVerifier`](crate::AuditVerifier), up to the last
/// checkpoint; who takes over the process can forge what comes after, and nothing before, **if the process
/// cannot unwrap audit keys**. Keep that right from the application: it needs `kms:GenerateDataKey` only,
/// under a context with `purpose` = `audit`. With [`LocalKms`](crate::LocalKms) there is no such line: whoever
/// takes over the process has the master key, and can forge all that no checkpoint vouches for yet.
///
/// What was recorded after the last checkpoint can be cut off unseen.
#[derive(Clone)]
pub struct ChainedAudit {
    jobs: mpsc::Sender<Job>,
    checkpoints: Option<Arc<Checkpoints>>,
}

/// An event, and who waits for it.
type Job = (AuditEvent, oneshot::Sender<Result<(), AuditError>>);

/// Puts a [`ChainedAudit`] together; see there.
#[must_use = "a builder does nothing until `start`"]
pub struct ChainedAuditBuilder {
    store: Arc<dyn AuditStore>,
    kms: Arc<dyn Kms>,
    app: Arc<str>,
    ledger: Option<Arc<dyn Ledger>>,
    every: Duration,
}

impl ChainedAudit {
    /// On this store, with a key from this KMS.
    pub fn builder(store: impl AuditStore, kms: impl Kms) -> ChainedAuditBuilder {
        ChainedAuditBuilder {
            store: Arc::new(store),
            kms: Arc::new(kms),
            app: APP.into(),
            ledger: None,
            every: CHECKPOINT_EVERY,
        }
    }

    /// Makes a checkpoint now: call it last before the process ends. Without a ledger it does nothing.
    ///
    /// # Errors
    ///
    /// [`LedgerError`]; the next checkpoint makes up for it.
    pub async fn checkpoint(&self) -> Result<(), LedgerError> {
        match &self.checkpoints {
            Some(checkpoints) => checkpoints.make().await,
            None => Ok(()),
        }
    }
}

#[async_trait]
impl AuditSink for ChainedAudit {
    async fn record(&self, event: &AuditEvent) -> Result<(), AuditError> {
        check(event)?;
        let (answer, answered) = oneshot::channel();
        let sent = self.jobs.send((event.clone(), answer)).await;
        sent.map_err(|_| AuditError::unavailable(GONE))?;
        answered
            .await
            .map_err(|_| AuditError::unavailable(GONE))
            .flatten()
    }
}

const GONE: &str = "the audit's task ended with the runtime that it was started on; start it on the one that the keyring runs on";

/// What a database would not take must fail alone, not with those that share its INSERT.
fn check(event: &AuditEvent) -> Result<(), AuditError> {
    let request_id = match &event.step {
        AuditStep::Outcome { request_id, .. } => request_id.as_deref(),
        AuditStep::Intent { .. } | AuditStep::Joined => None,
    };
    let purpose = event.purpose.as_str();
    let texts = [
        Some(&*event.actor),
        Some(purpose),
        event.reason.as_deref(),
        request_id,
    ];
    if texts.into_iter().flatten().any(|text| text.contains('\0')) {
        return Err(AuditError::unavailable(
            "actor, purpose, reason or request id holds a NUL, which databases do not take; leave it out",
        ));
    }
    Ok(())
}

impl ChainedAuditBuilder {
    /// The application's name in the key's encryption context; `"ophie-crypt"` if none is given.
    pub fn app(mut self, name: impl Into<Arc<str>>) -> Self {
        self.app = name.into();
        self
    }

    /// Where checkpoints go. Without one, nothing vouches for the end of the trail or for whole writers.
    pub fn ledger(mut self, ledger: impl Ledger) -> Self {
        self.ledger = Some(Arc::new(ledger));
        self
    }

    /// How often: every 60 seconds if nothing is said, and only if something was recorded. Not zero.
    pub fn checkpoint_every(mut self, time: Duration) -> Self {
        self.every = time;
        self
    }

    /// Makes this process's key by one call of the KMS, stores its writer, and starts the tasks that
    /// write, on the present tokio runtime. They end with the last clone.
    ///
    /// A ledger that cannot be reached delays checkpoints and nothing else.
    ///
    /// # Errors
    ///
    /// [`StartAuditError`] if the KMS makes no key, the store does not take the writer, or there is no time
    /// between checkpoints.
    pub async fn start(self) -> Result<ChainedAudit, StartAuditError> {
        if self.every.is_zero() {
            return Err(StartAuditError::NoPause);
        }
        let (tell, heads) = watch::channel(Vec::new());
        let mut writer = Writer {
            store: self.store,
            kms: self.kms,
            app: self.app,
            clock: Clock::default(),
            chain: None,
            unsettled: Vec::new(),
            heads: tell,
        };
        timeout(WITHIN, writer.begin())
            .await
            .map_err(|_| StartAuditError::TooSlow)??;
        let (jobs, waiting) = mpsc::channel(WAITING);
        tokio::spawn(writer.run(waiting));
        let checkpoints = self
            .ledger
            .map(|ledger| Arc::new(Checkpoints::new(ledger, heads)));
        if let Some(checkpoints) = &checkpoints {
            tokio::spawn(keep_vouching(Arc::clone(checkpoints), self.every));
        }
        Ok(ChainedAudit { jobs, checkpoints })
    }
}

/// At the start, now and then, and at the end.
async fn keep_vouching(checkpoints: Arc<Checkpoints>, every: Duration) {
    loop {
        if let Err(error) = checkpoints.make().await {
            tracing::error!(target: "ophie_crypt::audit", %error, "no checkpoint was made");
        }
        let ended = select! {
            () = sleep(every) => false,
            () = checkpoints.ended() => true,
        };
        if ended {
            if let Err(error) = checkpoints.make().await {
                tracing::error!(target: "ophie_crypt::audit", %error, "the last checkpoint was not made");
            }
            return;
        }
    }
}

struct Writer {
    store: Arc<dyn AuditStore>,
    kms: Arc<dyn Kms>,
    app: Arc<str>,
    clock: Clock,
    /// None after the store refused records: who wrote them is not this process.
    chain: Option<Chain>,
    /// Records of which it is not known whether they are stored. Their keys are gone.
    unsettled: Vec<AuditRow>,
    heads: watch::Sender<Vec<Head>>,
}

impl Writer {
    async fn run(mut self, mut waiting: mpsc::Receiver<Job>) {
        let mut jobs = Vec::new();
        while waiting.recv_many(&mut jobs, MOST).await > 0 {
            let written = match timeout(WITHIN, self.write(&jobs)).await {
                Ok(written) => written,
                Err(_) => Err(AuditError::unavailable(AuditStoreError::unavailable(
                    "it did not answer in time",
                ))),
            };
            if written.is_err() {
                // Who came meanwhile does not wait for another time-out.
                while let Ok(job) = waiting.try_recv() {
                    jobs.push(job);
                }
            }
            for (_, answer) in jobs.drain(..) {
                let _ = answer.send(written.clone()); // a caller that went away wants no answer
            }
        }
    }

    /// May be dropped at any point: what is in doubt stays in `unsettled`.
    async fn write(&mut self, jobs: &[Job]) -> Result<(), AuditError> {
        self.settle().await?;
        if self.chain.is_none() {
            self.begin().await.map_err(AuditError::unavailable)?;
        }
        if let Some(chain) = &mut self.chain {
            self.unsettled = jobs.iter().map(|(event, _)| chain.append(event)).collect();
        }
        self.settle().await
    }

    /// Stores what is in doubt, or finds it stored.
    async fn settle(&mut self) -> Result<(), AuditError> {
        if self.unsettled.is_empty() {
            return Ok(());
        }
        match self.store.append(&self.unsettled).await {
            Ok(()) => {
                self.unsettled.clear();
                self.tell();
                Ok(())
            }
            Err(error) => {
                if matches!(error, AuditStoreError::Refused { .. }) {
                    tracing::error!(target: "ophie_crypt::audit", %error, "the next event begins a new chain");
                    self.unsettled.clear();
                    self.chain = None;
                }
                Err(AuditError::unavailable(error))
            }
        }
    }

    async fn begin(&mut self) -> Result<(), StartAuditError> {
        let mut id = [0; 16];
        fill_random(&mut id).map_err(KmsError::unavailable)?;
        let id = WriterId::from_bytes(id);
        let context = EncryptionContext::audit(Arc::clone(&self.app), id);
        let made = self.kms.make_dek(&KmsCall::new(context)).await?;
        let now = self.clock.now().wall();
        let (chain, writer) = Chain::begin(id, &self.app, now, &made.dek, made.wrapped);
        self.store.begin(&writer).await?;
        self.chain = Some(chain);
        self.tell();
        Ok(())
    }

    /// The head may go into the ledger.
    fn tell(&self) {
        let Some(head) = self.chain.as_ref().map(Chain::head) else {
            return;
        };
        self.heads.send_modify(|heads| {
            heads.retain(|before| before.writer != head.writer);
            heads.push(*head);
        });
    }
}

/// An audit was not started.
///
/// ```
/// assert!(ophie_crypt::StartAuditError::TooSlow.to_string().contains("5 seconds"));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartAuditError {
    /// The KMS made no key.
    #[error(
        "the audit has no key; the role needs kms:GenerateDataKey under a context with purpose=audit"
    )]
    Kms(#[from] KmsError),
    /// The writer was not stored.
    #[error("the audit's writer was not stored")]
    Store(#[from] AuditStoreError),
    /// `checkpoint_every` is zero.
    #[error(
        "no time between checkpoints; give `checkpoint_every` some seconds, or leave it out for 60"
    )]
    NoPause,
    /// KMS or store did not answer in time.
    #[error(
        "the audit did not start within 5 seconds; check that KMS and database answer, then try again"
    )]
    TooSlow,
}

impl fmt::Debug for ChainedAudit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChainedAudit").finish_non_exhaustive()
    }
}

impl fmt::Debug for ChainedAuditBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChainedAuditBuilder")
            .field("app", &self.app)
            .field("checkpoint_every", &self.every)
            .finish_non_exhaustive()
    }
}
