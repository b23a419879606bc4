//! Who moves the column: jobs and steps, in whatever order comes to mind, several at once.
//!
//! Absent: when (`turns`).

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use super::{
    super::super::{SoakJobError, SoakState, Soaker, Wrong},
    database::Database,
    fault::{Fault, Seen},
    model::{COLUMN, TABLE, TWIN},
    random::Random,
    world::World,
};
use crate::store::ModelError;

/// What an operator does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Task {
    Expand,
    Backfill,
    Verify,
    DecryptBack,
    NullOut,
    Step(SoakState),
    /// A verify, and the step that it is for.
    VerifyAndStep(SoakState),
    Admit,
    Refuse,
    Drop,
}

impl Task {
    pub(super) fn pick(random: &mut Random, database: &Database) -> Option<Self> {
        use SoakState::{Backfill, Dropped, Plain, Retired, Sealed, Verify};
        let soak = &database.soak;
        let state = soak.state;
        let is_filled = state.is_filled();
        Some(match random.below(20) {
            0..7 => match state {
                Plain => Self::Expand,
                Retired if random.one_in(3) => Self::Drop,
                Retired => Self::NullOut,
                Sealed => random.of(&[Self::Backfill, Self::Verify, Self::DecryptBack]),
                _ if is_filled => Self::Backfill,
                _ => Self::Step(state.next()?),
            },
            7 | 8 if Backfill <= state && state <= Sealed => Self::Verify,
            9..15 => match state.next()? {
                Dropped => Self::Drop,
                SoakState::Expand => Self::Expand,
                next if matches!(state, Verify | Sealed) && !random.one_in(3) => {
                    Self::VerifyAndStep(next)
                }
                next => Self::Step(next),
            },
            15 | 16 => match state.back()? {
                SoakState::Soak if random.one_in(2) => Self::VerifyAndStep(SoakState::Soak),
                back => Self::Step(back),
            },
            17.. if state > Plain && soak.admits_old => Self::Refuse,
            17.. if state < Retired => Self::Admit,
            _ => return None,
        })
    }
}

/// A tool at work.
pub(super) struct Operator {
    pub(super) world: Arc<World>,
    pub(super) soaker: Soaker,
    /// Whether binaries of before go on.
    pub(super) old: Arc<AtomicBool>,
}

impl Operator {
    pub(super) async fn does(self, task: Task) -> Result<(), Fault> {
        let soaker = &self.soaker;
        let done = match task {
            Task::Expand => soaker.expand(TABLE, COLUMN).await,
            Task::Backfill => soaker.backfill(TABLE, COLUMN).await.map(drop),
            Task::Verify => self.verify().await?,
            Task::DecryptBack => soaker.decrypt_back(TABLE, COLUMN).await.map(drop),
            Task::NullOut => {
                let done = soaker.null_out(TABLE, COLUMN).await;
                let mut database = self.world.database();
                let gone = database.behind(None).all(|(_, row)| row.plain.is_none());
                if done.is_ok() && database.closed && gone {
                    database.emptied = Some(database.soak.version);
                }
                done.map(drop)
            }
            Task::Step(to) => soaker.step(TABLE, COLUMN, to).await,
            Task::VerifyAndStep(to) => match self.verify().await? {
                Ok(()) => soaker.step(TABLE, COLUMN, to).await,
                failed => failed,
            },
            Task::Admit => {
                let done = soaker.admit_old_binaries(TABLE, COLUMN, true).await;
                let admits = self.world.database().soak.admits_old;
                if done.is_ok() && admits {
                    self.old.store(true, SeqCst); // they are started again
                }
                done
            }
            Task::Refuse => soaker.admit_old_binaries(TABLE, COLUMN, false).await,
            Task::Drop => {
                let confirm = format!("{TABLE}.{TWIN}");
                soaker.drop_twin(TABLE, COLUMN, &confirm).await.map(drop)
            }
        };
        match done {
            Err(error) if !is_expected(&error) => {
                Err(Fault::new(Seen::Job, format!("{task:?}: {error:?}")))
            }
            _ => Ok(()),
        }
    }

    async fn verify(&self) -> Result<Result<(), SoakJobError>, Fault> {
        let report = match self.soaker.verify(TABLE, COLUMN).await {
            Ok(report) => report,
            Err(error) => return Ok(Err(error)),
        };
        // Everything else has come about as it may.
        let odd = |wrong| matches!(wrong, Wrong::DoesNotOpen | Wrong::Fingerprint);
        match report.wrong.iter().find(|row| odd(row.wrong)) {
            Some(row) => Err(Fault::new(Seen::Job, format!("verify: {row}"))),
            None => Ok(Ok(())),
        }
    }
}

/// What tools say to whoever calls them too early, or beside one another.
const fn is_expected(error: &SoakJobError) -> bool {
    matches!(
        error,
        SoakJobError::Gates { .. }
            | SoakJobError::Interrupted
            | SoakJobError::Model(ModelError::Busy)
            | SoakJobError::NotNow { .. }
            | SoakJobError::Unknown { .. }
    )
}
