//! The life of a generation in every store: each step when its time has come, not before, and whole.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use ophie_crypt::{
    Announcement, BudgetStatus, CanonicalId, DekBlob, DekRecord, DekState, IndexKeyRecord, KeyId,
    LeaseError, LeaseRequest, MAX_INVOCATIONS, OwnerRecord, RotationPolicy, Step, StepError,
    StepTo, Which, WrappedDek,
};
use uuid::Uuid;

use crate::world::{Keys, Kind, LIFE, provision};

every_store!(
    an_announcement_is_whole,
    of_many_announcements_one_is_taken,
    what_was_just_announced_does_not_seal,
    nothing_skips_a_state,
    a_rewrap_replaces_what_was_read,
    owners_are_listed_in_pages,
);
every_database!(
    it_seals_when_every_process_had_time,
    its_time_begins_when_it_is_committed,
    it_is_retired_when_nobody_can_seal_under_it,
    a_lease_on_its_way_is_waited_for,
    it_is_destroyed_long_after,
    a_generation_of_an_earlier_epoch_never_seals,
    who_is_due,
);

/// The generation after that of `record`, as a keyring would make it.
pub(crate) fn next(record: &OwnerRecord) -> Announcement {
    let id = KeyId::from_bytes(*Uuid::new_v4().as_bytes());
    let sealed = || DekBlob::Sealed(id.as_bytes().to_vec());
    let older = record
        .deks()
        .iter()
        .map(|dek| DekRecord::new(dek.generation(), dek.state(), dek.key_id(), sealed()));
    let index_keys = record.index_keys().iter();
    let index_keys = index_keys
        .map(|key| IndexKeyRecord::new(key.generation(), id, *id.as_bytes()).in_state(key.state()));
    let blob = DekBlob::Wrapped(WrappedDek::new("local:..", [9]));
    let generation = record.deks()[0].generation() + 1;
    Announcement::new(
        record.version(),
        DekRecord::new(generation, DekState::Announced, id, blob),
        older.collect::<Vec<_>>(),
        index_keys.collect::<Vec<_>>(),
    )
}

async fn announce(keys: &Keys) -> Announcement {
    let announcement = next(&keys.load().await.unwrap().unwrap());
    let announced = keys.store.announce(&keys.owner, &announcement).await;
    announced.unwrap();
    announcement
}

async fn step(keys: &Keys, generation: u32, to: StepTo) -> Result<(), StepError> {
    let step = Step::new(keys.owner.clone(), generation, to);
    keys.store.step(&step).await
}

pub(crate) fn too_early(stepped: &Result<(), StepError>) -> bool {
    matches!(stepped, Err(StepError::TooEarly))
}

pub(crate) fn changed(stepped: &Result<(), StepError>) -> bool {
    matches!(stepped, Err(StepError::Changed))
}

async fn states(keys: &Keys) -> Vec<(u32, DekState)> {
    let record = keys.load().await.unwrap().unwrap();
    let deks = record.deks().iter();
    deks.map(|dek| (dek.generation(), dek.state())).collect()
}

/// A column of times is set so many seconds back.
pub(crate) async fn back(keys: &Keys, table: &str, column: &str, generation: u32, seconds: u32) {
    let then = match keys.kind {
        Kind::Memory => unreachable!("there are no columns in memory"),
        Kind::SqlxMariaDb | Kind::DieselMariaDb | Kind::AsyncMariaDb => {
            format!("utc_timestamp(6) - INTERVAL {seconds} SECOND")
        }
        Kind::SqlxPostgres | Kind::DieselPostgres | Kind::AsyncPostgres => {
            format!("clock_timestamp() - interval '{seconds} seconds'")
        }
        Kind::SqlxSqlite | Kind::DieselSqlite => {
            format!("strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-{seconds} seconds')")
        }
    };
    let sql = format!(
        "UPDATE ophie_crypt_{table} SET {column} = {then} WHERE owner = $1 AND generation = {generation}"
    );
    assert_eq!(keys.run(&sql).await.unwrap(), 1, "{sql}");
}

/// With a second generation that seals.
async fn rotated(kind: Kind) -> Keys {
    let keys = Keys::new(kind).await;
    announce(&keys).await;
    assert!(too_early(&step(&keys, 2, StepTo::Sealing).await));
    back(&keys, "budgets", "announced_at", 2, 130).await;
    step(&keys, 2, StepTo::Sealing).await.unwrap();
    keys
}

