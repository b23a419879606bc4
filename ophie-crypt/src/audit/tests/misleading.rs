//! Rows, keys, stores and ledgers that are made to mislead whoever verifies, or to stop them.

use std::sync::{Mutex, atomic::AtomicUsize};

use super::{store::Rows, verifying::Trail, *};
use crate::{
    Kms, KmsCall, KmsError,
    hazmat::data_key::Dek,
    kms::{LocalKms, WrappedDek},
    ledger::{Ledger, LedgerEntry, LedgerError, LedgerHead},
    passed_on::pass_on,
};

/// Answers for all wrapped keys but one.
struct SilentFor(Arc<LocalKms>, WrappedDek);

#[async_trait]
impl Kms for SilentFor {
    pass_on!(0: make_dek, rewrap_dek, holds);

    async fn unwrap_dek(&self, wrapped: &WrappedDek, call: &KmsCall) -> Result<Dek, KmsError> {
        if *wrapped == self.1 {
            return Err(KmsError::unavailable("an answer that cannot be read"));
        }
        self.0.unwrap_dek(wrapped, call).await
    }
}

/// Who plants one row must not keep all others from being verified.
#[tokio::test(start_paused = true)]
async fn a_key_without_an_answer_is_a_finding() {
    let trail = Trail::new().await;
    let (writer, wrapped) = {
        let writers = trail.rows.writers.lock().unwrap();
        (writers[0].id, writers[0].wrapped.clone())
    };
    let kms = SilentFor(Arc::clone(&trail.kms), wrapped);
    let verifier = AuditVerifier::new(Arc::clone(&trail.rows), kms).ledger(trail.ledger.clone());
    let report = verifier.verify().await.unwrap();
    assert_eq!(report.findings, [AuditFinding::KeyUnavailable { writer }]);
    for of in report.writers {
        let vouched = if of.writer == writer { 0 } else { 8 };
        assert_eq!(of.vouched, vouched);
    }
}

/// It is asked three times before anything is said of the key.
#[tokio::test(start_paused = true)]
async fn a_kms_that_stumbles_is_no_finding() {
    struct Stumbles(Arc<LocalKms>, AtomicUsize);
    #[async_trait]
    impl Kms for Stumbles {
        pass_on!(0: make_dek, rewrap_dek, holds);

        async fn unwrap_dek(&self, wrapped: &WrappedDek, call: &KmsCall) -> Result<Dek, KmsError> {
            if self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 2 {
                return Err(KmsError::unavailable("it comes again"));
            }
            self.0.unwrap_dek(wrapped, call).await
        }
    }
    let trail = Trail::new().await;
    let kms = Stumbles(Arc::clone(&trail.kms), AtomicUsize::new(0));
    let verifier = AuditVerifier::new(Arc::clone(&trail.rows), kms).ledger(trail.ledger.clone());
    let report = verifier.verify().await.unwrap();
    assert!(report.has_no_findings(), "{report}");
}

/// Gives the same again, wherever one asks it to go on.
#[derive(Debug)]
struct Circling {
    rows: Arc<Rows>,
    writers: bool,
    asked: AtomicUsize,
}

impl Circling {
    fn ask(&self) {
        let asked = self
            .asked
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        assert!(asked < 100, "it would go on for ever");
    }
}

#[async_trait]
impl AuditStore for Circling {
    async fn begin(&self, writer: &AuditWriter) -> Result<(), AuditStoreError> {
        self.rows.begin(writer).await
    }

    async fn append(&self, rows: &[AuditRow]) -> Result<(), AuditStoreError> {
        self.rows.append(rows).await
    }

    async fn writers(
        &self,
        after: Option<WriterId>,
        limit: u32,
    ) -> Result<Vec<AuditWriter>, AuditStoreError> {
        self.ask();
        let after = after.filter(|_| !self.writers);
        self.rows.writers(after, limit).await
    }

