//! What happens to rows and keys beside queries: an audit of each session, keys in two shares, sidecars, a rotation, a soak, a
//! shred and its receipt. Compiled for each database.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use ophie_crypt::{
    ChainedAudit, EncryptedModel, FileLedger, Keyring, LocalKms, Models, OwnerId, Purpose,
    Rotation, Session, Shredder, Sidecar, TwoShareKms, WaitsFor,
    soak::{SoakState, SoakWatch, Soaker},
};
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner, Soak};

use super::{
    Audit, PLAIN_PEOPLE, SECRETS, Shares, Store, Tables,
    db::{Db, Pool, sql},
    life::Spy,
};
use crate::{search::CONTROL, texts::Texts};

const USER: i64 = 7;
const PURPOSE: Purpose = Purpose::new("leaks");

#[derive(Debug, EncryptedModel, sqlx::FromRow)]
#[crypt(table = "secrets")]
#[allow(dead_code, reason = "printed, not read")]
struct Secret {
    #[crypt(plain)]
    id: i64,
    user_id: Owner<i64>,
    text: Encrypted<String, secret::text>,
    #[crypt(index_of = "text")]
    text_fp: BlindIndex<String, secret::text_fp>,
    #[crypt(plain)]
    sidecar: String,
}

#[derive(Debug, EncryptedModel, sqlx::FromRow)]
#[crypt(table = "plain_people")]
#[allow(dead_code, reason = "printed, not read")]
struct Person {
    #[crypt(plain)]
    id: i64,
    user_id: Owner<i64>,
    #[sqlx(flatten)]
    #[crypt(column = "name_ct", soak(twin = "name"))]
    name: Soak<String, person::name>,
}

/// Canaries that no place may hold.
pub(crate) const EVERYWHERE: usize = 10;
/// Canaries that stand in the database as plaintext, as they soak, and that this process may not tell anybody.
pub(crate) const SOAKING: usize = 6;

