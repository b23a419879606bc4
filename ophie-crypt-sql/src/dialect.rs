//! The databases, as far as their SQL differs.
//!
//! Absent: statements (`keys`, `audit`).

/// Whose SQL a driver speaks.
///
/// ```
/// assert_ne!(ophie_crypt_sql::Dialect::MySql, ophie_crypt_sql::Dialect::Sqlite);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// MariaDB and MySQL.
    MySql,
    /// PostgreSQL.
    Postgres,
    /// SQLite.
    Sqlite,
}

impl Dialect {
    /// The one of three texts.
    pub(crate) const fn of(
        self,
        mysql: &'static str,
        postgres: &'static str,
        sqlite: &'static str,
    ) -> &'static str {
        match self {
            Self::MySql => mysql,
            Self::Postgres => postgres,
            Self::Sqlite => sqlite,
        }
    }

    /// What begins a transaction of this kind.
    #[must_use]
    pub const fn begin(self, kind: super::Begin) -> &'static str {
        use super::Begin;
        match (self, kind) {
            // Whatever the default: a lease looks at states as they are now, and a lower level shows half a sign-up.
            (Self::MySql, Begin::Read) => {
                "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION READ ONLY"
            }
            (Self::MySql, _) => {
                "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION"
            }
            // Whatever the role's default: under a stricter level the loser of a race fails instead of waiting,
            // and one could not see what stands in the way of an INSERT. A lock that somebody holds for long keeps
            // no more connections than one can lose.
            (Self::Postgres, Begin::Write) => {
                "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '4s'"
            }
            (Self::Postgres, _) => "BEGIN ISOLATION LEVEL READ COMMITTED",
            (Self::Sqlite, Begin::Read) => "BEGIN",
            (Self::Sqlite, Begin::Write) => "BEGIN IMMEDIATE",
            (Self::Sqlite, Begin::Migrate) => "BEGIN EXCLUSIVE",
        }
    }
}
