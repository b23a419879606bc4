//! The life of an index key's generation in every store: each step when its time has come, not before, and whole.

use std::time::Duration;

use futures_util::future::join_all;
use ophie_crypt::{
    CanonicalId, IndexAnnouncement, IndexKeyRecord,
    IndexKeyState::{self, Announced, Draining, Retired, Writing},
    IndexStep, IndexStepTo, OwnerRecord, StepError, Which,
};
use uuid::Uuid;

use crate::{
    rotation::{back, changed, next as next_dek, too_early},
    world::{Keys, Kind},
};

every_store!(
    an_announcement_adds_one,
    of_many_announcements_one_is_taken,
    what_was_just_announced_is_not_written,
    nothing_skips_a_state,
    a_new_dek_leaves_the_states,
);
every_database!(
    it_is_written_when_every_process_had_time,
    it_is_retired_when_nobody_can_write_under_it,
    its_writers_have_time_from_the_commit_on,
    it_is_destroyed_long_after,
    it_is_sealed_under_a_dek_that_may_seal,
    one_is_written,
);

/// The index key after that of `record`, as a keyring would make it.
fn next(record: &OwnerRecord) -> IndexAnnouncement {
    let (dek, key) = (&record.deks()[0], &record.index_keys()[0]);
    let key = IndexKeyRecord::new(
        key.generation() + 1,
        dek.key_id(),
        *Uuid::new_v4().as_bytes(),
    );
    IndexAnnouncement::new(record.version(), key.in_state(Announced), dek.generation())
}

async fn announce(keys: &Keys) -> IndexAnnouncement {
    let announcement = next(&keys.load().await.unwrap().unwrap());
    let announced = keys.store.announce_index(&keys.owner, &announcement).await;
    announced.unwrap();
    announcement
}

async fn step(keys: &Keys, generation: u8, to: IndexStepTo) -> Result<(), StepError> {
    let step = IndexStep::new(keys.owner.clone(), generation, to);
    keys.store.step_index(&step).await
}

async fn states(keys: &Keys) -> Vec<(u8, IndexKeyState)> {
    let record = keys.load().await.unwrap().unwrap();
    let index_keys = record.index_keys().iter();
    index_keys
        .map(|key| (key.generation(), key.state()))
        .collect()
}

async fn granted(keys: &Keys) -> u64 {
    let lease = keys.store.lease(&keys.request(0, u64::MAX)).await;
    lease.unwrap().granted()
}

/// With a second generation that is written.
async fn rotated(kind: Kind) -> Keys {
    let keys = Keys::new(kind).await;
    announce(&keys).await;
    assert!(too_early(&step(&keys, 2, IndexStepTo::Writing).await));
    back(&keys, "index_keys", "announced_at", 2, 640).await;
    step(&keys, 2, IndexStepTo::Writing).await.unwrap();
    keys
}

async fn an_announcement_adds_one(kind: Kind) {
    let keys = Keys::new(kind).await;
    let (before, spent) = (keys.load().await.unwrap().unwrap(), granted(&keys).await);
    assert_eq!(before.index_keys()[0].state(), Writing);
    let announcement = announce(&keys).await;
    let after = keys.load().await.unwrap().unwrap();
    assert!(after.version() > before.version());
    let mut index_keys = vec![announcement.key.clone()];
    index_keys.extend_from_slice(before.index_keys());
    assert_eq!(after.index_keys(), index_keys);
    assert_eq!(after.deks(), before.deks());
    assert_eq!(
        granted(&keys).await,
        spent + 1,
        "it was sealed under the DEK"
    );
    // What another read before is not written over it, and there is no third.
    for record in [&before, &after] {
        let again = keys.store.announce_index(&keys.owner, &next(record)).await;
        assert!(changed(&again), "{again:?}");
    }
    let nobody = CanonicalId::text("nobody");
    let none = keys.store.announce_index(&nobody, &next(&before)).await;
    assert!(changed(&none), "{none:?}");
    assert_eq!(keys.load().await.unwrap().unwrap(), after);
    assert_eq!(granted(&keys).await, spent + 1);
    let rotating = keys.store.owners(&Which::Rotating, None, 9).await.unwrap();
    assert_eq!(rotating, std::slice::from_ref(&keys.owner));
}

