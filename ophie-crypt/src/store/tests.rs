//! What a store in memory does as a database would, so that tests on it mean something; and words and ways of all stores.

use core::time::Duration;

use super::{memory::MemoryKeyStore, unasked::only_models, *};
use crate::{
    clock::Clock,
    hazmat::data_key::KeyId,
    kms::WrappedDek,
    ledger::LedgerHead,
    model::Models,
    passed_on::pass_on,
    session::BudgetStatus,
    shred::{ShredStep, ShredStore, Shreds},
};

const FIRST: KeyId = KeyId::from_bytes([1; 16]);
const SECOND: KeyId = KeyId::from_bytes([2; 16]);
const LIFE: Duration = Duration::from_secs(600);
const HOUR: Duration = Duration::from_secs(3600);

fn ada() -> CanonicalId {
    CanonicalId::text("ada")
}

fn wrapped(byte: u8) -> WrappedDek {
    WrappedDek::new("kek", [byte; 40])
}

fn dek(generation: u32, state: DekState, key_id: KeyId) -> DekRecord {
    let byte = u8::try_from(generation).unwrap();
    DekRecord::new(generation, state, key_id, DekBlob::Wrapped(wrapped(byte)))
}

fn index_key(generation: u8, under: KeyId) -> IndexKeyRecord {
    IndexKeyRecord::new(generation, under, [generation; 77])
}

/// Of one owner, whose first generation seals.
async fn store(clock: &Clock) -> MemoryKeyStore {
    let store = MemoryKeyStore::with_clock(clock.clone());
    let first = dek(1, DekState::Sealing, FIRST);
    store
        .insert_if_absent(&ada(), &first, &index_key(1, FIRST))
        .await
        .unwrap();
    store
}

/// A second generation is announced. The index key is under the first still, as no keyring leaves it.
fn second() -> Announcement {
    let first = dek(1, DekState::Sealing, FIRST);
    let announced = dek(2, DekState::Announced, SECOND);
    Announcement::new(1, announced, [first], [index_key(1, FIRST)])
}

async fn is_ready(future: impl Future<Output = ()>) -> bool {
    let ready = tokio::time::timeout(Duration::from_millis(1), future).await;
    ready.is_ok()
}

#[tokio::test]
async fn leases_are_of_the_generation_that_seals() {
    let store = store(&Clock::default()).await;
    let lease = |generation| LeaseRequest::new(ada(), generation, 10, MAX_INVOCATIONS, LIFE);
    let other = store.lease(&lease(2)).await;
    assert!(matches!(other, Err(LeaseError::NotSealing)), "{other:?}");
    assert_eq!(store.lease(&lease(1)).await.unwrap().granted(), 11);
}

#[tokio::test(start_paused = true)]
async fn a_change_is_told_and_nothing_else_is() {
    let store = Arc::new(store(&Clock::default()).await);
    assert!(store.changes(HOUR).await.unwrap().is_empty());
    assert!(!is_ready(store.notified()).await, "nothing changed");
    let waits = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.notified().await }
    });
    tokio::task::yield_now().await;
    store.announce(&ada(), &second()).await.unwrap();
    waits.await.unwrap();
    assert_eq!(store.changes(HOUR).await.unwrap(), [(ada(), 2)]);
}

/// By a process that read before another's change.
#[tokio::test]
async fn what_was_read_before_a_change_changes_nothing() {
    let store = store(&Clock::default()).await;
    store.announce(&ada(), &second()).await.unwrap();
    let index = |version| IndexAnnouncement {
        version,
        key: index_key(2, FIRST).in_state(IndexKeyState::Announced),
        sealed_under: 1,
    };
    let late = store.announce_index(&ada(), &index(1)).await;
    assert!(matches!(late, Err(StepError::Changed)), "{late:?}");
    store.announce_index(&ada(), &index(2)).await.unwrap();
    let beside = store.announce_index(&ada(), &index(3)).await;
    assert!(matches!(beside, Err(StepError::Changed)), "{beside:?}");

    let (old, other, new) = (wrapped(2), wrapped(7), wrapped(8));
    let late = store.rewrap(&ada(), 2, &other, &new).await;
    assert!(matches!(late, Err(StepError::Changed)), "{late:?}");
    let late = store.rewrap(&ada(), 3, &old, &new).await;
    assert!(matches!(late, Err(StepError::Changed)), "{late:?}");
    store.rewrap(&ada(), 2, &old, &new).await.unwrap();
}

/// Its index key would be lost with it.
#[tokio::test]
async fn a_generation_is_not_retired_while_something_rests_on_it() {
    let clock = Clock::default();
    let store = store(&clock).await;
    assert!(!store.is_idle(&ada(), 1).await.unwrap(), "it seals");
    store.announce(&ada(), &second()).await.unwrap();
    let step = |generation, to| Step {
        owner: ada(),
        generation,
        to,
    };
    clock.pass(ANNOUNCED_FOR);
    store.step(&step(2, StepTo::Sealing)).await.unwrap();
    assert!(
        store.is_idle(&ada(), 1).await.unwrap(),
        "nobody has a lease"
    );
    let early = store.step(&step(1, StepTo::Retired)).await;
    assert!(matches!(early, Err(StepError::TooEarly)), "{early:?}");
}

