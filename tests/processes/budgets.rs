//! Leases of many processes that are killed at any moment.
//!
//! Invariant: what a process sealed is counted after it was sealed, and what it was granted before it may
//! seal: a kill between makes the one too small by a batch, never the other.

use std::{path::Path, time::Duration};

use ophie_crypt::{MAX_INVOCATIONS, OwnerId};

use crate::{
    busy, tell,
    workers::{Place, Worker},
};

const PROCESSES: usize = 8;
const OWNER: i64 = 7;
/// The index key of the owner is the first value under its DEK.
const INDEX_KEY: u64 = 1;

/// Processes that seal for one owner.
struct Sealers {
    place: Place,
    limit: u64,
    running: Vec<Worker>,
    started: usize,
}

impl Sealers {
    async fn new(limit: u64) -> Self {
        let place = Place::new().await;
        let mut first = place.worker("serve", "first", &[]);
        first.answers("ready").await;
        first.told(&format!("provision {OWNER}"), "ok").await;
        for what in ["sealed", "leases"] {
            std::fs::create_dir(place.path(what)).unwrap();
        }
        Self {
            place,
            limit,
            running: Vec::new(),
            started: 0,
        }
    }

    /// Up to the number of processes that run at a time.
    fn start(&mut self) {
        while self.running.len() < PROCESSES {
            let n = self.started;
            self.started += 1;
            let file = |what| self.place.path(what).join(n.to_string());
            for what in ["sealed", "leases"] {
                std::fs::write(file(what), []).unwrap();
            }
            let path = |what| file(what).to_string_lossy().into_owned();
            let settings = [
                ("owner", OWNER.to_string()),
                ("limit", self.limit.to_string()),
                ("sealed", path("sealed")),
                ("leases", path("leases")),
            ];
            let worker = self.place.worker("seal", &format!("seal-{n}"), &settings);
            self.running.push(worker);
        }
    }

    async fn kill_one(&mut self) {
        let victim = usize::from(random()) % self.running.len();
        self.running.swap_remove(victim).kill().await;
    }

    async fn kill_all(&mut self) {
        for worker in self.running.drain(..) {
            worker.kill().await;
        }
    }

    fn sealed(&self) -> u64 {
        lengths(&self.place.path("sealed")).iter().sum()
    }

    async fn granted(&self) -> u64 {
        let granted: i64 =
            sqlx::query_scalar("SELECT granted FROM ophie_crypt_budgets WHERE owner = $1")
                .bind(OWNER.canonical().as_bytes())
                .fetch_one(self.place.database.pool())
                .await
                .unwrap();
        granted.try_into().unwrap()
    }

    /// What holds at every moment. What was sealed is read first: it may only have been granted before.
    async fn check(&self) -> u64 {
        let sealed = self.sealed();
        let granted = self.granted().await;
        assert!(granted <= self.limit, "{granted} granted of {}", self.limit);
        assert!(
            sealed + INDEX_KEY <= granted,
            "{sealed} sealed and {granted} granted"
        );
        sealed
    }

    /// Waits until each process has met the hard stop, and has failed to seal 1,000 further values.
    async fn stopped(&mut self) {
        let mut running = std::mem::take(&mut self.running);
        let all = async {
            for worker in &mut running {
                worker.answers("stopped 0").await;
            }
        };
        let watch = async {
            loop {
                self.check().await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            () = all => {}
            () = watch => {}
        }
        self.running = running;
    }

    /// What holds of each process once all are dead.
    async fn check_each(&self) {
        let sealed = lengths(&self.place.path("sealed"));
        let leases = lengths(&self.place.path("leases"));
        assert_eq!((sealed.len(), leases.len()), (self.started, self.started));
        for (sealed, leases) in sealed.iter().zip(&leases) {
            assert!(sealed <= leases, "{sealed} sealed under leases of {leases}");
        }
        let leases: u64 = leases.iter().sum();
        assert!(leases + INDEX_KEY <= self.granted().await, "granted twice");
    }
}

/// The lengths of a folder's files, in the order of their names.
fn lengths(folder: &Path) -> Vec<u64> {
    let files = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let mut files: Vec<_> = files.map(|file| (file.file_name(), file)).collect();
    files.sort_by(|(one, _), (other, _)| one.cmp(other));
    let lengths = files.iter().map(|(_, file)| file.metadata().unwrap().len());
    lengths.collect()
}

fn random() -> u16 {
    let mut bytes = [0; 2];
    getrandom::fill(&mut bytes).unwrap();
    u16::from_ne_bytes(bytes)
}

/// `OPHIE_CRYPT_TEST_SEALS` says how many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_processes_killed_at_random_seal_two_million_values_under_leases() {
    let _busy = busy().await;
    let wanted = std::env::var("OPHIE_CRYPT_TEST_SEALS");
    let wanted = wanted.map_or(2_000_000, |count| count.parse().expect("a number"));
    let mut sealers = Sealers::new(MAX_INVOCATIONS).await;
    let (mut samples, mut kills) = (0, 0);
    while sealers.sealed() < wanted {
        sealers.start();
        for _ in 0..random() % 20 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            sealers.check().await;
            samples += 1;
        }
        sealers.kill_one().await;
        kills += 1;
    }
    sealers.kill_all().await;
    let sealed = sealers.check().await;
    sealers.check_each().await;
    assert!(kills > 10, "{kills} kills show nothing");
    tell(format_args!(
        "{sealed} values sealed by {} processes, {kills} of them killed at work; granted {}; {samples} samples",
        sealers.started,
        sealers.granted().await
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_a_limit_of_ten_thousand_no_process_seals_more() {
    let _busy = busy().await;
    let mut sealers = Sealers::new(10_000).await;
    for round in ["first", "restarted"] {
        sealers.start();
        sealers.stopped().await;
        // Nothing is left over: each of the 10,000 but the index key was sealed by somebody.
        assert_eq!(sealers.check().await, 10_000 - INDEX_KEY, "{round}");
        assert_eq!(sealers.granted().await, 10_000);
        sealers.kill_all().await;
        sealers.check_each().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_give_nothing_back() {
    let _busy = busy().await;
    let mut sealers = Sealers::new(10_000).await;
    for _ in 0..4 {
        sealers.start();
        while sealers.check().await == 0 {
            tokio::task::yield_now().await;
        }
        sealers.kill_one().await;
    }
    sealers.start();
    sealers.stopped().await;
    let sealed = sealers.check().await;
    sealers.kill_all().await;
    sealers.check_each().await;
    assert_eq!(sealers.granted().await, 10_000);
    tell(format_args!(
        "limit 10,000, 4 kills: {sealed} values sealed"
    ));
}
