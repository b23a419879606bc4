//! Backfills whose store answers by a script, call by call: what is asked, how often, and when it ends.
//!
//! Absent: null-outs (`emptied`).

mod emptied;

use core::time::Duration;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use super::Table;
use crate::{
    column::ColumnRef,
    keyring::Keyring,
    kms::LocalKms,
    model::Models,
    owner::{CanonicalId, OwnerId},
    soak::{
        Backfilled, Beat, Decrypted, Filled, Heartbeat, Rows, SealRows, SoakColumn, SoakJobError,
        SoakMigration, SoakPass, SoakProcess, SoakRow, SoakState, SoakStore, SoakedRow, Soaker,
        backfill::FIRST_RETRY, seal::RETRY,
    },
    store::{MemoryKeyStore, ModelError, ModelStore, unasked::only_models},
};

/// A call that is expected, and its answer.
#[derive(Debug)]
enum Call {
    /// Plaintext of the shredded goes.
    Buried(Result<u64, ModelError>),
    /// Whose rows are next.
    Ahead(&'static [&'static str]),
    /// A batch: rows that were read, and written.
    Fill(u64, u64),
    Busy,
    /// The column is in another state by now.
    Refused,
    Count(u64),
    /// From the first row.
    Anew,
    /// A batch of a null-out.
    Empty(Result<Option<u64>, ModelError>),
}
use Call::{Ahead, Anew, Buried, Busy, Count, Empty, Fill, Refused};

#[derive(Debug)]
struct Script {
    models: Models,
    /// How many rows are to be looked at for their owners.
    ahead: u32,
    table: Arc<Table>,
    calls: Arc<Mutex<VecDeque<Call>>>,
}

struct Pass(Arc<Mutex<VecDeque<Call>>>, u32);

fn next(calls: &Mutex<VecDeque<Call>>, asked: &str) -> Call {
    let next = calls.lock().unwrap().pop_front();
    next.unwrap_or_else(|| panic!("one more: {asked}"))
}

only_models!(Script);

macro_rules! unasked {
    ($($name:ident($($kind:ty),*) -> $done:ty;)*) => {
        #[async_trait]
        impl SoakStore for Script {
            $(
                async fn $name(&self, $(_: $kind),*) -> Result<$done, ModelError> {
                    unreachable!()
                }
            )*

            async fn soaks(&self) -> Result<Vec<SoakRow>, ModelError> {
                self.table.soaks().await
            }

            async fn pass(&self, _: &SoakColumn) -> Result<Box<dyn SoakPass>, ModelError> {
                Ok(Box::new(Pass(Arc::clone(&self.calls), self.ahead)))
            }

            async fn rewind(&self, _: &SoakColumn) -> Result<(), ModelError> {
                Ok(())
            }

            async fn empty_buried(&self, _: &SoakColumn, _: u32) -> Result<u64, ModelError> {
                match next(&self.calls, "empty_buried") {
                    Buried(answer) => answer,
                    other => panic!("empty_buried, not {other:?}"),
                }
            }

            async fn count(&self, _: &SoakColumn, _: Rows) -> Result<u64, ModelError> {
                match next(&self.calls, "count") {
                    Count(rows) => Ok(rows),
                    other => panic!("count, not {other:?}"),
                }
            }

            async fn heartbeats(&self, _: &ColumnRef) -> Result<Vec<Heartbeat>, ModelError> {
                Ok(Vec::new())
            }

            async fn step(
                &self,
                _: &SoakColumn,
                _: &SoakRow,
                _: SoakState,
            ) -> Result<bool, ModelError> {
                Ok(false) // another tool did meanwhile
            }

            async fn close(&self, _: &SoakColumn, _: &SoakRow) -> Result<bool, ModelError> {
                Ok(true)
            }

            async fn empty(&self, _: &SoakColumn, _: u32) -> Result<Option<u64>, ModelError> {
                match next(&self.calls, "empty") {
                    Empty(answer) => answer,
                    other => panic!("empty, not {other:?}"),
                }
            }

            fn residue(&self) -> &'static [&'static str] {
                unreachable!()
            }
        }
    };
}

