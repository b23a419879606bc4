//! Leases that are taken from while they are refilled or stopped.
//!
//! Invariant: see each model.

use std::sync::{
    Arc as StdArc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use loom::thread;

use crate::{
    budget::{Budget, NoBudget},
    store::Lease,
    sync::Arc,
};

/// A budget, and how often it asked for more.
fn budget() -> (Arc<Budget>, StdArc<AtomicUsize>) {
    let asked = StdArc::new(AtomicUsize::new(0));
    let counter = StdArc::clone(&asked);
    let budget = Budget::new(1, move || {
        counter.fetch_add(1, Relaxed);
    });
    (budget, asked)
}

/// Three take more than there is: each all or nothing, together no more than was granted, and one asks.
pub fn takes_against_takes() {
    let (budget, asked) = budget();
    budget.add(&Lease::new(4, 4));
    let threads: Vec<_> = [1, 2]
        .into_iter()
        .map(|count| {
            let budget = Arc::clone(&budget);
            thread::spawn(move || budget.take(count).map_or(0, |()| count))
        })
        .collect();
    let mut taken = budget.take(3).map_or(0, |()| 3);
    for thread in threads {
        taken += thread.join().unwrap();
    }
    assert_eq!(taken + budget.left(), 4);
    assert_eq!(asked.load(Relaxed), 1);
}

/// A lease arrives while two take: nothing is lost of it and nothing taken twice. It is asked for at most
/// once before it comes and once after; whoever finds little left then asks, if nobody has.
pub fn takes_against_refill() {
    let (budget, asked) = budget();
    budget.add(&Lease::new(1, 1));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let budget = Arc::clone(&budget);
            thread::spawn(move || u64::from(budget.take(1).is_ok()))
        })
        .collect();
    budget.add(&Lease::new(2, 3));
    let mut taken = 0;
    for thread in threads {
        taken += thread.join().unwrap();
    }
    assert!(taken >= 1);
    assert_eq!((taken + budget.left(), budget.granted()), (3, 3));
    assert_eq!(budget.take(budget.left()), Ok(()));
    let after_lease = asked.load(Relaxed);
    assert!((1..=2).contains(&after_lease));
    assert_eq!(budget.take(1), Err(NoBudget::Empty));
    assert_eq!(asked.load(Relaxed), after_lease, "asked again meanwhile");
}

/// The hard stop comes while two take: what was granted may still be used, then it is over for good, also
/// when a lease that was granted before arrives after it.
pub fn takes_against_stop() {
    let (budget, _) = budget();
    let other = Arc::clone(&budget);
    let adding = thread::spawn(move || other.add(&Lease::new(1, 2)));
    budget.add(&Lease::new(1, 1));
    let stopped = Arc::clone(&budget);
    let stopping = thread::spawn(move || stopped.stop());
    let mut taken = u64::from(budget.take(1).is_ok());
    assert_eq!(taken, 1, "the stop took what was granted");
    adding.join().unwrap();
    stopping.join().unwrap();
    taken += u64::from(budget.take(1).is_ok());
    assert_eq!((taken, budget.left(), budget.granted()), (2, 0, 2));
    assert_eq!(budget.take(1), Err(NoBudget::Stopped));
    assert!(!budget.needs_lease());
    budget.ask_again();
    assert_eq!(budget.take(1), Err(NoBudget::Stopped));
}
