//! Shreds in the key store: keys that are gone and stay gone, and the notes of what else was done.

use std::{slice, sync::Arc, time::Duration};

use futures_util::future::join_all;
use ophie_crypt::{
    CanonicalId, Installation, LeaseError, LedgerHead, MAX_INVOCATIONS, OwnerRecord, Shred,
    ShredId, ShredStep, Shreds,
};

use crate::world::{Keys, Kind, provision};

every_store!(
    a_shred_destroys_the_keys_once,
    of_an_owner_who_is_unknown_nothing_is_written,
    a_shred_is_claimed_by_one_and_goes_forward,
    what_failed_rests_and_is_stuck_in_the_end,
    what_the_ledger_remembers_is_destroyed,
    the_head_of_the_ledger_is_known,
);
every_database!(
    no_byte_of_a_key_is_left_in_the_tables,
    nothing_brings_a_key_back,
    provision_and_shred_at_once,
    no_key_of_an_earlier_epoch_seals,
);

async fn a_shred_destroys_the_keys_once(kind: Kind) {
    let keys = Keys::new(kind).await;
    let ben = CanonicalId::text("ben");
    provision(&*keys.store, &ben).await.unwrap();
    let id = keys.store.shred(&keys.owner).await.unwrap().unwrap();
    let record = keys.load().await.unwrap().unwrap();
    assert_eq!(record, OwnerRecord::shredded(record.version()));
    assert!(record.version() > 1);
    let changed = keys.store.changes(Duration::from_secs(600)).await.unwrap();
    assert_eq!(changed, [(keys.owner.clone(), record.version())]);

    let again = keys.store.shred(&keys.owner).await.unwrap();
    assert_eq!(again, Some(id));
    provision(&*keys.store, &keys.owner).await.unwrap();
    assert_eq!(keys.load().await.unwrap(), Some(record));
    let lives = keys.store.load(&ben).await.unwrap().unwrap();
    assert!(!lives.is_shredded() && lives.version() == 1, "{lives:?}");
}

async fn of_an_owner_who_is_unknown_nothing_is_written(kind: Kind) {
    let keys = Keys::new(kind).await;
    let nobody = CanonicalId::text("nobody");
    assert_eq!(keys.store.shred(&nobody).await.unwrap(), None);
    provision(&*keys.store, &nobody).await.unwrap();
    assert!(
        !keys
            .store
            .load(&nobody)
            .await
            .unwrap()
            .unwrap()
            .is_shredded()
    );
    let shreds = keys.store.shreds(Shreds::All, None, 10).await.unwrap();
    assert!(shreds.is_empty());
}

async fn listed(keys: &Keys, which: Shreds) -> Vec<Shred> {
    keys.store.shreds(which, None, 10).await.unwrap()
}

async fn a_shred_is_claimed_by_one_and_goes_forward(kind: Kind) {
    let keys = Keys::new(kind).await;
    let id = keys.store.shred(&keys.owner).await.unwrap().unwrap();
    let due = listed(&keys, Shreds::Due).await;
    let requested = Shred::requested(keys.owner.clone(), id, due[0].requested_at);
    assert_eq!(due, [requested]);
    let in_this_century = 1_700_000_000_000_000..4_000_000_000_000_000;
    assert!(in_this_century.contains(&due[0].requested_at), "{due:?}");

    let workers = keys.processes(8).await;
    let claims = workers
        .iter()
        .map(|store| store.claim(&due[0], Duration::from_secs(60)));
    let claimed = join_all(claims)
        .await
        .into_iter()
        .filter(|claimed| *claimed.as_ref().unwrap());
    assert_eq!(claimed.count(), 1);
    assert!(listed(&keys, Shreds::Due).await.is_empty());

    let head = LedgerHead::EMPTY.next("shred", b"");
    for step in [
        ShredStep::Appended { entry: 1, head },
        ShredStep::Tombstoned,
        ShredStep::Emptied,
        ShredStep::Vacuumed,
        ShredStep::Done,
    ] {
        keys.store.note(&keys.owner, step).await.unwrap();
    }
    let done = keys
        .store
        .shreds_of(slice::from_ref(&keys.owner))
        .await
        .unwrap()
        .remove(0);
    assert_eq!((done.entry, done.attempts), (Some(1), 0));
    let times = [
        done.appended_at,
        done.tombstoned_at,
        done.emptied_at,
        done.vacuumed_at,
        done.done_at,
    ];
    assert!(times.iter().all(Option::is_some), "{done:?}");

    // A second time changes nothing that was noted.
    let head = head.next("shred", b"");
    let again = ShredStep::Appended { entry: 2, head };
    keys.store.note(&keys.owner, again).await.unwrap();
    let same = keys
        .store
        .shreds_of(slice::from_ref(&keys.owner))
        .await
        .unwrap()
        .remove(0);
    assert_eq!(same, done);
    let late = keys.store.claim(&due[0], Duration::from_secs(60)).await;
    assert!(!late.unwrap(), "it was done since");

    let soon = Shreds::Sweepable {
        after: 3_600_000_000,
        again: 0,
    };
    assert!(listed(&keys, soon).await.is_empty());
    let now = Shreds::Sweepable {
        after: 0,
        again: 3_600_000_000,
    };
    assert_eq!(listed(&keys, now).await.len(), 1, "at once");
    let hour = Duration::from_secs(3600);
    for rest in [Duration::ZERO, hour] {
        let claims = [&done, &done].map(|done| keys.store.claim(done, hour));
        let claimed = join_all(claims).await;
        let claimed = claimed.iter().filter(|claimed| *claimed.as_ref().unwrap());
        assert_eq!(claimed.count(), 1);
        let always = Shreds::Sweepable { after: 0, again: 0 };
        assert!(listed(&keys, always).await.is_empty(), "it is claimed");
        assert_eq!(listed(&keys, Shreds::Stuck(1)).await.len(), 1);
        let swept = ShredStep::Swept { rest };
        keys.store.note(&keys.owner, swept).await.unwrap();
        assert!(listed(&keys, now).await.is_empty());
        assert!(listed(&keys, Shreds::Stuck(1)).await.is_empty());
        let left = listed(&keys, always).await.len();
        assert_eq!(left, usize::from(rest.is_zero()), "{rest:?}");
    }
}