unasked! {
    beat(SoakProcess, &[Beat]) -> ();
    leave(SoakProcess) -> ();
    expand(&SoakColumn) -> bool;
    expansion(&SoakColumn) -> SoakMigration;
    admit_old(&SoakColumn, &SoakRow, bool) -> bool;
    empty_sealed(&SoakColumn, Option<&str>, u32) -> Vec<String>;
    page(&SoakColumn, Option<&str>, u32) -> Vec<SoakedRow>;
    reread(&SoakColumn, &str) -> Option<SoakedRow>;
    verified(&SoakColumn, i64, bool) -> ();
    decrypted(&SoakColumn, Vec<Decrypted>) -> u64;
    drop_twin(&SoakColumn, &SoakRow) -> bool;
    rewrite(&SoakColumn) -> ();
}

#[async_trait]
impl SoakPass for Pass {
    async fn owners_ahead(&mut self, limit: u32) -> Result<Vec<CanonicalId>, ModelError> {
        assert_eq!(limit, self.1);
        match next(&self.0, "owners_ahead") {
            Ahead(owners) => Ok(owners.iter().map(|owner| owner.canonical()).collect()),
            other => panic!("owners_ahead, not {other:?}"),
        }
    }

    async fn fill(&mut self, _: u32, _: SealRows) -> Result<Filled, ModelError> {
        let admitted = |read, written| Filled {
            read,
            written,
            admitted: true,
        };
        match next(&self.0, "fill") {
            Fill(read, written) => Ok(admitted(read, written)),
            Busy => Err(ModelError::Busy),
            Refused => Ok(Filled {
                admitted: false,
                ..admitted(2, 2)
            }),
            other => panic!("fill, not {other:?}"),
        }
    }

    fn restart(&mut self) {
        match next(&self.0, "restart") {
            Anew => {}
            other => panic!("restart, not {other:?}"),
        }
    }

    fn beside(&mut self) -> Option<Box<dyn SoakPass>> {
        Some(Box::new(Self(Arc::clone(&self.0), self.1)))
    }
}

/// By tokio's clock, which a test stops.
fn paused() -> Instant {
    sleep(Duration::ZERO).deadline()
}

fn soaker(state: SoakState, calls: Vec<Call>) -> (Soaker, Arc<Mutex<VecDeque<Call>>>) {
    working(1, state, calls)
}

/// So many, in batches of two.
fn working(
    workers: u32,
    state: SoakState,
    calls: Vec<Call>,
) -> (Soaker, Arc<Mutex<VecDeque<Call>>>) {
    let table = Table::new(state);
    let calls = Arc::new(Mutex::new(VecDeque::from(calls)));
    let script = Script {
        models: table.models().clone(),
        ahead: 2 * workers,
        table,
        calls: Arc::clone(&calls),
    };
    let keyring = Keyring::builder()
        .kms(LocalKms::ephemeral().unwrap())
        .key_store(MemoryKeyStore::new())
        .build()
        .unwrap();
    let soaker = Soaker::new(&keyring, script).pause(Duration::ZERO);
    (soaker.batch(2).workers(workers), calls)
}

/// Nobody was buried, and then these; all are made, and no other.
async fn filled(calls: impl IntoIterator<Item = Call>) -> Result<Backfilled, SoakJobError> {
    let calls = [Buried(Ok(0))].into_iter().chain(calls).collect();
    let (soaker, calls) = soaker(SoakState::Backfill, calls);
    let filled = soaker.backfill("people", "name_ct").await;
    let left = calls.lock().unwrap();
    assert!(left.is_empty(), "too early: {left:?} were to follow");
    filled
}

/// What it wrote, and what is left.
async fn done(calls: impl IntoIterator<Item = Call>) -> (u64, u64) {
    let done = filled(calls).await.unwrap();
    assert!(!done.stopped);
    (done.written, done.pending)
}

fn times(n: usize, calls: fn() -> Vec<Call>) -> impl Iterator<Item = Call> {
    (0..n).flat_map(move |_| calls())
}

/// One that others hold, so that no whole pass ends without rows left.
fn first_pass() -> Vec<Call> {
    vec![Ahead(&[]), Count(1), Anew]
}

