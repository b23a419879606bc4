//! What is known of an owner, and the task that fetches its keys.
//!
//! Invariant: a fetch is a task of its own, so a caller that goes away cancels nothing, and its failure is
//! told to those who wait now and to nobody later.
//! Absent: what a fetch does (`fill`), who starts one (`flight`), who is forgotten (`owners`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::{
    Inner, Keyring,
    ask::Errand,
    error::SessionError,
    flight::{Flight, Wait},
    upkeep::Nudge,
};
use crate::{
    budget::Budget,
    clock::Moment,
    error::NoSession,
    held::{Held, Term},
    owner::CanonicalId,
    session::{Purpose, Slot, Ticket, Unwrapped},
    store::StoreError,
};

/// An owner's slot, and what only the keyring knows of it.
pub(super) struct Entry {
    pub(super) slot: Arc<Slot>,
    flight: Flight<watch::Receiver<Filled>>,
    notes: Mutex<Notes>,
}

#[derive(Default)]
struct Notes {
    /// Outlives the keys: what was granted and not used is used by the next session.
    budget: Option<Arc<Budget>>,
    /// Purposes that are in the audit for the present keys.
    purposes: Vec<Purpose>,
    /// When the last holder was seen.
    in_use: Option<Moment>,
    /// A renewal failed then.
    failed: Option<Moment>,
}

pub(super) type Filled = Option<Result<Ticket, SessionError>>;

impl Entry {
    pub(super) fn new(owner: CanonicalId) -> Arc<Self> {
        Arc::new(Self {
            slot: Arc::new(Slot {
                owner,
                held: Held::empty(),
            }),
            flight: Flight::none(),
            notes: Mutex::default(),
        })
    }

    /// The budget of a generation: the one that is there, or a new one.
    fn budget(&self, generation: u32, inner: &Arc<Inner>) -> Arc<Budget> {
        let mut notes = self.notes();
        match &notes.budget {
            Some(budget) if budget.generation() == generation => Arc::clone(budget),
            _ => {
                let (nudges, owner) = (inner.nudges.clone(), self.slot.owner.clone());
                let budget = Budget::new(generation, move || {
                    let _ = nudges.send(Nudge::Refill(owner.clone())); // fails only at the end of the keyring
                });
                notes.budget = Some(Arc::clone(&budget));
                budget
            }
        }
    }

    /// Whether a session for this purpose was audited for the present keys.
    pub(super) fn knows(&self, purpose: Purpose) -> bool {
        self.notes().purposes.contains(&purpose)
    }

    pub(super) fn know(&self, purpose: Purpose) {
        let mut notes = self.notes();
        if !notes.purposes.contains(&purpose) {
            notes.purposes.push(purpose);
        }
    }

    /// For which purpose the keys are renewed: the first.
    pub(super) fn purpose(&self) -> Option<Purpose> {
        self.notes().purposes.first().copied()
    }

    pub(super) fn note_use(&self, now: Moment) {
        self.notes().in_use = Some(now);
    }

    pub(super) fn in_use(&self) -> Option<Moment> {
        self.notes().in_use
    }

    pub(super) fn failed(&self) -> Option<Moment> {
        self.notes().failed
    }

    /// A fetch ends now, with keys for `purpose` or without.
    fn note_end(&self, purpose: Option<Purpose>, now: Moment) {
        let mut notes = self.notes();
        notes.failed = purpose.is_none().then_some(now);
        if let Some(purpose) = purpose {
            notes.purposes = vec![purpose]; // each is audited once for each unwrap
        }
    }

    pub(super) fn is_filling(&self) -> bool {
        self.flight.is_under_way()
    }

