//! Two workers, and a row that somebody else has while both pass it.

use core::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use super::{
    super::{
        super::{Backfilled, SoakJobError, SoakState, Soaker},
        guard::Row,
    },
    database::{Database, Kind, Stored, is_pending},
    keys::Keys,
    model::{COLUMN, Release, TABLE},
    protections::Without,
    store::Handle,
    world::{Transaction, World},
};

type Done = Result<Backfilled, SoakJobError>;

/// Whoever is at the end begins at the first row again, where the other has moved the cursor meanwhile.
#[tokio::test(start_paused = true)]
async fn a_row_that_was_passed_over_is_met_again() {
    let base = Keys::new().await;
    let keys = base.of(0, false).await;
    let world = World::new(Database::new(
        Kind::Postgres,
        SoakState::Backfill,
        Without::default(),
    ));
    for key in 0..6 {
        let mut database = world.database();
        let stamp = database.next();
        let row = Row {
            owner: 7,
            plain: Some(b"Mom".to_vec()),
            ..Row::default()
        };
        database.rows.insert(key, Stored { row, stamp });
    }
    let pending = || {
        let database = world.database();
        database
            .behind(None)
            .filter(|(_, row)| is_pending(row))
            .count()
    };
    let worker = || {
        let handle = Handle::of_tool(&world, Release::Lowest.models());
        let soaker = Soaker::new(&keys.keyring, handle);
        soaker.batch(2).pause(Duration::ZERO)
    };
    let (one, two) = (worker(), worker());
    let mut workers = [
        pin!(one.backfill(TABLE, COLUMN)),
        pin!(two.backfill(TABLE, COLUMN)),
    ];
    let mut held = Some(Transaction::begin(&world));
    assert!(held.as_ref().is_some_and(|tx| tx.try_lock(0)));
    let mut done: [Option<Done>; 2] = [None, None];
    while done.iter().any(Option::is_none) {
        for (worker, done) in workers.iter_mut().zip(&mut done) {
            if done.is_some() {
                continue;
            }
            match poll_fn(|cx| Poll::Ready(worker.as_mut().poll(cx))).await {
                Poll::Ready(ended) => *done = Some(ended),
                Poll::Pending if !world.has_let_go() => {
                    tokio::time::advance(Duration::from_millis(250)).await;
                }
                Poll::Pending => {}
            }
        }
        if pending() == 1 {
            held.take(); // both have passed it
        }
    }
    let written: u64 = done
        .into_iter()
        .map(|done| done.unwrap().unwrap().written)
        .sum();
    assert_eq!((written, pending()), (6, 0));
}
