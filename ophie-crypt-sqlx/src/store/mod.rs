//! Key stores on the library's own tables.
//!
//! Invariant: an owner's first keys are written whole or not at all, and stay. No statement leans on
//! connection state, so that a transaction-pooling pgbouncer may stand between.
//! Absent: keys in clear, the application's tables.

#[cfg(feature = "postgres")]
mod listen;
mod methods;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
mod rows;
mod sql;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;

use core::fmt;

use ophie_crypt::StoreError;

/// What a database's error means, if it means more than that the database is unavailable.
type Meaning = fn(&dyn sqlx::error::DatabaseError) -> Option<StoreError>;

fn error(error: sqlx::Error, meaning: Meaning) -> StoreError {
    error
        .as_database_error()
        .and_then(meaning)
        .unwrap_or_else(|| match &error {
            sqlx::Error::Database(said) => StoreError::unavailable(Refusal::of(&**said)),
            _ => StoreError::unavailable(error),
        })
}

/// What a database said, without its detail: PostgreSQL's shows the row, owner and wrapped key with it.
#[derive(Debug)]
pub(crate) struct Refusal {
    code: Option<String>,
    message: String,
}

impl Refusal {
    pub(crate) fn of(error: &dyn sqlx::error::DatabaseError) -> Self {
        Self {
            code: error.code().map(Into::into),
            message: error.message().to_owned(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the database said: {}", self.message)?;
        match &self.code {
            Some(code) => write!(f, " ({code})"),
            None => Ok(()),
        }
    }
}

impl core::error::Error for Refusal {}

/// Our migrations, remembered in a table of their own, so that they do not mix with the application's.
fn migrator(mut migrations: sqlx::migrate::Migrator) -> sqlx::migrate::Migrator {
    migrations.dangerous_set_table_name("ophie_crypt_migrations");
    migrations
}