    async fn unknown_writers(&self, limit: u32) -> Result<Vec<Vec<u8>>, AuditStoreError> {
        self.rows.unknown_writers(limit).await
    }

    async fn rows(
        &self,
        writer: WriterId,
        after: i64,
        limit: u32,
    ) -> Result<Vec<AuditRow>, AuditStoreError> {
        self.ask();
        let after = if self.writers { after } else { i64::MIN };
        self.rows.rows(writer, after, limit).await
    }

    async fn macs(
        &self,
        of: &[(WriterId, i64)],
    ) -> Result<Vec<(WriterId, i64, Vec<u8>)>, AuditStoreError> {
        self.rows.macs(of).await
    }
}

#[tokio::test]
async fn a_store_that_goes_in_circles() {
    for writers in [true, false] {
        let trail = Trail::new().await;
        let store = Circling {
            rows: Arc::clone(&trail.rows),
            writers,
            asked: AtomicUsize::new(0),
        };
        let verifier =
            AuditVerifier::new(store, Arc::clone(&trail.kms)).ledger(trail.ledger.clone());
        let report = verifier.verify().await.unwrap();
        assert!(
            report
                .findings
                .iter()
                .all(|found| matches!(found, AuditFinding::OutOfOrder { .. })),
            "{report}"
        );
        let vouched: Vec<_> = report.writers.iter().map(|of| of.vouched).collect();
        assert_eq!(vouched, [0, 0], "{report}");
    }
}

#[tokio::test]
async fn a_writer_too_many() {
    let trail = Trail::new().await;
    let writer = trail.first();
    let again = trail.rows.writers.lock().unwrap()[0].clone();
    trail.rows.writers.lock().unwrap().push(again);
    let report = trail.verifier().verify().await.unwrap();
    assert_eq!(report.findings, [AuditFinding::OutOfOrder { writer }]);
    for of in report.writers {
        assert_eq!(of.vouched, if of.writer == writer { 0 } else { 8 });
    }
}

/// Records behind a gap too long to follow are neither right nor wrong.
#[tokio::test]
async fn nothing_is_said_of_records_far_behind_the_others() {
    let trail = Trail::new().await;
    let writer = trail.first();
    for (seq, far) in [(9, 1 << 30), (10, (1 << 30) + 1)] {
        trail.change(seq, |row| row.seq = far);
    }
    let records = 9..=(1 << 30) - 1;
    assert_eq!(
        trail.found().await,
        [AuditFinding::Missing { writer, records }]
    );
}

/// The first head counts, though a later one agrees with what was put in its place.
#[tokio::test]
async fn two_heads_of_one_writer_row() {
    let trail = Trail::new().await;
    let writer = trail.first();
    let forged = [7; 32];
    let payload = [&writer.as_bytes()[..], &[0; 8], &forged].concat();
    let head = trail.ledger.head().await.unwrap();
    let appended = trail.ledger.append(&head, "audit-heads", &payload).await;
    appended.unwrap();
    let rewritten = AuditFinding::Rewritten { writer, seq: 0 };
    assert_eq!(trail.found().await, std::slice::from_ref(&rewritten));
    trail.rows.writers.lock().unwrap()[0].mac = forged.into();
    assert!(trail.found().await.contains(&rewritten));
    assert_eq!(trail.vouched().await, 0);
}

#[tokio::test]
async fn writers_of_another_application() {
    let trail = Trail::new().await;
    let report = trail.verifier().app("other").verify().await.unwrap();
    assert_eq!(report.findings.len(), 2);
    for (of, found) in report.writers.iter().zip(&report.findings) {
        let (writer, app) = (of.writer, "ophie-crypt".to_owned());
        assert_eq!((&*of.app, of.vouched, of.records), ("ophie-crypt", 0, 10));
        assert_eq!(*found, AuditFinding::OtherApp { writer, app });
    }

    let (rows, kms) = (Rows::new(), Arc::new(LocalKms::ephemeral().unwrap()));
    let builder = ChainedAudit::builder(Arc::clone(&rows), Arc::clone(&kms)).app("ophie");
    let audit = builder.start().await.unwrap();
    audit.record(&intent(1)).await.unwrap();
    let report = AuditVerifier::new(rows, kms).app("ophie").verify().await;
    let report = report.unwrap();
    assert!(report.has_no_findings(), "{report}");
    assert_eq!(report.writers[0].app, "ophie");
}

