//! A step from `Sealed` beside another one, and rows that must not be there after it, in every order that matters.
//!
//! Random interleavings come by these orders once in a million. Absent: the barrier (`steps`).

use core::{future::poll_fn, pin::Pin, task::Poll, time::Duration};
use std::sync::Arc;

use super::{
    super::{
        super::{Rows, SoakJobError, SoakState, Soaker},
        guard::Row,
    },
    database::{Database, Kind},
    keys::Keys,
    model::{COLUMN, Release, TABLE},
    protections::{
        Protection::{self, ByItself, KeepsOut, TellsFirst},
        Without,
    },
    store::{Handle, is_of},
    world::{Transaction, World},
};

type Going<'s> = Pin<Box<dyn Future<Output = Result<(), SoakJobError>> + Send + 's>>;

/// Who goes on for so many turns, or to the end; and rows without plaintext, written or taken away as the guard lets it.
#[derive(Clone, Copy)]
enum Next {
    One(usize),
    Other(usize),
    Written(i64),
    Deleted(i64),
    /// A transaction that was begun before ends.
    Committed,
}
use Next::{Committed, Deleted, One, Other, Written};

const TO_THE_END: usize = usize::MAX;
/// More turns than a step has.
const TURNS: usize = 20;

/// A table whose rows all have their plaintext, which nobody else knows.
struct Two {
    world: Arc<World>,
    tools: [Soaker; 2],
    /// Where both of them step to.
    to: SoakState,
    /// Of a binary of before, which has written and which nobody admits any more.
    before: Option<Transaction>,
}

impl Two {
    fn new(keys: &Keys, without: Without, to: SoakState) -> Self {
        let mut database = Database::new(Kind::Postgres, SoakState::Sealed, without);
        database.soak.admits_old = false;
        database.soak.verified = Some(database.soak.version);
        let world = World::new(database);
        let before = Transaction::begin(&world);
        if before.try_lock(0) {
            let old = Row {
                plain: Some(b"Mom".to_vec()),
                sealed: None,
                fingerprint: None,
                ..row()
            };
            before.write(0, Some(old)).unwrap();
        }
        world.database().tell(SoakState::Sealed, false);
        let tool = || {
            Soaker::new(
                &keys.keyring,
                Handle::of_tool(&world, Release::Lowest.models()),
            )
        };
        let tools = [tool(), tool()];
        let before = Some(before).filter(|_| to == SoakState::Retired);
        Self {
            world,
            tools,
            to,
            before,
        }
    }

    /// Whether a row is in a state that does not serve what it has.
    async fn lost_one(mut self, order: &[Next]) -> bool {
        let mut before = self.before.take();
        let step = |tool| Some(step(tool, self.to));
        let mut going = self.tools.each_ref().map(step);
        for next in order {
            match *next {
                One(turns) => self.goes_on(&mut going[0], turns).await,
                Other(turns) => self.goes_on(&mut going[1], turns).await,
                Written(key) => self.write(key, Some(row())),
                Deleted(key) => self.write(key, None),
                Committed => before.take().unwrap().commit(),
            }
        }
        let database = self.world.database();
        let lost = match database.soak.state {
            SoakState::Soak => Rows::Undecrypted,
            SoakState::Retired => Rows::Pending,
            _ => return false,
        };
        database
            .behind(None)
            .any(|(_, row)| is_of(&database, row, lost))
    }

    async fn goes_on(&self, going: &mut Option<Going<'_>>, turns: usize) {
        for _ in 0..turns {
            let Some(step) = going else { return };
            match poll_fn(|cx| Poll::Ready(step.as_mut().poll(cx))).await {
                Poll::Ready(_) => *going = None,
                Poll::Pending if !self.world.has_let_go() => {
                    tokio::time::advance(Duration::from_millis(250)).await;
                }
                Poll::Pending => {}
            }
        }
    }

    /// At once, if the guard lets it and nobody has the table.
    fn write(&self, key: i64, row: Option<Row>) {
        let tx = Transaction::begin(&self.world);
        if tx.try_lock(key) && tx.write(key, row).is_ok() {
            tx.commit();
        }
    }
}

fn step(tool: &Soaker, to: SoakState) -> Going<'_> {
    Box::pin(tool.step(TABLE, COLUMN, to))
}

fn row() -> Row {
    Row {
        owner: 7,
        plain: None,
        sealed: Some(vec![0xfa; 60]),
        fingerprint: Some(vec![1; 17]),
    }
}

/// In how many of these orders a row is lost.
async fn lost(without: &'static [Protection], to: SoakState, orders: Vec<Vec<Next>>) -> usize {
    let base = Keys::new().await;
    let keys = base.of(0, false).await;
    let mut lost = 0;
    for order in orders {
        let two = Two::new(&keys, Without(without), to);
        lost += usize::from(two.lost_one(&order).await);
    }
    lost
}

/// A row that comes whenever.
fn one_row() -> Vec<Vec<Next>> {
    let order = |turns| vec![One(turns), Written(1), One(TO_THE_END)];
    (0..TURNS).map(order).collect()
}

/// One that the other step finds, and that goes before the first step looks; and a second, which comes once the other step
/// has told the guard what it was told before.
fn two_rows() -> Vec<Vec<Next>> {
    let mut orders = Vec::new();
    for (before, until, turns) in
        (0..TURNS.pow(3)).map(|n| (n % TURNS, n / TURNS % TURNS, n / TURNS.pow(2)))
    {
        orders.push(vec![
            Other(before),
            Written(1),
            Other(until),
            Deleted(1),
            One(turns),
            Other(TO_THE_END),
            Written(2),
            One(TO_THE_END),
        ]);
    }
    orders
}

/// Written before the step, and committed whenever.
fn one_row_of_before() -> Vec<Vec<Next>> {
    let order = |turns| vec![One(turns), Committed, One(TO_THE_END)];
    (0..TURNS).map(order).collect()
}

/// Nothing goes wrong, and something would without this.
async fn is_missed(without: &'static [Protection], to: SoakState, orders: Vec<Vec<Next>>) {
    assert_eq!(lost(&[], to, orders.clone()).await, 0);
    assert!(lost(without, to, orders).await > 0, "without {without:?}");
}

#[tokio::test(start_paused = true)]
async fn the_guard_is_told_before_rows_are_looked_for() {
    is_missed(&[TellsFirst], SoakState::Soak, one_row()).await;
}

#[tokio::test(start_paused = true)]
async fn a_step_sees_that_another_told_the_guard_something_else() {
    is_missed(&[ByItself], SoakState::Soak, two_rows()).await;
}

#[tokio::test(start_paused = true)]
async fn who_writes_is_waited_for_before_rows_are_looked_for() {
    is_missed(&[KeepsOut], SoakState::Retired, one_row_of_before()).await;
}
