//! A session under the DEK that everybody knows.
//!
//! Invariant: it is made anew before it is too old, also in a run that lasts for days.

use core::cell::RefCell;

use ophie_crypt::{CanonicalId, Error, Keyring, MemoryKeyStore, OpenError, Session};

use crate::{
    forge,
    golden::given::{Given, PURPOSE, keyring},
    targets::wait,
};

struct World {
    uses: u32,
    /// Its session ends with it.
    _keyring: Keyring,
    session: Session,
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

/// A lease is for 4,096 seals, and a session for ten minutes, in which there are many more.
const USES: u32 = 4_000;

pub(crate) fn with_session<R>(work: impl FnOnce(&Session) -> R) -> R {
    WORLD.with_borrow_mut(|world| {
        if world.as_ref().is_none_or(|world| world.uses == USES) {
            *world = Some(wait(make()));
        }
        let world = world.as_mut().unwrap();
        world.uses += 1;
        work(&world.session)
    })
}

async fn make() -> World {
    let keyring = keyring(Given(forge::DEK), MemoryKeyStore::new());
    let owner = CanonicalId::text(forge::OWNER);
    let session = keyring.open_or_provision(&owner, PURPOSE).await.unwrap();
    World {
        uses: 0,
        _keyring: keyring,
        session,
    }
}

/// The row of what is row-bound.
pub(crate) fn row(bound: bool) -> Option<CanonicalId> {
    bound.then(|| CanonicalId::text(forge::ROW))
}

/// Why a value does not open, in SPEC.md's words.
pub(crate) fn reason(error: &Error) -> &'static str {
    match error {
        Error::Open(OpenError::Codec { .. }) => "codec",
        Error::Open(OpenError::NotAnEnvelope { .. }) => "not an envelope",
        Error::Open(OpenError::Rejected { .. }) => "rejected",
        Error::Open(OpenError::RowBinding { .. }) => "row binding",
        Error::Open(OpenError::UnknownKey { .. }) => "unknown key",
        error => panic!("{error}"),
    }
}
