//! The models, and what they share: a process with one keyring, without the keyring.
//!
//! Invariant: where `keyring/slots.rs` has a task and a channel, `World` has a thread and a lock; whom they
//! call, in which order, is the same. Absent: the models' assertions (one file for each room).

pub mod budgets;
pub mod fetches;
pub mod sessions;
pub mod soaks;

use std::{
    sync::{
        Arc as StdArc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;

use crate::{
    budget::Budget,
    clock::{Clock, Moment},
    error::NoSession,
    held::Held,
    keyring::{ReserveError, SessionError},
    owner::CanonicalId,
    session::{Keeper, Life, Purpose, Session, Slot, Ticket, Unwrapped},
    sync::Arc,
    value::OwnerKeys,
};

/// Counts keys from the KMS to their end.
#[derive(Clone, Default)]
struct World {
    made: StdArc<AtomicUsize>,
    wiped: StdArc<AtomicUsize>,
    lingers: bool,
}

struct Keyring {
    lingers: bool,
}

#[async_trait]
impl Keeper for Keyring {
    async fn reserve(&self, _: &Ticket, _: u32) -> Result<(), ReserveError> {
        Ok(())
    }

    async fn refresh(&self, _: &Arc<Slot>, _: Purpose, _: bool) -> Result<(), SessionError> {
        Ok(())
    }

    fn lingers(&self) -> bool {
        self.lingers
    }
}

impl World {
    fn lingering() -> Self {
        Self {
            lingers: true,
            ..Self::default()
        }
    }

    /// What the KMS gives, at a version of the owner.
    fn unwrap(&self, owner: u8, version: u64) -> Arc<Unwrapped> {
        self.made.fetch_add(1, Relaxed);
        Arc::new(Unwrapped {
            keys: OwnerKeys::new(CanonicalId(owner), &self.wiped),
            at: Moment,
            version,
            budget: Budget::new(1, || ()),
            renew_after: Duration::MAX,
        })
    }

    /// A session with keys of version 1, and its slot.
    fn open(&self) -> (Session, Arc<Slot>) {
        let slot = slot(CanonicalId(1));
        let term = slot.held.install(self.unwrap(1, 1));
        (self.session(self.ticket(&slot, term)), slot)
    }

    fn ticket(&self, slot: &Arc<Slot>, term: crate::held::Term) -> Ticket {
        let lingers = self.lingers;
        let keeper: StdArc<dyn Keeper> = StdArc::new(Keyring { lingers });
        Ticket::counted(Arc::clone(slot), term, Arc::from_std(keeper))
    }

    fn session(&self, ticket: Ticket) -> Session {
        let life = Life {
            clock: Clock,
            ttl: Duration::MAX,
            soaks: None,
        };
        Session::new(ticket, Purpose::new("model"), false, life)
    }

    fn made(&self) -> usize {
        self.made.load(Relaxed)
    }

    fn wiped(&self) -> usize {
        self.wiped.load(Relaxed)
    }

    /// After the last session: all keys were wiped, each once.
    fn assert_all_wiped(&self) {
        assert_eq!(self.wiped(), self.made(), "keys were left, or wiped twice");
    }
}

fn slot(owner: CanonicalId) -> Arc<Slot> {
    Arc::new(Slot {
        owner,
        held: Held::empty(),
    })
}

/// One hook's work: a whole key, or why there is none.
fn seal(session: &Session) -> Result<(), NoSession> {
    session.pin().map(|pinned| pinned.keys().seal())
}
