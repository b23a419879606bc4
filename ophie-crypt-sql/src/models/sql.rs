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
            statement.push(&format!("{column} = "));
            statement.push_bind(id);
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

/// A UUID as RFC 9562 writes it.
fn hyphenated(id: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (n, byte) in id.iter().enumerate() {
        if matches!(n, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        write!(text, "{byte:02x}").ok(); // a String takes all
    }
    text
}
