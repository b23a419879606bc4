//! What a backfill writes.
//!
//! Invariant: a row is written only where its ciphertext or a fingerprint is missing, and its plaintext is what was read.
//! Absent: which rows (`rows`).

use ophie_crypt::soak::{PlainRow, SealedRow};

use super::shape::{FINGERPRINTS, Shape};
use crate::{Dialect, Statement};

/// Writes what was sealed where it is missing, and where the plaintext is what was read.
pub(super) fn filling(shape: &Shape, rows: &[(&PlainRow, SealedRow)]) -> Vec<Statement> {
    if shape.dialect == Dialect::Postgres {
        return filling_at_once(shape, rows);
    }
    let one = |(row, new): &(&PlainRow, SealedRow)| {
        let Shape {
            table,
            column,
            fingerprints,
            key,
            ..
        } = shape;
        let mut statement = Statement::new(
            shape.dialect,
            format!("UPDATE {table} SET {column} = coalesce({column}, "),
        );
        statement.push_bind(new.sealed.as_slice());
        statement.push(")");
        for (name, fingerprint) in fingerprints.iter().zip(&new.fingerprints) {
            statement.push(&format!(", {name} = coalesce({name}, "));
            statement.push_bind(fingerprint.as_slice());
            statement.push(")");
        }
        let place = statement.place(row.key.as_str());
        let same = statement.place(row.plain.as_slice());
        statement.push(&format!(
            " WHERE {} = {} AND {} = {same} AND ({})",
            key.name,
            shape.key_of(&place),
            shape.plain(""),
            shape.unsealed("")
        ));
        statement
    };
    rows.iter().map(one).collect()
}

/// The same in one statement, in which PostgreSQL is several times as fast; in pieces that its parameters allow.
fn filling_at_once(shape: &Shape, rows: &[(&PlainRow, SealedRow)]) -> Vec<Statement> {
    let Shape {
        table,
        column,
        fingerprints,
        key,
        ..
    } = shape;
    let mut names = String::from("k, p, c");
    let mut sets = format!("{column} = coalesce(soaked.{column}, new.c)");
    for (name, alias) in fingerprints.iter().zip(FINGERPRINTS) {
        names.push_str(&format!(", {alias}"));
        sets.push_str(&format!(", {name} = coalesce(soaked.{name}, new.{alias})"));
    }
    let piece = |rows: &[(&PlainRow, SealedRow)]| {
        let mut statement = Statement::new(
            shape.dialect,
            format!("UPDATE {table} AS soaked SET {sets} FROM (VALUES "),
        );
        for (n, (row, new)) in rows.iter().enumerate() {
            statement.push(if n == 0 { "(" } else { ", (" });
            let place = statement.place(row.key.as_str());
            statement.push(&shape.key_of(&place));
            let bytes = [row.plain.as_slice(), new.sealed.as_slice()];
            let bytes = bytes
                .into_iter()
                .chain(new.fingerprints.iter().map(Vec::as_slice));
            for bytes in bytes {
                statement.push(", CAST(");
                statement.push_bind(bytes);
                statement.push(" AS bytea)");
            }
            statement.push(")");
        }
        statement.push(&format!(
            ") AS new ({names}) WHERE soaked.{} = new.k AND {} = new.p AND ({})",
            key.name,
            shape.plain("soaked."),
            shape.unsealed("soaked.")
        ));
        statement
    };
    rows.chunks(1_000).map(piece).collect()
}