/// Entries in memory, which can be exchanged for others.
#[derive(Debug, Default)]
struct Entries(Mutex<Vec<LedgerEntry>>);

impl Entries {
    fn of(kinds: &[&str]) -> Vec<LedgerEntry> {
        let mut head = LedgerHead::EMPTY;
        let entry = |kind: &&str| {
            head = head.next(kind, b"");
            LedgerEntry::new(*kind, b"", head)
        };
        kinds.iter().map(entry).collect()
    }
}

#[async_trait]
impl Ledger for Entries {
    async fn head(&self) -> Result<LedgerHead, LedgerError> {
        let last = self.0.lock().unwrap().last().map(|entry| *entry.head());
        Ok(last.unwrap_or(LedgerHead::EMPTY))
    }

    async fn append(
        &self,
        expected: &LedgerHead,
        kind: &str,
        payload: &[u8],
    ) -> Result<LedgerHead, LedgerError> {
        let head = self.head().await?;
        if head != *expected {
            return Err(LedgerError::Moved { head });
        }
        let head = head.next(kind, payload);
        let entry = LedgerEntry::new(kind, payload, head);
        self.0.lock().unwrap().push(entry);
        Ok(head)
    }

    async fn read(&self, after: u64, limit: usize) -> Result<Vec<LedgerEntry>, LedgerError> {
        let entries = self.0.lock().unwrap();
        let after = usize::try_from(after).unwrap();
        Ok(entries.iter().skip(after).take(limit).cloned().collect())
    }
}

/// As long as ours, shorter or longer: our next head must not make it look like ours.
#[tokio::test]
async fn no_head_goes_onto_another_ledger() {
    for fork in [&["a"][..], &["a", "b"], &["a", "b", "c"]] {
        let ledger = Arc::new(Entries::default());
        let kms = LocalKms::ephemeral().unwrap();
        let builder = ChainedAudit::builder(Rows::new(), kms).ledger(Arc::clone(&ledger));
        let audit = builder.start().await.unwrap();
        audit.checkpoint().await.unwrap();
        audit.record(&intent(1)).await.unwrap();
        audit.checkpoint().await.unwrap();
        let ours = std::mem::replace(&mut *ledger.0.lock().unwrap(), Entries::of(fork));
        assert_eq!(ours.len(), 2);
        audit.record(&outcome(1)).await.unwrap();
        for _ in 0..2 {
            let error = audit.checkpoint().await.unwrap_err();
            assert!(
                matches!(error, LedgerError::Forked { position: 2 }),
                "{error:?}"
            );
            assert_eq!(*ledger.0.lock().unwrap(), Entries::of(fork));
        }
        // Put back, with entries of others behind it, it is ours again.
        *ledger.0.lock().unwrap() = ours;
        let head = ledger.head().await.unwrap();
        ledger.append(&head, "note", b"").await.unwrap();
        audit.checkpoint().await.unwrap();
        assert_eq!(ledger.0.lock().unwrap().len(), 4);
    }
}

#[tokio::test]
async fn checkpoints_are_not_made_all_the_time() {
    let kms = LocalKms::ephemeral().unwrap();
    let builder = ChainedAudit::builder(Rows::new(), kms).checkpoint_every(Duration::ZERO);
    assert!(matches!(
        builder.start().await,
        Err(StartAuditError::NoPause)
    ));
}
