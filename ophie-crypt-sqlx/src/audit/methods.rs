//! The operations of an audit store, the same on every database.
//!
//! A macro, because SQLx's traits make the same in generics several times as long.
//! Invariant: records of one call are one INSERT in one transaction. Absent: statements (`sql`).

/// A store with `pool`, whose write transactions begin with `begin`; `writers`, `rows` and `unknown` are statements;
/// `time` pushes a time given in microseconds.
macro_rules! audit_store {
    (
        $store:ident,
        $db:ty,
        begin: $begin:literal,
        writers: $writers:path,
        rows: $rows:path,
        unknown: $unknown:path,
        time: |$part:ident, $at:ident| $time:block $(,)?
    ) => {
        // Reads are in a transaction too: see the key store.
        impl $store {
            async fn insert(
                &self,
                mut query: ::sqlx::QueryBuilder<$db>,
            ) -> Result<(), ::sqlx::Error> {
                let mut tx = self.pool.begin_with($begin).await?;
                query.build().persistent(false).execute(&mut *tx).await?;
                tx.commit().await
            }

            async fn insert_writer(
                &self,
                writer: &::ophie_crypt::AuditWriter,
            ) -> Result<(), ::sqlx::Error> {
                let mut query = ::sqlx::QueryBuilder::<$db>::new(super::sql::INSERT_WRITER);
                query.push_values([writer], |mut $part, writer| {
                    $part.push_bind(writer.id.as_bytes().as_slice());
                    let $at = writer.started_at;
                    $time
                    $part.push_bind(writer.app.as_str());
                    $part.push_bind(writer.wrapped.kek());
                    $part.push_bind(writer.wrapped.as_bytes());
                    $part.push_bind(writer.mac.as_slice());
                });
                self.insert(query).await
            }

            async fn insert_rows(
                &self,
                rows: &[::ophie_crypt::AuditRow],
            ) -> Result<(), ::sqlx::Error> {
                let mut query = ::sqlx::QueryBuilder::<$db>::new(super::sql::INSERT_ROWS);
                query.push_values(rows, |mut $part, row| {
                    $part.push_bind(row.writer.as_bytes().as_slice());
                    $part.push_bind(row.seq);
                    let $at = row.at;
                    $time
                    $part.push_bind(row.actor.as_str());
                    $part.push_bind(row.owner.as_slice());
                    $part.push_bind(row.generation);
                    $part.push_bind(row.purpose.as_str());
                    $part.push_bind(row.reason.as_deref());
                    $part.push_bind(row.step.as_str());
                    $part.push_bind(row.call.as_deref());
                    $part.push_bind(row.attempt);
                    $part.push_bind(row.operation.as_deref());
                    $part.push_bind(row.result.as_deref());
                    $part.push_bind(row.request_id.as_deref());
                    $part.push_bind(row.took);
                    $part.push_bind(row.mac.as_slice());
                });
                self.insert(query).await
            }

            async fn read_macs(
                &self,
                of: &[(::ophie_crypt::WriterId, i64)],
            ) -> Result<Vec<(Vec<u8>, i64, Vec<u8>)>, ::sqlx::Error> {
                let mut query = ::sqlx::QueryBuilder::<$db>::new(super::sql::MACS);
                query.push_values(of, |mut part, (writer, seq)| {
                    part.push_bind(writer.as_bytes().as_slice());
                    part.push_bind(seq);
                });
                query.push(")");
                let mut tx = self.pool.begin().await?;
                let macs = query
                    .build_query_as()
                    .persistent(false)
                    .fetch_all(&mut *tx)
                    .await?;
                tx.commit().await?;
                Ok(macs)
            }

            async fn read_writers(
                &self,
                after: Option<::ophie_crypt::WriterId>,
                limit: u32,
            ) -> Result<Vec<super::rows::Writer>, ::sqlx::Error> {
                let mut tx = self.pool.begin().await?;
                let writers = ::sqlx::query_as($writers)
                    .bind(after.map(|id| id.as_bytes().to_vec()))
                    .bind(i64::from(limit))
                    .persistent(false)
                    .fetch_all(&mut *tx)
                    .await?;
                tx.commit().await?;
                Ok(writers)
            }

            async fn read_unknown(&self, limit: u32) -> Result<Vec<Vec<u8>>, ::sqlx::Error> {
                let mut tx = self.pool.begin().await?;
                let ids = ::sqlx::query_scalar($unknown)
                    .bind(i64::from(limit))
                    .persistent(false)
                    .fetch_all(&mut *tx)
                    .await?;
                tx.commit().await?;
                Ok(ids)
            }

            async fn read_rows(
                &self,
                writer: ::ophie_crypt::WriterId,
                after: i64,
                limit: u32,
            ) -> Result<Vec<super::rows::Row>, ::sqlx::Error> {
                let mut tx = self.pool.begin().await?;
                let rows = ::sqlx::query_as($rows)
                    .bind(writer.as_bytes().as_slice())
                    .bind(after)
                    .bind(i64::from(limit))
                    .persistent(false)
                    .fetch_all(&mut *tx)
                    .await?;
                tx.commit().await?;
                Ok(rows)
            }
        }

        #[::async_trait::async_trait]
        impl ::ophie_crypt::AuditStore for $store {
            async fn begin(
                &self,
                writer: &::ophie_crypt::AuditWriter,
            ) -> Result<(), ::ophie_crypt::AuditStoreError> {
                self.insert_writer(writer).await.map_err(super::error)
            }

            async fn append(
                &self,
                rows: &[::ophie_crypt::AuditRow],
            ) -> Result<(), ::ophie_crypt::AuditStoreError> {
                let refused = match self.insert_rows(rows).await.map_err(super::error) {
                    Err(error @ ::ophie_crypt::AuditStoreError::Refused { .. }) => error,
                    inserted => return inserted,
                };
                // Because they are there, from a COMMIT whose answer was lost?
                let places: Vec<_> = rows.iter().map(|row| (row.writer, row.seq)).collect();
                let mut there = ::ophie_crypt::AuditStore::macs(self, &places).await?;
                there.sort();
                let same = there
                    .iter()
                    .map(|(_, seq, mac)| (*seq, mac))
                    .eq(rows.iter().map(|row| (row.seq, &row.mac)));
                if same { Ok(()) } else { Err(refused) }
            }

            async fn writers(
                &self,
                after: Option<::ophie_crypt::WriterId>,
                limit: u32,
            ) -> Result<Vec<::ophie_crypt::AuditWriter>, ::ophie_crypt::AuditStoreError> {
                let writers = self.read_writers(after, limit).await.map_err(super::error)?;
                Ok(writers.into_iter().filter_map(super::rows::Writer::read).collect())
            }

            async fn unknown_writers(
                &self,
                limit: u32,
            ) -> Result<Vec<Vec<u8>>, ::ophie_crypt::AuditStoreError> {
                self.read_unknown(limit).await.map_err(super::error)
            }

            async fn rows(
                &self,
                writer: ::ophie_crypt::WriterId,
                after: i64,
                limit: u32,
            ) -> Result<Vec<::ophie_crypt::AuditRow>, ::ophie_crypt::AuditStoreError> {
                let rows = self.read_rows(writer, after, limit).await;
                let rows = rows.map_err(super::error)?.into_iter();
                Ok(rows.map(|row| row.read(writer)).collect())
            }

            async fn macs(
                &self,
                of: &[(::ophie_crypt::WriterId, i64)],
            ) -> Result<
                Vec<(::ophie_crypt::WriterId, i64, Vec<u8>)>,
                ::ophie_crypt::AuditStoreError,
            > {
                if of.is_empty() {
                    return Ok(Vec::new());
                }
                let macs = self.read_macs(of).await.map_err(super::error)?.into_iter();
                let named = macs.filter_map(|(writer, seq, mac)| {
                    let writer = writer.try_into().map(::ophie_crypt::WriterId::from_bytes);
                    Some((writer.ok()?, seq, mac))
                });
                Ok(named.collect())
            }
        }

        impl ::core::fmt::Debug for $store {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_struct(stringify!($store)).finish_non_exhaustive()
            }
        }
    };
}
pub(super) use audit_store;
