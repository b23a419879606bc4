//! What a backfill writes.
//!
//! Invariant: a row is written only where its ciphertext or a fingerprint is missing. Its plaintext is what was read, as the
//! transaction that read it locks it still, or is the only writer: so no statement here has plaintext among its parameters,
//! which a server's log may print. Absent: which rows, and their locks (`pass`).

use core::fmt::Write;

use ophie_crypt::soak::{SealedRow, SoakColumn};

use super::{
    rows::{At, furthest, moving, moving_by},
    shape::{FINGERPRINTS, Shape},
    states::Number,
};
use crate::{Cells, Connection, Dialect, Driver, Failure, Record, Statement, driver::there};

/// Bytes of ciphertext in one statement, if they are of more than one row: PostgreSQL takes less than 1 GiB at once, and
/// MariaDB 16 MiB with all else, unless it is told otherwise.
const PIECE: usize = 8 << 20;

/// A row's key, and what it gets.
pub(super) type Row<'r> = (&'r str, SealedRow);

/// Writes what was sealed where it is missing, and moves the cursor to the last row that was read: in as few statements as the
/// database takes, since each costs more than a row does. Says how many rows it wrote; and PostgreSQL, which does it at no
/// cost, the furthest row of all workers.
pub(super) async fn write<D: Driver>(
    tx: &mut D::Transaction,
    shape: &Shape,
    column: &SoakColumn,
    from: &At,
    rows: &[Row<'_>],
    last: &str,
) -> Result<(u64, Option<String>), Failure> {
    let mut written = 0_u64;
    let mut pieces: Vec<_> = pieces(shape.dialect, rows).collect();
    let with_cursor = match shape.dialect {
        Dialect::Postgres => pieces.pop(),
        Dialect::MySql | Dialect::Sqlite => None,
    };
    for piece in pieces {
        let done = tx.execute(filling(shape, piece, "")).await?;
        written = written.saturating_add(done);
    }
    if let Some(piece) = with_cursor {
        let mut statement = filling(shape, piece, "WITH filled AS (");
        statement.push(" RETURNING 1) ");
        moving_by(&mut statement, FILLED, shape, column, from, last);
        statement.push(&format!(" RETURNING {FILLED} AS number, "));
        furthest(&mut statement, shape, column, from, last);
        let moved: Vec<Moved> = tx.fetch(statement).await?;
        let moved = there(moved.into_iter().next())?;
        return Ok((written.saturating_add(moved.filled.0), moved.furthest));
    }
    let count = i64::try_from(written).unwrap_or(i64::MAX);
    tx.execute(moving(shape, column, from, last, count)).await?;
    Ok((written, None))
}

struct Moved {
    filled: Number,
    furthest: Option<String>,
}

impl Record for Moved {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self {
            filled: Number::read(cells)?,
            furthest: cells.text("furthest")?,
        })
    }
}

const FILLED: &str = "(SELECT count(*) FROM filled)";

