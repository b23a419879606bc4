//! Vectors in a table of PostgreSQL's, as pgvector keeps them, and the sidecars beside them.
//!
//! Absent: statements (`ophie_crypt_sql`), embeddings, searching.

use async_trait::async_trait;
use ophie_crypt::{
    CanonicalId, KeyId, SidecarStore, SidecarStoreError, VectorStore, VectorStoreError,
    VectorsDeleted,
};
use ophie_crypt_sql::{SidecarRows, VectorRows};
use sqlx::PgPool;

use crate::store::postgres::PostgresDriver;

/// The vectors in one table of PostgreSQL with pgvector, each row with its owner.
///
/// For a table that has **no** model: embeddings of their own, say, with a `Sidecar` beside
/// each. A table whose rows have a derived model needs none, also if one of its columns is a `vector` (marked
/// `plain`): its rows go with the model's.
///
/// ```no_run
/// use ophie_crypt::{OwnerId, VectorStore};
/// use ophie_crypt_sqlx::PgVectors;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = sqlx::PgPool::connect("postgres://localhost/app").await?;
/// // CREATE TABLE memory_vectors (user_id bigint NOT NULL, embedding vector(384) NOT NULL, text text NOT NULL);
/// // CREATE INDEX ON memory_vectors (user_id);
/// let vectors = PgVectors::new(pool, "memory_vectors", "user_id");
/// while !vectors.delete_owner(&7_i64.canonical()).await?.verified_empty() {}
/// # Ok(()) }
/// ```
///
/// The owner's column is `uuid`, `text` or an integer, as the owner's id is, and has an index. Names are taken as they
/// are, upper case too; a schema may stand before the table's, with a dot. The role needs SELECT and DELETE.
///
/// # Security
///
/// A role from which row security hides rows is refused: to it an owner's rows might look gone. What other
/// transactions have not committed yet is not seen: end the owner's sessions first, and call again at the sweep. What
/// is deleted stays in the table's file until VACUUM, in the WAL and in backups, as every deleted row does.
#[derive(Clone, Debug)]
pub struct PgVectors(VectorRows<PostgresDriver>);

impl PgVectors {
    /// Of this table, whose rows have their owner in this column.
    #[must_use]
    pub fn new(pool: PgPool, table: &str, owner: &str) -> Self {
        Self(VectorRows::new(PostgresDriver(pool), table, owner))
    }
}

#[async_trait]
impl VectorStore for PgVectors {
    async fn delete_owner(&self, owner: &CanonicalId) -> Result<VectorsDeleted, VectorStoreError> {
        self.0.delete_owner(owner).await
    }
}

/// The sidecars in one column of PostgreSQL's: a text, or JSON with a sidecar anywhere in it. For
/// [`Rotation::sidecars`](ophie_crypt::Rotation::sidecars), which destroys no key while one is left under it.
///
/// ```no_run
/// use ophie_crypt::{OwnerId, SidecarStore};
/// use ophie_crypt_sqlx::PgSidecars;
///
/// # async fn example(old: ophie_crypt::KeyId) -> Result<(), Box<dyn std::error::Error>> {
/// let pool = sqlx::PgPool::connect("postgres://localhost/app").await?;
/// let sidecars = PgSidecars::new(pool, "memory_vectors", "metadata");
/// println!("{} are left", sidecars.count_under(&7_i64.canonical(), old).await?);
/// # Ok(()) }
/// ```
///
/// Names are taken as they are, upper case too; a schema may stand before the table's, with a dot. The role needs SELECT. All
/// rows of the table are looked through, whoever's they are.
///
/// # Security
///
/// A role from which row security hides rows is refused: to it none might seem to be left. What other transactions have not
/// committed yet is not counted: destroy a key long after it was retired.
#[derive(Clone, Debug)]
pub struct PgSidecars(SidecarRows<PostgresDriver>);

impl PgSidecars {
    /// Of this table, where sidecars stand in this column.
    #[must_use]
    pub fn new(pool: PgPool, table: &str, column: &str) -> Self {
        Self(SidecarRows::new(PostgresDriver(pool), table, column))
    }
}

#[async_trait]
impl SidecarStore for PgSidecars {
    async fn count_under(&self, _: &CanonicalId, key_id: KeyId) -> Result<u64, SidecarStoreError> {
        self.0.count_under(key_id).await
    }
}
