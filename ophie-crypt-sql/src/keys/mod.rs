//! The operations of a key store.
//!
//! Invariant: each is one transaction on one connection; an owner's first keys are written whole or not at
//! all, and stay. Absent: statements (`sql`), rows (`rows`), keys in clear.

mod rows;
mod sql;

use core::time::Duration;

use ophie_crypt::{
    CanonicalId, DekRecord, IndexKeyRecord, Lease, LeaseError, LeaseRequest, MAX_INVOCATIONS,
    OwnerRecord, StoreError,
};

use crate::{Begin, Driver, Failure, FailureKind, Statement, Transaction};

/// How often what a deadlock rolled back is tried.
const TRIES: u32 = 5;

/// The tables of the keys over a driver. Its methods are those of [`KeyStore`](ophie_crypt::KeyStore), which
/// [`key_store!`](crate::key_store) implements with them.
#[derive(Clone, Debug)]
pub struct KeyTables<D>(D);

impl<D: Driver> KeyTables<D> {
    /// Over this driver.
    #[must_use]
    pub const fn new(driver: D) -> Self {
        Self(driver)
    }

    /// The driver.
    #[must_use]
    pub const fn driver(&self) -> &D {
        &self.0
    }

    /// See [`KeyStore::load`](ophie_crypt::KeyStore::load).
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn load(&self, owner: &CanonicalId) -> Result<Option<OwnerRecord>, StoreError> {
        let statement = Statement::new(D::DIALECT, sql::LOAD).bind(owner.as_bytes());
        rows::record(self.read(statement).await.map_err(error)?)
    }

    /// See [`KeyStore::version`](ophie_crypt::KeyStore::version).
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn version(&self, owner: &CanonicalId) -> Result<Option<u64>, StoreError> {
        let statement = Statement::new(D::DIALECT, sql::VERSION).bind(owner.as_bytes());
        let rows: Vec<rows::Number> = self.read(statement).await.map_err(error)?;
        rows.first().map(|row| rows::version(row.0)).transpose()
    }

    /// See [`KeyStore::changes`](ophie_crypt::KeyStore::changes).
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn changes(&self, within: Duration) -> Result<Vec<(CanonicalId, u64)>, StoreError> {
        let statement =
            Statement::new(D::DIALECT, sql::changes(D::DIALECT)).bind(rows::micros(within));
        rows::changes(self.read(statement).await.map_err(error)?)
    }

    async fn read<R: crate::Record>(&self, statement: Statement) -> Result<Vec<R>, Failure> {
        let mut tx = self.0.begin(Begin::Read).await?;
        let rows = tx.fetch(statement).await?;
        tx.commit().await?;
        Ok(rows)
    }

    /// See [`KeyStore::insert_if_absent`](ophie_crypt::KeyStore::insert_if_absent).
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn insert_if_absent(
        &self,
        owner: &CanonicalId,
        dek: &DekRecord,
        index_key: &IndexKeyRecord,
    ) -> Result<(), StoreError> {
        for _ in 1..TRIES {
            match self.insert(owner, dek, index_key).await? {
                Err(failure) if failure.kind() == FailureKind::Retry => {}
                inserted => return inserted.map_err(error),
            }
        }
        self.insert(owner, dek, index_key).await?.map_err(error)
    }

    async fn insert(
        &self,
        owner: &CanonicalId,
        dek: &DekRecord,
        index_key: &IndexKeyRecord,
    ) -> Result<Result<(), Failure>, StoreError> {
        let blob = rows::Blob::of(dek)?;
        Ok(self.insert_all(owner, dek, blob, index_key).await)
    }

    async fn insert_all(
        &self,
        owner: &CanonicalId,
        dek: &DekRecord,
        blob: rows::Blob<'_>,
        index_key: &IndexKeyRecord,
    ) -> Result<(), Failure> {
        let statement = |sql| Statement::new(D::DIALECT, sql).bind(owner.as_bytes());
        let mut tx = self.0.begin(Begin::Write).await?;
        match tx.execute(statement(sql::insert_owner(D::DIALECT))).await {
            Ok(0) => return tx.rollback().await, // another was first
            Err(failure) if failure.kind() == FailureKind::Duplicate => return tx.rollback().await,
            inserted => inserted?,
        };
        let key_id = dek.key_id();
        let key = statement(sql::INSERT_DEK)
            .bind(i64::from(dek.generation()))
            .bind(dek.state().as_str())
            .bind(key_id.as_bytes().as_slice())
            .bind(blob.kek)
            .bind(blob.wrapped)
            .bind(blob.sealed);
        tx.execute(key).await?;
        let budget = statement(sql::INSERT_BUDGET).bind(i64::from(dek.generation()));
        tx.execute(budget).await?;
        let key_id = index_key.key_id();
        let key = statement(sql::INSERT_INDEX_KEY)
            .bind(i64::from(index_key.generation()))
            .bind(key_id.as_bytes().as_slice())
            .bind(index_key.sealed());
        tx.execute(key).await?;
        tx.commit().await
    }

