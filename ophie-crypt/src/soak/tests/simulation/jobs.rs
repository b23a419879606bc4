//! Jobs' statements on rows (`ophie-crypt-sql/src/soak/{pass,filling,jobs,rows}.rs`).
//!
//! Invariant: between what locks rows and what writes them, others have their turns. Absent: steps.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::{
    super::{
        super::{
            Decrypted, Filled, PlainRow, Rows, SealRows, Sealing, SoakPass, SoakState, SoakedRow,
        },
        guard::Row,
    },
    database::{Cursor, Database, Kind, Refused, is_any_sealed, is_pending},
    protections::Protection,
    store::{Handle, is_of, soaked},
    world::Transaction,
};
use crate::{owner::CanonicalId, store::ModelError};

fn refused(refused: Refused) -> ModelError {
    ModelError::unavailable(format!("{refused:?}"))
}

/// Moves the cursor of this state forward; another worker may be ahead already.
fn move_on(database: &mut Database, since: i64, to: &str) {
    let ahead = database
        .cursor
        .take()
        .filter(|cursor| cursor.since == since);
    let number = |key: &String| key.parse::<i64>().unwrap();
    let there = ahead.and_then(|cursor| cursor.position);
    let there = there.filter(|there| number(there) >= number(&to.to_owned()));
    database.cursor = Some(Cursor {
        position: Some(there.unwrap_or_else(|| to.to_owned())),
        since,
    });
}

impl Handle {
    /// The next rows that meet a condition and that nobody else holds.
    async fn lock_next(
        &self,
        tx: &Transaction,
        after: impl Fn() -> Option<String> + Send,
        limit: u32,
        locks: bool,
        condition: impl Fn(&Database, &Row) -> bool + Send,
    ) -> Result<Vec<(i64, Row)>, ModelError> {
        let mut patience = 8;
        loop {
            let kept_out = {
                let database = self.world.database();
                let alone = database.kind == Kind::Sqlite && database.others_write(tx.id);
                alone || database.locked_by.is_some()
            };
            if !kept_out {
                break;
            }
            patience -= 1;
            if patience == 0 {
                return Err(ModelError::Busy);
            }
            self.world.turn().await;
        }
        let mut database = self.world.database();
        let after = after();
        let rows = database.behind(after.as_deref());
        let rows = rows.filter(|(_, row)| condition(&database, row));
        let rows: Vec<(i64, Row)> = rows.map(|(key, row)| (key, row.clone())).collect();
        let mut locked = Vec::new();
        for (key, row) in rows {
            if locked.len() == usize::try_from(limit).unwrap() {
                break;
            }
            if !locks || database.try_lock(tx.id, key) {
                locked.push((key, row));
            }
        }
        Ok(locked)
    }

    pub(super) async fn emptying(&self, limit: u32) -> Result<Option<u64>, ModelError> {
        self.world.turn().await;
        let tx = Transaction::begin(&self.world);
        let (since, position) = {
            let database = self.world.database();
            if database.soak.state != SoakState::Retired || !database.closed {
                return Ok(Some(0));
            }
            (database.soak.since, position(&database))
        };
        let both = |_: &Database, row: &Row| row.plain.is_some() && row.sealed.is_some();
        let rows = self
            .lock_next(&tx, || position.clone(), limit, true, both)
            .await?;
        let Some((last, _)) = rows.last() else {
            return Ok(Some(0));
        };
        self.world.turn().await;
        let mut touched = false;
        for (key, row) in &rows {
            let emptied = Row {
                plain: None,
                ..row.clone()
            };
            tx.write(*key, Some(emptied)).map_err(refused)?;
            touched |= tx.seen(*key).is_none_or(|after| after.sealed != row.sealed);
        }
        if touched
            && self
                .world
                .database()
                .without
                .has(Protection::ComparesEmptied)
        {
            return Ok(None);
        }
        move_on(&mut self.world.database(), since, &last.to_string());
        tx.commit();
        self.world.turn().await;
        Ok(Some(u64::try_from(rows.len()).unwrap()))
    }

    pub(super) async fn emptying_buried(&self, limit: u32) -> Result<u64, ModelError> {
        let buried = |database: &Database, row: &Row| {
            row.plain.is_some() && database.buried.contains(&row.owner)
        };
        let found = self
            .call(|database| {
                let rows = database.behind(None);
                let rows = rows.filter(|(_, row)| buried(database, row));
                let rows = rows.take(limit.try_into().unwrap());
                rows.map(|(key, _)| key).collect::<Vec<_>>()
            })
            .await?;
        let (tx, mut emptied) = (Transaction::begin(&self.world), 0);
        for key in found {
            tx.lock(key).await?;
            let row = tx.seen(key);
            let row = row.filter(|row| buried(&self.world.database(), row));
            if let Some(row) = row {
                tx.write(key, Some(Row { plain: None, ..row }))
                    .map_err(refused)?;
                emptied += 1;
            }
        }
        tx.commit();
        Ok(emptied)
    }