/// The library's own statements on a pool of their own. The keys that were made: two generations, the first share of each, the audit's, and the receipt's.
pub(crate) async fn run(
    pool: &Pool,
    own: &Pool,
    canaries: &[String],
    texts: &Texts,
) -> Vec<Vec<u8>> {
    let (hidden, soaking) = canaries.split_at(EVERYWHERE);
    let deks = Arc::new(Mutex::new(Vec::new()));
    let spy = |kms: Arc<dyn ophie_crypt::Kms>| Spy(kms, Arc::clone(&deks));
    let local = Arc::new(spy(Arc::new(LocalKms::ephemeral().unwrap())));
    let shares = Shares::new(own.clone(), "leaks");
    shares.create().await.unwrap();
    let two = TwoShareKms::new(Arc::clone(&local), shares.clone());
    let kms = Arc::new(spy(Arc::new(two)));
    let folder = tempfile::tempdir().unwrap();
    let ledger = || FileLedger::open_or_create(folder.path().join("ledger")).unwrap();
    let audit = ChainedAudit::builder(Audit::new(own.clone()), Arc::clone(&kms))
        .ledger(ledger())
        .start()
        .await
        .unwrap();
    let store = Store::new(own.clone());
    let models = Models::new().with::<Secret>().with::<Person>();
    let tables = Tables::new(own.clone(), models);
    tables.migrate().await.unwrap();
    let watch = SoakWatch::new(tables.clone()).unwrap();
    let keyring = Keyring::builder()
        .kms(Arc::clone(&kms))
        .key_store(store.clone())
        .audit(audit.clone())
        .recheck(Duration::from_millis(50))
        .soak_watch(watch.clone())
        .build()
        .unwrap();
    sqlx::raw_sql(sql(&format!("{SECRETS}; {PLAIN_PEOPLE}")))
        .execute(pool)
        .await
        .unwrap();
    let session = keyring.open_or_provision(&USER, PURPOSE).await.unwrap();
    let urgent = keyring.break_glass(&USER, PURPOSE, "a call").await.unwrap();
    texts.add((&keyring, &session, &urgent, &audit, &tables, &watch));

    for (id, canary) in (0..4).zip(hidden) {
        write(pool, &session, id, canary, &hidden[4], texts).await;
    }
    drop((session, urgent));
    let rows = Tables::new(own.clone(), Models::new().with::<Secret>()); // the other's columns come with the soak
    let rotation = Rotation::new(keyring.clone(), store.clone(), rows);
    rotate(pool, &rotation.without_sidecars(), texts).await;
    let session = keyring.open(&USER, PURPOSE).await.unwrap();
    session.refresh().await.unwrap();
    for (id, canary) in (4..6).zip(&hidden[5..7]) {
        write(pool, &session, id, canary, &hidden[7], texts).await;
    }
    let rows: Vec<Secret> = session.scope(all(pool, "SELECT * FROM secrets")).await;
    assert_eq!(rows.len(), 6);
    texts.add(&rows);
    let soaker = Soaker::new(&keyring, tables.clone()).pause(Duration::ZERO);
    soak(
        pool,
        &session,
        &soaker,
        &watch,
        soaking,
        &hidden[8..],
        texts,
    )
    .await;
    watch.stop().await.unwrap();
    drop(session);

    let shredder = Shredder::builder(store, ledger())
        .rows(tables)
        .shares(shares, Duration::ZERO)
        .build();
    keyring.shred(&USER).await.unwrap();
    let refused = keyring.open(&USER, PURPOSE).await.unwrap_err();
    texts.add_error(&refused);
    let worked = shredder.work().await.unwrap();
    assert_eq!((worked.done, worked.failed), (1, 0));
    let receipt = shredder.receipt(&USER).await.unwrap();
    let signed = receipt.sign(&*kms, "leaks").await.unwrap();
    texts.add((format!("{receipt} {signed}"), &receipt, &signed));
    audit.checkpoint().await.unwrap();
    texts.add(std::fs::read_to_string(folder.path().join("ledger")).unwrap());
    let mut made = deks.lock().unwrap().clone();
    // Those of audit and receipt pass both spies.
    made.sort_unstable();
    made.dedup();
    made.iter().map(|dek| dek.to_vec()).collect()
}

/// A row, and a sidecar of another canary in its plain column.
async fn write(pool: &Pool, session: &Session, id: i64, text: &str, beside: &str, texts: &Texts) {
    let sidecar = Sidecar::<String, secret::text>::seal(beside, session).unwrap();
    texts.add((&sidecar, sidecar.open(session).unwrap()));
    let written = session.scope(async {
        sqlx::query(sql(
            "INSERT INTO secrets (id, user_id, text, text_fp, sidecar) VALUES ($1, $2, $3, $4, $5)",
        ))
        .bind(id)
        .bind(Owner(USER))
        .bind(secret::text(text))
        .bind(secret::text_fp(text)?)
        .bind(format!("{CONTROL} {}", sidecar.as_str()))
        .execute(pool)
        .await
    });
    written.await.unwrap();
}

async fn all<R>(pool: &Pool, select: &str) -> Vec<R>
where
    R: Send + Unpin + for<'r> sqlx::FromRow<'r, <Db as sqlx::Database>::Row>,
{
    sqlx::query_as(sql(select)).fetch_all(pool).await.unwrap()
}

