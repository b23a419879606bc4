//! What an adapter implements: connections that run one statement after another, and read rows.
//!
//! Invariant: a statement and its parameters stay apart, down to the database. Absent: which statements.

use core::fmt;

use async_trait::async_trait;

use crate::Dialect;

/// Connections to a database that has the library's tables.
#[async_trait]
pub trait Driver: Clone + Send + Sync + 'static {
    /// A connection in a transaction.
    type Transaction: Transaction;

    /// Whose SQL it speaks.
    const DIALECT: Dialect;

    /// Takes a connection and begins a transaction with [`Dialect::begin`]. Reads are in one too: some drivers
    /// prepare and run in two steps, and between them a transaction-pooling pgbouncer may hand the connection
    /// to another client.
    ///
    /// # Errors
    ///
    /// [`Failure`].
    async fn begin(&self, kind: Begin) -> Result<Self::Transaction, Failure>;

    /// Runs one statement that a transaction does not take.
    ///
    /// # Errors
    ///
    /// [`Failure`].
    async fn outside(&self, sql: &str) -> Result<(), Failure>;
}

/// What a transaction is begun for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "each driver must know them all")]
pub enum Begin {
    /// Reading.
    Read,
    /// Writing rows.
    Write,
    /// Changing tables.
    Migrate,
}

/// A connection on which statements run, whoever began its transaction.
#[async_trait]
pub trait Connection: Send + Sized {
    /// Runs a statement, and says how many rows it changed. No statement leans on state of the connection.
    ///
    /// # Errors
    ///
    /// [`Failure`].
    async fn execute(&mut self, statement: Statement) -> Result<u64, Failure>;

    /// Runs a statement that gives rows.
    ///
    /// # Errors
    ///
    /// [`Failure`].
    async fn fetch<R: Record>(&mut self, statement: Statement) -> Result<Vec<R>, Failure>;
}

/// A connection in a transaction. Dropped, it is rolled back or closed.
#[async_trait]
pub trait Transaction: Connection {
    /// Runs several statements without parameters, in one text.
    ///
    /// # Errors
    ///
    /// [`Failure`].
    async fn batch(&mut self, sql: String) -> Result<(), Failure>;

    /// Commits.
    ///
    /// # Errors
    ///
    /// [`Failure`]; it may be committed then or not.
    async fn commit(self) -> Result<(), Failure>;

    /// Rolls back.
    ///
    /// # Errors
    ///
    /// [`Failure`].
    async fn rollback(self) -> Result<(), Failure>;
}

/// A row, read by the names of its columns.
pub trait Record: Send + Sized + 'static {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// [`Failure`] if a column is missing or of another type.
    fn read(cells: &dyn Cells) -> Result<Self, Failure>;
}

/// The columns of a row that a driver gave.
pub trait Cells {
    /// Bytes; of a text too, where the driver knows it as bytes.
    ///
    /// # Errors
    ///
    /// [`Failure`].
    fn bytes(&self, column: &'static str) -> Result<Option<Vec<u8>>, Failure>;

    /// An integer of 64 bits.
    ///
    /// # Errors
    ///
    /// [`Failure`].
    fn int(&self, column: &'static str) -> Result<Option<i64>, Failure>;

    /// A text.
    ///
    /// # Errors
    ///
    /// [`Failure`].
    fn text(&self, column: &'static str) -> Result<Option<String>, Failure>;
}

/// A cell that the tables' definition says is never NULL.
pub(crate) fn there<T>(cell: Option<T>) -> Result<T, Failure> {
    cell.ok_or_else(|| {
        Failure::new(
            FailureKind::Unavailable,
            "a NULL where the library's tables have none",
        )
    })
}

/// A value of a parameter, or NULL.
///
/// ```
/// let param = ophie_crypt_sql::Param::from("ada");
/// assert_eq!(format!("{param:?}"), "Text");
/// ```
#[derive(Clone)]
#[expect(clippy::exhaustive_enums, reason = "each driver must know them all")]
pub enum Param {
    /// BYTEA, BLOB.
    Bytes(Option<Vec<u8>>),
    /// BIGINT.
    Int(Option<i64>),
    /// TEXT.
    Text(Option<String>),
}

/// Without the value.
impl fmt::Debug for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes(_) => "Bytes",
            Self::Int(_) => "Int",
            Self::Text(_) => "Text",
        })
    }
}

