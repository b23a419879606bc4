//! What is found. Random changes by the thousand are in the tests of the databases.

use tokio::time::sleep;

use super::{store::Rows, writing::Folder, *};
use crate::{
    kms::{LocalKms, WrappedDek},
    ledger::{FileLedger, Ledger, LedgerHead},
};

/// Two writers of ten records, vouched for up to the eighth.
pub(super) struct Trail {
    pub(super) rows: Arc<Rows>,
    pub(super) kms: Arc<LocalKms>,
    pub(super) ledger: FileLedger,
    folder: Folder,
    /// Their last checkpoints must not come.
    _audits: Vec<ChainedAudit>,
}

impl Trail {
    pub(super) async fn new() -> Self {
        let (rows, folder) = (Rows::new(), Folder::new());
        let (kms, ledger) = (Arc::new(LocalKms::ephemeral().unwrap()), folder.ledger());
        let mut audits = Vec::new();
        for _ in 0..2 {
            let builder = ChainedAudit::builder(Arc::clone(&rows), Arc::clone(&kms));
            let before = ledger.head().await.unwrap();
            let audit = builder.ledger(ledger.clone()).start().await.unwrap();
            // Its first checkpoint is made by itself; if that came late, it would vouch for records, too.
            while ledger.head().await.unwrap() == before {
                sleep(Duration::from_millis(1)).await;
            }
            for call in 0..5 {
                audit.record(&intent(call)).await.unwrap();
                audit.record(&outcome(call)).await.unwrap();
                if call == 1 || call == 3 {
                    audit.checkpoint().await.unwrap();
                }
            }
            audits.push(audit);
        }
        Self {
            rows,
            kms,
            ledger,
            folder,
            _audits: audits,
        }
    }

    pub(super) fn verifier(&self) -> AuditVerifier {
        AuditVerifier::new(Arc::clone(&self.rows), Arc::clone(&self.kms))
            .ledger(self.ledger.clone())
    }

    pub(super) async fn found(&self) -> Vec<AuditFinding> {
        self.verifier().verify().await.unwrap().findings
    }

    /// Of the writer that began first.
    pub(super) fn first(&self) -> WriterId {
        self.rows.writers.lock().unwrap()[0].id
    }

    pub(super) fn change(&self, seq: i64, change: impl FnOnce(&mut AuditRow)) {
        let first = self.first();
        let mut rows = self.rows.rows.lock().unwrap();
        let mut rows = rows.iter_mut();
        change(
            rows.find(|row| row.writer == first && row.seq == seq)
                .unwrap(),
        );
    }

    fn remove(&self, places: std::ops::RangeInclusive<i64>) {
        let first = self.first();
        let mut rows = self.rows.rows.lock().unwrap();
        rows.retain(|row| row.writer != first || !places.contains(&row.seq));
    }

    pub(super) async fn vouched(&self) -> u64 {
        let report = self.verifier().verify().await.unwrap();
        let mut writers = report.writers.into_iter();
        writers
            .find(|writer| writer.writer == self.first())
            .unwrap()
            .vouched
    }
}