async fn what_failed_rests_and_is_stuck_in_the_end(kind: Kind) {
    let keys = Keys::new(kind).await;
    keys.store.shred(&keys.owner).await.unwrap();
    let shred = listed(&keys, Shreds::Unappended).await.remove(0);
    for attempt in 0..3 {
        assert_eq!(listed(&keys, Shreds::Stuck(3)).await.len(), 0, "{attempt}");
        assert!(keys.store.claim(&shred, Duration::ZERO).await.unwrap());
        let rests = keys.store.postpone(&keys.owner, Duration::ZERO, "no route");
        rests.await.unwrap();
    }
    let stuck = listed(&keys, Shreds::Stuck(3)).await.remove(0);
    assert_eq!(
        (stuck.attempts, stuck.failure.as_deref()),
        (3, Some("no route"))
    );
    let rests = keys
        .store
        .postpone(&keys.owner, Duration::from_secs(60), "no route");
    rests.await.unwrap();
    assert!(!keys.store.claim(&shred, Duration::ZERO).await.unwrap());
    assert!(listed(&keys, Shreds::Unappended).await.is_empty());
    keys.store
        .note(&keys.owner, ShredStep::Emptied)
        .await
        .unwrap();
    assert!(listed(&keys, Shreds::Stuck(1)).await.is_empty());
}

async fn what_the_ledger_remembers_is_destroyed(kind: Kind) {
    let keys = Keys::new(kind).await;
    let stranger = CanonicalId::text("came after the backup");
    let remembered = [&keys.owner, &stranger].map(|owner| {
        let id = *uuid::Uuid::new_v4().as_bytes();
        let mut shred = Shred::requested(owner.clone(), ShredId::from_bytes(id), 1_000_000);
        shred.entry = Some(7);
        shred
    });
    for _ in 0..2 {
        keys.store.remember(&remembered).await.unwrap();
        for shred in &remembered {
            provision(&*keys.store, &shred.owner).await.unwrap();
            let record = keys.store.load(&shred.owner).await.unwrap().unwrap();
            assert!(record.is_shredded());
        }
    }
    let owners = remembered.clone().map(|shred| shred.owner);
    let mut known = keys.store.shreds_of(&owners).await.unwrap();
    known.sort_by(|a, b| a.owner.cmp(&b.owner));
    let ids = |shreds: &[Shred]| {
        shreds
            .iter()
            .map(|shred| (shred.id, shred.entry))
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&known), ids(&remembered));
    assert!(known.iter().all(|shred| shred.appended_at.is_some()));
    assert_eq!(
        listed(&keys, Shreds::Due).await.len(),
        2,
        "its rows came back too"
    );
}

