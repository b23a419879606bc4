//! The operations of shreds: the one that destroys keys, and those that note what else was done.
//!
//! Invariant: keys are destroyed by the same statement whoever runs it, in a transaction of ours or of the application's.
//! Absent: statements (`sql`), rows (`rows`), the order of the steps (the core).

mod implement;
mod rows;
mod sql;

use core::time::Duration;

use ophie_crypt::{
    CanonicalId, Installation, LedgerHead, Residue, Shred, ShredError, ShredId, ShredStep, Shreds,
    StoreError,
};

use crate::{
    Begin, Connection, Dialect, Driver, Failure, FailureKind, KeyTables, Statement,
    keys::error,
    residue,
    run::{read, run},
};

/// Destroys the owner's keys on a connection of the application's, in whatever transaction it is.
///
/// # Errors
///
/// [`ShredError`].
pub async fn shred_in<C: Connection>(
    connection: &mut C,
    dialect: Dialect,
    owner: &CanonicalId,
) -> Result<ShredId, ShredError> {
    let shredded = shred(connection, dialect, owner).await.map_err(error)?;
    shredded
        .map(rows::id)
        .transpose()?
        .ok_or(ShredError::UnknownOwner)
}

async fn shred<C: Connection>(
    connection: &mut C,
    dialect: Dialect,
    owner: &CanonicalId,
) -> Result<Option<Vec<u8>>, Failure> {
    let statement = |sql| Statement::new(dialect, sql).bind(owner.as_bytes());
    let mut known: Vec<rows::Id> = connection.fetch(statement(sql::KNOWN)).await?;
    if let (true, Some(now)) = (known.is_empty(), sql::known_now(dialect)) {
        known = connection.fetch(statement(now)).await?;
    }
    if known.is_empty() {
        return Ok(None);
    }
    once(connection, statement(sql::shred(dialect))).await?;
    let ids: Vec<rows::Id> = connection.fetch(statement(sql::id(dialect))).await?;
    Ok(ids.into_iter().next().map(|row| row.0))
}

/// An INSERT of what may be there. On PostgreSQL, where an error would end the transaction, it is none.
async fn once<C: Connection>(connection: &mut C, insert: Statement) -> Result<(), Failure> {
    match connection.execute(insert).await {
        Err(failure) if failure.kind() == FailureKind::Duplicate => Ok(()),
        done => done.map(drop),
    }
}

/// Its methods are those of [`ShredStore`](ophie_crypt::ShredStore), which [`shred_store!`](crate::shred_store)
/// implements with them.
impl<D: Driver> KeyTables<D> {
    /// See [`KeyStore::shred`](ophie_crypt::KeyStore::shred).
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn shred(&self, owner: &CanonicalId) -> Result<Option<ShredId>, StoreError> {
        let owner = owner.clone();
        let shredded = run(self.driver(), Begin::Write, move |tx| {
            let owner = owner.clone();
            Box::pin(async move { shred(tx, D::DIALECT, &owner).await })
        });
        let id = shredded.await.map_err(error)?;
        id.map(rows::id).transpose()
    }

    /// See [`ShredStore::shreds_of`](ophie_crypt::ShredStore::shreds_of).
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn shreds_of(&self, owners: &[CanonicalId]) -> Result<Vec<Shred>, StoreError> {
        if owners.is_empty() {
            return Ok(Vec::new());
        }
        let mut statement = Statement::new(D::DIALECT, sql::SHREDS);
        statement.push("owner IN (");
        for (n, owner) in owners.iter().enumerate() {
            statement.push(if n == 0 { "" } else { ", " });
            statement.push_bind(owner.as_bytes());
        }
        statement.push(")");
        self.all(statement).await
    }