#[tokio::test]
async fn an_untouched_trail_has_no_findings() {
    let trail = Trail::new().await;
    let verifier = trail.verifier();
    let printed = format!("{verifier:?}");
    assert!(
        printed.starts_with(r#"AuditVerifier { app: "ophie-crypt", store: Rows"#),
        "{printed}"
    );
    let report = verifier.verify().await.unwrap();
    assert!(report.has_no_findings(), "{report}");
    for writer in &report.writers {
        assert_eq!((writer.records, writer.vouched, writer.tail()), (10, 8, 2));
    }
    assert_eq!(report.writers.len(), 2);
    assert!(report.open_intents.is_empty());
    let later = trail
        .verifier()
        .known(report.ledger.unwrap())
        .verify()
        .await;
    assert!(later.unwrap().has_no_findings());
}

#[tokio::test]
async fn a_fault_takes_back_what_is_behind_it() {
    let trail = Trail::new().await;
    trail.change(6, |row| row.actor.push('!'));
    let writer = trail.first();
    let records = 6..=6;
    assert_eq!(
        trail.found().await,
        [AuditFinding::Altered { writer, records }]
    );
    assert_eq!(trail.vouched().await, 4);
    trail.change(4, |row| row.took = None);
    assert_eq!(
        trail.vouched().await,
        0,
        "a head stands at the fault itself"
    );
    trail.change(2, |row| row.took = None);
    assert_eq!(trail.vouched().await, 0);
}

/// However many there are: who reads the report sees where it begins and where it ends.
#[tokio::test]
async fn neighbours_that_were_altered_are_one_finding() {
    let trail = Trail::new().await;
    let writer = trail.first();
    for seq in [5, 6, 7, 9] {
        trail.change(seq, |row| row.actor.push('!'));
    }
    let report = trail.verifier().verify().await.unwrap();
    assert!(!report.has_no_findings());
    let altered = |records| AuditFinding::Altered { writer, records };
    assert_eq!(report.findings, [altered(5..=7), altered(9..=9)]);
    let said = format!("FOUND: writer {writer}: records 5 to 7 are not as they were written");
    assert!(report.to_string().contains(&said), "{report}");
}

/// On either side of 1970, where the numbers that databases keep change their sign.
#[tokio::test]
async fn a_writer_began_when_its_row_says() {
    let trail = Trail::new().await;
    let second = Duration::from_secs(1);
    for (micros, time) in [
        (-1_000_000, SystemTime::UNIX_EPOCH - second),
        (1_000_000, SystemTime::UNIX_EPOCH + second),
    ] {
        trail.rows.writers.lock().unwrap()[0].started_at = micros;
        let report = trail.verifier().verify().await.unwrap();
        let writers = report.writers.iter();
        let began: Vec<_> = writers.map(|writer| writer.started_at).collect();
        assert!(began.contains(&time), "{began:?}");
    }
}

#[tokio::test]
async fn records_that_are_gone() {
    let trail = Trail::new().await;
    let writer = trail.first();
    trail.remove(10..=10);
    assert_eq!(trail.found().await, [], "nobody vouched for it");
    trail.remove(8..=9);
    let truncated = AuditFinding::Truncated {
        writer,
        last: 7,
        vouched: 8,
    };
    assert_eq!(trail.found().await, std::slice::from_ref(&truncated));
    trail.remove(2..=3);
    let records = 2..=3;
    assert_eq!(
        trail.found().await,
        [AuditFinding::Missing { writer, records }, truncated]
    );
    trail.remove(1..=7);
    assert_eq!(trail.found().await.len(), 1);
    trail.rows.writers.lock().unwrap().remove(0);
    let vouched = 8;
    assert_eq!(
        trail.found().await,
        [AuditFinding::WriterMissing { writer, vouched }]
    );
}

#[tokio::test]
async fn records_too_many() {
    let trail = Trail::new().await;
    let writer = trail.first();
    let row = trail.rows.rows.lock().unwrap()[4].clone();
    for seq in [row.seq, 0, -5] {
        let mut again = row.clone();
        again.seq = seq;
        trail.rows.rows.lock().unwrap().push(again);
    }
    let duplicate = |seq| AuditFinding::Duplicate { writer, seq };
    assert_eq!(
        trail.found().await,
        [duplicate(-5), duplicate(0), duplicate(5)]
    );
    trail.rows.writers.lock().unwrap().remove(0);
    let id = writer.as_bytes().to_vec();
    assert!(
        trail
            .found()
            .await
            .contains(&AuditFinding::UnknownWriter { id })
    );
}

/// Its key is found by going past those that are missing.
#[tokio::test]
async fn what_stands_behind_a_gap_is_verified_too() {
    let trail = Trail::new().await;
    let writer = trail.first();
    trail.remove(2..=3);
    trail.change(6, |row| row.actor.push('!'));
    let found = trail.found().await;
    let altered = AuditFinding::Altered {
        writer,
        records: 6..=6,
    };
    assert!(found.contains(&altered), "{found:?}");
}

/// A record far away must not keep a verifier busy for ever.
#[tokio::test]
async fn a_record_far_behind_the_others() {
    let trail = Trail::new().await;
    let mut far = trail.rows.rows.lock().unwrap()[4].clone();
    far.seq = i64::MAX;
    trail.rows.rows.lock().unwrap().push(far);
    assert!(matches!(
        &*trail.found().await,
        [AuditFinding::Missing { .. }]
    ));
}

/// More in one place than are read at a time.
#[tokio::test]
async fn a_page_full_of_one_place() {
    let trail = Trail::new().await;
    let row = trail.rows.rows.lock().unwrap()[4].clone();
    let many = std::iter::repeat_n(row.clone(), 1200);
    trail.rows.rows.lock().unwrap().extend(many);
    let found = trail.found().await;
    assert_eq!(
        found[0],
        AuditFinding::Duplicate {
            writer: row.writer,
            seq: 5
        }
    );
    let is_cut_off = |found: &AuditFinding| matches!(found, AuditFinding::Truncated { .. });
    assert!(!found.iter().any(is_cut_off), "what is behind it is there");
    assert_eq!(trail.vouched().await, 4);
}

#[tokio::test]
async fn exchanged_keys_and_writers() {
    let trail = Trail::new().await;
    let first = trail.first();
    {
        let mut writers = trail.rows.writers.lock().unwrap();
        let other = writers[1].wrapped.clone();
        writers[0].wrapped = other;
    }
    assert_eq!(
        trail.found().await,
        [AuditFinding::KeyRefused { writer: first }]
    );
    assert_eq!(trail.vouched().await, 0);

    let trail = Trail::new().await;
    let writer = trail.first();
    trail.rows.writers.lock().unwrap()[0].started_at += 1;
    assert_eq!(
        trail.found().await,
        [AuditFinding::WriterAltered { writer }]
    );
    trail.rows.writers.lock().unwrap()[0].mac[0] ^= 1;
    assert!(
        trail
            .found()
            .await
            .contains(&AuditFinding::Rewritten { writer, seq: 0 })
    );
}

/// Who holds the process's key from record 3 on writes all behind it anew, and well.
#[tokio::test]
async fn history_written_anew_by_who_took_the_process_over() {
    let trail = Trail::new().await;
    let writer = trail.first();
    let stored = trail.rows.writers.lock().unwrap()[0].clone();
    let context = crate::EncryptionContext::audit("ophie-crypt", writer);
    let call = crate::KmsCall::new(context);
    let key = crate::Kms::unwrap_dek(&*trail.kms, &stored.wrapped, &call)
        .await
        .unwrap();
    let at = report::time(stored.started_at);
    let (mut chain, _) = chain::Chain::begin(writer, "ophie-crypt", at, &key, stored.wrapped);
    let events = [intent(0), outcome(0), intent(1), intent(9)];
    let forged: Vec<_> = events.iter().map(|event| chain.append(event)).collect();
    for row in forged {
        trail.change(row.seq, |stored| *stored = row.clone());
    }
    let found = trail.found().await;
    assert!(
        found.contains(&AuditFinding::Rewritten { writer, seq: 4 }),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_changed_ledger() {
    let trail = Trail::new().await;
    let path = trail.folder.0.join("ledger");
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 6);
    let whole = trail.verifier().verify().await.unwrap().ledger.unwrap();

    let swapped = [
        lines[0], lines[2], lines[1], lines[3], lines[4], lines[5], "",
    ]
    .join("\n");
    std::fs::write(&path, swapped).unwrap();
    assert_eq!(
        trail.found().await,
        [AuditFinding::LedgerDamaged { position: 2 }]
    );

    // Cut off at a line's end, nothing is wrong with what is left, but for who knows better.
    let shorter = lines[..5].join("\n") + "\n";
    std::fs::write(&path, shorter).unwrap();
    assert_eq!(trail.found().await, []);
    let report = trail.verifier().known(whole).verify().await.unwrap();
    assert_eq!(
        report.findings,
        [AuditFinding::LedgerForked { position: 6 }]
    );

    std::fs::write(&path, "").unwrap();
    let report = trail.verifier().known(whole).verify().await.unwrap();
    assert_eq!(
        report.findings,
        [AuditFinding::LedgerForked { position: 6 }]
    );
    assert_eq!(report.ledger, Some(LedgerHead::EMPTY));
}

#[tokio::test]
async fn other_entries_of_the_ledger_are_left_alone() {
    let trail = Trail::new().await;
    let head = trail.ledger.head().await.unwrap();
    let head = trail
        .ledger
        .append(&head, "shred", b"opaque")
        .await
        .unwrap();
    assert_eq!(trail.found().await, []);
    trail
        .ledger
        .append(&head, "audit-heads", b"no head")
        .await
        .unwrap();
    assert_eq!(
        trail.found().await,
        [AuditFinding::LedgerDamaged { position: 8 }]
    );
}

#[tokio::test]
async fn without_a_ledger_nothing_is_vouched_for() {
    let trail = Trail::new().await;
    let verifier = AuditVerifier::new(Arc::clone(&trail.rows), Arc::clone(&trail.kms));
    let report = verifier.verify().await.unwrap();
    assert!(report.has_no_findings() && report.writers.iter().all(|writer| writer.vouched == 0));
    assert!(report.to_string().contains("nothing is vouched for"));
}

#[tokio::test]
async fn a_kms_that_is_away_proves_nothing() {
    #[derive(Debug)]
    struct Away;
    #[async_trait]
    impl crate::Kms for Away {
        async fn make_dek(
            &self,
            _: &crate::KmsCall,
        ) -> Result<crate::GeneratedDek, crate::KmsError> {
            Err(crate::KmsError::unavailable("away"))
        }
        async fn unwrap_dek(
            &self,
            _: &WrappedDek,
            _: &crate::KmsCall,
        ) -> Result<crate::Dek, crate::KmsError> {
            Err(crate::KmsError::unavailable("away"))
        }
        async fn rewrap_dek(
            &self,
            _: &WrappedDek,
            _: &crate::KmsCall,
        ) -> Result<WrappedDek, crate::KmsError> {
            Err(crate::KmsError::unavailable("away"))
        }
        fn holds(&self, _: &str) -> bool {
            true
        }
    }
    let trail = Trail::new().await;
    let verified = AuditVerifier::new(Arc::clone(&trail.rows), Away)
        .verify()
        .await;
    assert!(matches!(verified, Err(VerifyError::Kms(_))));
}
