//! What goes on while nobody waits: renewal, refills, the end of what expired, and the re-check.
//!
//! Invariant: an owner's keys are renewed only while somebody holds them, and never outlive their time to
//! live. Absent: what an owner's keys are fetched with (`fill`).

use core::time::Duration;
use std::sync::{Arc, Weak};

use tokio::{
    select,
    sync::mpsc::UnboundedReceiver,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    Inner, SessionError,
    ask::Errand,
    slots::{Entry, filled},
};
use crate::{
    audit::KmsOperation,
    budget::Budget,
    owner::CanonicalId,
    session::{BudgetStatus, Purpose},
    store::Lease,
};

/// Something that cannot wait for the next tick.
pub(super) enum Nudge {
    Refill(CanonicalId),
}

/// More than at open: who used up half of a lease seals a lot.
const REFILL: u32 = 16_384;
/// How far back a re-check looks. Longer than keys live: a change that is committed later than this after
/// it was made is seen when the key is renewed.
const LOOK_BACK: Duration = Duration::from_secs(900);
/// Between two ticks, at least and at most.
const TICK: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));
/// Many notifications are one re-check.
const REST: Duration = Duration::from_millis(200);
/// A re-check that hangs is given up.
const RECHECK_WITHIN: Duration = Duration::from_secs(10);

/// The tasks of a keyring.
#[derive(Default)]
pub(super) struct Tasks {
    keep_up: Option<JoinHandle<()>>,
    recheck: Option<JoinHandle<()>>,
}

fn is_over(task: &Option<JoinHandle<()>>) -> bool {
    task.as_ref().is_none_or(JoinHandle::is_finished)
}

impl Inner {
    /// Starts each of the two tasks, unless it runs. They end with the keyring, or with their runtime.
    pub(super) fn ensure_upkeep(self: &Arc<Self>) {
        let mut tasks = self.upkeep();
        if is_over(&tasks.keep_up) {
            let tick = self.ttl.mul_f32(0.02).clamp(TICK.0, TICK.1);
            let nudged = Arc::clone(&self.nudged);
            tasks.keep_up = Some(tokio::spawn(keep_up(Arc::downgrade(self), nudged, tick)));
        }
        if is_over(&tasks.recheck) {
            tasks.recheck = Some(tokio::spawn(recheck(Arc::downgrade(self), self.recheck)));
        }
    }

    /// Ends what has expired and lingered, renews what is due.
    fn tick(self: &Arc<Self>) {
        let now = self.clock.now();
        for owner in self.owners.ids() {
            let Some(entry) = self.owners.find(&owner) else {
                continue;
            };
            let held = &entry.slot.held;
            let Ok(keys) = held.pin() else {
                // Expired while KMS or database were down: go on trying for those who hold on.
                if held.holders() > 0 {
                    self.renew_in_time(&entry);
                }
                continue;
            };
            let age = now.since(&keys.at);
            if held.holders() > 0 {
                entry.note_use(now);
            }
            if age >= self.ttl {
                held.expire(|keys| now.since(&keys.at) < self.ttl);
            } else if age >= keys.renew_after && held.holders() > 0 {
                self.renew_in_time(&entry);
            }
            let used = entry.in_use().unwrap_or(keys.at);
            drop(keys);
            held.expire_idle(|_| now.since(&used) < self.linger);
        }
    }

    /// After a failure not before a fiftieth of their life has passed.
    fn renew_in_time(self: &Arc<Self>, entry: &Arc<Entry>) {
        let pause = self.ttl.mul_f32(0.02);
        let now = self.clock.now();
        if entry.failed().is_none_or(|then| now.since(&then) >= pause) {
            self.renew(entry);
        }
    }

    /// Begins to fetch an owner's keys anew.
    fn renew(self: &Arc<Self>, entry: &Arc<Entry>) {
        if entry.is_filling() {
            return;
        }
        let errand = Errand {
            owner: entry.slot.owner.clone(),
            purpose: entry.purpose().unwrap_or(Purpose::new("renewal")),
            reason: None,
            operation: KmsOperation::Renew,
        };
        drop(self.fetch(entry, errand, false));
    }