/// To the end, with the first key destroyed.
async fn rotate(pool: &Pool, rotation: &Rotation, texts: &Texts) {
    let owner = USER.canonical();
    let pass = async |what: &str| {
        let sql_text = format!(
            "UPDATE ophie_crypt_budgets SET {what} = '2020-01-01 00:00:00' WHERE owner = $1"
        );
        sqlx::query(sql(&sql_text))
            .bind(owner.as_bytes())
            .execute(pool)
            .await
            .unwrap();
    };
    assert_eq!(rotation.begin(&USER).await.unwrap(), 2);
    let progress = rotation.advance(&USER).await.unwrap();
    assert_eq!(progress.waits_for, Some(WaitsFor::Announcement));
    pass("announced_at").await;
    loop {
        let progress = rotation.advance(&USER).await.unwrap();
        texts.add(progress);
        assert_eq!((progress.failed, progress.refused), (0, 0));
        if progress.waits_for.is_none() {
            break;
        }
        pass("leased_until").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // PostgreSQL does not say whose transactions are open: those of other tests are waited for too.
    while let Some(waits) = rotation
        .destroy(&USER, Duration::ZERO)
        .await
        .unwrap()
        .waits_for
    {
        assert_eq!(waits, WaitsFor::Transactions);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// From plaintext that stood there to values that never did.
async fn soak(
    pool: &Pool,
    session: &Session,
    soaker: &Soaker,
    watch: &SoakWatch,
    soaking: &[String],
    hidden: &[String],
    texts: &Texts,
) {
    let column = ("plain_people", "name_ct");
    let old = sqlx::query(sql(
        "INSERT INTO plain_people (id, user_id, name) VALUES (0, $1, $2)",
    ));
    old.bind(USER)
        .bind(&soaking[0])
        .execute(pool)
        .await
        .unwrap();
    soaker.expand(column.0, column.1).await.unwrap();
    watch.beat().await.unwrap();
    let select = "SELECT id, user_id, name, name_ct FROM plain_people";
    let mut id = 1;
    let mut said = soaking[1..].iter();
    for to in [
        SoakState::DualWrite,
        SoakState::Backfill,
        SoakState::Verify,
        SoakState::Soak,
        SoakState::Sealed,
        SoakState::Retired,
    ] {
        if to == SoakState::Verify {
            let filled = soaker.backfill(column.0, column.1).await.unwrap();
            assert_eq!(filled.pending, 0);
            texts.add(filled);
        }
        if to == SoakState::Retired {
            let done = soaker.admit_old_binaries(column.0, column.1, false).await;
            done.unwrap();
            watch.beat().await.unwrap();
        }
        if matches!(to, SoakState::Soak | SoakState::Retired) {
            let verified = soaker.verify(column.0, column.1).await.unwrap();
            assert!(verified.is_clean());
            texts.add(&verified);
        }
        soaker.step(column.0, column.1, to).await.unwrap();
        watch.beat().await.unwrap();
        let name = match to {
            SoakState::Retired => &hidden[0],
            SoakState::Backfill => continue,
            _ => said.next().expect("a canary for each state"),
        };
        insert(pool, session, id, name, texts).await;
        id += 1;
        let rows: Vec<Person> = session.scope(all(pool, select)).await;
        texts.add(&rows);
        // Without a session, and by somebody who may not.
        let refused: Result<Vec<Person>, _> = sqlx::query_as(sql(select)).fetch_all(pool).await;
        texts.add_error(&refused.unwrap_err());
    }
    let nulled = soaker.null_out(column.0, column.1).await.unwrap();
    texts.add(nulled);
    insert(pool, session, id, &hidden[1], texts).await;
    let status = soaker.status(column.0, column.1).await.unwrap();
    texts.add(&status);
    let rows: Vec<Person> = session.scope(all(pool, select)).await;
    assert_eq!(rows.len(), 7);
    texts.add(&rows);
    // What plaintext the guard refuses, a database may print.
    let refused = sqlx::query(sql("UPDATE plain_people SET name = $1 WHERE id = 0"));
    let refused = refused.bind(&soaking[0]).execute(pool).await;
    drop(refused.unwrap_err());
}

async fn insert(pool: &Pool, session: &Session, id: i64, name: &str, texts: &Texts) {
    let value = person::name(name);
    texts.add((&value, value.twin(), value.sealed()));
    let written = session.scope(async {
        sqlx::query(sql(
            "INSERT INTO plain_people (id, user_id, name, name_ct) VALUES ($1, $2, $3, $4)",
        ))
        .bind(id)
        .bind(Owner(USER))
        .bind(value.twin())
        .bind(value.sealed())
        .execute(pool)
        .await
    });
    written.await.unwrap();
}