async fn an_announcement_is_whole(kind: Kind) {
    let keys = Keys::new(kind).await;
    let before = keys.load().await.unwrap().unwrap();
    let announcement = announce(&keys).await;
    let after = keys.load().await.unwrap().unwrap();
    assert!(after.version() > before.version());
    let mut deks = vec![announcement.dek.clone()];
    deks.extend(announcement.older.clone());
    assert_eq!(after.deks(), deks);
    assert_eq!(after.index_keys(), announcement.index_keys);
    // The old one seals on; the new one does not.
    let lease = keys.store.lease(&keys.request(5, MAX_INVOCATIONS)).await;
    assert_eq!(lease.unwrap().granted(), 6);
    let mut request = keys.request(1, MAX_INVOCATIONS);
    request.generation = 2;
    let lease = keys.store.lease(&request).await;
    assert!(matches!(lease, Err(LeaseError::NotSealing)), "{lease:?}");
    // What another read before is not written over it.
    let again = keys.store.announce(&keys.owner, &next(&before)).await;
    assert!(changed(&again), "{again:?}");
    let nobody = CanonicalId::text("nobody");
    assert!(changed(&keys.store.announce(&nobody, &next(&before)).await));
    assert_eq!(keys.load().await.unwrap().unwrap(), after);
}

async fn of_many_announcements_one_is_taken(kind: Kind) {
    let keys = Keys::new(kind).await;
    let record = keys.load().await.unwrap().unwrap();
    let announcing = keys.processes(8).await.into_iter().map(|store| {
        let (owner, next) = (keys.owner.clone(), next(&record));
        tokio::spawn(async move { store.announce(&owner, &next).await.map(|()| next.dek) })
    });
    let announced: Vec<_> = join_all(announcing)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let taken: Vec<_> = announced
        .iter()
        .filter_map(|done| done.as_ref().ok())
        .collect();
    assert_eq!(taken.len(), 1, "{announced:?}");
    let record = keys.load().await.unwrap().unwrap();
    assert_eq!((record.deks().len(), &record.deks()[0]), (2, taken[0]));
}

async fn what_was_just_announced_does_not_seal(kind: Kind) {
    let keys = Keys::new(kind).await;
    assert!(
        changed(&step(&keys, 2, StepTo::Sealing).await),
        "there is none"
    );
    announce(&keys).await;
    for _ in 0..3 {
        assert!(too_early(&step(&keys, 2, StepTo::Sealing).await));
    }
    let states = states(&keys).await;
    assert_eq!(states, [(2, DekState::Announced), (1, DekState::Sealing)]);
}

async fn nothing_skips_a_state(kind: Kind) {
    let keys = Keys::new(kind).await;
    announce(&keys).await;
    let before = keys.load().await.unwrap();
    let after = Duration::ZERO;
    for generation in [1, 2, 3] {
        for to in [StepTo::Retired, StepTo::Destroyed { after }] {
            let stepped = step(&keys, generation, to).await;
            assert!(changed(&stepped), "{generation} {to:?}: {stepped:?}");
        }
        assert!(!keys.store.is_idle(&keys.owner, generation).await.unwrap());
    }
    assert!(changed(&step(&keys, 1, StepTo::Sealing).await));
    assert_eq!(keys.load().await.unwrap(), before);
}

async fn a_rewrap_replaces_what_was_read(kind: Kind) {
    let keys = Keys::new(kind).await;
    let record = keys.load().await.unwrap().unwrap();
    let DekBlob::Wrapped(old) = record.deks()[0].blob() else {
        panic!("first keys are wrapped")
    };
    let new = WrappedDek::new("another", [7, 7]);
    let rewrap = |generation, old, new| keys.store.rewrap(&keys.owner, generation, old, new);
    let others = [
        WrappedDek::new(old.kek(), [1]),
        WrappedDek::new("another", old.as_bytes()),
    ];
    for (generation, old) in [(2, old), (1, &others[0]), (1, &others[1])] {
        assert!(changed(&rewrap(generation, old, &new).await));
    }
    rewrap(1, old, &new).await.unwrap();
    let after = keys.load().await.unwrap().unwrap();
    assert_eq!(*after.deks()[0].blob(), DekBlob::Wrapped(new.clone()));
    assert!(after.version() > record.version());
    assert!(changed(&rewrap(1, old, &new).await));
}

