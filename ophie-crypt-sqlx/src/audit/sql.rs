//! The statements of the audit that differ between databases: those that read rows.
//!
//! Invariant: texts are read as bytes, so that no changed row stops a reader; a time that is not in the
//! form in which it was written reads as none that ever was. Absent: Rust types of rows (`rows`).

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

/// Microseconds since 1970. PostgreSQL has times that a bigint cannot count, and infinite ones.
#[cfg(feature = "postgres")]
macro_rules! epoch {
    ($time:literal) => {
        concat!(
            "CASE WHEN extract(epoch FROM ",
            $time,
            ") BETWEEN -9223372036854 AND 9223372036854 \
             THEN CAST(extract(epoch FROM ",
            $time,
            ") * 1000000 AS bigint) \
             ELSE -9223372036854775807 END"
        )
    };
}

#[cfg(feature = "postgres")]
pub(super) const POSTGRES_WRITERS: &str = concat!(
    "SELECT writer, ",
    epoch!("started_at"),
    " AS started_at, \
           convert_to(app, 'UTF8') AS app, convert_to(kek, 'UTF8') AS kek, wrapped, mac \
    FROM ophie_crypt_audit_writers \
    WHERE octet_length(writer) = 16 AND ($1 IS NULL OR writer > $1) ORDER BY writer LIMIT $2"
);

#[cfg(feature = "postgres")]
pub(super) const POSTGRES_ROWS: &str = concat!(
    "SELECT seq, ",
    epoch!("at"),
    " AS at, \
           convert_to(actor, 'UTF8') AS actor, owner, generation, \
           convert_to(purpose, 'UTF8') AS purpose, convert_to(reason, 'UTF8') AS reason, \
           convert_to(step, 'UTF8') AS step, call, attempt, \
           convert_to(operation, 'UTF8') AS operation, convert_to(result, 'UTF8') AS result, \
           convert_to(request_id, 'UTF8') AS request_id, took, mac \
    FROM ophie_crypt_audit_records WHERE writer = $1 AND seq > $2 ORDER BY seq LIMIT $3"
);

#[cfg(feature = "postgres")]
pub(super) const POSTGRES_UNKNOWN: &str = unknown!("octet_length(writer) = 16");

/// Microseconds since 1970.
#[cfg(feature = "sqlite")]
macro_rules! micros {
    ($time:literal) => {
        concat!(
            "CASE WHEN ",
            $time,
            " = strftime('%Y-%m-%dT%H:%M:%S', substr(",
            $time,
            ", 1, 19)) \
                 || printf('.%06dZ', CAST(substr(",
            $time,
            ", 21, 6) AS integer)) \
             THEN CAST(strftime('%s', substr(",
            $time,
            ", 1, 19)) AS integer) * 1000000 \
                 + CAST(substr(",
            $time,
            ", 21, 6) AS integer) \
             ELSE -9223372036854775807 END"
        )
    };
}

#[cfg(feature = "sqlite")]
pub(super) const SQLITE_WRITERS: &str = concat!(
    "SELECT writer, ",
    micros!("started_at"),
    " AS started_at, CAST(app AS blob) AS app, CAST(kek AS blob) AS kek, wrapped, mac \
      FROM ophie_crypt_audit_writers WHERE typeof(writer) = 'blob' AND length(writer) = 16 \
          AND ($1 IS NULL OR writer > $1) ORDER BY writer LIMIT $2"
);

#[cfg(feature = "sqlite")]
pub(super) const SQLITE_ROWS: &str = concat!(
    "SELECT seq, ",
    micros!("at"),
    " AS at, CAST(actor AS blob) AS actor, owner, generation, \
             CAST(purpose AS blob) AS purpose, CAST(reason AS blob) AS reason, \
             CAST(step AS blob) AS step, call, attempt, \
             CAST(operation AS blob) AS operation, CAST(result AS blob) AS result, \
             CAST(request_id AS blob) AS request_id, took, mac \
      FROM ophie_crypt_audit_records WHERE writer = $1 AND seq > $2 ORDER BY seq LIMIT $3"
);

#[cfg(feature = "sqlite")]
pub(super) const SQLITE_UNKNOWN: &str = unknown!("typeof(writer) = 'blob' AND length(writer) = 16");

pub(super) const INSERT_ROWS: &str = "\
    INSERT INTO ophie_crypt_audit_records (writer, seq, at, actor, owner, generation, purpose, reason, \
        step, call, attempt, operation, result, request_id, took, mac) ";

pub(super) const INSERT_WRITER: &str = "\
    INSERT INTO ophie_crypt_audit_writers (writer, started_at, app, kek, wrapped, mac) ";

/// Followed by pairs.
pub(super) const MACS: &str =
    "SELECT writer, seq, mac FROM ophie_crypt_audit_records WHERE (writer, seq) IN (";