#[tokio::test]
async fn shreds_are_listed_by_what_is_left_to_do() {
    let store = store(&Clock::default()).await;
    let owner = ada();
    store.shred(&owner).await.unwrap().unwrap();
    let micros = |time: Duration| time.as_micros().try_into().unwrap();
    let again = |after, again| Shreds::Sweepable {
        after: micros(after),
        again: micros(again),
    };
    let sweepable = |after| again(after, Duration::ZERO);
    let listed = async |which| store.shreds(which, None, 10).await.unwrap().len();
    assert_eq!(listed(Shreds::Due).await, 1);
    assert_eq!(listed(Shreds::Unappended).await, 1);
    assert_eq!(
        listed(sweepable(Duration::ZERO)).await,
        0,
        "no ledger knows it"
    );

    let head = |position| LedgerHead::new(position, [7; 32]);
    let appended = |position| ShredStep::Appended {
        entry: position,
        head: head(position),
    };
    store.note(&owner, appended(5)).await.unwrap();
    assert_eq!(store.installation().await.unwrap().ledger, head(5));
    store.note(&owner, appended(3)).await.unwrap();
    assert_eq!(
        store.installation().await.unwrap().ledger,
        head(5),
        "it went back"
    );
    assert_eq!(listed(Shreds::Unappended).await, 0);
    assert_eq!(listed(sweepable(Duration::ZERO)).await, 1);
    assert_eq!(listed(sweepable(HOUR)).await, 0, "backups hold its rows");

    let rest = Duration::ZERO;
    store.note(&owner, ShredStep::Swept { rest }).await.unwrap();
    assert_eq!(listed(again(rest, HOUR)).await, 0, "it was just swept");
    assert_eq!(listed(again(rest, rest)).await, 1);

    store.note(&owner, ShredStep::Done).await.unwrap();
    assert_eq!(listed(Shreds::Due).await, 0);
    assert_eq!(listed(Shreds::All).await, 1);
    assert_eq!(listed(sweepable(Duration::ZERO)).await, 1);
    store
        .note(&owner, ShredStep::Swept { rest: HOUR })
        .await
        .unwrap();
    assert_eq!(listed(sweepable(Duration::ZERO)).await, 0, "it rests");
}

/// What a restore brings back adopts the ledger, and forgets no epoch that it had.
#[tokio::test]
async fn an_epoch_never_falls() {
    let store = store(&Clock::default()).await;
    let head = LedgerHead::new(5, [7; 32]);
    store.raise_epoch(4, &head).await.unwrap();
    let mut other = store.installation().await.unwrap();
    assert_eq!((other.epoch, other.ledger), (4, head));
    store.raise_epoch(3, &head).await.unwrap();
    other.epoch = 1;
    store.adopt(&other).await.unwrap();
    assert_eq!(store.installation().await.unwrap().epoch, 4);
}

/// As databases store them.
#[test]
fn each_state_is_read_by_the_word_that_it_is_written_by() {
    for state in [
        DekState::Announced,
        DekState::Destroyed,
        DekState::Draining,
        DekState::Retired,
        DekState::Sealing,
    ] {
        assert_eq!(DekState::of(state.as_str()), Some(state));
    }
    for state in [
        IndexKeyState::Announced,
        IndexKeyState::Draining,
        IndexKeyState::Retired,
        IndexKeyState::Writing,
    ] {
        assert_eq!(IndexKeyState::of(state.as_str()), Some(state));
    }
    assert_eq!(DekState::of("another"), None);
    assert_eq!(IndexKeyState::of("destroyed"), None);
}

/// Half of its budget is for what is sealed while it is rotated.
#[test]
fn a_policy_rotates_no_later_than_at_half_of_the_budget() {
    let policy = RotationPolicy::default().older_than(HOUR).at_granted(7);
    assert_eq!((policy.age(), policy.granted()), (HOUR, 7));
    let late = policy.at_granted(u64::MAX);
    assert_eq!(
        (late.age(), late.granted()),
        (HOUR, BudgetStatus::ROTATE_AT)
    );
}

/// A store that has no notifications, and tables that know only their fence.
#[derive(Debug, Default)]
struct Fenced {
    models: Models,
    raised: std::sync::Mutex<Vec<bool>>,
}

only_models!(Fenced);

#[async_trait]
impl WriteFence for Fenced {
    async fn fence(&self) -> Result<String, ModelError> {
        Ok("CREATE TRIGGER".into())
    }

    async fn raise_fence(&self) -> Result<(), ModelError> {
        self.raised.lock().unwrap().push(true);
        Ok(())
    }

    async fn lower_fence(&self) -> Result<(), ModelError> {
        self.raised.lock().unwrap().push(false);
        Ok(())
    }
}

#[tokio::test]
async fn a_fence_is_raised_and_lowered_through_an_arc() {
    let tables = Arc::new(Fenced::default());
    assert_eq!(tables.fence().await.unwrap(), "CREATE TRIGGER");
    WriteFence::raise_fence(&tables).await.unwrap();
    WriteFence::lower_fence(&tables).await.unwrap();
    assert_eq!(*tables.raised.lock().unwrap(), [true, false]);
}

/// It is asked now and then instead: to say at once that something changed would be to ask without end.
#[tokio::test(start_paused = true)]
async fn a_store_without_notifications_tells_nothing() {
    struct Still(MemoryKeyStore);
    #[async_trait]
    impl KeyStore for Still {
        pass_on!(0: load, insert_if_absent, version, lease, changes, shred);
    }
    let still = Arc::new(Still(MemoryKeyStore::new()));
    assert!(!is_ready(still.notified()).await);
}