    /// See [`ShredStore::shreds`](ophie_crypt::ShredStore::shreds).
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn shreds(
        &self,
        which: Shreds,
        after: Option<&CanonicalId>,
        limit: u32,
    ) -> Result<Vec<Shred>, StoreError> {
        let now = sql::now(D::DIALECT);
        let mut statement = Statement::new(D::DIALECT, sql::SHREDS);
        match which {
            Shreds::All => statement.push("1 = 1"),
            Shreds::Due => statement.push(&format!("done_at IS NULL AND due_at <= {now}")),
            Shreds::Unappended => {
                let sql = format!("done_at IS NULL AND due_at <= {now} AND entry IS NULL");
                statement.push(&sql);
            }
            Shreds::Stuck(least) => {
                statement.push("attempts >= ");
                statement.push_bind(i64::from(least));
            }
            Shreds::Sweepable { after, again } => {
                statement.push(&format!("entry IS NOT NULL AND requested_at <= {now} - "));
                statement.push_bind(after);
                statement.push(&format!(" AND (swept_at IS NULL OR swept_at <= {now} - "));
                statement.push_bind(again);
                statement.push(&format!(") AND (done_at IS NULL OR due_at <= {now})"));
            }
        }
        if let Some(after) = after {
            statement.push(" AND owner > ");
            statement.push_bind(after.as_bytes());
        }
        statement.push(&format!(" ORDER BY owner LIMIT {limit}"));
        self.all(statement).await
    }

    async fn all(&self, statement: Statement) -> Result<Vec<Shred>, StoreError> {
        let rows: Vec<rows::ShredRow> = read(self.driver(), statement).await.map_err(error)?;
        rows.into_iter().map(rows::ShredRow::shred).collect()
    }

    /// See [`ShredStore::claim`](ophie_crypt::ShredStore::claim).
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn claim(&self, shred: &Shred, life: Duration) -> Result<bool, StoreError> {
        let now = sql::now(D::DIALECT);
        let done = match shred.done_at {
            Some(_) => "IS NOT NULL",
            None => "IS NULL",
        };
        let claim = Statement::new(
            D::DIALECT,
            format!(
                "UPDATE ophie_crypt_shreds SET due_at = {now} + $2, attempts = attempts + 1 \
                 WHERE owner = $1 AND done_at {done} AND due_at <= {now}"
            ),
        );
        let claim = claim.bind(shred.owner.as_bytes()).bind(micros(life));
        Ok(self.write([claim]).await? > 0)
    }

    /// See [`ShredStore::note`](ophie_crypt::ShredStore::note).
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn note(&self, owner: &CanonicalId, step: ShredStep) -> Result<(), StoreError> {
        let now = sql::now(D::DIALECT);
        let noted = |set: String| {
            let sql = format!(
                "UPDATE ophie_crypt_shreds SET {set}, attempts = 0, failure = NULL WHERE owner = $1"
            );
            Statement::new(D::DIALECT, sql).bind(owner.as_bytes())
        };
        let first = |column: &str| noted(format!("{column} = coalesce({column}, {now})"));
        let statement = match step {
            ShredStep::Appended { entry, head } => {
                let appended = "entry = coalesce(entry, $2), appended_at = coalesce(appended_at, ";
                let appended = noted(format!("{appended}{now})")).bind(number(entry)?);
                let known = Statement::new(D::DIALECT, sql::KNOW_HEAD)
                    .bind(number(head.position())?)
                    .bind(head.hash().as_slice());
                return self.write([appended, known]).await.map(drop);
            }
            ShredStep::Done => noted(format!("due_at = 0, done_at = coalesce(done_at, {now})")),
            ShredStep::Emptied => first("emptied_at"),
            ShredStep::Swept { rest } => {
                let sql = sql::swept(now);
                let swept = Statement::new(D::DIALECT, sql).bind(owner.as_bytes());
                swept.bind(micros(rest))
            }
            ShredStep::Tombstoned => first("tombstoned_at"),
            ShredStep::Vacuumed => first("vacuumed_at"),
        };
        self.write([statement]).await.map(drop)
    }

    /// See [`ShredStore::postpone`](ophie_crypt::ShredStore::postpone).
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn postpone(
        &self,
        owner: &CanonicalId,
        pause: Duration,
        why: &str,
    ) -> Result<(), StoreError> {
        let now = sql::now(D::DIALECT);
        let postpone = Statement::new(
            D::DIALECT,
            format!(
                "UPDATE ophie_crypt_shreds SET due_at = {now} + $2, failure = $3 WHERE owner = $1"
            ),
        );
        let postpone = postpone
            .bind(owner.as_bytes())
            .bind(micros(pause))
            .bind(why);
        self.write([postpone]).await.map(drop)
    }

