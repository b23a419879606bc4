//! Sessions that end while they are used.
//!
//! Invariant: see each model.

use loom::thread;

use super::{World, seal};
use crate::{error::NoSession, sync::Arc};

/// A clone seals while another is closed: with a whole key or not at all, and never after the closing.
pub fn close_against_seal() {
    let world = World::default();
    let (session, slot) = world.open();
    let clone = session.clone();
    let sealing = thread::spawn(move || {
        let sealed = seal(&clone);
        assert!(matches!(sealed, Ok(()) | Err(NoSession::Closed)));
    });
    let clone = session.clone();
    let closing = thread::spawn(move || {
        clone.close();
        assert_eq!(seal(&clone), Err(NoSession::Closed));
    });
    closing.join().unwrap();
    assert_eq!(seal(&session), Err(NoSession::Closed));
    sealing.join().unwrap();
    assert_eq!(slot.held.holders(), 0);
    world.assert_all_wiped();
}

/// Keys pinned for a poll serve each of its hooks, whatever is closed meanwhile, and go with the poll.
pub fn close_against_poll() {
    let world = World::default();
    let (session, _slot) = world.open();
    let clone = session.clone();
    let polled = thread::spawn(move || {
        if let Ok(pinned) = clone.pin() {
            pinned.keys().seal();
            pinned.clone().keys().seal();
        }
    });
    session.close();
    polled.join().unwrap();
    world.assert_all_wiped();
}

/// Two close at once, and one drops its clone: the session leaves once, another session of the owner stays.
pub fn close_twice_beside_another_session() {
    let world = World::default();
    let (session, slot) = world.open();
    let term = slot.held.join(|_| true).unwrap();
    let other = world.session(world.ticket(&slot, term));
    let threads: Vec<_> = [session.clone(), session.clone()]
        .into_iter()
        .map(|clone| thread::spawn(move || clone.close()))
        .collect();
    drop(session);
    assert_eq!(seal(&other), Ok(()));
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(slot.held.holders(), 1);
    assert_eq!(seal(&other), Ok(()));
    drop(other);
    world.assert_all_wiped();
}

/// The owner's keys are destroyed while they are used and while a session is dropped.
pub fn revoke_against_seal() {
    let world = World::default();
    let (session, slot) = world.open();
    let term = slot.held.join(|_| true).unwrap();
    let other = world.session(world.ticket(&slot, term));
    let sealing = thread::spawn(move || {
        let sealed = seal(&session);
        assert!(matches!(sealed, Ok(()) | Err(NoSession::Shredded)));
    });
    let revoked = Arc::clone(&slot);
    let revoking = thread::spawn(move || revoked.held.revoke(NoSession::Shredded));
    let sealed = seal(&other);
    assert!(matches!(sealed, Ok(()) | Err(NoSession::Shredded)));
    revoking.join().unwrap();
    assert_eq!(seal(&other), Err(NoSession::Shredded));
    sealing.join().unwrap();
    assert_eq!(slot.held.holders(), 0);
    world.assert_all_wiped();
}

/// Upkeep ends old keys while new ones come and a hook works: the new ones stay.
pub fn expire_against_renewal_and_seal() {
    let world = World::default();
    let (session, slot) = world.open();
    let expired = Arc::clone(&slot);
    let expiring = thread::spawn(move || expired.held.expire(|keys| keys.version > 1));
    let (renewed, fresh) = (Arc::clone(&slot), world.unwrap(1, 2));
    let renewal = world.clone();
    let renewing = thread::spawn(move || {
        let term = renewed.held.install(fresh);
        drop(renewal.ticket(&renewed, term)); // nobody waits for it
    });
    let sealed = seal(&session);
    assert!(matches!(sealed, Ok(()) | Err(NoSession::Expired)));
    expiring.join().unwrap();
    renewing.join().unwrap();
    assert_eq!(seal(&session), Ok(()), "the new keys went with the old");
    assert_eq!((slot.held.holders(), world.wiped()), (1, 1));
    drop(session);
    world.assert_all_wiped();
}