async fn of_many_announcements_one_is_taken(kind: Kind) {
    let keys = Keys::new(kind).await;
    let record = keys.load().await.unwrap().unwrap();
    let announcing = keys.processes(8).await.into_iter().map(|store| {
        let (owner, next) = (keys.owner.clone(), next(&record));
        tokio::spawn(async move { store.announce_index(&owner, &next).await.map(|()| next.key) })
    });
    let announced: Vec<_> = join_all(announcing)
        .await
        .into_iter()
        .filter_map(|done| done.unwrap().ok())
        .collect();
    let record = keys.load().await.unwrap().unwrap();
    assert_eq!(record.index_keys().len(), 2);
    assert_eq!(announced, [record.index_keys()[0].clone()]);
}

async fn what_was_just_announced_is_not_written(kind: Kind) {
    let keys = Keys::new(kind).await;
    let none = step(&keys, 2, IndexStepTo::Writing).await;
    assert!(changed(&none), "{none:?}");
    announce(&keys).await;
    for _ in 0..3 {
        assert!(too_early(&step(&keys, 2, IndexStepTo::Writing).await));
    }
    assert_eq!(states(&keys).await, [(2, Announced), (1, Writing)]);
}

async fn nothing_skips_a_state(kind: Kind) {
    let keys = Keys::new(kind).await;
    announce(&keys).await;
    let before = keys.load().await.unwrap();
    let after = Duration::ZERO;
    for generation in [1, 2, 3] {
        for to in [IndexStepTo::Retired, IndexStepTo::Destroyed { after }] {
            let stepped = step(&keys, generation, to).await;
            assert!(changed(&stepped), "{generation} {to:?}: {stepped:?}");
        }
        let idle = keys.store.is_index_idle(&keys.owner, generation).await;
        assert!(!idle.unwrap());
    }
    assert!(changed(&step(&keys, 1, IndexStepTo::Writing).await));
    assert_eq!(keys.load().await.unwrap(), before);
}

/// All keys are sealed under it, and nothing else becomes of them.
async fn a_new_dek_leaves_the_states(kind: Kind) {
    let keys = Keys::new(kind).await;
    announce(&keys).await;
    let announcement = next_dek(&keys.load().await.unwrap().unwrap());
    let announced = keys.store.announce(&keys.owner, &announcement).await;
    announced.unwrap();
    assert_eq!(states(&keys).await, [(2, Announced), (1, Writing)]);
    let record = keys.load().await.unwrap().unwrap();
    let newest = record.deks()[0].key_id();
    assert!(record.index_keys().iter().all(|key| key.key_id() == newest));
}

async fn it_is_written_when_every_process_had_time(kind: Kind) {
    let keys = Keys::new(kind).await;
    announce(&keys).await;
    assert!(too_early(&step(&keys, 2, IndexStepTo::Writing).await));
    back(&keys, "index_keys", "announced_at", 2, 620).await;
    assert!(too_early(&step(&keys, 2, IndexStepTo::Writing).await));
    back(&keys, "index_keys", "announced_at", 2, 640).await;
    let before = keys.version().await;
    step(&keys, 2, IndexStepTo::Writing).await.unwrap();
    assert!(keys.version().await > before);
    assert_eq!(states(&keys).await, [(2, Writing), (1, Draining)]);
    assert!(changed(&step(&keys, 2, IndexStepTo::Writing).await));
    let record = keys.load().await.unwrap().unwrap();
    let third = keys.store.announce_index(&keys.owner, &next(&record)).await;
    assert!(changed(&third), "two are in use: {third:?}");
}

async fn it_is_retired_when_nobody_can_write_under_it(kind: Kind) {
    let keys = rotated(kind).await;
    let idle = async || keys.store.is_index_idle(&keys.owner, 1).await.unwrap();
    for seconds in [0, 620] {
        if seconds > 0 {
            back(&keys, "index_keys", "stated_at", 1, seconds).await;
        }
        assert!(too_early(&step(&keys, 1, IndexStepTo::Retired).await));
        assert!(!idle().await, "{seconds}");
    }
    back(&keys, "index_keys", "stated_at", 1, 640).await;
    assert!(idle().await);
    assert!(changed(&step(&keys, 2, IndexStepTo::Retired).await));
    step(&keys, 1, IndexStepTo::Retired).await.unwrap();
    assert!(idle().await);
    assert_eq!(states(&keys).await, [(2, Writing), (1, Retired)]);
    let rotating = keys.store.owners(&Which::Rotating, None, 9).await.unwrap();
    assert_eq!(rotating, []);
    announce(&keys).await;
    assert_eq!(
        states(&keys).await,
        [(3, Announced), (2, Writing), (1, Retired)]
    );
}

