//! Openings against fetches, against the end of the last session, and against the forgetting of owners.
//!
//! Invariant: see each model.

use loom::{
    sync::{Condvar, Mutex},
    thread,
};

use super::{World, seal, slot};
use crate::{
    error::NoSession,
    flight::{Flight, Wait},
    owner::CanonicalId,
    owners::Owners,
    session::{Session, Slot, Ticket},
    sync::Arc,
};

/// As in `slots`, without what is noted beside.
struct Entry {
    slot: Arc<Slot>,
    flight: Flight<Filling>,
}

/// In place of the receiver of a watch channel.
#[derive(Clone)]
struct Filling(Arc<(Mutex<Option<Filled>>, Condvar)>);

type Filled = Result<Ticket, NoSession>;

impl Wait for Filling {
    fn is_open(&self) -> bool {
        true // no fetch panics here
    }
}

impl Filling {
    fn wait(&self) -> Filled {
        let mut filled = self.0.0.lock().unwrap();
        while filled.is_none() {
            filled = self.0.1.wait(filled).unwrap();
        }
        filled.clone().unwrap()
    }

    fn fill(&self, with: Filled) {
        *self.0.0.lock().unwrap() = Some(with);
        self.0.1.notify_all();
    }
}

impl Entry {
    fn new(owner: CanonicalId) -> Arc<Self> {
        Arc::new(Self {
            slot: slot(owner),
            flight: Flight::none(),
        })
    }

    fn is_idle(&self) -> bool {
        self.slot.held.pin().is_err()
            && self.slot.held.holders() == 0
            && !self.flight.is_under_way()
    }
}

/// What the key store says of the owner.
#[derive(Clone, Copy)]
enum Answer {
    Keys,
    Shredded,
}

impl World {
    /// Opens a session. The caller runs the fetch that it started: one thread fewer.
    fn open_with(&self, entry: &Arc<Entry>, answer: Answer) -> Result<Session, NoSession> {
        let mut started = None;
        let joined = entry.flight.join_or_start(
            &entry.slot.held,
            |_| true,
            || {
                let filling = Filling(Arc::new((Mutex::new(None), Condvar::new())));
                started = Some(filling.clone());
                filling
            },
        );
        if let Some(filling) = started {
            filling.fill(self.settle(entry, answer));
        }
        let ticket = match joined {
            Ok(term) => self.ticket(&entry.slot, term),
            Err(filling) => filling.wait()?,
        };
        Ok(self.session(ticket))
    }

    /// The end of a fetch, as in `slots`.
    fn settle(&self, entry: &Entry, answer: Answer) -> Filled {
        let (held, flight) = (&entry.slot.held, &entry.flight);
        match answer {
            Answer::Keys => {
                let term = flight.bring(held, self.unwrap(1, 1));
                Ok(self.ticket(&entry.slot, term))
            }
            Answer::Shredded => {
                flight.fail(held, Some(NoSession::Shredded));
                Err(NoSession::Shredded)
            }
        }
    }
}

/// Who opens at the same time shares one fetch; with the last session the keys go.
pub fn one_fetch_for_all() {
    let world = World::default();
    let entry = Entry::new(CanonicalId(1));
    let (theirs, other) = (Arc::clone(&entry), world.clone());
    let opening = thread::spawn(move || other.open_with(&theirs, Answer::Keys).unwrap());
    let session = world.open_with(&entry, Answer::Keys).unwrap();
    let opened = opening.join().unwrap();
    assert_eq!((seal(&session), seal(&opened)), (Ok(()), Ok(())));
    assert_eq!((world.made(), entry.slot.held.holders()), (1, 2));
    drop((session, opened));
    assert_eq!(entry.slot.held.holders(), 0);
    world.assert_all_wiped();
}

/// The last clone goes while another session opens: it has the keys, or fetches new ones.
pub fn last_clone_against_open() {
    let world = World::default();
    let entry = Entry::new(CanonicalId(1));
    let last = world.open_with(&entry, Answer::Keys).unwrap();
    let clone = last.clone();
    let leaving = [last, clone].map(|clone| thread::spawn(move || drop(clone)));
    let opened = world.open_with(&entry, Answer::Keys).unwrap();
    assert_eq!(seal(&opened), Ok(()));
    for thread in leaving {
        thread.join().unwrap();
    }
    assert_eq!(seal(&opened), Ok(()), "somebody else's end took the keys");
    assert_eq!(entry.slot.held.holders(), 1);
    assert_eq!(world.wiped(), world.made() - 1);
    drop(opened);
    assert_eq!(entry.slot.held.holders(), 0);
    world.assert_all_wiped();
}

/// The same where keys linger, and upkeep ends those that have lingered long enough.
pub fn lingering_keys_against_open() {
    let world = World::lingering();
    let entry = Entry::new(CanonicalId(1));
    let last = world.open_with(&entry, Answer::Keys).unwrap();
    let leaving = thread::spawn(move || drop(last));
    let idle = Arc::clone(&entry);
    let upkeep = thread::spawn(move || idle.slot.held.expire_idle(|_| false));
    let opened = world.open_with(&entry, Answer::Keys).unwrap();
    assert_eq!(seal(&opened), Ok(()));
    leaving.join().unwrap();
    upkeep.join().unwrap();
    assert_eq!(seal(&opened), Ok(()), "upkeep took keys that are held");
    drop(opened);
    entry.slot.held.expire_idle(|_| false);
    world.assert_all_wiped();
}

