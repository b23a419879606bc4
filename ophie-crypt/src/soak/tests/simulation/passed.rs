//! Rows that somebody else has while workers pass them.

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
    random::Random,
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
        put(&world, key, 7);
    }
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
        if pending(&world) == 1 {
            held.take(); // both have passed it
        }
    }
    let written: u64 = done
        .into_iter()
        .map(|done| done.unwrap().unwrap().written)
        .sum();
    assert_eq!((written, pending(&world)), (6, 0));
}

/// Of one call, whose batches fail now and then, as somebody has the table or some of its rows for a while, and end by a deadlock.
#[tokio::test(start_paused = true)]
async fn workers_of_one_call_leave_no_row() {
    let base = Keys::new().await;
    let keys = base.of(0, false).await;
    let mut failed = 0;
    for seed in 1..400 {
        let mut random = Random::new(seed);
        let kind = random.of(&[Kind::Postgres, Kind::MariaDb, Kind::Sqlite]);
        let world = World::new(Database::new(kind, SoakState::Backfill, Without::default()));
        for key in 0..12 {
            put(&world, key, random.of(&keys.owners()));
        }
        let handle = Handle::of_tool(&world, Release::Lowest.models());
        let soaker = Soaker::new(&keys.keyring, handle).pause(Duration::ZERO);
        let soaker = soaker.batch(2).workers(3);
        let mut call = pin!(soaker.backfill(TABLE, COLUMN));
        let (mut held, mut turns) = (None, 0);
        let done = loop {
            turns += 1;
            if turns < 90 && random.one_in(6) {
                world.database().deadlock = true;
            }
            if turns < 60 && random.one_in(8) {
                let other = Transaction::begin(&world);
                let locked = match random.one_in(2) {
                    true => world.database().try_lock_table(other.id),
                    false => other.try_lock(random.of(&[0, 3, 6, 9])),
                };
                failed += u32::from(locked);
                held = Some((other, turns + random.of(&[3, 12, 30])));
            }
            held = held.filter(|(_, until)| *until > turns);
            match poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await {
                Poll::Ready(done) => break done.unwrap(),
                Poll::Pending if !world.has_let_go() => {
                    tokio::time::advance(Duration::from_millis(250)).await;
                }
                Poll::Pending => {}
            }
        };
        assert_eq!(
            (done.written, pending(&world)),
            (12, 0),
            "seed {seed}, {kind:?}"
        );
    }
    assert!(failed > 400, "{failed}");
}

fn put(world: &World, key: i64, owner: i64) {
    let mut database = world.database();
    let stamp = database.next();
    let row = Row {
        owner,
        plain: Some(b"Mom".to_vec()),
        ..Row::default()
    };
    database.rows.insert(key, Stored { row, stamp });
}

fn pending(world: &World) -> usize {
    let database = world.database();
    let all = database.behind(None);
    all.filter(|(_, row)| is_pending(row)).count()
}
