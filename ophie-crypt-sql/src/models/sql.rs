//! Names and owners of the application's tables, in SQL.
//!
//! Invariant: a name is quoted whole, so that no part of it is read as SQL. Absent: statements (the parent).

use core::fmt::Write;

use ophie_crypt::{CanonicalId, ModelError};

use crate::{Dialect, Statement};

/// A name in quotes; each part of one that says its schema.
pub(crate) fn quoted(dialect: Dialect, name: &str) -> String {
    let quote = match dialect {
        Dialect::MySql => '`',
        Dialect::Postgres | Dialect::Sqlite => '"',
    };
    let mut quoted = String::with_capacity(name.len().saturating_add(2));
    for (n, part) in name.split('.').enumerate() {
        if n > 0 {
            quoted.push('.');
        }
        quoted.push(quote);
        for c in part.chars() {
            if c == quote {
                quoted.push(quote);
            }
            quoted.push(c);
        }
        quoted.push(quote);
    }
    quoted
}

/// Adds the condition that `column` holds the owner. A column of another type than the owner's id has in the
/// database is an error on PostgreSQL; elsewhere it finds the forms in which a UUID is commonly kept.
///
/// Texts are compared twice: as the column's collation has it, which an index serves, and byte by byte, because under
/// many collations `ada` is `Ada`, whose rows are another owner's.
pub(crate) fn owned(
    statement: &mut Statement,
    column: &str,
    owner: &CanonicalId,
) -> Result<(), ModelError> {
    let (tag, id) = owner
        .as_bytes()
        .split_first()
        .ok_or(ModelError::NotAnOwner)?;
    match tag {
        b'i' => {
            let id = id.try_into().map_err(|_| ModelError::NotAnOwner)?;
            statement.push(&format!("{column} = "));
            statement.push_bind(i64::from_be_bytes(id));
        }
        b't' => {
            let id = core::str::from_utf8(id).map_err(|_| ModelError::NotAnOwner)?;
            statement.push(&format!("({column} = "));
            let place = statement.push_bind(id);
            let bytes = |text: &str| match statement.dialect() {
                Dialect::MySql => format!("CAST(convert({text} USING utf8mb4) AS BINARY)"),
                Dialect::Postgres => format!("convert_to(CAST({text} AS text), 'UTF8')"),
                Dialect::Sqlite => format!("CAST({text} AS BLOB)"),
            };
            let same = format!(" AND {} = {})", bytes(column), bytes(&place));
            statement.push(&same);
        }
        b'u' if id.len() == 16 => {
            let text = hyphenated(id);
            if statement.dialect() == Dialect::Postgres {
                statement.push(&format!("{column} = CAST("));
                statement.push_bind(text.as_str());
                statement.push(" AS uuid)");
            } else {
                statement.push(&format!("({column} = "));
                statement.push_bind(id);
                statement.push(&format!(" OR {column} = "));
                statement.push_bind(text.as_str());
                statement.push(")");
            }
        }
        _ => return Err(ModelError::NotAnOwner),
    }
    Ok(())
}

/// The first transaction that has not begun to write; none, where what is uncommitted is known otherwise.
pub(crate) const fn moment(dialect: Dialect) -> Option<&'static str> {
    match dialect {
        Dialect::Postgres => Some(
            "SELECT CAST(0 AS bigint) AS number, \
             CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint) AS oldest",
        ),
        Dialect::MySql | Dialect::Sqlite => None,
    }
}

/// The oldest transaction whose rows a count does not see, and what makes it wait for such rows. MariaDB's waits where
/// it locks; SQLite has one writer, which is the one that counts.
pub(crate) const fn uncommitted(dialect: Dialect) -> (&'static str, &'static str) {
    match dialect {
        Dialect::MySql => ("0", " LOCK IN SHARE MODE"),
        Dialect::Postgres => (
            "CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint)",
            "",
        ),
        Dialect::Sqlite => ("0", ""),
    }
}

/// Before a statement that locks rows of the application: it waits a second for a row that somebody holds, as others
/// wait for what it holds. On PostgreSQL `BEGIN` says so. MySQL takes it for a comment, and waits as it is set to.
pub(crate) const fn waits_briefly(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::MySql => "/*M! SET STATEMENT innodb_lock_wait_timeout = 1 FOR */ ",
        Dialect::Postgres | Dialect::Sqlite => "",
    }
}

/// A UUID as RFC 9562 writes it.
pub(crate) fn hyphenated(id: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (n, byte) in id.iter().enumerate() {
        if matches!(n, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        write!(text, "{byte:02x}").ok(); // a String takes all
    }
    text
}
