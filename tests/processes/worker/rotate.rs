//! Rotates one owner's DEK, over and over, until it is killed.
//!
//! Absent: the time that each step waits for, which the parent lets pass.

use std::time::Duration;

use ophie_crypt::{Models, Rotation};
use ophie_crypt_sqlx::{PostgresKeyStore, PostgresModels};

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
        let generation = rotation.begin(&owner).await.expect("it is announced");
        while rotation
            .advance(&owner)
            .await
            .expect("it goes on")
            .waits_for
            .is_some()
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        rotation
            .destroy(&owner, Duration::ZERO)
            .await
            .expect("it ends");
        if generation != told {
            told = generation;
            say(format_args!("generation {generation}"));
        }
    }
}

async fn rotation(settings: &Settings) -> Rotation {
    let keys = PostgresKeyStore::new(settings.pool());
    let models = PostgresModels::new(settings.pool(), Models::new().with::<Note>());
    let page = settings
        .optional("page")
        .map_or(200, |_| settings.number("page"));
    Rotation::new(settings.keyring().await, keys, models).page(page)
}
