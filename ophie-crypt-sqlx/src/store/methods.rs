//! The operations of a key store, the same on every database.
//!
//! A macro, because SQLx's traits make the same in generics several times as long.
//! Invariant: each operation is one transaction on one connection. Absent: statements (`sql`), rows (`rows`).

/// A store with `pool`, whose write transactions begin with `begin`; `meaning` tells errors apart;
/// `notified` is the body of the method.
macro_rules! key_store {
    (
        $store:ident,
        begin: $begin:literal,
        lease: $lease:path,
        changes: $changes:path,
        meaning: $meaning:path,
        notified: |$self:ident| $notified:expr $(,)?
    ) => {
        // Reads are in a transaction too, because SQLx prepares and runs in two steps: between them a
        // transaction-pooling pgbouncer may hand the connection to another client.
        impl $store {
            async fn parts(
                &self,
                owner: &::ophie_crypt::CanonicalId,
            ) -> Result<Vec<super::rows::Part>, ::sqlx::Error> {
                let mut tx = self.pool.begin().await?;
                let parts = ::sqlx::query_as(super::sql::LOAD)
                    .bind(owner.as_bytes())
                    .persistent(false)
                    .fetch_all(&mut *tx)
                    .await?;
                tx.commit().await?;
                Ok(parts)
            }

            async fn version_of(
                &self,
                owner: &::ophie_crypt::CanonicalId,
            ) -> Result<Option<i64>, ::sqlx::Error> {
                let mut tx = self.pool.begin().await?;
                let version = ::sqlx::query_scalar(super::sql::VERSION)
                    .bind(owner.as_bytes())
                    .persistent(false)
                    .fetch_optional(&mut *tx)
                    .await?;
                tx.commit().await?;
                Ok(version)
            }

            async fn changed(
                &self,
                within: ::core::time::Duration,
            ) -> Result<Vec<super::rows::Change>, ::sqlx::Error> {
                let mut tx = self.pool.begin().await?;
                let rows = ::sqlx::query_as($changes)
                    .bind(super::rows::seconds(within))
                    .persistent(false)
                    .fetch_all(&mut *tx)
                    .await?;
                tx.commit().await?;
                Ok(rows)
            }

            async fn insert(
                &self,
                owner: &::ophie_crypt::CanonicalId,
                dek: &::ophie_crypt::DekRecord,
                blob: super::rows::Blob<'_>,
                index_key: &::ophie_crypt::IndexKeyRecord,
            ) -> Result<(), ::sqlx::Error> {
                let mut tx = self.pool.begin_with($begin).await?;
                let inserted = ::sqlx::query(super::sql::INSERT_OWNER)
                    .bind(owner.as_bytes())
                    .persistent(false)
                    .execute(&mut *tx)
                    .await?
                    .rows_affected();
                if inserted == 0 {
                    return tx.rollback().await; // another was first
                }
                ::sqlx::query(super::sql::INSERT_DEK)
                    .bind(owner.as_bytes())
                    .bind(i64::from(dek.generation()))
                    .bind(dek.state().as_str())
                    .bind(dek.key_id().as_bytes().as_slice())
                    .bind(blob.kek)
                    .bind(blob.wrapped)
                    .bind(blob.sealed)
                    .persistent(false)
                    .execute(&mut *tx)
                    .await?;
                ::sqlx::query(super::sql::INSERT_BUDGET)
                    .bind(owner.as_bytes())
                    .bind(i64::from(dek.generation()))
                    .persistent(false)
                    .execute(&mut *tx)
                    .await?;
                ::sqlx::query(super::sql::INSERT_INDEX_KEY)
                    .bind(owner.as_bytes())
                    .bind(i64::from(index_key.generation()))
                    .bind(index_key.key_id().as_bytes().as_slice())
                    .bind(index_key.sealed())
                    .persistent(false)
                    .execute(&mut *tx)
                    .await?;
                tx.commit().await
            }

            /// Granted in all and the owner's version, or why not.
            async fn grant(
                &self,
                request: &::ophie_crypt::LeaseRequest,
                limit: i64,
            ) -> Result<Result<(i64, i64), ::ophie_crypt::LeaseError>, ::sqlx::Error> {
                let mut tx = self.pool.begin_with($begin).await?;
                let granted: Option<(i64, i64)> = ::sqlx::query_as($lease)
                    .bind(request.owner.as_bytes())
                    .bind(i64::from(request.generation))
                    .bind(i64::from(request.count))
                    .bind(limit)
                    .bind(super::rows::seconds(request.life))
                    .persistent(false)
                    .fetch_optional(&mut *tx)
                    .await?;
                if let Some(granted) = granted {
                    tx.commit().await?;
                    return Ok(Ok(granted));
                }
                let granted = ::sqlx::query_as(super::sql::GRANTED)
                    .bind(request.owner.as_bytes())
                    .bind(i64::from(request.generation))
                    .persistent(false)
                    .fetch_optional(&mut *tx)
                    .await?;
                tx.rollback().await?;
                Ok(Err(super::rows::refusal(granted, request.count, limit)))
            }
        }

        #[::async_trait::async_trait]
        impl ::ophie_crypt::KeyStore for $store {
            async fn load(
                &self,
                owner: &::ophie_crypt::CanonicalId,
            ) -> Result<Option<::ophie_crypt::OwnerRecord>, ::ophie_crypt::StoreError> {
                let parts = self.parts(owner).await;
                super::rows::record(parts.map_err(|error| super::error(error, $meaning))?)
            }

            async fn insert_if_absent(
                &self,
                owner: &::ophie_crypt::CanonicalId,
                dek: &::ophie_crypt::DekRecord,
                index_key: &::ophie_crypt::IndexKeyRecord,
            ) -> Result<(), ::ophie_crypt::StoreError> {
                let blob = super::rows::Blob::of(dek)?;
                let inserted = self.insert(owner, dek, blob, index_key).await;
                inserted.map_err(|error| super::error(error, $meaning))
            }

            async fn version(
                &self,
                owner: &::ophie_crypt::CanonicalId,
            ) -> Result<Option<u64>, ::ophie_crypt::StoreError> {
                let version = self.version_of(owner).await;
                let version = version.map_err(|error| super::error(error, $meaning))?;
                version.map(super::rows::version).transpose()
            }

            async fn lease(
                &self,
                request: &::ophie_crypt::LeaseRequest,
            ) -> Result<::ophie_crypt::Lease, ::ophie_crypt::LeaseError> {
                let limit = request.limit.min(::ophie_crypt::MAX_INVOCATIONS);
                let limit = i64::try_from(limit).unwrap_or_default(); // 2^32 at most
                let lease = self.grant(request, limit).await;
                let (granted, version) =
                    lease.map_err(|error| super::error(error, $meaning))??;
                let granted = u64::try_from(granted).unwrap_or(::ophie_crypt::MAX_INVOCATIONS);
                let version = super::rows::version(version)?;
                Ok(::ophie_crypt::Lease::new(request.count, granted, version))
            }

            async fn changes(
                &self,
                within: ::core::time::Duration,
            ) -> Result<Vec<(::ophie_crypt::CanonicalId, u64)>, ::ophie_crypt::StoreError> {
                let rows = self.changed(within).await;
                super::rows::changes(rows.map_err(|error| super::error(error, $meaning))?)
            }

            async fn notified(&$self) {
                $notified
            }
        }

        impl ::core::fmt::Debug for $store {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_struct(stringify!($store)).finish_non_exhaustive()
            }
        }
    };
}
pub(super) use key_store;