    pub(super) async fn unsealing(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, ModelError> {
        self.world.turn().await;
        let tx = Transaction::begin(&self.world);
        if self.world.database().soak.state != SoakState::Expand {
            return Ok(Vec::new());
        }
        let any = |_: &Database, row: &Row| is_any_sealed(row);
        let rows = self
            .lock_next(&tx, || after.map(str::to_owned), limit, true, any)
            .await?;
        self.world.turn().await;
        for (key, row) in &rows {
            let bare = Row {
                sealed: None,
                fingerprint: None,
                ..row.clone()
            };
            tx.write(*key, Some(bare)).map_err(refused)?;
        }
        tx.commit();
        self.world.turn().await;
        Ok(rows.iter().map(|(key, _)| key.to_string()).collect())
    }

    pub(super) async fn decrypting(&self, rows: Vec<Decrypted>) -> Result<u64, ModelError> {
        self.world.turn().await;
        let (tx, mut written) = (Transaction::begin(&self.world), 0);
        for Decrypted { row, plain, anew } in rows {
            let key = row.key.parse().unwrap();
            tx.lock(key).await?;
            let compares = self.world.database().without.has(Protection::Compares);
            let there = tx.seen(key);
            if let Some(there) = there.filter(|there| there.sealed == row.sealed || !compares) {
                let back = Row {
                    plain: Some(plain.to_vec()),
                    sealed: Some(anew.sealed),
                    ..there
                };
                tx.write(key, Some(back)).map_err(refused)?;
                if let (Some(_), Some(back)) = (row.plain, tx.seen(key)) {
                    let fingerprint = anew.fingerprints.into_iter().next();
                    let back = Row {
                        fingerprint,
                        ..back
                    };
                    tx.write(key, Some(back)).map_err(refused)?;
                }
                written += 1;
            }
            self.world.turn().await;
        }
        tx.commit();
        self.world.turn().await;
        Ok(written)
    }

    pub(super) async fn reading(&self, key: i64) -> Result<Option<SoakedRow>, ModelError> {
        self.world.turn().await;
        let tx = Transaction::begin(&self.world);
        tx.lock(key).await?;
        let row = tx.seen(key);
        drop(tx);
        self.world.turn().await;
        Ok(row.map(|row| soaked(key, &row)))
    }

    pub(super) async fn verifying(&self, version: i64, clean: bool) -> Result<(), ModelError> {
        self.world.turn().await;
        let kind = self.world.database().kind;
        let lock = match kind {
            Kind::Postgres => None,
            _ => Some(Transaction::exclusive(&self.world).await?),
        };
        {
            let mut database = self.world.database();
            if !clean {
                database.soak.verified = None;
            } else if database.soak.version == version {
                database.soak.verified = Some(version);
            }
        }
        drop(lock);
        self.world.turn().await;
        Ok(())
    }

    pub(super) async fn passing(&self) -> Result<Box<dyn SoakPass>, ModelError> {
        let (state, since, position) = self
            .call(|database| (database.soak.state, database.soak.since, position(database)))
            .await?;
        Ok(Box::new(Pass {
            handle: self.clone(),
            position,
            state,
            since,
            whole: false,
            taken: None,
        }))
    }
}

/// Of the cursor, in the present state.
fn position(database: &Database) -> Option<String> {
    let cursor = database.cursor.as_ref()?;
    let position = cursor.position.clone()?;
    (cursor.since == database.soak.since).then_some(position)
}

/// `pass.rs`.
struct Pass {
    handle: Handle,
    position: Option<String>,
    state: SoakState,
    since: i64,
    whole: bool,
    /// Up to which row others of its process have taken them, in which state.
    taken: Option<Arc<Mutex<(i64, i64)>>>,
}

impl Pass {
    async fn next_plain(
        &self,
        tx: &Transaction,
        limit: u32,
    ) -> Result<Vec<(i64, Row)>, ModelError> {
        if !self.state.is_filled() {
            return Ok(Vec::new());
        }
        let since = self.since;
        let pending =
            |database: &Database, row: &Row| database.soak.since == since && is_pending(row);
        let locks = self
            .handle
            .world
            .database()
            .without
            .has(Protection::LocksRows);
        // Nobody else goes on while it looks for the last that was taken and takes more.
        self.handle
            .lock_next(tx, || self.behind(), limit, locks, pending)
            .await
    }

