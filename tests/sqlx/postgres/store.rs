//! What the key store does on PostgreSQL only: notifications, read-only servers, roles, late commits.

use std::{pin::pin, str::FromStr, time::Duration};

use futures_util::{FutureExt, future::join, poll};
use ophie_crypt::{
    CanonicalId, ChainedAudit, FileLedger, KeyId, KeyStore, Keyring, LeaseError, MAX_INVOCATIONS,
    ModelError, ModelStore, Models, OwnerId, RestoreGuard, Rotation, RowStore, Shred, ShredId,
    ShredStore, Shredder, StoreError, WaitsFor, restore_adopt, restore_replay,
};
use ophie_crypt_sqlx::PostgresModels;
use sqlx::{
    AssertSqlSafe,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    Store,
    db::Pool,
    paths::{
        models::person_link,
        store::{Keys, provision},
        world::{ALICE, PURPOSE, kms},
    },
};

/// Far longer than it takes: without a notification it would be for ever.
const LONG: Duration = Duration::from_secs(60);

const CHANGE: &str = "UPDATE ophie_crypt_deks SET kek = kek || '.' WHERE owner = $1";

fn options(keys: &Keys) -> PgConnectOptions {
    PgConnectOptions::from_str(keys.database.url()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_notified() {
    let keys = Keys::new().await;
    let store = keys.store.clone().with_notifications(options(&keys));
    timeout(LONG, store.notified())
        .await
        .expect("once connected");
    for _ in 0..3 {
        // One that waits and goes away takes nothing from the others.
        assert!(store.notified().now_or_never().is_none());
        let mut both = pin!(join(store.notified(), store.notified()));
        assert!(poll!(&mut both).is_pending());
        keys.run(CHANGE).await.unwrap();
        timeout(LONG, both).await.expect("after a change");
    }
    // Nor is one lost that comes while nobody waits.
    keys.run(CHANGE).await.unwrap();
    timeout(LONG, store.notified())
        .await
        .expect("after a change");
}

#[tokio::test]
async fn without_a_listener_nothing_is_notified() {
    let keys = Keys::new().await;
    keys.run(CHANGE).await.unwrap();
    assert!(keys.store.notified().now_or_never().is_none());
}

/// Or every sign-up would wake every process.
#[tokio::test]
async fn first_keys_and_leases_are_not_notified() {
    let keys = Keys::new().await;
    let mut listener = PgListener::connect(keys.database.url()).await.unwrap();
    listener.listen("ophie_crypt").await.unwrap();
    provision(&keys.store, &CanonicalId::text("ben"))
        .await
        .unwrap();
    keys.store
        .lease(&keys.request(1, MAX_INVOCATIONS))
        .await
        .unwrap();
    sqlx::raw_sql("SELECT pg_notify('ophie_crypt', 'the first')")
        .execute(&keys.pool)
        .await
        .unwrap();
    assert_eq!(listener.recv().await.unwrap().payload(), "the first");
    keys.run(CHANGE).await.unwrap();
    assert_eq!(listener.recv().await.unwrap().payload(), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_listener_comes_back() {
    let keys = Keys::new().await;
    let store = keys.store.clone().with_notifications(options(&keys));
    timeout(LONG, store.notified())
        .await
        .expect("once connected");
    for _ in 0..2 {
        let killed: Vec<bool> = sqlx::query_scalar(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND query LIKE 'LISTEN %'",
        )
        .fetch_all(&keys.pool)
        .await
        .unwrap();
        assert_eq!(killed, [true]);
        timeout(LONG, store.notified())
            .await
            .expect("once connected again");
        keys.run(CHANGE).await.unwrap();
        timeout(LONG, store.notified())
            .await
            .expect("after a change");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_listeners_connection_goes_with_the_store() {
    let keys = Keys::new().await;
    let store = keys.store.clone().with_notifications(options(&keys));
    timeout(LONG, store.notified())
        .await
        .expect("once connected");
    let listener: i32 = sqlx::query_scalar(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %'",
    )
    .fetch_one(&keys.pool)
    .await
    .unwrap();
    drop(store);
    let gone = async {
        let left = "SELECT pid FROM pg_stat_activity WHERE pid = $1";
        while sqlx::query(left)
            .bind(listener)
            .fetch_optional(&keys.pool)
            .await
            .unwrap()
            .is_some()
        {}
    };
    timeout(LONG, gone).await.expect("the listener ends");
}

#[tokio::test]
async fn a_read_only_server_is_refused() {
    let keys = Keys::new().await;
    let read_only = options(&keys).options([("default_transaction_read_only", "on")]);
    let store = Store::new(Pool::connect_with(read_only).await.unwrap());
    let changes = store.changes(LONG).await;
    assert!(matches!(changes, Err(StoreError::ReadOnly)), "{changes:?}");
    let lease = store.lease(&keys.request(1, MAX_INVOCATIONS)).await;
    assert!(
        matches!(lease, Err(LeaseError::Store(StoreError::ReadOnly))),
        "{lease:?}"
    );
    let provisioned = provision(&store, &CanonicalId::text("ben")).await;
    assert!(
        matches!(provisioned, Err(StoreError::ReadOnly)),
        "{provisioned:?}"
    );
    // Reading goes on.
    assert_eq!(
        store.load(&keys.owner).await.unwrap(),
        keys.store.load(&keys.owner).await.unwrap()
    );
    assert_eq!(store.version(&keys.owner).await.unwrap(), Some(1));
}

/// The SQL in the docs of `migrate`, block by block: the application's, what rotates needs more, what shreds.
fn documented_grants(number: usize) -> String {
    const DOCS: &str = include_str!("../../../ophie-crypt-sqlx/src/store/postgres.rs");
    let blocks = DOCS.split("/// ```sql\n");
    let block = blocks.skip(number).nth(1).unwrap_or_default();
    let lines = block
        .lines()
        .map(str::trim)
        .map_while(|line| line.strip_prefix("/// ").filter(|sql| *sql != "```"));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Connections of a new role to which the block of this number grants what it does to the one that it names: so often.
async fn granted(keys: &Keys, name: &str, number: usize, times: usize) -> Pool {
    let role = format!("{name}_{}", Uuid::new_v4().simple());
    let grants = documented_grants(number).replace(&format!(" {name};"), &format!(" {role};"));
    assert_eq!(grants.matches(&role).count(), times, "{grants}");
    let grants = format!("CREATE ROLE {role} LOGIN; {grants}");
    sqlx::raw_sql(AssertSqlSafe(grants))
        .execute(&keys.pool)
        .await
        .unwrap();
    let options = options(keys).username(&role);
    PgPoolOptions::new().connect_with(options).await.unwrap()
}

/// A role with the documented grants, and no others.
#[tokio::test]
async fn a_role_that_may_change_no_key() {
    let keys = Keys::new().await;
    let pool = granted(&keys, "app", 0, 7).await;
    let store = Store::new(pool.clone());
    provision(&store, &CanonicalId::text("ben")).await.unwrap();
    store.load(&keys.owner).await.unwrap().unwrap();
    store
        .lease(&keys.request(1, MAX_INVOCATIONS))
        .await
        .unwrap();
    store.changes(LONG).await.unwrap();
    store.migrate().await.unwrap(); // as it finds nothing to do

    // The whole life of an owner.
    let folder = tempfile::tempdir().unwrap();
    let ledger = FileLedger::open_or_create(folder.path().join("ledger")).unwrap();
    let guarded = store.clone();
    let audit = ChainedAudit::builder(store.audit(), kms());
    let keyring = Keyring::builder()
        .kms(kms())
        .key_store(store)
        .restore_guard(RestoreGuard::new(guarded.clone(), ledger.clone()))
        .audit(audit.start().await.unwrap())
        .build()
        .unwrap();
    let session = keyring.open_or_provision(&ALICE, PURPOSE).await.unwrap();
    session.reserve(1 << 20).await.unwrap();
    session.refresh().await.unwrap();
    person_link::name("Mom").seal(&session).unwrap();
    keyring.shred(&ALICE).await.unwrap();
    let mut restored = Shred::requested(keys.owner.clone(), ShredId::from_bytes([1; 16]), 1);
    restored.entry = Some(1);
    guarded.remember(&[restored]).await.unwrap();
    let head = guarded.installation().await.unwrap().ledger;
    guarded.raise_epoch(2, &head).await.unwrap();

    let worker = Store::new(granted(&keys, "shredder", 2, 3).await);
    let worked = Shredder::builder(worker.clone(), ledger.clone())
        .build()
        .work()
        .await;
    assert_eq!(worked.unwrap().done, 2);
    let shreds = guarded.shreds_of(&[ALICE.canonical()]).await.unwrap();
    assert!(shreds[0].done_at.is_some() && shreds[0].vacuumed_at.is_none());
    worker.shred(&CanonicalId::text("ben")).await.unwrap_err();

    let restorer = Store::new(granted(&keys, "restorer", 3, 3).await);
    let replayed = restore_replay(&restorer, &ledger).await.unwrap();
    assert_eq!(replayed, 0);
    let other = FileLedger::open_or_create(folder.path().join("other")).unwrap();
    assert_eq!(restore_adopt(&restorer, &other).await.unwrap(), 4);

    for sql in [
        "UPDATE ophie_crypt_deks SET kek = 'mine'",
        "DELETE FROM ophie_crypt_index_keys",
        "UPDATE ophie_crypt_owners SET version = 1",
        "UPDATE ophie_crypt_owners SET state = 'living'",
        "DELETE FROM ophie_crypt_shreds",
        "UPDATE ophie_crypt_shreds SET done_at = 1",
        "UPDATE ophie_crypt_installation SET id = uuid_send(gen_random_uuid())",
        "TRUNCATE ophie_crypt_index_keys",
        "UPDATE ophie_crypt_audit_writers SET app = 'mine'",
        "DELETE FROM ophie_crypt_audit_records",
        "CREATE TEMPORARY TABLE ophie_crypt_owners (owner bytea, version bigint); \
         CREATE TRIGGER mine AFTER INSERT ON ophie_crypt_owners \
             FOR EACH ROW EXECUTE FUNCTION ophie_crypt_key_changed()",
    ] {
        let error = sqlx::raw_sql(sql).execute(&pool).await.unwrap_err();
        let code = error.as_database_error().and_then(|error| error.code());
        assert_eq!(code.as_deref(), Some("42501"), "{sql}: {error}"); // insufficient_privilege
    }
}

/// A role with both, from the announcement to the end of the old key.
#[tokio::test]
async fn a_role_that_rotates() {
    let keys = Keys::new().await;
    let role = format!("rotator_{}", Uuid::new_v4().simple());
    let grants =
        (documented_grants(0) + &documented_grants(1)).replace(" app;", &format!(" {role};"));
    let grants = grants.replace("rotator;", &format!("{role};"));
    let grants = format!("CREATE ROLE {role} LOGIN; {grants}");
    let run = async |sql: String| {
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&keys.pool);
        done.await.unwrap();
    };
    run(grants).await;
    let options = options(&keys).username(&role);
    let pool = PgPoolOptions::new().connect_with(options).await.unwrap();
    let store = || Store::new(pool.clone());
    let keyring = Keyring::builder().kms(kms()).key_store(store());
    let keyring = keyring.build().unwrap();
    keyring.provision(&ALICE).await.unwrap();
    let models = PostgresModels::new(pool.clone(), Models::new());
    let rotation = Rotation::new(keyring, store(), models).without_sidecars();
    assert_eq!(rotation.begin(&ALICE).await.unwrap(), 2);
    run(
        "UPDATE ophie_crypt_budgets SET announced_at = announced_at - interval '1 hour', \
         leased_until = leased_until - interval '1 hour'"
            .to_owned(),
    )
    .await;
    assert_eq!(rotation.advance(&ALICE).await.unwrap().waits_for, None);
    rotation.rewrap(&ALICE).await.unwrap();
    let week = Duration::from_secs(7 * 24 * 3600);
    let early = rotation.destroy(&ALICE, week).await.unwrap();
    assert_eq!(early.waits_for, Some(WaitsFor::Horizon));
    let destroyed = rotation.destroy(&ALICE, Duration::ZERO).await.unwrap();
    assert_eq!(destroyed.destroyed, 1);

    assert_eq!(rotation.begin_index(&ALICE).await.unwrap(), 2);
    let passes = "UPDATE ophie_crypt_index_keys SET announced_at = announced_at - interval '1 hour', \
                  stated_at = stated_at - interval '1 hour'";
    for waits in [Some(WaitsFor::Announcement), Some(WaitsFor::Writers), None] {
        let waited = rotation.advance(&ALICE).await.unwrap().waits_for;
        assert_eq!(waited, waits);
        run(passes.to_owned()).await;
    }
    let destroyed = rotation.destroy(&ALICE, Duration::ZERO).await.unwrap();
    assert_eq!(destroyed.destroyed, 1);
}

#[tokio::test]
async fn keys_are_not_truncated() {
    let keys = Keys::new().await;
    for table in ["owners", "deks", "index_keys", "installation"] {
        let sql = format!("TRUNCATE ophie_crypt_{table} CASCADE");
        let error = sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&keys.pool)
            .await
            .unwrap_err();
        let code = error.as_database_error().and_then(|error| error.code());
        assert_eq!(code.as_deref(), Some("23001"), "{table}: {error}"); // restrict_violation
    }
}

/// A change counts from its commit: a re-check that looked in between has not seen it.
#[tokio::test]
async fn a_change_in_a_long_transaction_is_as_young_as_its_commit() {
    let keys = Keys::new().await;
    let mut tx = keys.pool.begin().await.unwrap();
    sqlx::query(CHANGE)
        .bind(keys.owner.as_bytes())
        .execute(&mut *tx)
        .await
        .unwrap();
    let between: chrono::DateTime<chrono::Utc> = sqlx::query_scalar("SELECT clock_timestamp()")
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let later: bool = sqlx::query_scalar("SELECT changed_at > $1 FROM ophie_crypt_owners")
        .bind(between)
        .fetch_one(&keys.pool)
        .await
        .unwrap();
    assert!(later);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stricter_default_isolation_changes_no_race() {
    for level in ["repeatable read", "serializable"] {
        let keys = Keys::new().await;
        let strict = options(&keys).options([("default_transaction_isolation", level)]);
        let pool = PgPoolOptions::new()
            .max_connections(16)
            .connect_lazy_with(strict);
        let store = Store::new(pool);
        let races = (0..160_i64).map(|n| {
            let (store, owner, mine) = (
                store.clone(),
                CanonicalId::integer(n % 10),
                keys.request(1, MAX_INVOCATIONS),
            );
            tokio::spawn(async move {
                provision(&store, &owner).await.unwrap();
                store.lease(&mine).await.unwrap();
            })
        });
        for race in races.collect::<Vec<_>>() {
            race.await.expect("neither loser fails");
        }
    }
}

/// PostgreSQL's detail of a refused row is the row.
#[tokio::test]
async fn errors_show_no_row() {
    let keys = Keys::new().await;
    let owner = CanonicalId::text("canary");
    let refuse = "ALTER TABLE ophie_crypt_deks ADD CHECK (kek <> 'local:..') NOT VALID";
    sqlx::raw_sql(refuse).execute(&keys.pool).await.unwrap();
    let error = provision(&keys.store, &owner).await.unwrap_err();
    let mut texts = format!("{error:?} {error:#?}");
    let mut next = std::error::Error::source(&error);
    while let Some(error) = next {
        texts += &format!(" {error} {error:?}");
        next = error.source();
    }
    assert!(texts.contains("violates check constraint"), "{texts}");
    assert!(!texts.contains("Failing row"), "{texts}");
    assert!(!texts.contains(&owner.to_hex()), "{texts}");
}

#[derive(ophie_crypt::EncryptedModel)]
#[crypt(table = "guarded")]
#[allow(dead_code, reason = "its fields are columns, which nothing here reads")]
struct Guarded {
    user_id: ophie_crypt_sqlx::Owner<i64>,
    text: ophie_crypt_sqlx::Encrypted<String, guarded::text>,
}

/// What a policy hides would count as gone: its key would be destroyed, its row not deleted.
#[tokio::test]
async fn rows_that_a_policy_hides_are_not_taken_for_none() {
    let keys = Keys::new().await;
    let role = format!("limited_{}", Uuid::new_v4().simple());
    let sql = format!(
        "CREATE ROLE {role} LOGIN; CREATE TABLE guarded (user_id bigint, text bytea); \
         ALTER TABLE guarded ENABLE ROW LEVEL SECURITY; GRANT SELECT, UPDATE, DELETE ON guarded TO {role}"
    );
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&keys.pool)
        .await
        .unwrap();
    let pool = PgPoolOptions::new().connect_with(options(&keys).username(&role));
    let models = PostgresModels::new(pool.await.unwrap(), Models::new().with::<Guarded>());
    let (owner, id) = (CanonicalId::integer(7), KeyId::from_bytes([1; 16]));
    let column = models.models().sealed_columns().next().unwrap();
    let counted = models.count_under(Some(&owner), &column, id, 0).await;
    assert!(
        matches!(counted, Err(ModelError::RowSecurity { table: "guarded" })),
        "{counted:?}"
    );
    let swept = models.sweep(&owner, "guarded", 10).await;
    assert!(
        matches!(swept, Err(ModelError::RowSecurity { table: "guarded" })),
        "{swept:?}"
    );
}
