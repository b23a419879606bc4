//! Vectors in a table of PostgreSQL's, as pgvector keeps them.
//!
//! Absent: statements (`ophie_crypt_sql`), embeddings, searching.

use async_trait::async_trait;
use ophie_crypt::{CanonicalId, VectorStore, VectorStoreError, VectorsDeleted};
use ophie_crypt_sql::VectorRows;
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