/// A process may read the keys up to the commit, however late that comes: time runs when it is known to be over.
async fn its_writers_have_time_from_the_commit_on(kind: Kind) {
    let keys = rotated(kind).await;
    let stated = async || {
        let sql = "UPDATE ophie_crypt_index_keys SET stated_at = stated_at \
                   WHERE owner = $1 AND generation = 1 AND stated_at IS NOT NULL";
        keys.run(sql).await.unwrap()
    };
    assert_eq!(stated().await, 0, "in the transaction");
    assert!(!keys.store.is_index_idle(&keys.owner, 1).await.unwrap());
    assert_eq!(stated().await, 1);
    back(&keys, "index_keys", "stated_at", 1, 640).await;
    assert!(keys.store.is_index_idle(&keys.owner, 1).await.unwrap());

    // Whoever does not ask waits as long.
    let keys = rotated(kind).await;
    assert!(too_early(&step(&keys, 1, IndexStepTo::Retired).await));
    back(&keys, "index_keys", "stated_at", 1, 640).await;
    step(&keys, 1, IndexStepTo::Retired).await.unwrap();
}

async fn it_is_destroyed_long_after(kind: Kind) {
    let keys = rotated(kind).await;
    back(&keys, "index_keys", "stated_at", 1, 640).await;
    step(&keys, 1, IndexStepTo::Retired).await.unwrap();
    let day = Duration::from_secs(24 * 3600);
    let late = async |since| {
        let which = Which::Retired { since };
        keys.store.owners(&which, None, 9).await.unwrap()
    };
    assert_eq!(late(day).await, []);
    assert_eq!(
        late(Duration::ZERO).await,
        std::slice::from_ref(&keys.owner)
    );
    let destroy = IndexStepTo::Destroyed { after: day };
    assert!(too_early(&step(&keys, 1, destroy).await));
    back(&keys, "index_keys", "stated_at", 1, 90_000).await;
    assert_eq!(late(day).await, std::slice::from_ref(&keys.owner));
    let before = keys.version().await;
    step(&keys, 1, destroy).await.unwrap();
    assert!(keys.version().await > before);
    assert_eq!(states(&keys).await, [(2, Writing)]);
    assert!(changed(&step(&keys, 1, destroy).await));
    assert!(changed(&step(&keys, 2, destroy).await));
}

async fn it_is_sealed_under_a_dek_that_may_seal(kind: Kind) {
    let keys = Keys::new(kind).await;
    let record = keys.load().await.unwrap().unwrap();
    let announcing = async || keys.store.announce_index(&keys.owner, &next(&record)).await;
    for (spend, mend) in [
        (
            "UPDATE ophie_crypt_budgets SET granted = 4294967296 WHERE owner = $1",
            "UPDATE ophie_crypt_budgets SET granted = 4294967295 WHERE owner = $1",
        ),
        (
            "UPDATE ophie_crypt_installation SET epoch = 2 WHERE $1 IS NOT NULL",
            "UPDATE ophie_crypt_installation SET epoch = 1 WHERE $1 IS NOT NULL",
        ),
    ] {
        let spend = spend.replace("$1 IS NOT NULL", typed(kind));
        let mend = mend.replace("$1 IS NOT NULL", typed(kind));
        keys.run(&spend).await.unwrap();
        let spent = announcing().await;
        assert!(matches!(spent, Err(StepError::Spent)), "{spend}: {spent:?}");
        assert_eq!(keys.load().await.unwrap().unwrap(), record);
        keys.run(&mend).await.unwrap();
    }
    announcing().await.unwrap();
}

/// The owner is a parameter of every statement here.
fn typed(kind: Kind) -> &'static str {
    match kind {
        Kind::SqlxPostgres | Kind::DieselPostgres | Kind::AsyncPostgres => {
            "CAST($1 AS bytea) IS NOT NULL"
        }
        _ => "$1 IS NOT NULL",
    }
}

/// Whoever writes these tables.
async fn one_is_written(kind: Kind) {
    let keys = rotated(kind).await;
    let second = "UPDATE ophie_crypt_index_keys SET state = 'writing' WHERE owner = $1";
    keys.run(second).await.unwrap_err();
    let odd =
        "UPDATE ophie_crypt_index_keys SET state = 'sealing' WHERE owner = $1 AND generation = 1";
    keys.run(odd).await.unwrap_err();
    assert_eq!(states(&keys).await, [(2, Writing), (1, Draining)]);
}
