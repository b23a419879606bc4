//! The contract of share stores: in memory, and in the tables of each driver's.

use std::{sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use ophie_crypt::{
    CanonicalId, DekBlob, DekRecord, DekState, EncryptionContext, Keyring, Kms, KmsCall, LocalKms,
    Purpose, Residue, SessionError, Share, ShareId, ShareStore, ShareStoreError, TwoShareKms,
};

use crate::{
    cancelled::cut_off,
    shredding::World,
    world::{Database, Kind, Shares, first_keys, is_postgres},
};

every_store!(
    what_is_put_is_had_by_another,
    generations_that_are_not_kept_go,
    an_owner_whose_shares_were_destroyed_gets_none,
    shares_that_are_put_while_all_are_destroyed,
    what_is_cut_off_leaves_whole_shares,
);
every_database!(
    key_stores_of_other_names_keep_their_shares,
    tables_that_are_missing_are_no_share_that_is_gone,
    tables_are_made_once_by_many,
    a_share_that_was_changed_is_an_error,
    no_error_shows_a_share,
    a_shredder_destroys_them_and_the_receipt_says_when,
    a_sign_up_that_is_cut_off_between_the_two_stores,
);

const PURPOSE: Purpose = Purpose::new("tests");

async fn tables(kind: Kind) -> (Database, Arc<dyn Shares>) {
    let database = Database::create(kind).await;
    let shares = database.shares(kind).await;
    shares.create().await.unwrap();
    (database, shares)
}

pub(crate) fn owner(name: &str) -> CanonicalId {
    CanonicalId::text(name)
}

pub(crate) fn id(number: u8) -> ShareId {
    ShareId::from_bytes([number; 16])
}

pub(crate) fn share(number: u8) -> Share {
    Share::from_slice(&[number; 32]).unwrap()
}

pub(crate) async fn is_there(
    shares: &dyn ShareStore,
    name: &str,
    generation: u32,
    number: u8,
) -> bool {
    let found = shares.get(&owner(name), generation, id(number)).await;
    let found = found.unwrap();
    found.is_some_and(|found| *found.expose_secret() == [number; 32])
}

async fn what_is_put_is_had_by_another(kind: Kind) {
    let (database, shares) = tables(kind).await;
    let odd = CanonicalId::text("o'\0\u{fffd}n");
    for (owner, number) in [(&owner("ada"), 1), (&owner("ben"), 2), (&odd, 3)] {
        let share = share(number);
        shares
            .put(owner, u32::MAX, id(number), &share)
            .await
            .unwrap();
    }
    let other = match kind {
        Kind::Memory => shares,
        _ => database.shares(kind).await,
    };
    assert!(is_there(&*other, "ada", u32::MAX, 1).await);
    let found = other.get(&odd, u32::MAX, id(3)).await.unwrap().unwrap();
    assert_eq!(*found.expose_secret(), [3; 32]);
    // No other owner's, generation's or name's.
    for (name, generation, number) in [("ada", u32::MAX, 2), ("ben", u32::MAX, 1), ("ada", 1, 1)] {
        let found = other.get(&owner(name), generation, id(number)).await;
        assert!(found.unwrap().is_none(), "{name} {generation} {number}");
    }
    // What is there stays as it is.
    other
        .put(&owner("ada"), u32::MAX, id(1), &share(9))
        .await
        .ok();
    if kind != Kind::Memory {
        assert!(is_there(&*other, "ada", u32::MAX, 1).await);
    }
}

async fn generations_that_are_not_kept_go(kind: Kind) {
    let (_database, shares) = tables(kind).await;
    for (name, generation, number) in [
        ("ada", 1, 1),
        ("ada", 1, 2),
        ("ada", 2, 3),
        ("ada", 3, 4),
        ("ada", 4, 7),
        ("ada", 5, 8),
        ("ben", 1, 5),
    ] {
        let (owner, share) = (owner(name), share(number));
        let put = shares.put(&owner, generation, id(number), &share);
        put.await.unwrap();
    }
    for kept in [&[][..], &[4, 2], &[4, 2]] {
        let stays = kept.is_empty();
        shares.destroy_all_but(&owner("ada"), kept).await.unwrap();
        assert_eq!(is_there(&*shares, "ada", 1, 1).await, stays);
    }
    for (generation, number, stays) in [
        (1, 2, false),
        (2, 3, true),
        (3, 4, false),
        (4, 7, true),
        (5, 8, true), // of a key that is just being made
    ] {
        assert_eq!(is_there(&*shares, "ada", generation, number).await, stays);
    }
    assert!(is_there(&*shares, "ben", 1, 5).await);
    let destroyed = shares.destroyed_at(&owner("ada")).await.unwrap();
    assert_eq!(destroyed, None, "she lives");
    shares
        .put(&owner("ada"), 6, id(6), &share(6))
        .await
        .unwrap();
}

async fn an_owner_whose_shares_were_destroyed_gets_none(kind: Kind) {
    let (database, shares) = tables(kind).await;
    for name in ["ada", "ben"] {
        shares.put(&owner(name), 1, id(1), &share(1)).await.unwrap();
        assert_eq!(shares.destroyed_at(&owner(name)).await.unwrap(), None);
    }
    shares.destroy_all(&owner("ada")).await.unwrap();
    let at = shares.destroyed_at(&owner("ada")).await.unwrap().unwrap();
    assert!(at > 1_700_000_000_000_000, "microseconds since 1970: {at}");
    assert!(!is_there(&*shares, "ada", 1, 1).await);
    let late = shares.put(&owner("ada"), 2, id(2), &share(2)).await;
    assert!(matches!(late, Err(ShareStoreError::Destroyed)), "{late:?}");
    shares.destroy_all(&owner("ada")).await.unwrap();
    let again = shares.destroyed_at(&owner("ada")).await.unwrap();
    assert_eq!(again, Some(at), "nothing was there to destroy");
    assert!(is_there(&*shares, "ben", 1, 1).await);
    // One who never had any is remembered too.
    shares.destroy_all(&owner("cy")).await.unwrap();
    assert!(shares.destroyed_at(&owner("cy")).await.unwrap().is_some());
    let residue = match is_postgres(kind) {
        true => Residue::Gone,
        false => Residue::Unknown,
    };
    assert_eq!(shares.vacuum().await.unwrap(), residue);

    // A store that was put back does not say that it is done.
    if kind != Kind::Memory {
        let back = "INSERT INTO ophie_crypt_shares (key_store, owner, generation, id, share) \
                    SELECT key_store, $1, generation, id, share FROM ophie_crypt_shares";
        database.run(back, &owner("ada")).await.unwrap();
        assert_eq!(shares.destroyed_at(&owner("ada")).await.unwrap(), None);
        shares.destroy_all(&owner("ada")).await.unwrap();
        let again = shares.destroyed_at(&owner("ada")).await.unwrap();
        assert!(again > Some(at), "what came back is destroyed only now");
    }
}

/// Each is refused, or destroyed with the others by the next call; nobody else is touched.
async fn shares_that_are_put_while_all_are_destroyed(kind: Kind) {
    let (_database, shares) = tables(kind).await;
    shares
        .put(&owner("ben"), 1, id(1), &share(1))
        .await
        .unwrap();
    let puts = (1..=20).map(|number| {
        let shares = Arc::clone(&shares);
        async move {
            match shares
                .put(&owner("ada"), 1, id(number), &share(number))
                .await
            {
                Ok(()) | Err(ShareStoreError::Destroyed) => Ok(()),
                Err(error) => Err(error),
            }
        }
    });
    let destroys = (0..4).map(|_| {
        let shares = Arc::clone(&shares);
        async move { shares.destroy_all(&owner("ada")).await }
    });
    let (put, destroyed) = tokio::join!(try_join_all(puts), try_join_all(destroys));
    put.unwrap();
    destroyed.unwrap();
    shares.destroy_all(&owner("ada")).await.unwrap();
    assert!(shares.destroyed_at(&owner("ada")).await.unwrap().is_some());
    for number in 1..=20 {
        assert!(!is_there(&*shares, "ada", 1, number).await);
    }
    assert!(is_there(&*shares, "ben", 1, 1).await);
}

async fn what_is_cut_off_leaves_whole_shares(kind: Kind) {
    let (_database, shares) = tables(kind).await;
    for number in 1..30 {
        let (ada, share) = (owner("ada"), share(number));
        let turns = usize::from(number) * usize::from(number) * 4;
        let put = cut_off(turns, shares.put(&ada, 1, id(number), &share)).await;
        let found = shares.get(&ada, 1, id(number)).await.unwrap();
        assert!(put.is_none() || found.is_some());
        assert!(found.is_none_or(|found| *found.expose_secret() == [number; 32]));
    }
    for turns in 0..15 {
        cut_off(turns * turns * 4, shares.destroy_all(&owner("ada"))).await;
    }
    shares.destroy_all(&owner("ada")).await.unwrap();
    assert!(shares.destroyed_at(&owner("ada")).await.unwrap().is_some());
}

/// Another application, or a copy of this one, with owners of the same ids in the same tables.
async fn key_stores_of_other_names_keep_their_shares(kind: Kind) {
    let (database, shares) = tables(kind).await;
    let other = database.shares_of(kind, "tests-copy").await;
    let ada = owner("ada");
    for (shares, number) in [(&shares, 1), (&other, 2)] {
        for generation in [1, 2] {
            let share = share(number);
            shares.put(&ada, generation, id(1), &share).await.unwrap();
        }
    }
    other.destroy_all_but(&ada, &[2]).await.unwrap();
    assert!(is_there(&*shares, "ada", 1, 1).await);
    assert!(!is_there(&*other, "ada", 1, 2).await);
    other.destroy_all(&ada).await.unwrap();
    assert!(other.destroyed_at(&ada).await.unwrap().is_some());
    for generation in [1, 2] {
        assert!(is_there(&*shares, "ada", generation, 1).await);
        let had = other.get(&ada, generation, id(1)).await.unwrap();
        assert!(had.is_none(), "nor does it see them");
    }
    // Nor does it keep the owner from new ones.
    assert_eq!(shares.destroyed_at(&ada).await.unwrap(), None);
    shares.put(&ada, 3, id(1), &share(1)).await.unwrap();
    let nameless = database.shares_of(kind, "").await;
    nameless.put(&ada, 1, id(1), &share(1)).await.unwrap_err();
}

async fn tables_that_are_missing_are_no_share_that_is_gone(kind: Kind) {
    let database = Database::create(kind).await;
    let shares = database.shares(kind).await;
    let unavailable = |error| matches!(error, ShareStoreError::Unavailable { .. });
    let ada = owner("ada");
    assert!(unavailable(shares.get(&ada, 1, id(1)).await.unwrap_err()));
    assert!(unavailable(
        shares.put(&ada, 1, id(1), &share(1)).await.unwrap_err()
    ));
    assert!(unavailable(shares.destroy_all(&ada).await.unwrap_err()));
    assert!(unavailable(shares.destroyed_at(&ada).await.unwrap_err()));
}

async fn tables_are_made_once_by_many(kind: Kind) {
    let database = Database::create(kind).await;
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let shares = database.shares(kind).await;
        tasks.push(tokio::spawn(async move { shares.create().await }));
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
}

async fn a_share_that_was_changed_is_an_error(kind: Kind) {
    let (database, shares) = tables(kind).await;
    let ada = owner("ada");
    shares.put(&ada, 1, id(1), &share(1)).await.unwrap();
    let short = match is_postgres(kind) {
        true => "UPDATE ophie_crypt_shares SET share = substr(share, 1, 31) WHERE owner = $1",
        false => "UPDATE ophie_crypt_shares SET share = x'00' WHERE owner = $1",
    };
    database.run(short, &ada).await.unwrap_err();
    let zero = match kind {
        _ if is_postgres(kind) => {
            "UPDATE ophie_crypt_shares SET share = decode(repeat('00', 32), 'hex') WHERE owner = $1"
        }
        Kind::SqlxSqlite | Kind::DieselSqlite => {
            "UPDATE ophie_crypt_shares SET share = zeroblob(32) WHERE owner = $1"
        }
        _ => "UPDATE ophie_crypt_shares SET share = repeat(x'00', 32) WHERE owner = $1",
    };
    database.run(zero, &ada).await.unwrap();
    let found = shares.get(&ada, 1, id(1)).await;
    assert!(
        matches!(found, Err(ShareStoreError::Corrupt(_))),
        "{found:?}"
    );
}

/// What databases say of a statement that they refuse shows its values.
async fn no_error_shows_a_share(kind: Kind) {
    let (database, shares) = tables(kind).await;
    let secret = Share::from_slice(b"NEVER-SHOW-THIS-SHARE-TO-ANYBODY").unwrap();
    let ada = owner("owner-canary");
    shares.put(&ada, 1, id(1), &secret).await.unwrap();
    let refuse = match kind {
        _ if is_postgres(kind) => "ALTER TABLE ophie_crypt_shares ADD CHECK (generation < 2)",
        Kind::SqlxSqlite | Kind::DieselSqlite => {
            "CREATE TRIGGER refused BEFORE INSERT ON ophie_crypt_shares BEGIN \
                 SELECT RAISE(ABORT, 'refused'); END"
        }
        _ => "ALTER TABLE ophie_crypt_shares ADD CHECK (generation < 2)",
    };
    database.run_plain(refuse).await.unwrap();
    let error = shares.put(&ada, 2, id(2), &secret).await.unwrap_err();
    let mut printed = format!("{error:?} {error} {shares:?} {secret:?}");
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        printed.push_str(&format!(" {error} {error:?}"));
        cause = error.source();
    }
    for shown in ["NEVER", "4e455645", "78, 69, 86, 69, 82", "canary"] {
        assert!(!printed.contains(shown), "{printed}");
    }
}

