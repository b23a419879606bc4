//! Heartbeats that are late, hang, fail, or are under way when the watch is stopped.

use super::*;
use crate::{
    ModelError,
    soak::tests::{NAME, NOTE, Said, Table},
};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_state_that_was_read_twenty_seconds_ago_counts_no_more() {
    let table = Table::new(SoakState::Sealed);
    table
        .notes_soak
        .store(true, core::sync::atomic::Ordering::SeqCst);
    let watch = SoakWatch::new(Arc::clone(&table)).unwrap();
    let seen = || (watch.state(&NAME), watch.writes_alone(&NOTE));
    assert_eq!(watch.state(&NAME), None, "nothing was read yet");
    watch.beat().await.unwrap();
    let fresh = (Some(SoakState::Sealed), Ok(()));
    assert_eq!(seen(), fresh);
    watch.0.clock.pass(19 * SECOND);
    assert_eq!(seen(), fresh);
    watch.0.clock.pass(SECOND);
    assert_eq!(seen(), (None, Err(SoakError::Stale { column: NOTE })));

    // A wall clock that is set back makes nothing younger.
    watch.0.clock.set_wall(-3_600_000);
    assert_eq!(watch.state(&NAME), None);
    watch.beat().await.unwrap();
    assert_eq!(watch.state(&NAME), Some(SoakState::Sealed));
}

/// The heartbeat was asked for before the watch was stopped, and is answered afterwards.
#[tokio::test]
async fn a_heartbeat_under_way_does_not_undo_a_stop() {
    let table = Table::new(SoakState::Soak);
    let watch = SoakWatch::new(Arc::clone(&table)).unwrap();
    watch.beat().await.unwrap();
    let answer = table.hold();
    let beating = tokio::spawn({
        let watch = watch.clone();
        async move { watch.beat().await }
    });
    table.asked.notified().await;
    let stopping = tokio::spawn({
        let watch = watch.clone();
        async move { watch.stop().await }
    });
    while watch.state(&NAME).is_some() {
        tokio::task::yield_now().await; // nothing is read or written from the call on
    }
    answer.send(()).unwrap();
    beating.await.unwrap().unwrap();
    stopping.await.unwrap().unwrap();
    assert_eq!(watch.state(&NAME), None, "the watch was stopped");
    let said = table.said.lock().unwrap().clone();
    assert_eq!(said.last(), Some(&Said::Leave));

    watch.beat().await.unwrap();
    assert_eq!(watch.state(&NAME), None);
    assert_eq!(*table.said.lock().unwrap(), said, "who left says nothing");
}

/// It would read NULL of a row that is pending.
#[tokio::test]
async fn a_release_without_the_plaintext_does_not_start_before_ciphertext_counts() {
    for state in SoakState::ALL.into_iter().skip(1) {
        let table = Table::new(state);
        table
            .notes_soak
            .store(true, core::sync::atomic::Ordering::SeqCst);
        let started = SoakWatch::start(Arc::clone(&table)).await;
        let has_left = table.said.lock().unwrap().last() == Some(&Said::Leave);
        match started {
            Ok(watch) => {
                assert!(state >= SoakState::Sealed && !has_left);
                watch.stop().await.unwrap();
            }
            Err(SoakJobError::Early(SoakError::BelowFloor { column, .. })) => {
                assert_eq!(column, NOTE);
                assert!(state < SoakState::Sealed && has_left);
            }
            Err(error) => panic!("{state}: {error:?}"),
        }
    }
}

fn beats(table: &Table) -> usize {
    let said = table.said.lock().unwrap();
    said.iter().filter(|said| **said != Said::Leave).count()
}

/// Thirty-five seconds: three heartbeats, the first of which is not written.
#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_hangs_or_fails_is_not_the_last() {
    for first in [None, Some(ModelError::unavailable("down"))] {
        let table = Table::new(SoakState::Soak);
        let watch = SoakWatch::start(Arc::clone(&table)).await.unwrap();
        let begun = beats(&table);
        *table.next_beat.lock().unwrap() = Some(first);
        tokio::time::sleep(BEAT + SECOND).await;
        assert_eq!(beats(&table), begun);
        tokio::time::sleep(2 * BEAT + 4 * SECOND).await;
        assert!(beats(&table) > begun, "no heartbeat came after it");

        watch.stop().await.unwrap();
        let stopped = table.said.lock().unwrap().len();
        tokio::time::sleep(6 * BEAT).await;
        assert_eq!(table.said.lock().unwrap().len(), stopped);
        assert_eq!(Arc::weak_count(&watch.0), 0, "its task has ended");
    }
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_last_clone() {
    let table = Table::new(SoakState::Soak);
    let watch = SoakWatch::start(Arc::clone(&table)).await.unwrap();
    tokio::time::sleep(BEAT + SECOND).await;
    let beats_then = beats(&table);
    drop(watch);
    tokio::time::sleep(6 * BEAT).await;
    assert_eq!(beats(&table), beats_then);
}

/// What was counted is said, and forgotten with its state.
#[tokio::test]
async fn counts_are_of_one_state() {
    let table = Table::new(SoakState::Soak);
    let watch = SoakWatch::new(Arc::clone(&table)).unwrap();
    watch.beat().await.unwrap();
    for finding in [
        Finding::Failed,
        Finding::Failed,
        Finding::Failed,
        Finding::Mismatch,
        Finding::Mismatch,
        Finding::Pending,
    ] {
        watch.count(&NAME, finding);
    }
    let counts = watch.counts(&NAME);
    assert_eq!(
        (counts.failed, counts.mismatched, counts.pending),
        (3, 2, 1)
    );
    watch.beat().await.unwrap();
    let said = table.said.lock().unwrap().last().cloned();
    let Some(Said::Beat(beats)) = said else {
        panic!("{said:?}")
    };
    assert_eq!((beats[0].odd, beats[0].pending), (5, 1));
    assert_eq!(watch.counts(&NAME), counts, "the state is the same");

    table.soak.lock().unwrap().state = SoakState::Sealed;
    watch.beat().await.unwrap();
    assert_eq!(watch.counts(&NAME), SoakCounts::default());
}

/// What it has applied it says at once, and not ten seconds later: a tool waits for that.
#[tokio::test]
async fn a_heartbeat_acknowledges_what_it_found() {
    let table = Table::new(SoakState::Soak);
    let watch = SoakWatch::new(Arc::clone(&table)).unwrap();
    for version in [7, 8] {
        table.soak.lock().unwrap().version = version;
        watch.beat().await.unwrap();
        let said = table.said.lock().unwrap().last().cloned();
        let Some(Said::Beat(beats)) = said else {
            panic!("{said:?}")
        };
        assert_eq!(beats[0].version, version);
    }
}