/// A renewal ends while the session is closed: its keys do not stay, and do not serve who closed.
pub fn fill_against_close() {
    let world = World::default();
    let entry = Entry::new(CanonicalId(1));
    let session = world.open_with(&entry, Answer::Keys).unwrap();
    let (theirs, renewal) = (Arc::clone(&entry), world.clone());
    let renewing = thread::spawn(move || drop(renewal.settle(&theirs, Answer::Keys)));
    session.close();
    assert_eq!(seal(&session), Err(NoSession::Closed));
    renewing.join().unwrap();
    assert_eq!(seal(&session), Err(NoSession::Closed));
    assert_eq!(entry.slot.held.holders(), 0);
    world.assert_all_wiped();
}

/// Keys arrive while the owner's are revoked. Who held some before has none afterwards, whichever came
/// last; who waited for the new ones has them only if they came after.
pub fn fill_against_revocation() {
    let world = World::default();
    let entry = Entry::new(CanonicalId(1));
    let before = world.open_with(&entry, Answer::Keys).unwrap();
    let revoked = world.ticket(&entry.slot, entry.slot.held.join(|_| true).unwrap());
    let (theirs, filling) = (Arc::clone(&entry), world.clone());
    let arriving = thread::spawn(move || filling.settle(&theirs, Answer::Keys).unwrap());
    let shredded = Arc::clone(&entry);
    let revoking = thread::spawn(move || shredded.slot.held.revoke(NoSession::Shredded));
    let sealed = seal(&before);
    assert!(matches!(sealed, Ok(()) | Err(NoSession::Shredded)));
    revoking.join().unwrap();
    assert_eq!(seal(&before), Err(NoSession::Shredded), "re-inserted");
    let arrived = world.session(arriving.join().unwrap());
    assert_eq!(seal(&before), Err(NoSession::Shredded), "re-inserted");
    let came_after = entry.slot.held.pin().is_ok();
    assert_eq!(seal(&arrived).is_ok(), came_after);
    drop(before);
    let counts = seal(&arrived).is_ok();
    assert_eq!(counts, came_after, "a revoked session took them along");
    let late = revoked.clone();
    drop(arrived);
    assert!(entry.slot.held.pin().is_err(), "a revoked ticket counts");
    drop((late, revoked));
    assert_eq!(entry.slot.held.holders(), 0);
    world.assert_all_wiped();
}

/// A fetch finds the owner shredded while another opening begins: who waits for it is told; who came too
/// late asks for itself. A session from before is over.
pub fn failed_fetch_against_open() {
    let world = World::default();
    let entry = Entry::new(CanonicalId(1));
    let before = world.open_with(&entry, Answer::Keys).unwrap();
    let renewal = entry
        .flight
        .start(|| Filling(Arc::new((Mutex::new(None), Condvar::new()))));
    let (theirs, filling) = (Arc::clone(&entry), world.clone());
    let failing = thread::spawn(move || renewal.fill(filling.settle(&theirs, Answer::Shredded)));
    let opened = world.open_with(&entry, Answer::Shredded);
    if let Ok(opened) = &opened {
        let sealed = seal(opened);
        assert!(matches!(sealed, Ok(()) | Err(NoSession::Shredded)));
    }
    failing.join().unwrap();
    assert!(!entry.flight.is_under_way());
    assert_eq!(seal(&before), Err(NoSession::Shredded));
    if let Ok(opened) = &opened {
        assert_eq!(seal(opened), Err(NoSession::Shredded));
    }
    drop((before, opened));
    world.assert_all_wiped();
}

/// There is room for one owner. Two open its session while others want the room: either these find none,
/// or they come after its end; never do the two work with an entry that upkeep and others no longer find.
pub fn open_against_forgetting() {
    let world = World::default();
    let owners = Arc::new(Owners::with_room_for(1));
    let entry_of = |owners: &Owners<Entry>, owner| {
        owners.entry(CanonicalId(owner), Entry::is_idle, Entry::new)
    };
    drop(entry_of(&owners, 1)); // known, and idle
    let (theirs, other) = (Arc::clone(&owners), world.clone());
    let opening = thread::spawn(move || {
        let entry = entry_of(&theirs, 1)?;
        let session = other.open_with(&entry, Answer::Keys).unwrap();
        drop(entry);
        let found = theirs.find(&CanonicalId(1));
        let found = found.expect("an owner with a session was forgotten");
        let same = found.slot.held.pin().is_ok() && found.slot.held.holders() > 0;
        assert!(same, "a forgotten entry was filled");
        assert_eq!(seal(&session), Ok(()));
        Some(session)
    });
    let wanting = Arc::clone(&owners);
    let wanting = thread::spawn(move || entry_of(&wanting, 2).is_some());
    let session = entry_of(&owners, 1).map(|entry| world.open_with(&entry, Answer::Keys).unwrap());
    let opened = opening.join().unwrap();
    let had_room = wanting.join().unwrap();
    if opened.is_some() && session.is_some() {
        assert_eq!(world.made(), 1, "two fetches for one owner");
        let entry = owners.find(&CanonicalId(1)).unwrap();
        assert_eq!(entry.slot.held.holders(), 2);
    }
    assert!(had_room || opened.is_some() || session.is_some());
    drop((session, opened));
    world.assert_all_wiped();
}
