//! What the audit does on PostgreSQL only: answers that are lost, killed connections, roles, pgbouncer.

use std::{
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use futures_util::future::try_join_all;
use ophie_crypt::{
    AuditFinding, AuditSink, AuditVerifier, Dek, Kms, KmsCall, KmsError, LocalKms, WrappedDek,
};
use sqlx::{
    AssertSqlSafe,
    postgres::{PgConnectOptions, PgPoolOptions, PgSslMode},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use uuid::Uuid;

use crate::{
    Store,
    db::Pool,
    passed_on::pass_on,
    paths::audit::{Trail, events},
};

/// Far longer than it takes: without it, a mistake would be for ever.
const LONG: Duration = Duration::from_secs(60);

fn options(trail: &Trail) -> PgConnectOptions {
    PgConnectOptions::from_str(trail.database.url()).unwrap()
}

/// Records that were stored by one INSERT have one transaction.
#[tokio::test]
async fn many_records_are_one_insert() {
    let trail = Trail::new().await;
    let audit = trail.process().await;
    let event = &events().await[0];
    try_join_all((0..500).map(|_| audit.record(event)))
        .await
        .unwrap();
    let inserts = trail
        .count("SELECT COUNT(DISTINCT xmin::text) FROM ophie_crypt_audit_records")
        .await;
    let records = trail
        .count("SELECT COUNT(*) FROM ophie_crypt_audit_records")
        .await;
    assert_eq!(records, 500);
    assert!(inserts <= 10, "{inserts} INSERTs");
}

/// One process that hangs in the middle of its INSERT keeps none of fifteen others waiting.
#[tokio::test]
async fn processes_wait_for_none_of_the_others() {
    let trail = Trail::new().await;
    let event = &events().await[0];
    let hangs = trail.process().await;
    hangs.record(event).await.unwrap();
    let mut open = trail.pool.begin().await.unwrap();
    sqlx::query(
        "INSERT INTO ophie_crypt_audit_records \
         SELECT writer, 2, at, actor, owner, generation, purpose, reason, step, call_id, attempt, \
                operation, result, request_id, took, mac FROM ophie_crypt_audit_records",
    )
    .execute(&mut *open)
    .await
    .unwrap();
    let mut waiting = std::pin::pin!(hangs.record(event));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    let others = async {
        for _ in 0..15 {
            let audit = trail.process().await;
            for _ in 0..20 {
                audit.record(event).await.unwrap();
            }
        }
    };
    timeout(LONG, others).await.expect("no one waits");
    assert!(
        futures_util::poll!(&mut waiting).is_pending(),
        "the test holds no lock"
    );
    open.rollback().await.unwrap();
    waiting.await.unwrap();
    let report = trail.report().await;
    assert!(report.has_no_findings(), "{report}");
}

/// Between a pool and the server; loses the answer to a COMMIT, once, when it is told to.
async fn proxy(to: PgConnectOptions) -> (PgConnectOptions, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let through = to
        .clone()
        .host("127.0.0.1")
        .port(port)
        .ssl_mode(PgSslMode::Disable);
    let loses = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&loses);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect((to.get_host(), to.get_port()))
                .await
                .unwrap();
            tokio::spawn(pass(client, server, Arc::clone(&told)));
        }
    });
    (through, loses)
}

