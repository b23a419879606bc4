//! The application's transactions: of the release of before, of those with a watch, and a shred.
//!
//! Invariant: what was committed last is what is written. Absent: when they are begun (`turns`).

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use super::{
    super::{
        super::SoakState,
        guard::{Refusal, Row},
    },
    database::{Refused, Value},
    fault::{Fault, Seen},
    keys::Keys,
    model::Release,
    process::{Bound, Process},
    random::Random,
    world::{Transaction, World},
};
use crate::store::ModelError;

/// Rows that there may be.
pub(super) const ROWS: u64 = 5;

/// What every writer needs.
#[derive(Clone)]
pub(super) struct Writer {
    pub(super) world: Arc<World>,
    pub(super) keys: Arc<Keys>,
    pub(super) random: Random,
}

impl Writer {
    /// A text that nothing else has, an empty one, or NULL.
    fn text(&mut self) -> Option<String> {
        match self.random.below(8) {
            0 => None,
            1 => Some(String::new()),
            _ => Some(format!("v{}", self.world.database().next())),
        }
    }

    /// Some turns, and sometimes many.
    async fn nap(&mut self) {
        let turns = self.random.of(&[0, 0, 0, 1, 3, 12, 40]);
        for _ in 0..turns {
            self.world.turn().await;
        }
    }

    /// A row, and whose it is to be if it is not there.
    fn pick(&mut self) -> (i64, i64) {
        let key = i64::try_from(self.random.below(ROWS)).unwrap();
        let owners = self.keys.owners();
        (key, self.random.of(&owners))
    }

    fn value(&self, owner: i64, text: Option<String>) -> Value {
        let fingerprint = text
            .as_ref()
            .and_then(|text| self.keys.fingerprint(owner, text));
        Value {
            owner,
            text,
            fingerprint,
        }
    }

    /// How many statements the transaction has.
    fn count(&mut self) -> u64 {
        self.random.of(&[1, 1, 1, 2, 3])
    }

    async fn end(&mut self, tx: Transaction) {
        self.nap().await;
        if !self.random.one_in(8) {
            tx.commit(); // or it is rolled back, or its process crashes
        }
    }

    /// A process with a watch. A statement runs when its turn comes, however long ago its values were bound.
    pub(super) async fn of_process(
        mut self,
        process: Arc<Process>,
        mut late: u32,
    ) -> Result<(), Fault> {
        let tx = Transaction::begin(&self.world);
        for _ in 0..self.count() {
            let (key, owner) = self.pick();
            let there = tx.seen(key).map(|row| row.owner);
            let (owner, text) = (there.unwrap_or(owner), self.text());
            let Some(Ok(bound)) = process.bind(owner, text.as_deref()) else {
                return Ok(()); // it knows that it has slept, or that the owner is gone
            };
            for _ in 0..core::mem::take(&mut late) {
                self.world.turn().await;
            }
            self.nap().await;
            if tx.lock(key).await.is_err() {
                return Ok(());
            }
            let row = match (tx.seen(key), there) {
                (None, None) => Row {
                    owner,
                    ..Row::default()
                },
                (Some(row), Some(_)) if row.owner == owner => row,
                _ => continue, // somebody made or deleted it meanwhile
            };
            let asks_nothing = bound.by.is_none() && process.release == Release::Twinless;
            if self.is_too_late(&bound) || (asks_nothing && process.state().is_none()) {
                return Ok(());
            }
            let new = Row {
                plain: bound.plain.clone().unwrap_or_else(|| row.plain.clone()),
                sealed: bound.sealed.clone(),
                fingerprint: bound.fingerprint.clone(),
                ..row.clone()
            };
            if let Err(refused) = self.run(&tx, key, new, bound.plain.is_some()) {
                return self.refused(&process, &bound, &row, refused);
            }
            tx.means(key, Some(self.value(owner, text)));
        }
        self.end(tx).await;
        Ok(())
    }

    /// A row of a process that has ended since, of a release that knows no plaintext. (Were there plaintext beside it, nobody
    /// could tell it from the same text written again: that is for a verify to find.)
    pub(super) async fn of_the_dead(mut self, process: Arc<Process>) -> Result<(), Fault> {
        let (key, owner) = self.pick();
        let text = Some(format!("v{}", self.world.database().next()));
        let Some(Ok(bound)) = process.bind(owner, text.as_deref()) else {
            return Ok(());
        };
        for _ in 0..self.random.of(&[1, 3, 6, 12]) {
            self.world.turn().await;
        }
        let tx = Transaction::begin(&self.world);
        if tx.lock(key).await.is_err() || tx.seen(key).is_some() {
            return Ok(());
        }
        let row = Row {
            owner,
            plain: None,
            sealed: bound.sealed,
            fingerprint: bound.fingerprint,
        };
        if tx.write(key, Some(row)).is_ok() {
            tx.means(key, Some(self.value(owner, text)));
            self.end(tx).await;
        }
        Ok(())
    }