    /// Behind which row it goes on.
    fn behind(&self) -> Option<String> {
        let taken = self.taken.as_ref().map(|taken| *taken.lock().unwrap());
        let taken = taken.filter(|(since, _)| *since == self.since);
        let own = self.position.as_ref().map(|key| key.parse().unwrap());
        let last = own.max(taken.map(|(_, last)| last));
        last.map(|key: i64| key.to_string())
    }
}

#[async_trait]
impl SoakPass for Pass {
    async fn owners_ahead(&mut self, limit: u32) -> Result<Vec<CanonicalId>, ModelError> {
        self.handle
            .call(|database| {
                let after = self.behind();
                let rows = database.behind(after.as_deref());
                let rows = rows.filter(|(_, row)| is_of(database, row, Rows::Pending));
                let owners = rows
                    .take(limit.try_into().unwrap())
                    .map(|(_, row)| row.owner);
                let mut owners: Vec<i64> = owners.collect();
                owners.sort_unstable();
                owners.dedup();
                owners.into_iter().map(CanonicalId::integer).collect()
            })
            .await
    }

    async fn fill(&mut self, limit: u32, seal: SealRows) -> Result<Filled, ModelError> {
        let world = self.handle.world.clone();
        world.turn().await;
        let tx = Transaction::begin(&world);
        let mut rows = self.next_plain(&tx, limit).await?;
        if rows.is_empty() {
            let (state, since, position) = {
                let database = world.database();
                (
                    database.soak.state,
                    database.soak.since,
                    position(&database),
                )
            };
            if !state.is_filled() {
                (self.state, self.since) = (state, since);
                return Ok(Filled::default());
            }
            if since != self.since {
                let position = position.filter(|_| !self.whole);
                (self.state, self.since, self.position) = (state, since, position);
                rows = self.next_plain(&tx, limit).await?;
            }
        }
        let plain = |(key, row): &(i64, Row)| PlainRow {
            key: key.to_string(),
            owner: CanonicalId::integer(row.owner),
            plain: row.plain.clone().unwrap_or_default().into(),
        };
        let plains: Vec<PlainRow> = rows.iter().map(plain).collect();
        let sealings = seal(&plains);
        let stop = |sealing: &Sealing| matches!(sealing, Sealing::Stop);
        let met = sealings.iter().position(stop).unwrap_or(rows.len());
        if let (Some(taken), Some((last, _))) = (&self.taken, rows[..met].last()) {
            *taken.lock().unwrap() = (self.since, *last);
        }
        for _ in 0..3 {
            world.turn().await;
        }
        if core::mem::take(&mut world.database().deadlock) {
            return Err(ModelError::Busy);
        }
        let mut filled = Filled {
            admitted: true,
            ..Filled::default()
        };
        let mut last = None;
        for ((key, _), sealing) in rows.iter().zip(sealings) {
            match sealing {
                Sealing::Sealed(new) => {
                    // Without its lock the row may be another's by now, or gone.
                    tx.lock(*key).await?;
                    if let Some(mut row) = tx
                        .seen(*key)
                        .filter(|row| row.sealed.is_none() || row.fingerprint.is_none())
                    {
                        row.sealed.get_or_insert(new.sealed);
                        let fingerprint = new.fingerprints.into_iter().next();
                        row.fingerprint = row.fingerprint.or(fingerprint);
                        tx.write(*key, Some(row)).map_err(refused)?;
                        filled.written += 1;
                    }
                }
                Sealing::Skip => {}
                Sealing::Stop => break,
            }
            filled.read += 1;
            last = Some(key.to_string());
        }
        let Some(last) = last else {
            return Ok(filled);
        };
        {
            let mut database = world.database();
            move_on(&mut database, self.since, &last);
            database.soak.filled += filled.written;
        }
        tx.commit();
        self.position = Some(last);
        world.turn().await;
        Ok(filled)
    }

    fn restart(&mut self) {
        (self.position, self.whole, self.taken) = (None, true, None);
    }

    fn beside(&mut self) -> Option<Box<dyn SoakPass>> {
        if self.handle.world.database().kind == Kind::Sqlite {
            return None;
        }
        let taken = self.taken.get_or_insert_default();
        Some(Box::new(Self {
            handle: self.handle.clone(),
            position: self.position.clone(),
            taken: Some(Arc::clone(taken)),
            ..*self
        }))
    }
}