macro_rules! params {
    ($($name:ident($value:ty);)*) => {$(
        impl From<$value> for Param {
            fn from(value: $value) -> Self {
                Self::$name(Some(value.into()))
            }
        }

        impl From<Option<$value>> for Param {
            fn from(value: Option<$value>) -> Self {
                Self::$name(value.map(Into::into))
            }
        }
    )*};
}

params! {
    Bytes(&[u8]);
    Int(i64);
    Text(&str);
}

/// A statement and its parameters, in the order of their places.
///
/// ```
/// use ophie_crypt_sql::{Dialect, Statement};
///
/// let sql = "SELECT $2 + $1 + $2";
/// let (sql, params) = Statement::new(Dialect::MySql, sql).bind(1).bind(2).into_parts();
/// assert_eq!((sql.as_str(), params.len()), ("SELECT ? + ? + ?", 3));
/// ```
#[derive(Clone, Debug)]
pub struct Statement {
    dialect: Dialect,
    sql: String,
    params: Vec<Param>,
}

impl Statement {
    /// A statement with places `$1`, `$2`, ..
    #[must_use]
    pub fn new(dialect: Dialect, sql: impl Into<String>) -> Self {
        Self {
            dialect,
            sql: sql.into(),
            params: Vec::new(),
        }
    }

    /// With the next parameter.
    #[must_use]
    pub fn bind(mut self, param: impl Into<Param>) -> Self {
        self.params.push(param.into());
        self
    }

    /// Adds to the text.
    pub(crate) fn push(&mut self, sql: &str) {
        self.sql.push_str(sql);
    }

    /// Adds a parameter, and its place to the text; gives the place, to be used again.
    pub(crate) fn push_bind(&mut self, param: impl Into<Param>) -> String {
        let place = self.place(param);
        self.sql.push_str(&place);
        place
    }

    /// Adds a parameter, and gives its place, to be used in the text.
    pub(crate) fn place(&mut self, param: impl Into<Param>) -> String {
        self.params.push(param.into());
        format!("${}", self.params.len())
    }

    /// Whose SQL it is.
    pub(crate) const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// For the driver. MySQL's places have no numbers, so a parameter that stands twice is given twice. SQLite
    /// takes `$2` for a name, which a driver that binds by number would find in the order of their appearance.
    #[must_use]
    pub fn into_parts(self) -> (String, Vec<Param>) {
        match self.dialect {
            Dialect::MySql => {}
            Dialect::Postgres => return (self.sql, self.params),
            Dialect::Sqlite => return (self.sql.replace('$', "?"), self.params),
        }
        let mut parts = self.sql.split('$');
        let mut sql = parts.next().unwrap_or_default().to_owned();
        let mut params = Vec::with_capacity(self.params.len());
        for part in parts {
            let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
            let number = part
                .strip_suffix(rest)
                .and_then(|digits| digits.parse().ok());
            let param = number.and_then(|number: usize| self.params.get(number.checked_sub(1)?));
            params.extend(param.cloned());
            sql.push('?');
            sql.push_str(rest);
        }
        (sql, params)
    }
}

/// Why a driver did not do its work.
#[derive(Debug)]
pub struct Failure {
    kind: FailureKind,
    source: Box<dyn core::error::Error + Send + Sync>,
}

/// What a failure means to the library.
///
/// ```
/// use ophie_crypt_sql::{Failure, FailureKind};
///
/// assert_eq!(Failure::new(FailureKind::Full, "disk is full").kind(), FailureKind::Full);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureKind {
    /// Others hold what it needs for longer than it waits.
    Busy,
    /// A row of that key is there.
    Duplicate,
    /// The disk is full.
    Full,
    /// The tables are missing.
    NotMigrated,
    /// The database takes no writes.
    ReadOnly,
    /// The database takes no such row.
    Refused,
    /// Others stood in the way, and it may go well when it is tried again: a deadlock.
    Retry,
    /// Anything else, such as a lost connection.
    Unavailable,
}

