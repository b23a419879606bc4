//! Key stores on the library's own tables.
//!
//! Invariant: an owner's record is written whole or not at all, and the first stays. No statement leans
//! on connection state, so that a transaction-pooling pgbouncer may stand between.
//! Absent: keys in clear, the application's tables.

#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;

use ophie_crypt::{KeyId, OwnerRecord, StoreError, WrappedDek};

/// A row of [`LOAD`]; all NULL for an owner whose keys are gone.
type Row = (
    Option<i64>,
    Option<Vec<u8>>,
    Option<String>,
    Option<Vec<u8>>,
    Option<i64>,
    Option<Vec<u8>>,
);

/// The newest DEK and the newest index key sealed under it.
const LOAD: &str = "\
    SELECT CAST(dek.generation AS bigint), dek.key_id, dek.kek, dek.wrapped, \
           CAST(idx.generation AS bigint), idx.sealed \
    FROM ophie_crypt_owners AS own \
    LEFT JOIN ophie_crypt_deks AS dek ON dek.owner = own.owner \
    LEFT JOIN ophie_crypt_index_keys AS idx ON idx.owner = dek.owner AND idx.key_id = dek.key_id \
    WHERE own.owner = $1 \
    ORDER BY dek.generation DESC, idx.generation DESC \
    LIMIT 1";

const INSERT_OWNER: &str =
    "INSERT INTO ophie_crypt_owners (owner) VALUES ($1) ON CONFLICT DO NOTHING";

const INSERT_DEK: &str = "\
    INSERT INTO ophie_crypt_deks (owner, generation, key_id, kek, wrapped) \
    VALUES ($1, $2, $3, $4, $5)";

const INSERT_INDEX_KEY: &str = "\
    INSERT INTO ophie_crypt_index_keys (owner, generation, key_id, sealed) \
    VALUES ($1, $2, $3, $4)";

fn record(row: Row) -> Result<OwnerRecord, StoreError> {
    let (
        Some(generation),
        Some(key_id),
        Some(kek),
        Some(wrapped),
        Some(index_generation),
        Some(sealed),
    ) = row
    else {
        return Err(StoreError::corrupt("an owner without keys"));
    };
    Ok(OwnerRecord::new(
        generation
            .try_into()
            .map_err(|_| StoreError::corrupt("a generation out of range"))?,
        key_id
            .try_into()
            .map(KeyId::from_bytes)
            .map_err(|_| StoreError::corrupt("a key id that is not 16 bytes"))?,
        WrappedDek::new(kek, wrapped),
        index_generation
            .try_into()
            .map_err(|_| StoreError::corrupt("an index generation out of range"))?,
        sealed,
    ))
}

/// The two operations of a store, for a pool whose write transactions begin with `$begin`.
macro_rules! key_store {
    ($store:ident, $begin:literal, $missing_table:expr) => {
        impl $store {
            async fn read(
                &self,
                owner: &::ophie_crypt::CanonicalId,
            ) -> Result<Option<super::Row>, ::sqlx::Error> {
                // A transaction, because SQLx prepares and runs in two steps: between them a
                // transaction-pooling pgbouncer may hand the connection to another client.
                let mut tx = self.pool.begin().await?;
                let row = ::sqlx::query_as(super::LOAD)
                    .bind(owner.as_bytes())
                    .persistent(false)
                    .fetch_optional(&mut *tx)
                    .await?;
                tx.commit().await?;
                Ok(row)
            }

            async fn insert(
                &self,
                owner: &::ophie_crypt::CanonicalId,
                record: &::ophie_crypt::OwnerRecord,
            ) -> Result<(), ::sqlx::Error> {
                let mut tx = self.pool.begin_with($begin).await?;
                let inserted = ::sqlx::query(super::INSERT_OWNER)
                    .bind(owner.as_bytes())
                    .persistent(false)
                    .execute(&mut *tx)
                    .await?
                    .rows_affected();
                if inserted == 0 {
                    return tx.rollback().await; // another was first
                }
                ::sqlx::query(super::INSERT_DEK)
                    .bind(owner.as_bytes())
                    .bind(i64::from(record.generation()))
                    .bind(record.key_id().as_bytes().as_slice())
                    .bind(record.wrapped().kek())
                    .bind(record.wrapped().as_bytes())
                    .persistent(false)
                    .execute(&mut *tx)
                    .await?;
                ::sqlx::query(super::INSERT_INDEX_KEY)
                    .bind(owner.as_bytes())
                    .bind(i64::from(record.index_generation()))
                    .bind(record.key_id().as_bytes().as_slice())
                    .bind(record.sealed_index_key())
                    .persistent(false)
                    .execute(&mut *tx)
                    .await?;
                tx.commit().await
            }
        }

        #[::async_trait::async_trait]
        impl ::ophie_crypt::KeyStore for $store {
            async fn load(
                &self,
                owner: &::ophie_crypt::CanonicalId,
            ) -> Result<Option<::ophie_crypt::OwnerRecord>, ::ophie_crypt::StoreError> {
                let row = self
                    .read(owner)
                    .await
                    .map_err(|error| super::error(error, $missing_table))?;
                row.map(super::record).transpose()
            }

            async fn insert_if_absent(
                &self,
                owner: &::ophie_crypt::CanonicalId,
                record: &::ophie_crypt::OwnerRecord,
            ) -> Result<(), ::ophie_crypt::StoreError> {
                self.insert(owner, record)
                    .await
                    .map_err(|error| super::error(error, $missing_table))
            }
        }

        impl ::core::fmt::Debug for $store {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_struct(stringify!($store)).finish_non_exhaustive()
            }
        }
    };
}
use key_store;

fn error(
    error: sqlx::Error,
    is_missing_table: fn(&dyn sqlx::error::DatabaseError) -> bool,
) -> StoreError {
    match error.as_database_error() {
        Some(database) if is_missing_table(database) => StoreError::NotMigrated,
        _ => StoreError::unavailable(error),
    }
}

/// Our migrations, remembered in a table of their own, so that they do not mix with the application's.
fn migrator(mut migrations: sqlx::migrate::Migrator) -> sqlx::migrate::Migrator {
    migrations.dangerous_set_table_name("ophie_crypt_migrations");
    migrations
}