    /// See [`KeyStore::lease`](ophie_crypt::KeyStore::lease).
    ///
    /// # Errors
    ///
    /// [`LeaseError`].
    pub async fn lease(&self, request: &LeaseRequest) -> Result<Lease, LeaseError> {
        let limit = request.limit.min(MAX_INVOCATIONS);
        let limit = i64::try_from(limit).unwrap_or_default(); // 2^32 at most
        let mut granted = self.grant(request, limit).await;
        for _ in 1..TRIES {
            match &granted {
                Err(failure) if failure.kind() == FailureKind::Retry => {
                    granted = self.grant(request, limit).await;
                }
                _ => break,
            }
        }
        let (granted, version) = granted.map_err(error)??;
        let granted = u64::try_from(granted).unwrap_or(MAX_INVOCATIONS);
        Ok(Lease::new(request.count, granted, rows::version(version)?))
    }

    /// Granted in all and the owner's version, or why not.
    async fn grant(
        &self,
        request: &LeaseRequest,
        limit: i64,
    ) -> Result<Result<(i64, i64), LeaseError>, Failure> {
        let statement = |sql| {
            Statement::new(D::DIALECT, sql)
                .bind(request.owner.as_bytes())
                .bind(i64::from(request.generation))
        };
        let mut tx = self.0.begin(Begin::Write).await?;
        let grant = statement(sql::lease(D::DIALECT))
            .bind(i64::from(request.count))
            .bind(limit)
            .bind(rows::micros(request.life));
        if tx.execute(grant).await? == 0 {
            let granted: Vec<rows::Granted> = tx.fetch(statement(sql::GRANTED)).await?;
            tx.rollback().await?;
            return Ok(Err(rows::refusal(granted.first(), request.count, limit)));
        }
        let granted: Vec<rows::Grant> = tx.fetch(statement(sql::GRANT)).await?;
        tx.commit().await?;
        Ok(granted.first().map_or_else(
            || Err(StoreError::corrupt("a budget that went away").into()),
            |row| Ok((row.granted, row.version)),
        ))
    }
}

pub(crate) fn error(failure: Failure) -> StoreError {
    match failure.kind() {
        FailureKind::Full => StoreError::Full,
        FailureKind::NotMigrated => StoreError::NotMigrated,
        FailureKind::ReadOnly => StoreError::ReadOnly,
        _ => StoreError::unavailable(failure.into_source()),
    }
}

/// Implements [`KeyStore`](ophie_crypt::KeyStore) and `Debug` for a type with a field `keys`, a [`KeyTables`], and
/// a method `notified`.
#[macro_export]
macro_rules! key_store {
    ($store:ident $(<$param:ident: $bound:path>)?) => {
        #[$crate::private::async_trait]
        impl $(<$param: $bound>)? $crate::private::ophie_crypt::KeyStore for $store $(<$param>)? {
            async fn load(
                &self,
                owner: &$crate::private::ophie_crypt::CanonicalId,
            ) -> Result<
                Option<$crate::private::ophie_crypt::OwnerRecord>,
                $crate::private::ophie_crypt::StoreError,
            > {
                self.keys.load(owner).await
            }

            async fn insert_if_absent(
                &self,
                owner: &$crate::private::ophie_crypt::CanonicalId,
                dek: &$crate::private::ophie_crypt::DekRecord,
                index_key: &$crate::private::ophie_crypt::IndexKeyRecord,
            ) -> Result<(), $crate::private::ophie_crypt::StoreError> {
                self.keys.insert_if_absent(owner, dek, index_key).await
            }

            async fn version(
                &self,
                owner: &$crate::private::ophie_crypt::CanonicalId,
            ) -> Result<Option<u64>, $crate::private::ophie_crypt::StoreError> {
                self.keys.version(owner).await
            }

            async fn lease(
                &self,
                request: &$crate::private::ophie_crypt::LeaseRequest,
            ) -> Result<
                $crate::private::ophie_crypt::Lease,
                $crate::private::ophie_crypt::LeaseError,
            > {
                self.keys.lease(request).await
            }

            async fn changes(
                &self,
                within: ::core::time::Duration,
            ) -> Result<
                Vec<($crate::private::ophie_crypt::CanonicalId, u64)>,
                $crate::private::ophie_crypt::StoreError,
            > {
                self.keys.changes(within).await
            }

            async fn notified(&self) {
                self.next_notification().await
            }
        }

        impl $(<$param: $bound>)? ::core::fmt::Debug for $store $(<$param>)? {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_struct(stringify!($store)).finish_non_exhaustive()
            }
        }
    };
}