impl FailureKind {
    /// By the numbers in MySQL's and MariaDB's lists of errors.
    ///
    /// ```
    /// assert_eq!(ophie_crypt_sql::FailureKind::of_mysql(1062), ophie_crypt_sql::FailureKind::Duplicate);
    /// ```
    #[must_use]
    pub const fn of_mysql(number: u16) -> Self {
        match number {
            1062 => Self::Duplicate,
            1021 | 1114 => Self::Full,            // disk full, table full
            1146 => Self::NotMigrated,            // no such table
            1290 | 1792 | 1836 => Self::ReadOnly, // an option, a transaction, a mode that prevents it
            1205 | 1213 => Self::Retry,           // lock wait timeout, deadlock
            1048 | 1264 | 1292 | 1366 | 1406 | 1451 | 1452 | 1644 | 3819 | 4025 => Self::Refused, // data, constraints, triggers
            _ => Self::Unavailable,
        }
    }
}

impl Failure {
    /// A failure. Its source must show no owner and no key: see [`said`](Self::said).
    #[must_use]
    pub fn new(
        kind: FailureKind,
        source: impl Into<Box<dyn core::error::Error + Send + Sync>>,
    ) -> Self {
        let source = source.into();
        Self { kind, source }
    }

    /// What it means.
    #[must_use]
    pub const fn kind(&self) -> FailureKind {
        self.kind
    }

    /// Of what the database said. MySQL quotes the values that it refuses, so what is quoted is left out there; on PostgreSQL
    /// the whole message of a value that is wrong, and of an error that an application's trigger raises, which is any text.
    ///
    /// ```
    /// use ophie_crypt_sql::{Dialect, Failure, FailureKind};
    ///
    /// let message = "Duplicate entry 'ada' for key 'PRIMARY'";
    /// let failure = Failure::said(Dialect::MySql, FailureKind::Duplicate, message, Some("23000"));
    /// assert!(!format!("{failure:?}").contains("ada"));
    ///
    /// let failure = Failure::said(Dialect::Postgres, FailureKind::Refused, "not to be called ada", Some("P0001"));
    /// assert!(!format!("{failure:?}").contains("ada"));
    /// ```
    #[must_use]
    pub fn said(dialect: Dialect, kind: FailureKind, message: &str, code: Option<&str>) -> Self {
        let message = match (dialect, code) {
            (Dialect::MySql, _) => without_quoted(message),
            (Dialect::Postgres, Some(code)) if code == "P0001" || code.starts_with("22") => {
                WITHHELD.to_owned()
            }
            _ => message.to_owned(),
        };
        let code = code.map(Into::into);
        Self::new(kind, Refusal { code, message })
    }

    /// What the driver said.
    #[must_use]
    pub fn into_source(self) -> Box<dyn core::error::Error + Send + Sync> {
        self.source
    }
}

/// In the place of a message that may hold a value.
const WITHHELD: &str = "(what it said may hold a value; the server's log has it)";

/// What a database said, without its detail: PostgreSQL's shows the row, owner and wrapped key with it.
#[derive(Debug)]
struct Refusal {
    code: Option<String>,
    message: String,
}

/// Without all from the first quote to the last, as a value may hold quotes itself.
fn without_quoted(message: &str) -> String {
    match (message.split_once('\''), message.rsplit_once('\'')) {
        (Some((before, _)), Some((_, after))) => format!("{before}'..'{after}"),
        _ => message.to_owned(),
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

#[cfg(test)]
mod tests {
    use super::{Failure, FailureKind, without_quoted};
    use crate::Dialect;

    #[test]
    fn what_is_quoted_is_left_out() {
        for (message, left) in [
            (
                "Duplicate entry 'ad'a' for key 'PRIMARY'",
                "Duplicate entry '..'",
            ),
            ("Table 't.ophie' doesn't exist", "Table '..'t exist"),
            ("Too many connections", "Too many connections"),
        ] {
            assert_eq!(without_quoted(message), left);
        }
    }

    #[test]
    fn what_a_database_said_ends_in_its_code() {
        let said = |code| {
            Failure::said(
                Dialect::Postgres,
                FailureKind::Unavailable,
                "out of memory",
                code,
            )
        };
        let text = |code| said(code).into_source().to_string();
        assert_eq!(
            text(Some("53200")),
            "the database said: out of memory (53200)"
        );
        assert_eq!(text(None), "the database said: out of memory");
    }
}