async fn the_head_of_the_ledger_is_known(kind: Kind) {
    let keys = Keys::new(kind).await;
    keys.store.shred(&keys.owner).await.unwrap();
    let first = keys.store.installation().await.unwrap();
    assert_eq!((first.epoch, first.ledger), (1, LedgerHead::EMPTY));
    let one = LedgerHead::EMPTY.next("shred", b"one");
    let two = one.next("shred", b"two");
    for head in [two, one] {
        let step = ShredStep::Appended { entry: 1, head };
        keys.store.note(&keys.owner, step).await.unwrap();
        let now = keys.store.installation().await.unwrap();
        assert_eq!((now.id, now.ledger), (first.id, two), "it never goes back");
    }
    let three = two.next("installation", b"");
    for (epoch, head, expected) in [(5, one, two), (3, three, three), (4, two, three)] {
        keys.store.raise_epoch(epoch, &head).await.unwrap();
        let now = keys.store.installation().await.unwrap();
        assert_eq!((now.id, now.epoch, now.ledger), (first.id, 5, expected));
    }
    for (epoch, expected) in [(4, 5), (6, 6)] {
        let other = Installation {
            id: [9; 16],
            epoch,
            ledger: one,
        };
        keys.store.adopt(&other).await.unwrap();
        let now = keys.store.installation().await.unwrap();
        assert_eq!((now.id, now.epoch, now.ledger), (other.id, expected, one));
    }
    assert_eq!(keys.store.count_shreds().await.unwrap(), 1);
}

async fn no_byte_of_a_key_is_left_in_the_tables(kind: Kind) {
    let keys = Keys::new(kind).await;
    keys.store.shred(&keys.owner).await.unwrap();
    for left in [
        "SELECT COUNT(*) FROM ophie_crypt_deks WHERE NOT (kek IS NULL AND wrapped IS NULL AND sealed IS NULL)",
        "SELECT COUNT(*) FROM ophie_crypt_index_keys",
        "SELECT COUNT(*) FROM ophie_crypt_deks WHERE state <> 'destroyed'",
    ] {
        assert_eq!(keys.database.number(left).await, 0, "{left}");
    }
}

async fn nothing_brings_a_key_back(kind: Kind) {
    let keys = Keys::new(kind).await;
    keys.store.shred(&keys.owner).await.unwrap();
    for sql in [
        "UPDATE ophie_crypt_owners SET state = 'living' WHERE owner = $1",
        "UPDATE ophie_crypt_deks SET kek = 'k', wrapped = key_id, state = 'sealing' WHERE owner = $1",
        "INSERT INTO ophie_crypt_deks (owner, generation, epoch, state, key_id, kek, wrapped) \
         SELECT owner, 2, 1, 'sealing', (SELECT id FROM ophie_crypt_installation), 'k', key_id \
         FROM ophie_crypt_deks WHERE owner = $1",
        "INSERT INTO ophie_crypt_index_keys (owner, generation, key_id, sealed) \
         SELECT owner, 2, key_id, key_id FROM ophie_crypt_deks WHERE owner = $1",
        "DELETE FROM ophie_crypt_shreds WHERE owner = $1",
        "UPDATE ophie_crypt_shreds SET requested_at = 1 WHERE owner = $1",
    ] {
        let refused = keys.run(sql).await;
        assert!(refused.is_err(), "{sql}: {refused:?}");
    }
    assert!(keys.load().await.unwrap().unwrap().is_shredded());
}

async fn provision_and_shred_at_once(kind: Kind) {
    let keys = Keys::new(kind).await;
    let mut shredded = 0;
    for n in 0..12 {
        let owner = CanonicalId::integer(n);
        let stores = keys.processes(2).await;
        let (one, other) = (Arc::clone(&stores[0]), Arc::clone(&stores[1]));
        let (first, second) = (owner.clone(), owner.clone());
        let provisioning = tokio::spawn(async move { provision(&*one, &first).await });
        let shredding = tokio::spawn(async move { other.shred(&second).await });
        provisioning.await.unwrap().unwrap();
        let shred = shredding.await.unwrap().unwrap();
        let record = keys.store.load(&owner).await.unwrap().unwrap();
        assert_eq!(record.is_shredded(), shred.is_some());
        shredded += i64::from(shred.is_some());
    }
    let keys_left = "SELECT COUNT(*) FROM ophie_crypt_deks WHERE wrapped IS NOT NULL";
    assert_eq!(keys.database.number(keys_left).await, 12 - shredded + 1);
}

async fn no_key_of_an_earlier_epoch_seals(kind: Kind) {
    let keys = Keys::new(kind).await;
    let request = keys.request(1, MAX_INVOCATIONS);
    let lease = || keys.store.lease(&request);
    lease().await.unwrap();
    keys.store.raise_epoch(2, &LedgerHead::EMPTY).await.unwrap();
    let refused = lease().await.unwrap_err();
    assert!(matches!(refused, LeaseError::OldEpoch), "{refused:?}");
    assert!(refused.to_string().contains("rotate"));
}