fn last_pass() -> [Call; 2] {
    [Ahead(&[]), Count(1)]
}

#[tokio::test]
async fn it_ends_with_the_last_pending_row() {
    let calls = [Ahead(&["ada"]), Fill(1, 1), Ahead(&[]), Count(0)];
    assert_eq!(done(calls).await, (1, 0));
}

/// The first pass may have begun in the middle.
#[tokio::test]
async fn it_ends_after_a_whole_pass_that_wrote_nothing() {
    let calls = [Ahead(&[]), Count(3), Anew, Ahead(&[]), Count(3)];
    assert_eq!(done(calls).await, (0, 3));
    let wrote = [Ahead(&["ada"]), Fill(1, 1), Ahead(&[]), Count(1), Anew];
    let calls = first_pass().into_iter().chain(wrote).chain(last_pass());
    assert_eq!(done(calls).await, (1, 1));
}

/// Twenty-six batches that are not full are the end of the table, or what others write there meanwhile; and three times from
/// the first row are enough.
#[tokio::test(start_paused = true)]
async fn it_does_not_follow_who_writes_for_ever() {
    let short = || vec![Ahead(&["ada"]), Fill(1, 1)];
    let again = || [Count(1), Anew];
    let calls = first_pass().into_iter().chain(times(26, short));
    let calls = calls.chain(again()).chain(times(26, short)).chain(again());
    let calls = calls.chain(times(26, short)).chain([Count(1)]);
    let began = paused();
    assert_eq!(done(calls).await, (3 * 26, 1));
    assert_eq!(began.elapsed(), Duration::ZERO, "nobody held a row");

    let slow = || vec![Ahead(&["ada"]), Fill(1, 1), Ahead(&[])];
    let calls = times(1, slow).chain(again()).chain(times(1, slow));
    let calls = calls.chain(again()).chain(times(1, slow)).chain(again());
    let calls = calls.chain(times(1, slow)).chain([Count(1)]);
    assert_eq!(done(calls).await, (4, 1));

    // One fewer, and then the end: a pass that wrote something, as any other.
    let calls = first_pass()
        .into_iter()
        .chain(times(25, short))
        .chain(first_pass());
    assert_eq!(done(calls.chain(last_pass())).await, (25, 1));
}

/// So are twenty-six that find nothing to read, but those are met again once something was written.
#[tokio::test(start_paused = true)]
async fn it_waits_for_rows_that_others_hold_and_not_for_ever() {
    let held = || vec![Ahead(&["ada"]), Fill(0, 0)];
    let began = paused();
    let calls = first_pass().into_iter().chain(times(26, held));
    assert_eq!(done(calls.chain([Count(1)])).await, (0, 1));
    let rests: Duration = (1..=25).map(|n| RETRY.min(n * FIRST_RETRY)).sum();
    assert_eq!(began.elapsed(), rests);

    let calls = first_pass()
        .into_iter()
        .chain([Ahead(&["ada"]), Fill(2, 1)])
        .chain(times(26, held))
        .chain([Count(1), Anew])
        .chain(last_pass());
    assert_eq!(done(calls).await, (1, 1), "one more pass");

    // A full batch in between, and it counts anew.
    let full = [Ahead(&["ada"]), Fill(2, 2)];
    let calls = times(25, held)
        .chain(full)
        .chain([Fill(0, 0)])
        .chain(times(26, held))
        .chain([Count(0)]);
    assert_eq!(done(calls).await, (2, 0));
}

/// Of two workers, each goes on to the end, in turns, with the keys that either opened.
#[tokio::test]
async fn as_many_work_as_were_hired() {
    let both = [Ahead(&["ada"]), Fill(2, 2), Ahead(&["ada"]), Fill(2, 2)];
    let ends = [Ahead(&[]), Fill(0, 0), Ahead(&[]), Count(1)];
    let again = [Anew, Anew, Ahead(&[]), Ahead(&[]), Count(1)];
    let calls = [Buried(Ok(0))].into_iter().chain(both);
    let calls = calls.chain(ends).chain(again).collect();
    let (soaker, calls) = working(2, SoakState::Backfill, calls);
    let filled = soaker.backfill("people", "name_ct").await;
    assert_eq!(filled.unwrap().written, 4, "what both have sealed");
    assert!(calls.lock().unwrap().is_empty());
}

