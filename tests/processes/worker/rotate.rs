//! Rotates one owner's DEK, or with the setting `index` its index key, over and over, until it is killed.
//!
//! Absent: the time that each step waits for, which the parent lets pass.

use std::time::Duration;

use ophie_crypt::{Models, Rotation};
use ophie_crypt_sqlx::{
    MySqlKeyStore, MySqlModels, PostgresKeyStore, PostgresModels, SqliteKeyStore, SqliteModels,
};
use sqlx::{MySqlPool, SqlitePool};

use super::{
    say,
    setup::{Note, Settings},
};

pub(crate) async fn run(settings: &Settings) {
    let rotation = rotation(settings).await;
    let owner: i64 = settings.number("owner");
    say("rotating");
    let mut told = 0;
    loop {
        let begun = match settings.optional("index") {
            Some(_) => rotation.begin_index(&owner).await.map(u32::from),
            None => rotation.begin(&owner).await,
        };
        let generation = begun.expect("it is announced");
        while rotation
            .advance(&owner)
            .await
            .expect("it goes on")
            .waits_for
            .is_some()
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Others' transactions that were open when it was looked at first are over soon.
        while rotation
            .destroy(&owner, Duration::ZERO)
            .await
            .expect("it ends")
            .waits_for
            .is_some()
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if generation != told {
            told = generation;
            say(format_args!("generation {generation}"));
        }
    }
}

/// On the database that the URL names, of either kind.
async fn rotation(settings: &Settings) -> Rotation {
    let (url, models) = (settings.text("database"), Models::new().with::<Note>());
    macro_rules! on {
        ($pool:expr, $keys:ident, $models:ident) => {{
            let (keys, models) = ($keys::new($pool), $models::new($pool, models));
            Rotation::new(settings.keyring_on(keys.clone()).await, keys, models)
        }};
    }
    let rotation = if url.starts_with("mysql:") {
        let pool = MySqlPool::connect_lazy(url).expect("a MySQL URL");
        on!(pool.clone(), MySqlKeyStore, MySqlModels)
    } else if url.starts_with("sqlite:") {
        let pool = SqlitePool::connect_lazy(url).expect("an SQLite URL");
        on!(pool.clone(), SqliteKeyStore, SqliteModels)
    } else {
        on!(settings.pool(), PostgresKeyStore, PostgresModels)
    };
    let page = settings
        .optional("page")
        .map_or(200, |_| settings.number("page"));
    rotation.page(page).without_sidecars()
}