async fn owners_are_listed_in_pages(kind: Kind) {
    let keys = Keys::new(kind).await;
    let names = ["ada", "ben", "cy", "dee", "eve"];
    for name in &names[1..] {
        provision(&*keys.store, &CanonicalId::text(name))
            .await
            .unwrap();
    }
    let which = Which::WrappedElsewhere {
        kek: "another".into(),
    };
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = keys.store.owners(&which, after.as_ref(), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2);
        after = Some(last.clone());
        found.extend(page);
    }
    assert_eq!(found, names.map(CanonicalId::text));
    let here = Which::WrappedElsewhere {
        kek: "local:..".into(),
    };
    assert_eq!(keys.store.owners(&here, None, 9).await.unwrap(), []);
    assert_eq!(
        keys.store.owners(&Which::Rotating, None, 9).await.unwrap(),
        []
    );
    announce(&keys).await;
    let rotating = keys.store.owners(&Which::Rotating, None, 9).await.unwrap();
    assert_eq!(rotating, [keys.owner]);
}

async fn it_seals_when_every_process_had_time(kind: Kind) {
    let keys = Keys::new(kind).await;
    announce(&keys).await;
    assert!(too_early(&step(&keys, 2, StepTo::Sealing).await));
    back(&keys, "budgets", "announced_at", 2, 110).await;
    assert!(too_early(&step(&keys, 2, StepTo::Sealing).await));
    back(&keys, "budgets", "announced_at", 2, 121).await;
    let version = keys.version().await;
    step(&keys, 2, StepTo::Sealing).await.unwrap();
    assert!(keys.version().await > version);
    let after = states(&keys).await;
    assert_eq!(after, [(2, DekState::Sealing), (1, DekState::Draining)]);
    assert!(
        changed(&step(&keys, 2, StepTo::Sealing).await),
        "another was first"
    );
    let old = keys.store.lease(&keys.request(0, MAX_INVOCATIONS)).await;
    assert!(matches!(old, Err(LeaseError::NotSealing)), "{old:?}");
    let new = LeaseRequest::new(keys.owner.clone(), 2, 10, MAX_INVOCATIONS, LIFE);
    // Two keys were sealed under it to announce it.
    assert_eq!(keys.store.lease(&new).await.unwrap().granted(), 12);
}

/// An announcement may take long to be committed; no process can have found it before.
async fn its_time_begins_when_it_is_committed(kind: Kind) {
    let keys = Keys::new(kind).await;
    announce(&keys).await;
    back(&keys, "deks", "created_at", 2, 1_000).await;
    back(&keys, "deks", "stated_at", 2, 1_000).await;
    assert!(too_early(&step(&keys, 2, StepTo::Sealing).await));
    assert!(too_early(&step(&keys, 2, StepTo::Sealing).await));
}

async fn it_is_retired_when_nobody_can_seal_under_it(kind: Kind) {
    let keys = rotated(kind).await;
    keys.run("UPDATE ophie_crypt_deks SET state = 'draining' WHERE owner = $1 AND generation = 1")
        .await
        .unwrap();
    let idle = || keys.store.is_idle(&keys.owner, 1);
    for seconds in [0, 25] {
        back(&keys, "budgets", "leased_until", 1, seconds).await;
        assert!(!idle().await.unwrap(), "its lease was over {seconds} s ago");
        assert!(too_early(&step(&keys, 1, StepTo::Retired).await));
    }
    back(&keys, "budgets", "leased_until", 1, 31).await;
    assert!(idle().await.unwrap());
    // An index key under it.
    let under = |generation| {
        format!(
            "UPDATE ophie_crypt_index_keys SET key_id = (SELECT key_id FROM ophie_crypt_deks \
             WHERE owner = $1 AND generation = {generation})"
        )
    };
    keys.run(&under(1)).await.unwrap();
    assert!(too_early(&step(&keys, 1, StepTo::Retired).await));
    keys.run(&under(2)).await.unwrap();
    step(&keys, 1, StepTo::Retired).await.unwrap();
    let after = states(&keys).await;
    assert_eq!(after, [(2, DekState::Sealing), (1, DekState::Retired)]);
    assert!(idle().await.unwrap());
    assert!(
        !keys.store.is_idle(&keys.owner, 2).await.unwrap(),
        "it seals"
    );
}