/// Whose rows are next is asked for after a batch that met somebody new, and after one that was not full.
#[tokio::test]
async fn it_asks_for_owners_where_there_may_be_others() {
    let calls = [Ahead(&["ada", "ben"]), Fill(2, 2), Ahead(&["ada"])]
        .into_iter()
        .chain((0..40).map(|_| Fill(2, 2)))
        .chain([Fill(1, 1), Ahead(&["cy"]), Fill(2, 2), Ahead(&[]), Count(0)]);
    assert_eq!(done(calls).await, (85, 0));
}

#[tokio::test(start_paused = true)]
async fn it_tries_again_what_is_busy() {
    let began = paused();
    let calls = [
        Ahead(&["ada"]),
        Busy,
        Ahead(&["ada"]),
        Fill(1, 1),
        Ahead(&[]),
        Count(0),
    ];
    assert_eq!(done(calls).await, (1, 0));
    assert_eq!(began.elapsed(), RETRY);
}

#[tokio::test]
async fn it_ends_where_the_state_is_another() {
    let interrupted = filled([Ahead(&["ada"]), Refused]).await;
    let is = matches!(interrupted, Err(SoakJobError::Interrupted));
    assert!(is, "{interrupted:?}");
}

#[tokio::test(start_paused = true)]
async fn plaintext_of_the_shredded_goes_first_and_all_of_it() {
    let began = paused();
    let calls = vec![
        Buried(Ok(2)),
        Buried(Err(ModelError::Busy)),
        Buried(Ok(1)),
        Buried(Ok(0)),
        Ahead(&[]),
        Count(0),
    ];
    let (working, calls) = soaker(SoakState::Backfill, calls);
    working.backfill("people", "name_ct").await.unwrap();
    assert!(calls.lock().unwrap().is_empty());
    assert_eq!(began.elapsed(), RETRY);
    let (working, _) = soaker(
        SoakState::Backfill,
        vec![Buried(Err(ModelError::unavailable("down")))],
    );
    working.backfill("people", "name_ct").await.unwrap_err();
}

#[tokio::test]
async fn who_is_stopped_asks_for_nothing_more() {
    let (stopped, calls) = soaker(SoakState::Backfill, vec![Count(7)]);
    stopped.stop_handle().stop();
    let done = stopped.backfill("people", "name_ct").await.unwrap();
    assert_eq!((done.stopped, done.written, done.pending), (true, 0, 7));
    assert!(calls.lock().unwrap().is_empty());
}

/// Counted only for somebody who watches.
#[tokio::test]
async fn who_watches_is_told_of_how_many() {
    let calls = vec![
        Buried(Ok(0)),
        Count(3),
        Ahead(&["ada"]),
        Fill(2, 2),
        Ahead(&["ada"]),
        Fill(1, 1),
        Ahead(&[]),
        Count(0),
    ];
    let (soaker, _) = soaker(SoakState::Backfill, calls);
    let told = Arc::new(Mutex::new(Vec::new()));
    let soaker = soaker.watch({
        let told = Arc::clone(&told);
        move |progress| told.lock().unwrap().push((progress.done, progress.total))
    });
    soaker.backfill("people", "name_ct").await.unwrap();
    assert_eq!(*told.lock().unwrap(), [(2, 3), (3, 3)]);
}

/// As the trait has it, and this store does not say otherwise.
#[tokio::test]
async fn who_does_not_say_is_not_behind() {
    let table = Table::new(SoakState::Plain);
    let script = Script {
        models: table.models().clone(),
        ahead: 2,
        table,
        calls: Arc::default(),
    };
    assert_eq!(script.lag().await.unwrap(), None);
}

#[tokio::test]
async fn a_step_that_another_tool_took_is_interrupted() {
    let (soaker, _) = soaker(SoakState::Expand, Vec::new());
    let step = soaker.step("people", "name_ct", SoakState::DualWrite).await;
    assert!(matches!(step, Err(SoakJobError::Interrupted)), "{step:?}");
}
