//! The statements of the audit.
//!
//! Invariant: texts are read as bytes, so that no changed row stops a reader; a time that is not in the
//! form in which it was written reads as none that ever was. Absent: Rust types of rows (`rows`).

use crate::Dialect;

/// Ids in records that are no writer's, and of writers that are none: whoever pages by ids of 16 bytes
/// would not get past a longer one.
macro_rules! unknown {
    ($is_id:literal) => {
        concat!(
            "SELECT writer FROM ophie_crypt_audit_records AS record WHERE NOT EXISTS \
                 (SELECT 1 FROM ophie_crypt_audit_writers AS own WHERE own.writer = record.writer) \
             UNION SELECT writer FROM ophie_crypt_audit_writers WHERE NOT (",
            $is_id,
            ") ORDER BY writer LIMIT $1"
        )
    };
}

pub(super) const fn unknown(dialect: Dialect) -> &'static str {
    dialect.of(
        unknown!("octet_length(writer) = 16"),
        unknown!("octet_length(writer) = 16"),
        unknown!("typeof(writer) = 'blob' AND length(writer) = 16"),
    )
}

macro_rules! writers {
    ($micros:ident, $bytes:ident, $is_id:literal) => {
        concat!(
            "SELECT writer, ",
            $micros!("started_at"),
            " AS started_at, ",
            $bytes!("app"),
            " AS app, ",
            $bytes!("kek"),
            " AS kek, wrapped, mac FROM ophie_crypt_audit_writers WHERE ",
            $is_id,
            " AND ($1 IS NULL OR writer > $1) ORDER BY writer LIMIT $2"
        )
    };
}

pub(super) const fn writers(dialect: Dialect) -> &'static str {
    dialect.of(
        writers!(mysql_micros, mysql_bytes, "octet_length(writer) = 16"),
        writers!(postgres_micros, postgres_bytes, "octet_length(writer) = 16"),
        writers!(
            sqlite_micros,
            sqlite_bytes,
            "typeof(writer) = 'blob' AND length(writer) = 16"
        ),
    )
}

macro_rules! rows {
    ($micros:ident, $bytes:ident) => {
        concat!(
            "SELECT seq, ",
            $micros!("at"),
            " AS at, ",
            $bytes!("actor"),
            " AS actor, owner, generation, ",
            $bytes!("purpose"),
            " AS purpose, ",
            $bytes!("reason"),
            " AS reason, ",
            $bytes!("step"),
            " AS step, call_id, attempt, ",
            $bytes!("operation"),
            " AS operation, ",
            $bytes!("result"),
            " AS result, ",
            $bytes!("request_id"),
            " AS request_id, took, mac \
              FROM ophie_crypt_audit_records WHERE writer = $1 AND seq > $2 ORDER BY seq LIMIT $3"
        )
    };
}

pub(super) const fn rows(dialect: Dialect) -> &'static str {
    dialect.of(
        rows!(mysql_micros, mysql_bytes),
        rows!(postgres_micros, postgres_bytes),
        rows!(sqlite_micros, sqlite_bytes),
    )
}

/// Microseconds since 1970.
macro_rules! mysql_micros {
    ($time:literal) => {
        concat!(
            "coalesce(timestampdiff(MICROSECOND, TIMESTAMP'1970-01-01 00:00:00', ",
            $time,
            "), -9223372036854775807)"
        )
    };
}

macro_rules! mysql_bytes {
    ($text:literal) => {
        concat!("CAST(", $text, " AS binary)")
    };
}

/// PostgreSQL has times that a bigint cannot count, and infinite ones.
macro_rules! postgres_micros {
    ($time:literal) => {
        concat!(
            "CASE WHEN extract(epoch FROM ",
            $time,
            ") BETWEEN -9223372036854 AND 9223372036854 THEN CAST(extract(epoch FROM ",
            $time,
            ") * 1000000 AS bigint) ELSE -9223372036854775807 END"
        )
    };
}

macro_rules! postgres_bytes {
    ($text:literal) => {
        concat!("convert_to(", $text, ", 'UTF8')")
    };
}

macro_rules! sqlite_micros {
    ($time:literal) => {
        concat!(
            "CASE WHEN ",
            $time,
            " = strftime('%Y-%m-%dT%H:%M:%S', substr(",
            $time,
            ", 1, 19)) || printf('.%06dZ', CAST(substr(",
            $time,
            ", 21, 6) AS integer)) THEN CAST(strftime('%s', substr(",
            $time,
            ", 1, 19)) AS integer) * 1000000 + CAST(substr(",
            $time,
            ", 21, 6) AS integer) ELSE -9223372036854775807 END"
        )
    };
}

macro_rules! sqlite_bytes {
    ($text:literal) => {
        concat!("CAST(", $text, " AS blob)")
    };
}

use {mysql_bytes, mysql_micros, postgres_bytes, postgres_micros, sqlite_bytes, sqlite_micros};

/// Followed by rows of values.
pub(super) const INSERT_ROWS: &str = "\
    INSERT INTO ophie_crypt_audit_records (writer, seq, at, actor, owner, generation, purpose, reason, \
        step, call_id, attempt, operation, result, request_id, took, mac) VALUES ";

/// Followed by a row of values.
pub(super) const INSERT_WRITER: &str = "\
    INSERT INTO ophie_crypt_audit_writers (writer, started_at, app, kek, wrapped, mac) VALUES ";

/// Followed by pairs.
pub(super) const MACS: &str =
    "SELECT writer, seq, mac FROM ophie_crypt_audit_records WHERE (writer, seq) IN (";
