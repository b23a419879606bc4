//! What the audit does on SQLite only: a full disk, `REPLACE`, texts that are none.

use ophie_crypt::{AuditFinding, AuditSink, SessionError};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use crate::{
    Store,
    paths::{
        audit::{Trail, events, texts},
        world::{ALICE, PURPOSE},
    },
};

#[tokio::test]
async fn a_full_file_fails_the_open_and_says_what_to_do() {
    let (trail, keys) = (Trail::new().await, Trail::new().await);
    let pages = trail.count("PRAGMA page_count").await;
    let options = SqliteConnectOptions::new()
        .filename(trail.database.folder().join("keys.db"))
        .pragma("max_page_count", pages.to_string());
    let full = SqlitePoolOptions::new()
        .connect_with(options)
        .await
        .unwrap();
    let audit = trail.process_on(Store::new(full).audit()).await;
    let keyring = keys.keyring(Store::new(keys.pool.clone()), audit);
    // Until the pages that are there are full.
    let error = loop {
        let owner = uuid::Uuid::new_v4();
        match keyring.open_or_provision(&owner, PURPOSE).await {
            Ok(_) => {}
            Err(error) => break texts(&error),
        }
    };
    assert!(
        error.contains("not locked and not full, then try again"),
        "{error}"
    );
    assert!(error.contains("database or disk is full"), "{error}");
    let opened = keyring.open(&ALICE, PURPOSE).await;
    assert!(
        matches!(opened, Err(SessionError::UnknownOwner)),
        "it fails before anything is recorded: {opened:?}"
    );
    let report = trail.report().await;
    assert!(report.has_no_findings(), "{report}");
}

/// `REPLACE` deletes the old row, and SQLite fires no trigger for that.
#[tokio::test]
async fn nothing_is_replaced() {
    let trail = Trail::new().await;
    let audit = trail.process().await;
    audit.record(&events().await[0]).await.unwrap();
    for table in ["records", "writers"] {
        let sql = "REPLACE INTO ophie_crypt_audit_{} SELECT * FROM ophie_crypt_audit_{}";
        let refused = trail.run(&sql.replace("{}", table)).await.unwrap_err();
        assert!(refused.to_string().contains("only added to"), "{refused}");
    }
}

/// Values that no release writes are findings, not errors that keep the rest from being looked at.
#[tokio::test]
async fn rows_that_no_release_wrote() {
    for change in [
        "actor = CAST(x'ff' AS text)",
        "at = replace(at, 'T', ' ')",
        "at = substr(at, 1, 26) || '0Z'",
        "at = 'now'",
        "at = ''",
    ] {
        let trail = Trail::new().await;
        let audit = trail.process().await;
        audit.record(&events().await[0]).await.unwrap();
        let sql = "DROP TRIGGER ophie_crypt_audit_records_kept_from_update; \
                   UPDATE ophie_crypt_audit_records SET {}";
        trail.run(&sql.replace("{}", change)).await.unwrap();
        let report = trail.report().await;
        assert!(
            matches!(&*report.findings, [AuditFinding::Altered { .. }]),
            "{change}: {report}"
        );
    }
}