/// From the sign-up to the receipt, also for a shred that the application commits itself.
async fn a_shredder_destroys_them_and_the_receipt_says_when(kind: Kind) {
    let world = World::new(kind).await;
    world.tombstones().await;
    let (_database, shares) = tables(kind).await;
    let local = Arc::new(LocalKms::ephemeral().unwrap());
    let keys: Arc<dyn ophie_crypt::KeyStore> = world.store.clone();
    let keyring = Keyring::builder()
        .kms(TwoShareKms::new(Arc::clone(&local), Arc::clone(&shares)))
        .key_store(keys)
        .build()
        .unwrap();
    for owner in [70_i64, 71, 72] {
        keyring.provision(&owner).await.unwrap();
    }
    keyring.shred(&70_i64).await.unwrap();
    // By the statement that `shred_in` runs in a transaction of the application's.
    let own = "INSERT INTO ophie_crypt_shreds (owner) VALUES ($1)";
    world
        .keys
        .run(own, &CanonicalId::integer(71))
        .await
        .unwrap();

    let builder = world.builder().await;
    let shredder = builder.shares(Arc::clone(&shares), Duration::ZERO).build();
    let worked = shredder.work().await.unwrap();
    assert_eq!((worked.done, worked.failed), (2, 0));
    for owner in [70_i64, 71] {
        let receipt = shredder.receipt(&owner).await.unwrap();
        let at = receipt.shares_destroyed_at.unwrap();
        assert_eq!(receipt.shares_from, Some(at.max(receipt.live_from)));
        let text = receipt.to_string();
        assert!(text.contains("second shares of DEKs destroyed, if there were any\n"));
        let vacuumed = match is_postgres(kind) {
            true => ": key tables and the table of second shares vacuumed",
            false => "not done key tables and the table of second shares vacuumed",
        };
        assert!(text.contains(vacuumed), "{text}");
    }
    keyring.open(&72_i64, PURPOSE).await.unwrap();
    shares.destroy_all(&CanonicalId::integer(72)).await.unwrap();
    let opened = keyring.open(&72_i64, PURPOSE).await;
    assert!(matches!(opened, Err(SessionError::Shredded)), "{opened:?}");
}

