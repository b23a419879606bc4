//! Shreds owner after owner, and finishes what others left, until it is killed.

use std::time::Duration;

use ophie_crypt::{FileLedger, Models, Shredder};
use ophie_crypt_sqlx::{PgVectors, PostgresKeyStore, PostgresModels};

use super::{
    say,
    setup::{Note, Settings},
};

pub(crate) async fn run(settings: &Settings) {
    let pool = settings.pool();
    let store = PostgresKeyStore::new(pool.clone());
    let keyring = settings.keyring_on(store.clone()).await;
    let ledger = FileLedger::open(settings.text("ledger")).expect("the ledger's file");
    let rows = PostgresModels::new(pool.clone(), Models::new().with::<Note>());
    let mut builder = Shredder::builder(store, ledger)
        .rows(rows)
        .vectors("vectors", PgVectors::new(pool, "vectors", "owner"));
    if let Some(shares) = settings.shares() {
        builder = builder.shares(shares, Duration::ZERO);
    }
    let shredder = builder.build();
    say("ready");
    let (first, last): (i64, i64) = (settings.number("first"), settings.number("last"));
    for owner in first..=last {
        keyring.shred(&owner).await.expect("it was provisioned");
        shredder.work().await.expect("the database answers");
        shredder.sweep().await.expect("the ledger answers");
        say(owner);
    }
    say("done");
    std::future::pending::<()>().await;
}
