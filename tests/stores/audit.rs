//! What an audit store gives back, and that its tables only grow.

use std::{sync::Arc, time::Duration};

use futures_util::future::{join_all, try_join_all};
use ophie_crypt::{
    AuditReport, AuditSink, AuditStore, AuditStoreError, AuditVerifier, CanonicalId, ChainedAudit,
    FileLedger, Keyring, LocalKms, MemoryKeyStore, Purpose,
};
use tempfile::TempDir;
use uuid::Uuid;

use ophie_crypt_tests::events::{events, texts};

use crate::world::{Database, Kind};

every_database!(
    every_kind_of_event_verifies,
    four_keyrings_open_sessions,
    the_tables_are_only_added_to,
    the_same_records_again_are_no_error_and_others_are_refused,
    without_tables_the_error_says_so,
    errors_and_debug_show_no_owner,
);

const PURPOSE: Purpose = Purpose::new("tests");

/// A migrated database, a KMS and a ledger.
struct Trail {
    kind: Kind,
    database: Database,
    kms: Arc<LocalKms>,
    folder: TempDir,
}

impl Trail {
    async fn new(kind: Kind) -> Self {
        let database = Database::create(kind).await;
        database.store(kind).await.migrate().await.unwrap();
        Self {
            kind,
            database,
            kms: Arc::new(LocalKms::ephemeral().unwrap()),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    async fn store(&self) -> Arc<dyn AuditStore> {
        self.database.store(self.kind).await.audit()
    }

    fn ledger(&self) -> FileLedger {
        FileLedger::open_or_create(self.folder.path().join("ledger")).unwrap()
    }

    /// One more process, whose checkpoints come when they are asked for.
    async fn process(&self) -> ChainedAudit {
        ChainedAudit::builder(self.store().await, Arc::clone(&self.kms))
            .ledger(self.ledger())
            .checkpoint_every(Duration::from_secs(3600))
            .start()
            .await
            .unwrap()
    }

    async fn report(&self) -> AuditReport {
        let verifier = AuditVerifier::new(self.store().await, Arc::clone(&self.kms));
        verifier.ledger(self.ledger()).verify().await.unwrap()
    }
}

/// Texts and times of all kinds come back as they were written.
async fn every_kind_of_event_verifies(kind: Kind) {
    let trail = Trail::new(kind).await;
    let audit = trail.process().await;
    let mut events = events().await;
    let base = events[0].at;
    for nanos in [0, 1, 999_999_999, 1_000, 123_456_789] {
        let mut event = events[0].clone();
        event.at = std::time::SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos);
        events.push(event.clone());
        event.at = std::time::SystemTime::UNIX_EPOCH - Duration::from_nanos(nanos);
        event.reason = Some("".into());
        events.push(event.clone());
        event.at = base + Duration::from_secs(86_400 * 365 * 200);
        event.generation = u32::MAX;
        event.owner = CanonicalId::text(&"ö".repeat(5000));
        events.push(event);
    }
    let recorded = try_join_all(events.iter().map(|event| audit.record(event))).await;
    recorded.unwrap();
    let report = trail.report().await;
    assert!(report.has_no_findings(), "{report}");
    let records = u64::try_from(events.len()).unwrap();
    assert_eq!(report.writers[0].records, records);
}

/// Every process has a writer of its own, on connections of its own.
async fn four_keyrings_open_sessions(kind: Kind) {
    let trail = Trail::new(kind).await;
    let (mut keyrings, mut audits) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let audit = trail.process().await;
        let keyring = Keyring::builder()
            .kms(Arc::clone(&trail.kms))
            .key_store(Arc::new(MemoryKeyStore::new()))
            .audit(audit.clone())
            .build();
        keyrings.push(keyring.unwrap());
        audits.push(audit);
    }
    let tasks = keyrings.into_iter().map(|keyring| {
        tokio::spawn(async move {
            for _ in 0..10 {
                let owner = Uuid::new_v4();
                drop(keyring.open_or_provision(&owner, PURPOSE).await.unwrap());
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    for audit in &audits {
        audit.checkpoint().await.unwrap();
    }
    let report = trail.report().await;
    assert!(
        report.has_no_findings() && report.open_intents.is_empty(),
        "{report}"
    );
    assert_eq!(report.writers.len(), 4);
    for writer in &report.writers {
        assert_eq!((writer.records, writer.vouched), (40, 40));
    }
}

async fn the_tables_are_only_added_to(kind: Kind) {
    let trail = Trail::new(kind).await;
    let audit = trail.process().await;
    for event in events().await {
        audit.record(&event).await.unwrap();
    }
    for table in ["records", "writers"] {
        for sql in [
            "UPDATE ophie_crypt_audit_{} SET mac = mac",
            "DELETE FROM ophie_crypt_audit_{}",
        ] {
            let refused = trail.database.run_plain(&sql.replace("{}", table)).await;
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains("only added to"), "{refused}");
        }
    }
    let report = trail.report().await;
    assert!(report.has_no_findings(), "{report}");
}

/// What a writer leans on when an answer was lost.
async fn the_same_records_again_are_no_error_and_others_are_refused(kind: Kind) {
    let trail = Trail::new(kind).await;
    let audit = trail.process().await;
    for event in &events().await[..2] {
        audit.record(event).await.unwrap();
    }
    let store = trail.store().await;
    let writer = store.writers(None, 1).await.unwrap().remove(0).id;
    assert!(store.writers(Some(writer), 1).await.unwrap().is_empty());
    assert!(store.unknown_writers(9).await.unwrap().is_empty());
    let rows = store.rows(writer, 0, 9).await.unwrap();
    assert_eq!(store.rows(writer, 1, 9).await.unwrap(), rows[1..]);
    store.append(&rows).await.unwrap();
    let mut other = rows.clone();
    other[1].mac[31] ^= 1;
    let mut longer = rows.clone();
    longer.push(rows[1].clone());
    longer[2].seq = 3;
    for refused in [other, longer] {
        let refused = store.append(&refused).await;
        assert!(
            matches!(refused, Err(AuditStoreError::Refused { .. })),
            "{refused:?}"
        );
        // MySQL names the values of the key that is there, between the same quotes as the key.
        let said = texts(&refused.unwrap_err());
        assert!(!said.contains("PRIMARY"), "{said}");
    }
    assert_eq!(store.rows(writer, 0, 9).await.unwrap(), rows);
}

async fn without_tables_the_error_says_so(kind: Kind) {
    let database = Database::create(kind).await;
    let audit = database.store(kind).await.audit();
    let kms = Arc::new(LocalKms::ephemeral().unwrap());
    let started = ChainedAudit::builder(Arc::clone(&audit), Arc::clone(&kms)).start();
    let error = texts(&started.await.unwrap_err());
    assert!(error.contains("run the library's migrations"), "{error}");
    let error = texts(&AuditVerifier::new(audit, kms).verify().await.unwrap_err());
    assert!(error.contains("run the library's migrations"), "{error}");
}

async fn errors_and_debug_show_no_owner(kind: Kind) {
    let trail = Trail::new(kind).await;
    let audit = trail.process().await;
    let mut printed = format!("{audit:?} {:?}", trail.store().await);
    let drop = "DROP TABLE ophie_crypt_audit_records";
    trail.database.run_plain(drop).await.unwrap();
    for mut event in events().await {
        event.reason = Some("reason-canary".into());
        let error = audit.record(&event).await.unwrap_err();
        printed += &format!("{event:?} {}", texts(&error));
    }
    let owner = ophie_crypt_tests::events::OWNER.simple().to_string();
    for secret in [
        &*owner,
        &owner.to_uppercase(),
        &ophie_crypt_tests::events::OWNER.to_string(),
        "reason-canary",
    ] {
        assert!(!printed.contains(secret), "{secret}: {printed}");
    }
}