    /// See [`ShredStore::remember`](ophie_crypt::ShredStore::remember).
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn remember(&self, shreds: &[Shred]) -> Result<(), StoreError> {
        let mut inserts = Vec::with_capacity(shreds.len());
        for shred in shreds {
            let entry = shred
                .entry
                .ok_or(StoreError::corrupt("a shred of no ledger"))?;
            let insert = Statement::new(D::DIALECT, sql::remember(D::DIALECT))
                .bind(shred.owner.as_bytes())
                .bind(shred.id.as_bytes().as_slice())
                .bind(shred.requested_at)
                .bind(number(entry)?);
            inserts.push(insert);
        }
        let remembered = run(self.driver(), Begin::Write, move |tx| {
            let inserts = inserts.clone();
            Box::pin(async move {
                for insert in inserts {
                    once(tx, insert).await?;
                }
                Ok(())
            })
        });
        remembered.await.map_err(error)
    }

    /// See [`ShredStore::installation`](ophie_crypt::ShredStore::installation).
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn installation(&self) -> Result<Installation, StoreError> {
        let statement = Statement::new(D::DIALECT, sql::INSTALLATION);
        let rows: Vec<rows::InstallationRow> =
            read(self.driver(), statement).await.map_err(error)?;
        let row = rows.into_iter().next();
        row.ok_or(StoreError::NotMigrated)?.installation()
    }

    /// See [`ShredStore::raise_epoch`](ophie_crypt::ShredStore::raise_epoch).
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn raise_epoch(&self, epoch: u64, head: &LedgerHead) -> Result<(), StoreError> {
        let raise = Statement::new(D::DIALECT, sql::RAISE_EPOCH)
            .bind(number(epoch)?)
            .bind(number(head.position())?)
            .bind(head.hash().as_slice());
        self.write([raise]).await.map(drop)
    }

    /// See [`ShredStore::count_shreds`](ophie_crypt::ShredStore::count_shreds).
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn count_shreds(&self) -> Result<u64, StoreError> {
        let count = Statement::new(D::DIALECT, sql::COUNT);
        let count: Vec<rows::Number> = read(self.driver(), count).await.map_err(error)?;
        let count = count.first().map_or(0, |row| row.0);
        count
            .try_into()
            .map_err(|_| StoreError::corrupt("a number out of range"))
    }

    /// See [`ShredStore::adopt`](ophie_crypt::ShredStore::adopt).
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn adopt(&self, installation: &Installation) -> Result<(), StoreError> {
        let head = installation.ledger;
        let adopt = Statement::new(D::DIALECT, sql::ADOPT)
            .bind(installation.id.as_slice())
            .bind(number(installation.epoch)?)
            .bind(number(head.position())?)
            .bind(head.hash().as_slice());
        self.write([adopt]).await.map(drop)
    }

    /// See [`ShredStore::vacuum`](ophie_crypt::ShredStore::vacuum).
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn vacuum(&self) -> Result<Residue, StoreError> {
        let vacuumed = residue::vacuum(self.driver(), &sql::OF_KEYS).await;
        vacuumed.map_err(error)
    }

    /// How many rows the first changed.
    async fn write<const N: usize>(&self, statements: [Statement; N]) -> Result<u64, StoreError> {
        let written = run(self.driver(), Begin::Write, move |tx| {
            let statements = statements.clone();
            Box::pin(async move {
                let mut first = None;
                for statement in statements {
                    let changed = tx.execute(statement).await?;
                    first.get_or_insert(changed);
                }
                Ok(first.unwrap_or_default())
            })
        });
        written.await.map_err(error)
    }
}

fn number(number: u64) -> Result<i64, StoreError> {
    number
        .try_into()
        .map_err(|_| StoreError::corrupt("a number out of range"))
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
