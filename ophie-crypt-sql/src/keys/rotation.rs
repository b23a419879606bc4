//! The operations that change an owner's generations.
//!
//! Invariant: each is one transaction that holds the owner's row, and looks at what it changes behind that lock.
//! Absent: statements (`sql_rotation`), keys in clear.

use core::time::Duration;

use ophie_crypt::{
    ANNOUNCED_FOR, Announcement, CanonicalId, LEASES_OVER_FOR, Step, StepError, StepTo, StoreError,
    Which, WrappedDek,
};

use super::{KeyTables, error, rows, sql, sql_rotation};
use crate::{
    Begin, Connection, Driver, Failure, Statement,
    run::{read, run},
};

/// What became of a step; the transaction is committed either way.
pub(super) type Stepped = Result<(), StepError>;

impl<D: Driver> KeyTables<D> {
    /// See [`RotationStore::announce`](ophie_crypt::RotationStore::announce).
    ///
    /// # Errors
    ///
    /// [`StepError`].
    pub async fn announce(
        &self,
        owner: &CanonicalId,
        announcement: &Announcement,
    ) -> Result<(), StepError> {
        let lock = self.locking(owner);
        let dek = &announcement.dek;
        let generation = i64::from(dek.generation());
        let mut statements = Vec::new();
        for older in &announcement.older {
            let blob = rows::Blob::of(older)?;
            statements.push(
                self.of(owner, sql_rotation::SEAL_DEK)
                    .bind(i64::from(older.generation()))
                    .bind(blob.sealed)
                    .bind(older.state().as_str()),
            );
        }
        let blob = rows::Blob::of(dek)?;
        statements.push(
            self.of(owner, sql::INSERT_DEK)
                .bind(generation)
                .bind(dek.state().as_str())
                .bind(dek.key_id().as_bytes().as_slice())
                .bind(blob.kek)
                .bind(blob.wrapped)
                .bind(blob.sealed),
        );
        statements.push(
            self.of(owner, sql_rotation::INSERT_BUDGET)
                .bind(generation)
                .bind(i64::from(announcement.invocations())),
        );
        for key in &announcement.index_keys {
            statements.push(
                self.of(owner, sql_rotation::SEAL_INDEX_KEY)
                    .bind(i64::from(key.generation()))
                    .bind(key.key_id().as_bytes().as_slice())
                    .bind(key.sealed()),
            );
        }
        let read = i64::try_from(announcement.version).unwrap_or(i64::MAX);
        let announced = run(self.driver(), Begin::Write, move |tx| {
            let (lock, statements) = (lock.clone(), statements.clone());
            Box::pin(async move {
                if locked::<D>(tx, lock).await? != Some(read) {
                    return Ok(Err(StepError::Changed));
                }
                for statement in statements {
                    tx.execute(statement).await?;
                }
                Ok(Ok(()))
            })
        });
        announced.await.map_err(error)?
    }

