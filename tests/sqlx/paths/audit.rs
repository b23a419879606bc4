//! The audit trail in a database: what a keyring records, many processes, tables that only grow, outages.

use std::{sync::Arc, time::Duration};

use ophie_crypt::{
    AuditReport, AuditSink, AuditStore, AuditVerifier, ChainedAudit, FileLedger, Keyring, Kms,
    LocalKms, SessionError,
};
use sqlx::AssertSqlSafe;
use tempfile::TempDir;

use super::world::{ALICE, PURPOSE, kms};
use crate::{
    Store,
    db::{Database, Pool},
};

/// A migrated database, a KMS and a ledger.
pub(crate) struct Trail {
    pub(crate) database: Database,
    pub(crate) pool: Pool,
    pub(crate) kms: Arc<LocalKms>,
    pub(crate) folder: TempDir,
}

impl Trail {
    pub(crate) async fn new() -> Self {
        let database = Database::create().await;
        let pool = crate::key_pool(&database).await;
        Store::new(pool.clone()).migrate().await.unwrap();
        Self {
            database,
            pool,
            kms: kms(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn store(&self) -> impl AuditStore + Clone + use<> {
        Store::new(self.pool.clone()).audit()
    }

    pub(crate) fn ledger(&self) -> FileLedger {
        FileLedger::open_or_create(self.folder.path().join("ledger")).unwrap()
    }

    /// One more process, whose checkpoints come when they are asked for.
    pub(crate) async fn process(&self) -> ChainedAudit {
        self.process_on(self.store()).await
    }

    pub(crate) async fn process_on(&self, store: impl AuditStore) -> ChainedAudit {
        ChainedAudit::builder(store, Arc::clone(&self.kms))
            .ledger(self.ledger())
            .checkpoint_every(Duration::from_secs(3600))
            .start()
            .await
            .unwrap()
    }

    pub(crate) fn verifier(&self) -> AuditVerifier {
        AuditVerifier::new(self.store(), Arc::clone(&self.kms)).ledger(self.ledger())
    }

    pub(crate) async fn report(&self) -> AuditReport {
        self.verifier().verify().await.unwrap()
    }

    pub(crate) async fn run(&self, sql: &str) -> Result<(), sqlx::Error> {
        let sql = AssertSqlSafe(sql.to_owned());
        sqlx::raw_sql(sql).execute(&self.pool).await.map(drop)
    }

    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }

    pub(crate) fn keyring(&self, store: Store, audit: ChainedAudit) -> Keyring {
        Keyring::builder()
            .kms(Arc::clone(&self.kms))
            .key_store(store)
            .audit(audit)
            .actor("tests@here")
            .build()
            .unwrap()
    }
}

pub(crate) use ophie_crypt_tests::events::{events, texts};

#[tokio::test]
async fn what_a_keyring_does_is_recorded_for_people() {
    let trail = Trail::new().await;
    let audit = trail.process().await;
    let keyring = trail.keyring(Store::new(trail.pool.clone()), audit.clone());
    drop(keyring.open_or_provision(&ALICE, PURPOSE).await.unwrap());
    audit.checkpoint().await.unwrap();

    type Row = (
        i64,
        String,
        Vec<u8>,
        String,
        Option<String>,
        String,
        Option<String>,
        Option<String>,
    );
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT seq, actor, owner, purpose, reason, step, operation, result \
         FROM ophie_crypt_audit_records ORDER BY seq",
    )
    .fetch_all(&trail.pool)
    .await
    .unwrap();
    let steps: Vec<_> = rows
        .iter()
        .map(|row| (row.0, &*row.5, row.6.as_deref(), row.7.as_deref()))
        .collect();
    assert_eq!(
        steps,
        [
            (1, "intent", Some("make"), None),
            (2, "outcome", Some("make"), Some("done")),
            (3, "intent", Some("unwrap"), None),
            (4, "outcome", Some("unwrap"), Some("done")),
        ]
    );
    for (_, actor, owner, _, reason, ..) in &rows {
        assert_eq!((actor.as_str(), reason), ("tests@here", &None));
        assert_eq!(owner[1..], *ALICE.as_bytes());
    }
    assert_eq!(rows[2].3, PURPOSE.as_str());
    // Times read as times, and are those of now.
    let late = trail
        .count("SELECT COUNT(*) FROM ophie_crypt_audit_records WHERE at < '2026-01-01' OR at > '2999-01-01'")
        .await;
    assert_eq!(late, 0);
    let report = trail.report().await;
    assert!(
        report.has_no_findings() && report.open_intents.is_empty(),
        "{report}"
    );
    assert_eq!(
        (report.writers[0].records, report.writers[0].vouched),
        (4, 4)
    );
}

/// The audit has a database of its own here, so that nothing else of an open can fail.
#[tokio::test]
async fn a_locked_audit_fails_the_open_and_says_what_to_do() {
    let (trail, keys) = (Trail::new().await, Trail::new().await);
    let audit = trail.process().await;
    let keyring = keys.keyring(Store::new(keys.pool.clone()), audit.clone());
    keyring.provision(&ALICE).await.unwrap();

    let mut locked = trail.pool.begin_with(crate::BEGIN_EXCLUSIVE).await.unwrap();
    if let Some(lock) = crate::LOCK_AUDIT {
        sqlx::raw_sql(lock).execute(&mut *locked).await.unwrap();
    }
    let opened = keyring.open(&ALICE, PURPOSE).await.unwrap_err();
    assert!(matches!(opened, SessionError::Audit(_)), "{opened:?}");
    let text = texts(&opened);
    assert!(
        text.contains("not locked and not full, then try again"),
        "{text}"
    );
    locked.rollback().await.unwrap();

    drop(keyring.open(&ALICE, PURPOSE).await.unwrap());
    audit.checkpoint().await.unwrap();
    let report = trail.report().await;
    assert!(report.has_no_findings(), "{report}");
    // The intent of the failed open was stored after all; nothing else is open.
    assert!(report.open_intents.len() <= 1, "{report}");
}

/// Beside the live trail, without a false finding.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verifying_while_it_grows() {
    let trail = Arc::new(Trail::new().await);
    let event = events().await.remove(0);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writers: Vec<_> = (0..3)
        .map(|_| {
            let (trail, event, stop) = (trail.clone(), event.clone(), stop.clone());
            tokio::spawn(async move {
                let audit = trail.process().await;
                while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                    audit.record(&event).await.unwrap();
                    audit.checkpoint().await.unwrap();
                }
            })
        })
        .collect();
    let mut seen = 0;
    while seen < 60 {
        let report = trail.report().await;
        assert!(report.has_no_findings(), "{report}");
        seen = report.writers.iter().map(|writer| writer.vouched).sum();
    }
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    for writer in writers {
        writer.await.unwrap();
    }
}

/// The key of a writer unwraps under its own context only, and never as an owner's.
#[tokio::test]
async fn an_audit_key_is_no_owners_key() {
    let trail = Trail::new().await;
    let _audit = trail.process().await;
    let writer = trail.store().writers(None, 1).await.unwrap().remove(0);
    let owner = ophie_crypt::CanonicalId::from_bytes(writer.id.as_bytes());
    for context in [
        ophie_crypt::EncryptionContext::new("ophie-crypt", &owner, 1),
        ophie_crypt::EncryptionContext::audit("other", writer.id),
    ] {
        let call = ophie_crypt::KmsCall::new(context);
        trail
            .kms
            .unwrap_dek(&writer.wrapped, &call)
            .await
            .unwrap_err();
    }
    let context = ophie_crypt::EncryptionContext::audit("ophie-crypt", writer.id);
    let call = ophie_crypt::KmsCall::new(context);
    trail.kms.unwrap_dek(&writer.wrapped, &call).await.unwrap();
}
