//! The operations that change the generations of an owner's index key.
//!
//! Invariant: each is one transaction that holds the owner's row, and looks at what it changes behind that lock.
//! Absent: statements (`sql_index`), keys in clear.

use ophie_crypt::{
    CanonicalId, IndexAnnouncement, IndexStep, IndexStepTo, StepError, StoreError, WRITERS_OVER_FOR,
};

use super::{
    KeyTables, error,
    rotation::{locked, take_step},
    rows, sql_index,
};
use crate::{
    Begin, Connection, Driver,
    run::{read, run},
};

impl<D: Driver> KeyTables<D> {
    /// See [`RotationStore::announce_index`](ophie_crypt::RotationStore::announce_index).
    ///
    /// # Errors
    ///
    /// [`StepError`].
    pub async fn announce_index(
        &self,
        owner: &CanonicalId,
        announcement: &IndexAnnouncement,
    ) -> Result<(), StepError> {
        let key = &announcement.key;
        let lock = self.locking(owner);
        let under_way = self.of(owner, sql_index::UNDER_WAY);
        let spend = self
            .of(owner, sql_index::SPEND)
            .bind(i64::from(announcement.sealed_under));
        let announce = self
            .of(owner, sql_index::ANNOUNCE)
            .bind(i64::from(key.generation()))
            .bind(key.key_id().as_bytes().as_slice())
            .bind(key.sealed());
        let version = i64::try_from(announcement.version).unwrap_or(i64::MAX);
        let announced = run(self.driver(), Begin::Write, move |tx| {
            let (lock, under_way) = (lock.clone(), under_way.clone());
            let (spend, announce) = (spend.clone(), announce.clone());
            Box::pin(async move {
                if locked::<D>(tx, lock).await? != Some(version) {
                    return Ok(Err(StepError::Changed));
                }
                let under_way: Vec<rows::Number> = tx.fetch(under_way).await?;
                if under_way.first().is_none_or(|row| row.0 > 0) {
                    return Ok(Err(StepError::Changed));
                }
                if tx.execute(spend).await? == 0 {
                    return Ok(Err(StepError::Spent));
                }
                tx.execute(announce).await?;
                Ok(Ok(()))
            })
        });
        announced.await.map_err(error)?
    }

    /// See [`RotationStore::step_index`](ophie_crypt::RotationStore::step_index).
    ///
    /// # Errors
    ///
    /// [`StepError`].
    pub async fn step_index(&self, step: &IndexStep) -> Result<(), StepError> {
        let lock = self.locking(&step.owner);
        let of = |sql: &'static str| self.of(&step.owner, sql).bind(i64::from(step.generation));
        let dialect = D::DIALECT;
        // What is noted, what is asked, and what is done if the answer is yes.
        let (note, ready, changes) = match step.to {
            IndexStepTo::Writing => (
                Some(of(sql_index::note_announced(dialect))),
                of(sql_index::may_be_written(dialect)).bind(rows::micros(WRITERS_OVER_FOR)),
                vec![
                    self.of(&step.owner, sql_index::DRAIN),
                    of(sql_index::move_to(dialect)).bind("writing"),
                ],
            ),
            IndexStepTo::Retired => (
                Some(of(sql_index::note_draining(dialect))),
                of(sql_index::may_retire(dialect)).bind(rows::micros(WRITERS_OVER_FOR)),
                vec![of(sql_index::move_to(dialect)).bind("retired")],
            ),
            IndexStepTo::Destroyed { after } => (
                None,
                of(sql_index::may_destroy(dialect)).bind(rows::micros(after)),
                vec![of(sql_index::DESTROY)],
            ),
            _ => return Err(StepError::Changed),
        };
        let stepped = run(self.driver(), Begin::Write, move |tx| {
            let (lock, note, ready) = (lock.clone(), note.clone(), ready.clone());
            let changes = changes.clone();
            Box::pin(async move {
                if locked::<D>(tx, lock).await?.is_none() {
                    return Ok(Err(StepError::Changed));
                }
                if let Some(note) = note {
                    tx.execute(note).await?;
                }
                take_step::<D>(tx, ready, changes).await
            })
        });
        stepped.await.map_err(error)?
    }

    /// See [`RotationStore::is_index_idle`](ophie_crypt::RotationStore::is_index_idle).
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn is_index_idle(
        &self,
        owner: &CanonicalId,
        generation: u8,
    ) -> Result<bool, StoreError> {
        let idle = self
            .of(owner, sql_index::is_idle(D::DIALECT))
            .bind(i64::from(generation))
            .bind(rows::micros(WRITERS_OVER_FOR));
        let rows: Vec<rows::Number> = read(self.driver(), idle).await.map_err(error)?;
        if rows.first().is_some_and(|row| row.0 > 0) {
            return Ok(true);
        }
        let note = self.of(owner, sql_index::note_draining(D::DIALECT));
        let (lock, note) = (self.locking(owner), note.bind(i64::from(generation)));
        let noted = run(self.driver(), Begin::Write, move |tx| {
            let (lock, note) = (lock.clone(), note.clone());
            Box::pin(async move {
                if locked::<D>(tx, lock).await?.is_some() {
                    tx.execute(note).await?;
                }
                Ok(())
            })
        });
        noted.await.map_err(error)?;
        Ok(false)
    }
}