fn filling(shape: &Shape, rows: &[Row<'_>], head: &str) -> Statement {
    match shape.dialect {
        Dialect::MySql => on_mysql(shape, rows),
        Dialect::Postgres => on_postgres(shape, rows, head),
        Dialect::Sqlite => on_sqlite(shape, rows),
    }
}

/// Keys and values are lists, as a table of them would have a collation of its own.
fn on_mysql(shape: &Shape, rows: &[Row<'_>]) -> Statement {
    let (table, key) = (&shape.table, &shape.key.name);
    let mut statement = Statement::new(shape.dialect, format!("UPDATE {table} SET "));
    let keys: Vec<String> = rows
        .iter()
        .map(|(key, _)| shape.key_of(&statement.place(*key)))
        .collect();
    let keys = keys.join(", ");
    for (n, name) in shape.written().enumerate() {
        let comma = if n == 0 { "" } else { ", " };
        statement.push(&format!(
            "{comma}{name} = coalesce({name}, elt(field({key}, {keys})"
        ));
        for (_, new) in rows {
            let mut parts = core::iter::once(&new.sealed).chain(&new.fingerprints);
            statement.push(", ");
            statement.push_bind(parts.nth(n).map(Vec::as_slice));
        }
        statement.push("))");
    }
    statement.push(&format!(
        " WHERE {key} IN ({keys}) AND ({})",
        shape.unsealed("")
    ));
    statement
}

/// Rows behind one another that one statement takes.
fn pieces<'r>(dialect: Dialect, rows: &'r [Row<'r>]) -> impl Iterator<Item = &'r [Row<'r>]> {
    let most = match dialect {
        // Each row's key is looked for among all of them.
        Dialect::MySql => 250,
        Dialect::Postgres => usize::MAX,
        // As many parameters as it takes, with eight fingerprints.
        Dialect::Sqlite => 1_000,
    };
    let mut rest = rows;
    core::iter::from_fn(move || {
        let mut bytes = 0_usize;
        let fits = |(_, new): &&Row<'_>| {
            bytes = bytes.saturating_add(new.sealed.len());
            bytes <= PIECE
        };
        let count = rest.iter().take(most).take_while(fits).count().max(1);
        let (piece, behind) = rest.split_at_checked(count)?;
        rest = behind;
        Some(piece)
    })
}

/// All bytes are one parameter, and arrays say where those of a row are: a text that PostgreSQL parses and plans in no time,
/// and the same for any number of rows. Between which keys they are spares it to read the whole table.
fn on_postgres(shape: &Shape, rows: &[Row<'_>], head: &str) -> Statement {
    let (table, key) = (&shape.table, &shape.key.name);
    let (mut bytes, mut keys) = (Vec::new(), Array::default());
    let mut places = vec![[Array::default(), Array::default()]; shape.written().count()];
    for (key, new) in rows {
        keys.push_text(key);
        let parts = core::iter::once(&new.sealed).chain(&new.fingerprints);
        for (part, [from, length]) in parts.zip(&mut places) {
            from.push(bytes.len().saturating_add(1));
            length.push(part.len());
            bytes.extend_from_slice(part);
        }
    }
    let mut statement = Statement::new(
        shape.dialect,
        format!("{head}UPDATE {table} AS soaked SET "),
    );
    let bytes = statement.place(bytes.as_slice());
    for (n, name) in shape.written().enumerate() {
        let comma = if n == 0 { "" } else { ", " };
        statement.push(&format!(
            "{comma}{name} = coalesce(soaked.{name}, substr(CAST({bytes} AS bytea), new.from{n}, new.length{n}))"
        ));
    }
    statement.push(" FROM unnest(CAST(CAST(");
    statement.push_bind(keys.text().as_str());
    statement.push(" AS text) AS text[])");
    let mut names = String::from("key");
    for (n, [from, length]) in places.iter().enumerate() {
        for array in [from, length] {
            statement.push(", CAST(CAST(");
            statement.push_bind(array.text().as_str());
            statement.push(" AS text) AS int[])");
        }
        names.push_str(&format!(", from{n}, length{n}"));
    }
    let ends = [rows.first(), rows.last()].map(|row| {
        let place = statement.place(row.map_or("", |(key, _)| key));
        shape.key_of(&place)
    });
    let [first, last] = ends;
    statement.push(&format!(
        ") AS new ({names}) WHERE soaked.{key} = {} AND soaked.{key} BETWEEN {first} AND {last} AND ({})",
        shape.key_of("new.key"),
        shape.unsealed("soaked.")
    ));
    statement
}

/// SQLite prepares all triggers of a table with each statement.
fn on_sqlite(shape: &Shape, rows: &[Row<'_>]) -> Statement {
    let (table, column) = (&shape.table, &shape.column);
    let mut names = String::from("k, c");
    let mut sets = format!("{column} = coalesce(soaked.{column}, new.c)");
    for (name, alias) in shape.fingerprints.iter().zip(FINGERPRINTS) {
        names.push_str(&format!(", {alias}"));
        sets.push_str(&format!(", {name} = coalesce(soaked.{name}, new.{alias})"));
    }
    let mut statement = Statement::new(shape.dialect, format!("WITH new ({names}) AS (VALUES "));
    for (n, (key, new)) in rows.iter().enumerate() {
        statement.push(if n == 0 { "(" } else { ", (" });
        let place = statement.place(*key);
        statement.push(&shape.key_of(&place));
        for bytes in core::iter::once(&new.sealed).chain(&new.fingerprints) {
            statement.push(", ");
            statement.push_bind(bytes.as_slice());
        }
        statement.push(")");
    }
    statement.push(&format!(
        ") UPDATE {table} AS soaked SET {sets} FROM new WHERE soaked.{} = new.k AND ({})",
        shape.key.name,
        shape.unsealed("soaked.")
    ));
    statement
}

/// An array, as PostgreSQL reads one from a text.
#[derive(Clone, Default)]
struct Array(String);

impl Array {
    fn push(&mut self, number: usize) {
        self.comma();
        write!(self.0, "{number}").ok(); // a String takes all
    }

    fn push_text(&mut self, text: &str) {
        self.comma();
        self.0.push('"');
        for c in text.chars() {
            if matches!(c, '"' | '\\') {
                self.0.push('\\');
            }
            self.0.push(c);
        }
        self.0.push('"');
    }

    fn comma(&mut self) {
        if !self.0.is_empty() {
            self.0.push(',');
        }
    }

    fn text(&self) -> String {
        format!("{{{}}}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_whatever_text() {
        let mut array = Array::default();
        for key in ["7", r#"a "b", {c}\"#, ""] {
            array.push_text(key);
        }
        assert_eq!(array.text(), r#"{"7","a \"b\", {c}\\",""}"#);
    }

    #[test]
    fn a_piece_has_one_row_or_is_short() {
        let sealed = [1, PIECE - 1, 1, PIECE + 1, 1].map(|length| SealedRow {
            sealed: vec![0; length],
            fingerprints: Vec::new(),
        });
        let rows: Vec<Row<'_>> = sealed.into_iter().map(|sealed| ("7", sealed)).collect();
        let counts: Vec<usize> = pieces(Dialect::Postgres, &rows).map(<[_]>::len).collect();
        assert_eq!(counts, [2, 1, 1, 1]);
        assert_eq!(pieces(Dialect::Postgres, &[]).count(), 0);
    }
}