async fn pass(mut client: TcpStream, mut server: TcpStream, loses: Arc<AtomicBool>) {
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => match read {
                Ok(len) if len > 0 => {
                    server.write_all(&up[..len]).await.unwrap();
                    let commits = up[..len].windows(7).any(|bytes| bytes == b"COMMIT\0");
                    if commits && loses.swap(false, SeqCst) {
                        let answered = server.read(&mut down).await.unwrap();
                        assert!(answered > 0, "the server committed");
                        return;
                    }
                }
                _ => return,
            },
            read = server.read(&mut down) => match read {
                Ok(len) if len > 0 => client.write_all(&down[..len]).await.unwrap(),
                _ => return,
            },
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_to_a_commit() {
    let trail = Trail::new().await;
    let (through, loses) = proxy(options(&trail)).await;
    let pool = PgPoolOptions::new().connect_with(through).await.unwrap();
    let audit = trail.process_on(Store::new(pool).audit()).await;
    let event = &events().await[0];
    let records = "SELECT COUNT(*) FROM ophie_crypt_audit_records";
    for round in 1..=3 {
        audit.record(event).await.unwrap();
        loses.store(true, SeqCst);
        audit.record(event).await.unwrap_err();
        assert!(!loses.load(SeqCst), "the proxy lost nothing");
        assert_eq!(trail.count(records).await, 2 * round, "it was committed");
    }
    audit.record(event).await.unwrap();
    audit.checkpoint().await.unwrap();
    let report = trail.report().await;
    assert!(report.has_no_findings(), "{report}");
    assert_eq!(report.writers.len(), 1);
    assert_eq!(
        (report.writers[0].records, report.writers[0].vouched),
        (7, 7)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_killed() {
    let trail = Trail::new().await;
    let audit = trail.process().await;
    let event = events().await.remove(0);
    audit.record(&event).await.unwrap();
    for _ in 0..3 {
        let mut lock = trail.pool.begin().await.unwrap();
        sqlx::query("LOCK TABLE ophie_crypt_audit_records")
            .execute(&mut *lock)
            .await
            .unwrap();
        let record = tokio::spawn({
            let (audit, event) = (audit.clone(), event.clone());
            async move { audit.record(&event).await }
        });
        let killed = async {
            let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                        WHERE datname = current_database() AND wait_event_type = 'Lock'";
            while sqlx::query(kill)
                .fetch_all(&trail.pool)
                .await
                .unwrap()
                .is_empty()
            {}
        };
        timeout(LONG, killed).await.expect("it waits for the lock");
        record.await.unwrap().unwrap_err();
        lock.rollback().await.unwrap();
    }
    audit.record(&event).await.unwrap();
    audit.checkpoint().await.unwrap();
    let report = trail.report().await;
    assert!(report.has_no_findings(), "{report}");
    assert_eq!(report.writers.len(), 1);
    // The first one, the one in doubt, the last one: nothing was written behind what was in doubt.
    assert_eq!(
        (report.writers[0].records, report.writers[0].vouched),
        (3, 3)
    );
}

#[tokio::test]
async fn the_audit_is_not_truncated() {
    let trail = Trail::new().await;
    for table in ["records", "writers"] {
        let sql = format!("TRUNCATE ophie_crypt_audit_{table} CASCADE");
        let error = trail.run(&sql).await.unwrap_err();
        let code = error.as_database_error().and_then(|error| error.code());
        assert_eq!(code.as_deref(), Some("23001"), "{table}: {error}"); // restrict_violation
    }
}

/// What the docs say that the roles need.
#[tokio::test]
async fn roles_that_may_add_and_roles_that_may_read() {
    let trail = Trail::new().await;
    let id = Uuid::new_v4().simple();
    let grants = format!(
        "CREATE ROLE app_{id} LOGIN; CREATE ROLE auditor_{id} LOGIN; \
         GRANT SELECT, INSERT ON ophie_crypt_audit_writers, ophie_crypt_audit_records TO app_{id}; \
         GRANT SELECT ON ophie_crypt_audit_writers, ophie_crypt_audit_records TO auditor_{id};"
    );
    sqlx::raw_sql(AssertSqlSafe(grants))
        .execute(&trail.pool)
        .await
        .unwrap();
    let role = |role: &str| {
        let options = options(&trail).username(&format!("{role}_{id}"));
        PgPoolOptions::new().connect_lazy_with(options)
    };
    let app: Pool = role("app");
    let audit = trail.process_on(Store::new(app.clone()).audit()).await;
    for event in events().await {
        audit.record(&event).await.unwrap();
    }
    for sql in [
        "UPDATE ophie_crypt_audit_records SET reason = NULL",
        "DELETE FROM ophie_crypt_audit_records",
        "ALTER TABLE ophie_crypt_audit_records DISABLE TRIGGER USER",
        "UPDATE ophie_crypt_audit_writers SET kek = ''",
    ] {
        let error = sqlx::raw_sql(sql).execute(&app).await.unwrap_err();
        let code = error.as_database_error().and_then(|error| error.code());
        assert_eq!(code.as_deref(), Some("42501"), "{sql}: {error}"); // insufficient_privilege
    }
    let auditor = Store::new(role("auditor")).audit();
    let verifier = AuditVerifier::new(auditor, Arc::clone(&trail.kms)).ledger(trail.ledger());
    let report = verifier.verify().await.unwrap();
    assert!(report.has_no_findings(), "{report}");
}

/// Answers for all wrapped keys but those of one KEK's name.
struct SilentFor(Arc<LocalKms>, &'static str);

#[async_trait::async_trait]
impl Kms for SilentFor {
    pass_on!(0: make_dek, rewrap_dek, holds);

    async fn unwrap_dek(&self, wrapped: &WrappedDek, call: &KmsCall) -> Result<Dek, KmsError> {
        if wrapped.kek() == self.1 {
            return Err(KmsError::unavailable("an answer that cannot be read"));
        }
        self.0.unwrap_dek(wrapped, call).await
    }
}

/// Who may only add rows hides none of the others by any of their own.
#[tokio::test]
async fn a_role_that_may_only_add_stops_no_one_who_verifies() {
    let trail = Trail::new().await;
    let audit = trail.process().await;
    for event in events().await {
        audit.record(&event).await.unwrap();
    }
    audit.checkpoint().await.unwrap();
    let honest = trail.report().await.writers.remove(0);
    let role = format!("adds_{}", Uuid::new_v4().simple());
    trail
        .run(&format!(
            "CREATE ROLE {role} LOGIN; \
             GRANT INSERT ON ophie_crypt_audit_writers, ophie_crypt_audit_records TO {role}"
        ))
        .await
        .unwrap();
    let adds = PgPoolOptions::new()
        .connect_with(options(&trail).username(&role))
        .await
        .unwrap();
    let mut next = honest.records + 1;
    for (number, time) in [
        "infinity",
        "-infinity",
        "294276-12-31",
        "4713-01-01 BC",
        "now",
    ]
    .into_iter()
    .enumerate()
    {
        // Before and behind the honest one.
        for first in ["00", "ff"] {
            let planted = format!("{first}{number:030}");
            let mac = "00".repeat(32);
            let mut sql = format!(
                "INSERT INTO ophie_crypt_audit_writers \
                 VALUES ('\\x{planted}', 'ophie-crypt', '{time}', 'silent', '\\x00', '\\x{mac}');"
            );
            for (writer, seq) in [(planted, 1), (honest.writer.to_string(), next)] {
                sql += &format!(
                    "INSERT INTO ophie_crypt_audit_records \
                         (writer, seq, at, actor, owner, generation, purpose, step, mac) \
                     VALUES ('\\x{writer}', {seq}, '{time}', '', '', 1, '', '', '\\x{mac}');"
                );
            }
            next += 1;
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&adds)
                .await
                .unwrap();
        }
    }
    let kms = SilentFor(Arc::clone(&trail.kms), "silent");
    let verifier = AuditVerifier::new(trail.store(), kms).ledger(trail.ledger());
    let report = verifier.verify().await.unwrap();
    assert_eq!(report.writers.len(), 11, "{report}");
    for of in &report.writers {
        let silent = AuditFinding::KeyUnavailable { writer: of.writer };
        let is_honest = of.writer == honest.writer;
        assert_eq!(!is_honest, report.findings.contains(&silent), "{report}");
        assert_eq!(of.vouched, if is_honest { honest.vouched } else { 0 });
    }
    let altered = AuditFinding::Altered {
        writer: honest.writer,
        records: honest.records + 1..=next - 1,
    };
    assert!(report.findings.contains(&altered), "{report}");
    assert_eq!(report.findings.len(), 11, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_pgbouncer() {
    let trail = Trail::new().await;
    let event = &events().await[0];
    let mut audits = Vec::new();
    for _ in 0..4 {
        let pool = Pool::connect(trail.database.bouncer_url()).await.unwrap();
        audits.push(trail.process_on(Store::new(pool).audit()).await);
    }
    for _ in 0..20 {
        try_join_all(audits.iter().map(|audit| audit.record(event)))
            .await
            .unwrap();
    }
    let report = trail.report().await;
    assert!(report.has_no_findings(), "{report}");
    assert!(report.writers.iter().all(|writer| writer.records == 20));
}
