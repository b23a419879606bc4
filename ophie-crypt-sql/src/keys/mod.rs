//! The operations of a key store.
//!
//! Invariant: each is one transaction on one connection; an owner's first keys are written whole or not at
//! all, and stay. Absent: statements (`sql`), rows (`rows`), keys in clear.

mod index;
mod rotation;
mod rows;
mod sql;
mod sql_index;
mod sql_rotation;

use core::time::Duration;

use ophie_crypt::{
    CanonicalId, DekRecord, IndexKeyRecord, Lease, LeaseError, LeaseRequest, MAX_INVOCATIONS,
    OwnerRecord, StoreError,
};

use crate::{
    Begin, Connection, Driver, Failure, FailureKind, Statement,
    run::{read, run},
};

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
        rows::record(read(&self.0, statement).await.map_err(error)?)
    }

    /// See [`KeyStore::version`](ophie_crypt::KeyStore::version).
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn version(&self, owner: &CanonicalId) -> Result<Option<u64>, StoreError> {
        let statement = Statement::new(D::DIALECT, sql::VERSION).bind(owner.as_bytes());
        let rows: Vec<rows::Number> = read(&self.0, statement).await.map_err(error)?;
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
        rows::changes(read(&self.0, statement).await.map_err(error)?)
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
        let statement = |sql| Statement::new(D::DIALECT, sql).bind(owner.as_bytes());
        let generation = i64::from(dek.generation());
        let blob = rows::Blob::of(dek)?;
        let first = statement(sql::insert_owner(D::DIALECT));
        let others = [
            statement(sql::INSERT_DEK)
                .bind(generation)
                .bind(dek.state().as_str())
                .bind(dek.key_id().as_bytes().as_slice())
                .bind(blob.kek)
                .bind(blob.wrapped)
                .bind(blob.sealed),
            statement(sql::INSERT_BUDGET).bind(generation),
            statement(sql::INSERT_INDEX_KEY)
                .bind(i64::from(index_key.generation()))
                .bind(index_key.key_id().as_bytes().as_slice())
                .bind(index_key.sealed()),
        ];
        let insert = run(&self.0, Begin::Write, move |tx| {
            let (first, others) = (first.clone(), others.clone());
            Box::pin(async move {
                match tx.execute(first).await {
                    Ok(0) => return Ok(()), // another was first
                    Err(failure) if failure.kind() == FailureKind::Duplicate => return Ok(()),
                    inserted => inserted?,
                };
                for statement in others {
                    tx.execute(statement).await?;
                }
                Ok(())
            })
        });
        insert.await.map_err(error)
    }

    /// See [`KeyStore::lease`](ophie_crypt::KeyStore::lease).
    ///
    /// # Errors
    ///
    /// [`LeaseError`].
    pub async fn lease(&self, request: &LeaseRequest) -> Result<Lease, LeaseError> {
        let limit = request.limit.min(MAX_INVOCATIONS);
        let limit = i64::try_from(limit).unwrap_or_default(); // 2^32 at most
        let statement = |sql| {
            Statement::new(D::DIALECT, sql)
                .bind(request.owner.as_bytes())
                .bind(i64::from(request.generation))
        };
        let (count, grant) = (request.count, statement(sql::GRANT));
        let granted = statement(sql::GRANTED);
        let lease = statement(sql::lease(D::DIALECT))
            .bind(i64::from(count))
            .bind(limit)
            .bind(rows::micros(request.life));
        let lease = run(&self.0, Begin::Write, move |tx| {
            let (lease, grant, granted) = (lease.clone(), grant.clone(), granted.clone());
            Box::pin(async move {
                if tx.execute(lease).await? == 0 {
                    let granted: Vec<rows::Granted> = tx.fetch(granted).await?;
                    return Ok(Err(rows::refusal(granted.first(), count, limit)));
                }
                let rows: Vec<rows::Grant> = tx.fetch(grant).await?;
                let row = rows.into_iter().next();
                Ok(row.ok_or_else(|| StoreError::corrupt("a budget that went away").into()))
            })
        });
        let row = lease.await.map_err(error)??;
        let granted = u64::try_from(row.granted).unwrap_or(MAX_INVOCATIONS);
        Ok(Lease::new(count, granted, rows::version(row.version)?))
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
/// a method `next_notification`.
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

            async fn shred(
                &self,
                owner: &$crate::private::ophie_crypt::CanonicalId,
            ) -> Result<
                Option<$crate::private::ophie_crypt::ShredId>,
                $crate::private::ophie_crypt::StoreError,
            > {
                self.keys.shred(owner).await
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