    /// Nothing is lost but a lease if it is forgotten.
    fn is_idle(&self) -> bool {
        self.slot.held.pin().is_err() && self.slot.held.holders() == 0 && !self.is_filling()
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wait for watch::Receiver<Filled> {
    /// Whether its sender lives.
    fn is_open(&self) -> bool {
        self.has_changed().is_ok()
    }
}

impl Inner {
    /// The owner's entry; a new one if there is room.
    pub(super) fn entry(&self, owner: CanonicalId) -> Result<Arc<Entry>, SessionError> {
        let entry = self.owners.entry(owner, Entry::is_idle, Entry::new);
        entry.ok_or_else(|| {
            self.metrics.refused("max-owners");
            SessionError::TooManyOwners
        })
    }

    /// Joins the owner's keys if they are fresh; else the fetch under way, or a new one.
    pub(super) fn join_or_fetch(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        errand: &Errand,
        lease: bool,
    ) -> Result<Term, (watch::Receiver<Filled>, Whose)> {
        let now = self.clock.now();
        let fresh = |keys: &Unwrapped| now.since(&keys.at) < keys.renew_after;
        let mut whose = Whose::Anothers;
        let begin = || {
            whose = Whose::Ours;
            self.begin(entry, errand.clone(), lease)
        };
        let joined = entry.flight.join_or_start(&entry.slot.held, fresh, begin);
        joined.map_err(|filling| (filling, whose))
    }

    /// The fetch under way, or a new one.
    pub(super) fn fetch(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        errand: Errand,
        lease: bool,
    ) -> watch::Receiver<Filled> {
        entry.flight.start(|| self.begin(entry, errand, lease))
    }

    /// Who seals here has its lease extended by every fetch, whoever asked for it: it must not end before
    /// the keys do.
    fn begin(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        errand: Errand,
        lease: bool,
    ) -> watch::Receiver<Filled> {
        let sealed = |had: &Arc<Budget>| had.granted() > 0;
        let lease = lease || entry.notes().budget.as_ref().is_some_and(sealed);
        let (sender, filling) = watch::channel(None);
        let (inner, entry) = (Arc::clone(self), Arc::clone(entry));
        tokio::spawn(async move {
            let budget = |generation| entry.budget(generation, &inner);
            let unwrapped = inner.unwrap(&errand, budget, lease).await;
            sender.send_replace(Some(inner.settle(&entry, errand.purpose, unwrapped)));
        });
        filling
    }

    /// The end of a fetch.
    fn settle(
        self: &Arc<Self>,
        entry: &Entry,
        purpose: Purpose,
        unwrapped: Result<Unwrapped, SessionError>,
    ) -> Result<Ticket, SessionError> {
        let (held, flight) = (&entry.slot.held, &entry.flight);
        entry.note_end(unwrapped.is_ok().then_some(purpose), self.clock.now());
        match unwrapped {
            Ok(unwrapped) => {
                let term = flight.bring(held, Arc::new(unwrapped));
                let keeper = Arc::new(Keyring(Arc::clone(self)));
                Ok(Ticket::counted(Arc::clone(&entry.slot), term, keeper))
            }
            Err(error) => {
                flight.fail(held, ends_sessions(&error));
                Err(error)
            }
        }
    }
}

/// What a failed fetch means for sessions that are open: only what a retry cannot mend ends them.
fn ends_sessions(error: &SessionError) -> Option<NoSession> {
    match error {
        SessionError::Shredded => Some(NoSession::Shredded),
        SessionError::Kms(error) if error.is_final() => Some(NoSession::Revoked),
        SessionError::Store(StoreError::Corrupt { .. })
        | SessionError::UnknownOwner
        | SessionError::WrongKey => Some(NoSession::Revoked),
        _ => None,
    }
}

/// Waits for a fetch.
/// Who began a fetch that is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// It may have read before its caller came.
    Anothers,
    Ours,
}

pub(super) async fn filled(mut filling: watch::Receiver<Filled>) -> Result<Ticket, SessionError> {
    match filling.wait_for(Option::is_some).await.as_deref() {
        Ok(Some(filled)) => filled.clone(),
        _ => Err(SessionError::Interrupted),
    }
}
