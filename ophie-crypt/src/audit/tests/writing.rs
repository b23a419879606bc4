//! Who writes: many at once, answers that are lost, stores and ledgers that fail.

use std::sync::atomic::Ordering::SeqCst;

use super::{store::Rows, *};
use crate::{
    kms::{LocalKms, WrappedDek},
    ledger::{FileLedger, Ledger, LedgerError, LedgerHead},
};

pub(super) async fn audit(rows: &Arc<Rows>) -> (ChainedAudit, Arc<LocalKms>) {
    let kms = Arc::new(LocalKms::ephemeral().unwrap());
    let audit = ChainedAudit::builder(Arc::clone(rows), Arc::clone(&kms)).app(APP);
    let printed = format!("{audit:?}");
    assert!(
        printed.starts_with(r#"ChainedAuditBuilder { app: "ophie-crypt""#),
        "{printed}"
    );
    (audit.start().await.unwrap(), kms)
}

async fn verified(rows: &Arc<Rows>, kms: &Arc<LocalKms>) -> AuditReport {
    let verifier = AuditVerifier::new(Arc::clone(rows), Arc::clone(kms));
    verifier.verify().await.unwrap()
}

fn texts(error: &AuditError) -> String {
    let mut next: Option<&dyn core::error::Error> = Some(error);
    let mut texts = String::new();
    while let Some(error) = next {
        texts += &format!("{error} | ");
        next = error.source();
    }
    texts
}

fn at_once(
    audit: &ChainedAudit,
    calls: std::ops::Range<u8>,
) -> Vec<tokio::task::JoinHandle<Result<(), AuditError>>> {
    let record = |call| {
        let audit = audit.clone();
        tokio::spawn(async move { audit.record(&intent(call)).await })
    };
    calls.map(record).collect()
}

#[tokio::test]
async fn those_that_wait_share_an_insert() {
    let rows = Rows::new();
    let (audit, kms) = audit(&rows).await;
    assert_eq!(format!("{audit:?}"), "ChainedAudit { .. }");
    for task in at_once(&audit, 0..100) {
        task.await.unwrap().unwrap();
    }
    assert!(rows.appends.load(SeqCst) <= 2);
    assert_eq!(rows.places(), [(1..=100).collect::<Vec<i64>>()]);
    let report = verified(&rows, &kms).await;
    assert!(report.has_no_findings(), "{report}");
    assert_eq!(report.open_intents.len(), 100);
    audit.record(&outcome(7)).await.unwrap();
    assert_eq!(verified(&rows, &kms).await.open_intents.len(), 99);
}

#[tokio::test]
async fn nothing_is_confirmed_before_it_is_stored() {
    let rows = Rows::new();
    let (audit, _) = audit(&rows).await;
    let held = rows.gate.lock().await;
    let mut tasks = at_once(&audit, 0..3);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(tasks.iter().all(|task| !task.is_finished()));
    // Nor is a record lost whose caller goes away.
    tasks[0].abort();
    drop(held);
    for task in tasks.drain(1..) {
        task.await.unwrap().unwrap();
    }
    assert_eq!(rows.places(), [[1, 2, 3]]);
}

#[tokio::test]
async fn a_lost_answer_leaves_neither_fork_nor_gap() {
    let rows = Rows::new();
    let (audit, kms) = audit(&rows).await;
    audit.record(&intent(1)).await.unwrap();
    // It is stored, and the caller cannot know.
    rows.loses_answers.store(true, SeqCst);
    let error = audit.record(&outcome(1)).await.unwrap_err();
    assert!(texts(&error).contains("try again"), "{}", texts(&error));
    // It is not stored, and the caller cannot know either; nor is what comes later.
    rows.loses_answers.store(false, SeqCst);
    audit.record(&intent(2)).await.unwrap();
    rows.is_down.store(true, SeqCst);
    audit.record(&outcome(2)).await.unwrap_err();
    audit.record(&intent(9)).await.unwrap_err();
    rows.is_down.store(false, SeqCst);
    audit.record(&intent(3)).await.unwrap();

    assert_eq!(rows.places(), [[1, 2, 3, 4, 5]]);
    let report = verified(&rows, &kms).await;
    assert!(report.has_no_findings(), "{report}");
    assert_eq!(report.open_intents.len(), 1, "{report}");
}

/// As in a clone of a virtual machine, or after somebody guessed.
#[tokio::test]
async fn a_place_that_is_taken_begins_a_new_chain() {
    let rows = Rows::new();
    let (audit, kms) = audit(&rows).await;
    audit.record(&intent(1)).await.unwrap();
    let mut foreign = rows.rows.lock().unwrap()[0].clone();
    foreign.seq = 2;
    rows.rows.lock().unwrap().push(foreign);
    let error = audit.record(&intent(2)).await.unwrap_err();
    assert!(
        texts(&error).contains("another record"),
        "{}",
        texts(&error)
    );
    audit.record(&outcome(1)).await.unwrap();
    assert_eq!(rows.places(), [vec![1, 2], vec![1]]);
    let report = verified(&rows, &kms).await;
    let found: Vec<_> = report.findings.iter().map(ToString::to_string).collect();
    assert!(
        matches!(&*report.findings, [AuditFinding::Altered { records, .. }] if *records == (2..=2)),
        "{found:?}"
    );
    assert!(
        report.open_intents.is_empty(),
        "its outcome is in the other chain"
    );
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_fails_all_that_wait() {
    let rows = Rows::new();
    let (audit, kms) = audit(&rows).await;
    let held = rows.gate.lock().await;
    let first = at_once(&audit, 0..1);
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let all = async {
        for task in first.into_iter().chain(at_once(&audit, 1..50)) {
            let error = task.await.unwrap().unwrap_err();
            assert!(texts(&error).contains("in time"), "{}", texts(&error));
        }
    };
    let once = Duration::from_secs(6);
    tokio::time::timeout(once, all)
        .await
        .expect("one time-out for all");
    drop(held);
    audit.record(&intent(60)).await.unwrap();
    assert_eq!(rows.places(), [[1, 2]]);
    assert!(verified(&rows, &kms).await.has_no_findings());
}

#[tokio::test]
async fn a_nul_fails_alone() {
    let rows = Rows::new();
    let (audit, _) = audit(&rows).await;
    let mut bad = intent(1);
    bad.reason = Some("a\0b".into());
    let (bad, good) = tokio::join!(audit.record(&bad), async { audit.record(&intent(2)).await });
    assert!(texts(&bad.unwrap_err()).contains("NUL"));
    good.unwrap();
    assert_eq!(rows.places(), [[1]]);
}

#[tokio::test]
async fn without_key_or_store_nothing_starts() {
    #[derive(Debug)]
    struct Refuses;
    #[async_trait]
    impl crate::Kms for Refuses {
        async fn make_dek(
            &self,
            _: &crate::KmsCall,
        ) -> Result<crate::GeneratedDek, crate::KmsError> {
            Err(crate::KmsError::refused("no"))
        }
        async fn unwrap_dek(
            &self,
            _: &WrappedDek,
            _: &crate::KmsCall,
        ) -> Result<crate::Dek, crate::KmsError> {
            Err(crate::KmsError::refused("no"))
        }
        async fn rewrap_dek(
            &self,
            _: &WrappedDek,
            _: &crate::KmsCall,
        ) -> Result<WrappedDek, crate::KmsError> {
            Err(crate::KmsError::refused("no"))
        }
        fn holds(&self, _: &str) -> bool {
            true
        }
    }
    let rows = Rows::new();
    let started = ChainedAudit::builder(Arc::clone(&rows), Refuses).start();
    assert!(matches!(started.await, Err(StartAuditError::Kms(_))));
    rows.is_down.store(true, SeqCst);
    let kms = LocalKms::ephemeral().unwrap();
    let started = ChainedAudit::builder(rows, kms).start();
    assert!(matches!(started.await, Err(StartAuditError::Store(_))));
}

/// A ledger in a folder of its own, which goes with the value.
pub(super) struct Folder(pub(super) std::path::PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        let mut id = [0; 16];
        crate::hazmat::fill_random(&mut id).unwrap();
        let name = format!("ophie-crypt-{}", WriterId::from_bytes(id));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(super) fn ledger(&self) -> FileLedger {
        FileLedger::open_or_create(self.0.join("ledger")).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn entries(ledger: &FileLedger) -> usize {
    ledger.read(0, usize::MAX).await.unwrap().len()
}

#[tokio::test]
async fn checkpoints_come_at_the_start_now_and_then_and_at_the_end() {
    let (rows, folder) = (Rows::new(), Folder::new());
    let ledger = folder.ledger();
    let kms = LocalKms::ephemeral().unwrap();
    let audit = ChainedAudit::builder(Arc::clone(&rows), kms)
        .ledger(ledger.clone())
        .checkpoint_every(Duration::from_millis(5))
        .start()
        .await
        .unwrap();
    let reaches = async |count| {
        while entries(&ledger).await < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    reaches(1).await; // the writer itself
    audit.record(&intent(1)).await.unwrap();
    reaches(2).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(entries(&ledger).await, 2, "nothing moved");
    audit.record(&outcome(1)).await.unwrap();
    drop(audit);
    reaches(3).await;
}

/// Also where the next would be an hour away.
#[tokio::test]
async fn the_last_checkpoint_comes_with_the_end() {
    let (rows, folder) = (Rows::new(), Folder::new());
    let ledger = folder.ledger();
    let kms = LocalKms::ephemeral().unwrap();
    let audit = ChainedAudit::builder(Arc::clone(&rows), kms)
        .ledger(ledger.clone())
        .checkpoint_every(Duration::from_secs(3600))
        .start()
        .await
        .unwrap();
    audit.checkpoint().await.unwrap();
    audit.record(&intent(1)).await.unwrap();
    let before = entries(&ledger).await;
    drop(audit);
    while entries(&ledger).await == before {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_ledger_that_is_away_delays_checkpoints_only() {
    let (rows, folder) = (Rows::new(), Folder::new());
    let (ledger, away) = (folder.ledger(), folder.0.join("away"));
    std::fs::rename(folder.0.join("ledger"), &away).unwrap();
    let kms = Arc::new(LocalKms::ephemeral().unwrap());
    let audit = ChainedAudit::builder(Arc::clone(&rows), Arc::clone(&kms))
        .ledger(ledger.clone())
        .start()
        .await
        .unwrap();
    audit.record(&intent(1)).await.unwrap();
    let error = audit.checkpoint().await.unwrap_err();
    assert!(
        matches!(error, LedgerError::Unavailable { .. }),
        "{error:?}"
    );
    std::fs::rename(&away, folder.0.join("ledger")).unwrap();
    audit.checkpoint().await.unwrap();
    let report = AuditVerifier::new(rows, kms).ledger(ledger).verify().await;
    assert_eq!(report.unwrap().writers[0].vouched, 1);
}

#[tokio::test]
async fn a_ledger_that_was_made_anew_is_noticed() {
    let (rows, folder) = (Rows::new(), Folder::new());
    let ledger = folder.ledger();
    let kms = LocalKms::ephemeral().unwrap();
    let audit = ChainedAudit::builder(Arc::clone(&rows), kms)
        .ledger(ledger)
        .start()
        .await
        .unwrap();
    audit.checkpoint().await.unwrap();
    std::fs::remove_file(folder.0.join("ledger")).unwrap();
    let mut head = LedgerHead::EMPTY;
    let other = folder.ledger();
    for _ in 0..3 {
        head = other.append(&head, "audit-heads", b"").await.unwrap();
    }
    audit.record(&intent(1)).await.unwrap();
    let error = audit.checkpoint().await.unwrap_err();
    assert!(
        matches!(
            error,
            LedgerError::Forked { .. } | LedgerError::Damaged { .. }
        ),
        "{error:?}"
    );
}

/// Processes share one ledger; each checkpoint is there once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_processes_share_a_ledger() {
    let (rows, folder) = (Rows::new(), Folder::new());
    let kms = Arc::new(LocalKms::ephemeral().unwrap());
    let mut tasks = Vec::new();
    for process in 0..16 {
        let builder = ChainedAudit::builder(Arc::clone(&rows), Arc::clone(&kms));
        let audit = builder.ledger(folder.ledger()).start().await.unwrap();
        tasks.push(tokio::spawn(async move {
            for call in 0..10 {
                audit.record(&intent(process * 10 + call)).await.unwrap();
                audit.checkpoint().await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let ledger = folder.ledger();
    assert!(entries(&ledger).await >= 160);
    let report = AuditVerifier::new(rows, kms)
        .ledger(ledger)
        .verify()
        .await
        .unwrap();
    assert!(report.has_no_findings(), "{report}");
    assert!(report.writers.iter().all(|writer| writer.vouched == 10));
}
