//! How many values this process may still seal under one DEK.
//!
//! Invariant: what is taken was granted by the key store before, and is never given back.
//! Absent: how it is granted (`store`), when it is asked for (`keyring`).

use crate::{
    store::Lease,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

/// The leases of this process under one generation of an owner's DEK. They outlive sessions.
pub(crate) struct Budget {
    generation: u32,
    left: AtomicU64,
    granted: AtomicU64,
    /// The key store said that no more will ever be granted.
    stopped: AtomicBool,
    /// A refill was asked for and has not come.
    asked: AtomicBool,
    ask: Box<dyn Fn() + Send + Sync>,
}

/// Why nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoBudget {
    /// The leases of this process are used up.
    Empty,
    /// The hard stop.
    Stopped,
}

/// Below this many invocations left, more are asked for in the background.
const LOW: u64 = 2048;

impl Budget {
    /// Nothing granted yet. `ask` asks for more, without waiting.
    pub(crate) fn new(generation: u32, ask: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            generation,
            left: AtomicU64::new(0),
            granted: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            ask: Box::new(ask),
        })
    }

    pub(crate) const fn generation(&self) -> u32 {
        self.generation
    }

    /// Invocations left to this process.
    pub(crate) fn left(&self) -> u64 {
        self.left.load(Relaxed)
    }

    /// Invocations granted to all processes, as far as this one knows.
    pub(crate) fn granted(&self) -> u64 {
        self.granted.load(Relaxed)
    }

    /// Nothing is left, and more may be granted.
    pub(crate) fn needs_lease(&self) -> bool {
        self.left() == 0 && !self.stopped.load(Relaxed)
    }

    pub(crate) fn is_low(&self) -> bool {
        self.left() < LOW
    }

    /// Takes `count` invocations, all or none.
    pub(crate) fn take(&self, count: u64) -> Result<(), NoBudget> {
        let taken = self
            .left
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(count));
        let low = match taken {
            Ok(before) => before.saturating_sub(count) < LOW,
            Err(_) => true,
        };
        if low && !self.stopped.load(Relaxed) && !self.asked.swap(true, Relaxed) {
            (self.ask)();
        }
        match taken {
            Ok(_) => Ok(()),
            Err(_) if self.stopped.load(Relaxed) => Err(NoBudget::Stopped),
            Err(_) => Err(NoBudget::Empty),
        }
    }

    /// What the key store granted. Consumes the lease: it counts once.
    pub(crate) fn add(&self, lease: &Lease) {
        self.left.fetch_add(lease.count().into(), Relaxed);
        self.granted.fetch_max(lease.granted(), Relaxed);
        self.asked.store(false, Relaxed);
    }

    /// No more will ever be granted; what is left may be used.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }

    /// Nobody remembers what was granted, so nothing of it is used any more, and no more will be granted.
    pub(crate) fn forfeit(&self) {
        self.stop();
        self.left.store(0, Relaxed);
    }

    /// The refill failed; the next one who takes asks again.
    pub(crate) fn ask_again(&self) {
        self.asked.store(false, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_was_granted() {
        let budget = Budget::new(1, || ());
        assert_eq!(budget.take(1), Err(NoBudget::Empty));
        budget.add(&Lease::new(10, 11, 1));
        assert_eq!(budget.take(11), Err(NoBudget::Empty));
        assert_eq!(budget.left(), 10, "a refusal took something");
        assert_eq!(budget.take(10), Ok(()));
        assert_eq!(budget.take(1), Err(NoBudget::Empty));
        budget.stop();
        assert_eq!(budget.take(1), Err(NoBudget::Stopped));
        assert_eq!(budget.granted(), 11);
    }

    #[test]
    fn what_is_forfeited_is_not_used() {
        let budget = Budget::new(1, || {});
        budget.add(&Lease::new(10, 10, 1));
        budget.take(1).unwrap();
        budget.forfeit();
        assert_eq!(budget.take(1), Err(NoBudget::Stopped));
        assert!(!budget.needs_lease());
    }

    #[test]
    fn more_is_asked_for_once_until_it_comes() {
        let asked = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&asked);
        let budget = Budget::new(1, move || {
            counter.fetch_add(1, Relaxed);
        });
        budget.add(&Lease::new(4096, 4096, 1));
        for _ in 0..2048 {
            budget.take(1).unwrap();
        }
        assert_eq!(asked.load(Relaxed), 0);
        for _ in 0..100 {
            budget.take(1).unwrap();
        }
        assert_eq!(asked.load(Relaxed), 1);
        budget.add(&Lease::new(1, 4097, 1));
        budget.take(1).unwrap();
        assert_eq!(asked.load(Relaxed), 2);
    }

    /// A budget, and how often it asked.
    fn counted() -> (Arc<Budget>, impl Fn() -> u64) {
        let asked = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&asked);
        let ask = move || {
            counter.fetch_add(1, Relaxed);
        };
        (Budget::new(7, ask), move || asked.load(Relaxed))
    }

    #[test]
    fn after_a_refill_that_failed_the_next_who_takes_asks() {
        let (budget, asked) = counted();
        budget.add(&Lease::new(10, 10, 1));
        budget.take(1).unwrap();
        assert_eq!(asked(), 1);
        assert_eq!(budget.take(100), Err(NoBudget::Empty));
        assert_eq!(asked(), 1, "it is asked for already");
        budget.ask_again();
        assert_eq!(budget.take(100), Err(NoBudget::Empty));
        assert_eq!(asked(), 2);
        budget.ask_again();
        budget.take(1).unwrap();
        assert_eq!(asked(), 3);
    }

    /// A whole lease of which more than enough is left asks as well, if it does not suffice.
    #[test]
    fn who_gets_nothing_asks() {
        let (budget, asked) = counted();
        budget.add(&Lease::new(4096, 4096, 1));
        assert_eq!(budget.take(5000), Err(NoBudget::Empty));
        assert_eq!(asked(), 1);
    }

    #[test]
    fn nobody_asks_after_the_hard_stop() {
        let (budget, asked) = counted();
        budget.add(&Lease::new(10, 10, 1));
        budget.stop();
        budget.take(1).unwrap();
        assert_eq!(budget.take(100), Err(NoBudget::Stopped));
        assert_eq!(asked(), 0);
    }

    #[test]
    fn a_budget_is_low_below_half_a_lease() {
        let (budget, _) = counted();
        assert!(budget.is_low() && budget.needs_lease());
        budget.add(&Lease::new(2048, 2048, 1));
        assert!(!budget.is_low() && !budget.needs_lease());
        budget.take(1).unwrap();
        assert!(budget.is_low() && !budget.needs_lease());
        assert_eq!((budget.generation(), budget.granted()), (7, 2048));
        budget.take(2047).unwrap();
        assert!(budget.needs_lease());
        budget.stop();
        assert!(!budget.needs_lease() && budget.is_low());
    }

    #[test]
    fn eight_threads_take_exactly_what_was_granted() {
        let budget = Budget::new(1, || ());
        budget.add(&Lease::new(10_000, 10_000, 1));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let budget = Arc::clone(&budget);
                std::thread::spawn(move || (0..5000).filter(|_| budget.take(1).is_ok()).count())
            })
            .collect();
        let taken: usize = threads.into_iter().map(|t| t.join().unwrap()).sum();
        assert_eq!((taken, budget.left()), (10_000, 0));
    }
}
