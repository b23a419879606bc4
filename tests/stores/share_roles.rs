//! Second shares under roles that have what the docs list, and no more.
//!
//! Absent: what share stores do (`shares.rs`).

use ophie_crypt::{ShareStore, ShareStoreError};
use ophie_crypt_sqlx::{MySqlShares, PostgresShares};
use ophie_crypt_tests::{mariadb, postgres};

use crate::shares::{id, is_there, owner, share};

#[tokio::test]
async fn with_the_documented_grants() {
    const WRITES: [&str; 2] = [
        "SELECT, INSERT ON ophie_crypt_shares",
        "SELECT ON ophie_crypt_shares_destroyed",
    ];
    const DESTROYS: [&str; 2] = [
        "DELETE ON ophie_crypt_shares",
        "INSERT, UPDATE ON ophie_crypt_shares_destroyed",
    ];

    let here = postgres::Database::create().await;
    let roles = [here.name().to_owned(), format!("{}_shreds", here.name())];
    PostgresShares::new(here.pool().clone(), "tests")
        .create()
        .await
        .unwrap();
    for (role, more) in roles.iter().zip([&[][..], &DESTROYS]) {
        let mut sql = format!("CREATE ROLE {role} LOGIN; ");
        for grant in WRITES.iter().chain(more) {
            sql += &format!("GRANT {grant} TO {role}; ");
        }
        let done = sqlx::raw_sql(postgres::sql(&sql)).execute(here.pool());
        done.await.unwrap();
    }
    let [writes, destroys] = roles.map(|role| {
        let url = here.url().replace("postgres@", &format!("{role}@"));
        PostgresShares::new(postgres::Pool::connect_lazy(&url).unwrap(), "tests")
    });
    each_does_its_own(&writes, &destroys).await;

    let here = mariadb::Database::create().await;
    let roles = [here.name().to_owned(), format!("{}_shreds", here.name())];
    MySqlShares::new(here.pool().clone(), "tests")
        .create()
        .await
        .unwrap();
    for (role, more) in roles.iter().zip([&[][..], &DESTROYS]) {
        let role = format!("{role}@'127.0.0.1'");
        let mut sql = format!("CREATE USER {role}; ");
        for grant in WRITES.iter().chain(more) {
            let grant = grant.replace("ON ", &format!("ON {}.", here.name()));
            sql += &format!("GRANT {grant} TO {role}; ");
        }
        let done = sqlx::raw_sql(mariadb::sql(&sql)).execute(here.pool());
        done.await.unwrap();
    }
    let [writes, destroys] = roles.map(|role| {
        let url = here.url().replace("root@", &format!("{role}@"));
        MySqlShares::new(mariadb::Pool::connect_lazy(&url).unwrap(), "tests")
    });
    each_does_its_own(&writes, &destroys).await;
}

async fn each_does_its_own(writes: &dyn ShareStore, destroys: &dyn ShareStore) {
    let ada = owner("ada");
    writes.put(&ada, 1, id(1), &share(1)).await.unwrap();
    assert!(is_there(writes, "ada", 1, 1).await);
    let refused = writes.destroy_all(&ada).await.unwrap_err();
    assert!(format!("{refused:?}").contains("denied"), "{refused:?}");
    destroys.destroy_all_but(&ada, &[]).await.unwrap();
    for _ in 0..2 {
        destroys.destroy_all(&ada).await.unwrap();
    }
    assert!(writes.destroyed_at(&ada).await.unwrap().is_some());
    let late = writes.put(&ada, 2, id(2), &share(2)).await;
    assert!(matches!(late, Err(ShareStoreError::Destroyed)), "{late:?}");
}