/// A lease that was granted and is not committed when the generation would be retired.
async fn a_lease_on_its_way_is_waited_for(kind: Kind) {
    let keys = rotated(kind).await;
    back(&keys, "budgets", "leased_until", 1, 100).await;
    assert!(keys.store.is_idle(&keys.owner, 1).await.unwrap());
    let (store, owner) = (Arc::clone(&keys.store), keys.owner.clone());
    let lease = keys.database.hold(
        "UPDATE ophie_crypt_budgets SET leased_until = '2999-01-01 00:00:00' WHERE generation = 1",
    );
    let lease = lease.await;
    let retiring = tokio::spawn(async move {
        let step = Step::new(owner.clone(), 1, StepTo::Retired);
        store.step(&step).await
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!retiring.is_finished(), "it did not wait");
    lease.commit().await;
    let retired = retiring.await.unwrap();
    assert!(too_early(&retired), "{retired:?}");
}

async fn it_is_destroyed_long_after(kind: Kind) {
    let keys = rotated(kind).await;
    back(&keys, "budgets", "leased_until", 1, 100).await;
    step(&keys, 1, StepTo::Retired).await.unwrap();
    let day = Duration::from_secs(24 * 3600);
    let destroy = || step(&keys, 1, StepTo::Destroyed { after: day });
    let retired = async |since| {
        keys.store
            .owners(&Which::Retired { since }, None, 9)
            .await
            .unwrap()
    };
    assert!(too_early(&destroy().await));
    back(&keys, "deks", "stated_at", 1, 80_000).await;
    assert!(too_early(&destroy().await));
    assert_eq!(retired(day).await, []);
    back(&keys, "deks", "stated_at", 1, 90_000).await;
    assert_eq!(retired(day).await, std::slice::from_ref(&keys.owner));
    destroy().await.unwrap();
    assert_eq!(states(&keys).await, [(2, DekState::Sealing)]);
    let left = "SELECT COUNT(*) FROM ophie_crypt_deks WHERE state = 'destroyed' AND sealed IS NULL \
                AND wrapped IS NULL AND kek IS NULL";
    assert_eq!(keys.database.number(left).await, 1);
    assert!(changed(&destroy().await));
}

async fn a_generation_of_an_earlier_epoch_never_seals(kind: Kind) {
    let keys = Keys::new(kind).await;
    announce(&keys).await;
    assert!(too_early(&step(&keys, 2, StepTo::Sealing).await));
    back(&keys, "budgets", "announced_at", 2, 1_000).await;
    let epoch = "UPDATE ophie_crypt_installation SET epoch = 2";
    keys.database.run_plain(epoch).await.unwrap();
    assert!(changed(&step(&keys, 2, StepTo::Sealing).await));
    let due = Which::Due(RotationPolicy::default());
    let owners = keys.store.owners(&due, None, 9).await.unwrap();
    assert_eq!(owners, std::slice::from_ref(&keys.owner));
    announce(&keys).await;
    assert_eq!(keys.store.owners(&due, None, 9).await.unwrap(), []);
    assert!(too_early(&step(&keys, 3, StepTo::Sealing).await));
    back(&keys, "budgets", "announced_at", 3, 1_000).await;
    step(&keys, 3, StepTo::Sealing).await.unwrap();
    let lease = LeaseRequest::new(keys.owner.clone(), 3, 10, MAX_INVOCATIONS, LIFE);
    keys.store.lease(&lease).await.unwrap();
}

async fn who_is_due(kind: Kind) {
    let keys = Keys::new(kind).await;
    provision(&*keys.store, &CanonicalId::text("ben"))
        .await
        .unwrap();
    let day = Duration::from_secs(24 * 3600);
    let due = async |policy| {
        keys.store
            .owners(&Which::Due(policy), None, 9)
            .await
            .unwrap()
    };
    let ada = [keys.owner.clone()];
    let policy = RotationPolicy::default();
    assert_eq!(due(policy.older_than(day)).await, []);
    back(&keys, "deks", "stated_at", 1, 90_000).await;
    assert_eq!(due(policy.older_than(day)).await, ada);
    assert_eq!(due(policy).await, []);
    keys.run("UPDATE ophie_crypt_budgets SET granted = 2147483647 WHERE owner = $1")
        .await
        .unwrap();
    assert_eq!(due(policy).await, []);
    assert_eq!(due(policy.at_granted(1_000_000)).await, ada);
    keys.run("UPDATE ophie_crypt_budgets SET granted = 2147483648 WHERE owner = $1")
        .await
        .unwrap();
    assert_eq!(policy.granted(), BudgetStatus::ROTATE_AT);
    assert_eq!(due(policy).await, ada);
    announce(&keys).await;
    assert_eq!(due(policy).await, [], "it is under way");
    keys.run("UPDATE ophie_crypt_owners SET state = 'shredded' WHERE owner = $1")
        .await
        .unwrap();
    assert_eq!(
        keys.store.owners(&Which::Rotating, None, 9).await.unwrap(),
        []
    );
}