    /// Bound in `Retired`, before the column went back to `Soak` and forward again: `Sealed` admits it, where who goes by
    /// `Soak` still reads NULL. And before it went back to `Plain`, where nothing is refused.
    fn is_too_late(&self, bound: &Bound) -> bool {
        let database = self.world.database();
        let admits = match database.soak.state {
            SoakState::Plain => true,
            SoakState::Sealed => !database.is_back,
            _ => false,
        };
        admits && bound.by == Some(SoakState::Retired)
    }

    /// One statement.
    fn run(&self, tx: &Transaction, key: i64, row: Row, names_twin: bool) -> Result<(), Refused> {
        if names_twin && !self.world.database().has_twin {
            return Err(Refused::NoColumn);
        }
        tx.write(key, Some(row))
    }

    /// Only what is late may be.
    fn refused(
        &self,
        process: &Process,
        bound: &Bound,
        row: &Row,
        refused: Refused,
    ) -> Result<(), Fault> {
        let database = self.world.database();
        let now = database.soak.state;
        let is_late = match (bound.by, process.state()) {
            // A NULL asks for no state: it is refused beside plaintext that is left, or where the column is gone.
            (None, state) => state.is_none() || process.release == Release::Twinless,
            (Some(by), state) => state != Some(by),
        };
        let is_buried = refused == Refused::By(Refusal::Shredded);
        let lives_since = database.lives_since.get(process.watch.process().as_bytes());
        let is_new = lives_since.is_none_or(|since| *since > database.looked_at);
        let is_gone = refused == Refused::NoColumn && is_new;
        if is_late || is_gone || (is_buried && database.buried.contains(&row.owner)) {
            return Ok(());
        }
        let what = format!(
            "{refused:?} in {now}, of {:?} by {:?}",
            process.release, bound.by
        );
        Err(Fault::new(Seen::Refused, what))
    }

    /// The release of before. Whether it was stopped, `goes_on` says; one that was not is admitted.
    pub(super) async fn of_old(mut self, goes_on: Arc<AtomicBool>) -> Result<(), Fault> {
        let tx = Transaction::begin(&self.world);
        for _ in 0..self.count() {
            let (key, owner) = self.pick();
            let mut text = self.text();
            if !goes_on.load(SeqCst) {
                // Somebody forgot to stop it. What is NULL to it, or as it writes it, the guard does not see it write.
                text = Some(format!("v{}", self.world.database().next()));
            }
            if tx.lock(key).await.is_err() {
                return Ok(());
            }
            let there = tx.seen(key);
            let mut row = there.clone().unwrap_or_else(|| Row {
                owner,
                ..Row::default()
            });
            let is_admitted = goes_on.load(SeqCst);
            let moves = row.plain.is_some() && is_admitted && self.random.one_in(8);
            if moves {
                // To another owner, with what it holds.
                row.owner = owner;
                let bytes = row.plain.clone().unwrap_or_default();
                text = String::from_utf8(bytes).ok();
            } else {
                row.plain = text.as_ref().map(|text| text.as_bytes().to_vec());
            }
            let owner = row.owner;
            if let Err(refused) = self.run(&tx, key, row, true) {
                let database = self.world.database();
                let buried = database.buried.contains(&owner);
                let is_refused = refused == Refused::By(Refusal::Shredded) && buried;
                if is_refused || !goes_on.load(SeqCst) {
                    return Ok(());
                }
                let what = format!(
                    "{refused:?} in {}, of the release of before",
                    database.soak.state
                );
                return Err(Fault::new(Seen::Refused, what));
            }
            tx.means(key, Some(self.value(owner, text)));
            self.nap().await;
        }
        self.end(tx).await;
        Ok(())
    }

    pub(super) async fn deletes(mut self) -> Result<(), Fault> {
        let (key, _) = self.pick();
        let tx = Transaction::begin(&self.world);
        if tx.lock(key).await.is_ok() {
            tx.write(key, None).ok(); // no trigger looks at it
            tx.means(key, None);
            self.end(tx).await;
        }
        Ok(())
    }

    /// Keys go, then every row, once who wrote before has ended.
    pub(super) async fn shreds(self, owner: i64) -> Result<(), Fault> {
        let shredded = self.keys.keyring.shred(&owner).await;
        shredded.map_err(|error| Fault::new(Seen::Job, format!("{error:?}")))?;
        let (guarded, before): (_, Vec<u64>) = {
            let mut database = self.world.database();
            database.buried.insert(owner);
            database.written.retain(|_, value| value.owner != owner);
            let before = database.txs.keys().copied().collect();
            (database.is_guarded_since(), before)
        };
        loop {
            self.world.turn().await;
            let database = self.world.database();
            if !before.iter().any(|id| database.txs.contains_key(id)) {
                break;
            }
        }
        for key in 0..i64::try_from(ROWS).unwrap() {
            loop {
                let tx = Transaction::begin(&self.world);
                match tx.lock(key).await {
                    Err(ModelError::Busy) => continue,
                    locked => locked.unwrap(),
                }
                if tx.seen(key).is_some_and(|row| row.owner == owner) {
                    tx.write(key, None).unwrap();
                    tx.commit();
                }
                break;
            }
            self.world.turn().await;
        }
        let mut database = self.world.database();
        if guarded.is_some() && guarded == database.is_guarded_since() {
            database.swept.insert(owner);
        }
        Ok(())
    }
}
