//! The statements of shreds.
//!
//! Invariant: a row of `ophie_crypt_shreds` is added and noted upon, never taken away; the tables' triggers do the rest.
//! Absent: Rust types of rows (`rows`), the tables (`migrations/`).

use crate::Dialect;

/// A row if the owner was ever provisioned.
pub(super) const KNOWN: &str = "SELECT owner AS id FROM ophie_crypt_owners WHERE owner = $1";

/// The same past the snapshot of the application's transaction. Only for whom the snapshot lacks: of two who both held
/// the row, each would wait for the other. Elsewhere a statement sees what was committed, or fails.
pub(super) const fn known_now(dialect: Dialect) -> Option<&'static str> {
    match dialect {
        Dialect::MySql => {
            Some("SELECT owner AS id FROM ophie_crypt_owners WHERE owner = $1 LOCK IN SHARE MODE")
        }
        Dialect::Postgres | Dialect::Sqlite => None,
    }
}

/// Destroys the keys, by a trigger. Nothing, or a [`Duplicate`](crate::FailureKind::Duplicate), if they are.
pub(super) const fn shred(dialect: Dialect) -> &'static str {
    dialect.of(
        "INSERT INTO ophie_crypt_shreds (owner) VALUES ($1)",
        "INSERT INTO ophie_crypt_shreds (owner) VALUES ($1) ON CONFLICT DO NOTHING",
        "INSERT INTO ophie_crypt_shreds (owner) VALUES ($1) ON CONFLICT DO NOTHING",
    )
}

/// Also of a shred that the transaction's snapshot lacks.
pub(super) const fn id(dialect: Dialect) -> &'static str {
    dialect.of(
        "SELECT id FROM ophie_crypt_shreds WHERE owner = $1 LOCK IN SHARE MODE",
        "SELECT id FROM ophie_crypt_shreds WHERE owner = $1",
        "SELECT id FROM ophie_crypt_shreds WHERE owner = $1",
    )
}

/// Followed by a condition.
pub(super) const SHREDS: &str = "\
    SELECT owner, id, requested_at, entry, appended_at, tombstoned_at, emptied_at, vacuumed_at, done_at, swept_at, \
           attempts, failure \
    FROM ophie_crypt_shreds WHERE ";

macro_rules! mysql_now {
    () => {
        "timestampdiff(MICROSECOND, '1970-01-01 00:00:00', utc_timestamp(6))"
    };
}

macro_rules! postgres_now {
    () => {
        "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)"
    };
}

macro_rules! sqlite_now {
    () => {
        "(CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER) * 1000)"
    };
}

macro_rules! remember {
    ($now:ident, $rest:literal) => {
        concat!(
            "INSERT INTO ophie_crypt_shreds (owner, id, requested_at, entry, appended_at) \
             VALUES ($1, $2, $3, $4, ",
            $now!(),
            ")",
            $rest
        )
    };
}

pub(super) const fn remember(dialect: Dialect) -> &'static str {
    dialect.of(
        remember!(mysql_now, ""),
        remember!(postgres_now, " ON CONFLICT DO NOTHING"),
        remember!(sqlite_now, " ON CONFLICT DO NOTHING"),
    )
}

/// Microseconds since 1970, as in the tables' defaults.
pub(super) const fn now(dialect: Dialect) -> &'static str {
    dialect.of(mysql_now!(), postgres_now!(), sqlite_now!())
}

/// One that is not done goes on as it does otherwise.
pub(super) fn swept(now: &str) -> String {
    let done = |then: &str, column: &str| {
        format!("{column} = CASE WHEN done_at IS NULL THEN {column} ELSE {then} END")
    };
    format!(
        "UPDATE ophie_crypt_shreds SET swept_at = {now}, {}, {}, {} WHERE owner = $1",
        done(&format!("{now} + $2"), "due_at"),
        done("0", "attempts"),
        done("NULL", "failure"),
    )
}

pub(super) const INSTALLATION: &str =
    "SELECT id, epoch, ledger_position, ledger_hash FROM ophie_crypt_installation";

pub(super) const KNOW_HEAD: &str = "\
    UPDATE ophie_crypt_installation SET ledger_position = $1, ledger_hash = $2 WHERE ledger_position < $1";

/// Neither is lowered. The position last: on MySQL what comes behind it sees the new one.
pub(super) const RAISE_EPOCH: &str = "\
    UPDATE ophie_crypt_installation \
    SET epoch = CASE WHEN epoch < $1 THEN $1 ELSE epoch END, \
        ledger_hash = CASE WHEN ledger_position < $2 THEN $3 ELSE ledger_hash END, \
        ledger_position = CASE WHEN ledger_position < $2 THEN $2 ELSE ledger_position END";

pub(super) const ADOPT: &str = "\
    UPDATE ophie_crypt_installation \
    SET id = $1, epoch = CASE WHEN epoch < $2 THEN $2 ELSE epoch END, ledger_position = $3, ledger_hash = $4";

pub(super) const COUNT: &str = "SELECT COUNT(*) AS number FROM ophie_crypt_shreds";

/// In which keys stand.
pub(super) const OF_KEYS: [&str; 2] = ["ophie_crypt_deks", "ophie_crypt_index_keys"];