/// Wherever it stops: an owner who has a key has both of its shares.
async fn a_sign_up_that_is_cut_off_between_the_two_stores(kind: Kind) {
    let (database, shares) = tables(kind).await;
    let (keys, local) = (Database::create(kind).await, LocalKms::ephemeral().unwrap());
    let store = keys.store(kind).await;
    store.migrate().await.unwrap();
    let kms = TwoShareKms::new(local, Arc::clone(&shares));
    let mut unknown = 0;
    for step in 0..40_u32 {
        let owner = CanonicalId::integer(step.into());
        let call = KmsCall::new(EncryptionContext::new("tests", &owner, 1));
        let sign_up = async {
            let made = kms.make_dek(&call).await.unwrap();
            let (dek, index_key) = first_keys();
            let blob = DekBlob::Wrapped(made.wrapped);
            let dek = DekRecord::new(1, DekState::Sealing, dek.key_id(), blob);
            store
                .insert_if_absent(&owner, &dek, &index_key)
                .await
                .unwrap();
        };
        match step {
            0 => sign_up.await, // to its end
            _ => drop(cut_off(usize::try_from(step * step * step).unwrap(), sign_up).await),
        }
        match store.load(&owner).await.unwrap() {
            Some(record) => {
                let DekBlob::Wrapped(wrapped) = record.deks()[0].blob() else {
                    panic!("the newest is wrapped")
                };
                kms.unwrap_dek(wrapped, &call).await.unwrap();
            }
            None => unknown += 1,
        }
    }
    assert!((1..40).contains(&unknown), "{unknown} of 40 are unknown");
    // What nobody stored the other half of goes with its owner, also one who has no key.
    for step in 0..40 {
        shares
            .destroy_all(&CanonicalId::integer(step))
            .await
            .unwrap();
    }
    let left = "SELECT COUNT(*) FROM ophie_crypt_shares";
    assert_eq!(database.number(left).await, 0);
}