    fn refill(self: &Arc<Self>, owner: &CanonicalId) {
        let entry = self.owners.find(owner);
        let Some(keys) = entry.and_then(|entry| entry.slot.held.pin().ok()) else {
            return;
        };
        // The keys stay behind: a database that hangs must not keep them in memory.
        let (owner, budget) = (keys.keys.owner.clone(), Arc::clone(&keys.budget));
        let inner = Arc::clone(self);
        tokio::spawn(async move {
            if inner.lease(&owner, &budget, REFILL).await.is_err() {
                sleep(REST).await; // who seals on meanwhile must not ask each time
                budget.ask_again();
            }
        });
    }

    /// Counts what was granted, and says when rotation is due.
    pub(super) fn count(&self, owner: &CanonicalId, budget: &Budget, lease: &Lease) {
        let before = budget.granted();
        budget.add(lease);
        let left = self.limit.saturating_sub(lease.granted());
        self.metrics.granted(lease.count(), left);
        if before < BudgetStatus::ROTATE_AT && lease.granted() >= BudgetStatus::ROTATE_AT {
            self.metrics.rotation_due();
            tracing::warn!(
                target: "ophie_crypt::budget",
                owner = owner.to_hex(),
                generation = budget.generation(),
                granted = lease.granted(),
                "half of the values that the owner's key may ever seal were granted; rotate it"
            );
        }
    }

    /// Reads which owners' keys changed, and fetches those that are held here.
    async fn recheck(self: &Arc<Self>) {
        if self.owners.is_empty() {
            return;
        }
        let changes = match timeout(RECHECK_WITHIN, self.store.changes(LOOK_BACK)).await {
            Ok(Ok(changes)) => changes,
            Ok(Err(error)) => {
                tracing::warn!(target: "ophie_crypt::keyring", %error, "the key store was not re-checked");
                return;
            }
            Err(_) => {
                tracing::warn!(target: "ophie_crypt::keyring", "the re-check of the key store took too long");
                return;
            }
        };
        for (owner, version) in changes {
            let Some(entry) = self.owners.find(&owner) else {
                continue;
            };
            let held = &entry.slot.held;
            held.expire_idle(|keys| keys.version == version);
            let outdated = held.pin().is_ok_and(|keys| keys.version != version);
            if outdated {
                self.renew(&entry);
            }
        }
    }

    /// Fetches the owner's keys anew and waits for it.
    pub(super) async fn refetch(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        purpose: Purpose,
        lease: bool,
    ) -> Result<(), SessionError> {
        let errand = Errand {
            owner: entry.slot.owner.clone(),
            purpose,
            reason: None,
            operation: KmsOperation::Renew,
        };
        filled(self.fetch(entry, errand, lease)).await.map(drop)
    }
}

async fn keep_up(
    keyring: Weak<Inner>,
    nudged: Arc<tokio::sync::Mutex<UnboundedReceiver<Nudge>>>,
    tick: Duration,
) {
    let mut nudged = nudged.lock().await; // free as soon as an earlier task is gone
    let mut ticks = interval(tick);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Ticks first: they end what must not live on, and nudges may come without end.
        let nudge = select! {
            biased;
            _ = ticks.tick() => None,
            nudge = nudged.recv() => nudge,
        };
        let Some(keyring) = keyring.upgrade() else {
            return;
        };
        match nudge {
            Some(Nudge::Refill(owner)) => keyring.refill(&owner),
            None => keyring.tick(),
        }
    }
}

/// One query per process and period, and one whenever the key store says that something changed.
async fn recheck(keyring: Weak<Inner>, period: Duration) {
    loop {
        let Some(store) = keyring.upgrade().map(|keyring| Arc::clone(&keyring.store)) else {
            return;
        };
        select! {
            () = sleep(period) => {}
            () = store.notified() => {}
        }
        let Some(keyring) = keyring.upgrade() else {
            return;
        };
        keyring.recheck().await;
        drop(keyring);
        sleep(REST.min(period)).await;
    }
}