    /// See [`RotationStore::step`](ophie_crypt::RotationStore::step).
    ///
    /// # Errors
    ///
    /// [`StepError`].
    pub async fn step(&self, step: &Step) -> Result<(), StepError> {
        let lock = self.locking(&step.owner);
        let of = |sql: &'static str| self.of(&step.owner, sql).bind(i64::from(step.generation));
        let waits = |time: Duration| rows::micros(time);
        let dialect = D::DIALECT;
        // What is noted, what is asked, and what is done if the answer is yes.
        let (note, ready, changes) = match step.to {
            StepTo::Sealing => (
                Some(of(sql_rotation::note_announced(dialect))),
                of(sql_rotation::may_seal(dialect)).bind(waits(ANNOUNCED_FOR)),
                vec![
                    self.of(&step.owner, sql_rotation::drain(dialect)),
                    of(sql_rotation::move_to(dialect)).bind("sealing"),
                ],
            ),
            StepTo::Retired => (
                None,
                of(sql_rotation::may_retire(dialect)).bind(waits(LEASES_OVER_FOR)),
                vec![of(sql_rotation::move_to(dialect)).bind("retired")],
            ),
            StepTo::Destroyed { after } => (
                None,
                of(sql_rotation::may_destroy(dialect)).bind(waits(after)),
                vec![of(sql_rotation::destroy(dialect))],
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

    /// See [`RotationStore::is_idle`](ophie_crypt::RotationStore::is_idle).
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn is_idle(&self, owner: &CanonicalId, generation: u32) -> Result<bool, StoreError> {
        let idle = self
            .of(owner, sql_rotation::is_idle(D::DIALECT))
            .bind(i64::from(generation))
            .bind(rows::micros(LEASES_OVER_FOR));
        // Behind the lock of a lease that is not committed yet.
        let idle = run(self.driver(), Begin::Write, move |tx| {
            let idle = idle.clone();
            Box::pin(async move {
                let rows: Vec<rows::Number> = tx.fetch(idle).await?;
                Ok(rows.first().is_some_and(|row| row.0 > 0))
            })
        });
        idle.await.map_err(error)
    }

    /// See [`RotationStore::rewrap`](ophie_crypt::RotationStore::rewrap).
    ///
    /// # Errors
    ///
    /// [`StepError`].
    pub async fn rewrap(
        &self,
        owner: &CanonicalId,
        generation: u32,
        old: &WrappedDek,
        new: &WrappedDek,
    ) -> Result<(), StepError> {
        let lock = self.locking(owner);
        let rewrap = self
            .of(owner, sql_rotation::REWRAP)
            .bind(i64::from(generation))
            .bind(old.kek())
            .bind(old.as_bytes())
            .bind(new.kek())
            .bind(new.as_bytes());
        let rewrapped = run(self.driver(), Begin::Write, move |tx| {
            let (lock, rewrap) = (lock.clone(), rewrap.clone());
            Box::pin(async move {
                let changed = match locked::<D>(tx, lock).await? {
                    Some(_) => tx.execute(rewrap).await?,
                    None => 0,
                };
                Ok(match changed {
                    0 => Err(StepError::Changed),
                    _ => Ok(()),
                })
            })
        });
        rewrapped.await.map_err(error)?
    }

    /// See [`RotationStore::owners`](ophie_crypt::RotationStore::owners).
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn owners(
        &self,
        which: &Which,
        after: Option<&CanonicalId>,
        limit: u32,
    ) -> Result<Vec<CanonicalId>, StoreError> {
        let dialect = D::DIALECT;
        let after = after.map_or(&[][..], CanonicalId::as_bytes);
        let (condition, params): (_, Vec<crate::Param>) = match which {
            Which::Due(policy) => {
                let granted = i64::try_from(policy.granted()).unwrap_or(i64::MAX);
                let age = rows::micros(policy.age());
                (sql_rotation::due(dialect), vec![age.into(), granted.into()])
            }
            Which::Rotating => (sql_rotation::ROTATING, vec![]),
            Which::Retired { since } => (
                sql_rotation::retired(dialect),
                vec![rows::micros(*since).into()],
            ),
            Which::WrappedElsewhere { kek } => {
                (sql_rotation::WRAPPED_ELSEWHERE, vec![kek.as_str().into()])
            }
            _ => return Ok(Vec::new()),
        };
        let text = format!(
            "SELECT own.owner FROM ophie_crypt_owners AS own \
             WHERE own.state = 'living' AND own.owner > $1 AND {condition} \
             ORDER BY own.owner LIMIT {limit}"
        );
        let mut statement = Statement::new(dialect, text).bind(after);
        for param in params {
            statement = statement.bind(param);
        }
        let rows: Vec<rows::Owner> = read(self.driver(), statement).await.map_err(error)?;
        let owners = rows.into_iter().map(|row| CanonicalId::from_bytes(&row.0));
        Ok(owners.collect())
    }

    /// A statement whose `$1` is the owner.
    pub(super) fn of(&self, owner: &CanonicalId, sql: &'static str) -> Statement {
        Statement::new(D::DIALECT, sql).bind(owner.as_bytes())
    }

    pub(super) fn locking(&self, owner: &CanonicalId) -> Statement {
        self.of(owner, sql_rotation::lock_owner(D::DIALECT))
    }
}

/// A living owner's version, which stays until the end of the transaction.
pub(super) async fn locked<D: Driver>(
    tx: &mut D::Transaction,
    lock: Statement,
) -> Result<Option<i64>, Failure> {
    let rows: Vec<rows::Number> = tx.fetch(lock).await?;
    Ok(rows.first().map(|row| row.0))
}

pub(super) async fn take_step<D: Driver>(
    tx: &mut D::Transaction,
    ready: Statement,
    changes: Vec<Statement>,
) -> Result<Stepped, Failure> {
    let ready: Vec<rows::Number> = tx.fetch(ready).await?;
    match ready.first() {
        None => return Ok(Err(StepError::Changed)),
        Some(rows::Number(0)) => return Ok(Err(StepError::TooEarly)),
        Some(_) => {}
    }
    for change in changes {
        tx.execute(change).await?;
    }
    Ok(Ok(()))
}

/// Implements [`RotationStore`](ophie_crypt::RotationStore) for a type with a field `keys`, a [`KeyTables`].
#[macro_export]
macro_rules! rotation_store {
    ($store:ident $(<$param:ident: $bound:path>)?) => {
        #[$crate::private::async_trait]
        impl $(<$param: $bound>)? $crate::private::ophie_crypt::RotationStore for $store $(<$param>)? {
            async fn announce(
                &self,
                owner: &$crate::private::ophie_crypt::CanonicalId,
                announcement: &$crate::private::ophie_crypt::Announcement,
            ) -> Result<(), $crate::private::ophie_crypt::StepError> {
                self.keys.announce(owner, announcement).await
            }

            async fn step(
                &self,
                step: &$crate::private::ophie_crypt::Step,
            ) -> Result<(), $crate::private::ophie_crypt::StepError> {
                self.keys.step(step).await
            }

            async fn is_idle(
                &self,
                owner: &$crate::private::ophie_crypt::CanonicalId,
                generation: u32,
            ) -> Result<bool, $crate::private::ophie_crypt::StoreError> {
                self.keys.is_idle(owner, generation).await
            }

            async fn rewrap(
                &self,
                owner: &$crate::private::ophie_crypt::CanonicalId,
                generation: u32,
                old: &$crate::private::ophie_crypt::WrappedDek,
                new: &$crate::private::ophie_crypt::WrappedDek,
            ) -> Result<(), $crate::private::ophie_crypt::StepError> {
                self.keys.rewrap(owner, generation, old, new).await
            }

            async fn owners(
                &self,
                which: &$crate::private::ophie_crypt::Which,
                after: Option<&$crate::private::ophie_crypt::CanonicalId>,
                limit: u32,
            ) -> Result<
                Vec<$crate::private::ophie_crypt::CanonicalId>,
                $crate::private::ophie_crypt::StoreError,
            > {
                self.keys.owners(which, after, limit).await
            }

            async fn announce_index(
                &self,
                owner: &$crate::private::ophie_crypt::CanonicalId,
                announcement: &$crate::private::ophie_crypt::IndexAnnouncement,
            ) -> Result<(), $crate::private::ophie_crypt::StepError> {
                self.keys.announce_index(owner, announcement).await
            }

            async fn step_index(
                &self,
                step: &$crate::private::ophie_crypt::IndexStep,
            ) -> Result<(), $crate::private::ophie_crypt::StepError> {
                self.keys.step_index(step).await
            }

            async fn is_index_idle(
                &self,
                owner: &$crate::private::ophie_crypt::CanonicalId,
                generation: u8,
            ) -> Result<bool, $crate::private::ophie_crypt::StoreError> {
                self.keys.is_index_idle(owner, generation).await
            }
        }
    };
}
