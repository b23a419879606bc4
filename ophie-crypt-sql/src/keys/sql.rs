//! The statements of the key store.
//!
//! Invariant: no more than the limit is ever granted, because the UPDATE that grants also compares.
//! Absent: Rust types of rows (`rows`), the tables (`migrations/`).

use crate::Dialect;

/// Everything of one owner at one moment; one row of NULLs for an owner without keys.
pub(super) const LOAD: &str = "\
    SELECT own.version, own.state AS owner_state, \
           part.kind, part.generation, part.state, part.key_id, part.kek, part.wrapped, part.sealed \
    FROM ophie_crypt_owners AS own \
    LEFT JOIN ( \
        SELECT owner, 'dek' AS kind, generation, state, key_id, kek, wrapped, sealed \
        FROM ophie_crypt_deks WHERE owner = $1 \
        UNION ALL \
        SELECT owner, 'index key', generation, state, key_id, NULL, NULL, sealed \
        FROM ophie_crypt_index_keys WHERE owner = $1 \
    ) AS part ON part.owner = own.owner AND own.state = 'living' \
    WHERE own.owner = $1";

pub(super) const VERSION: &str =
    "SELECT version AS number FROM ophie_crypt_owners WHERE owner = $1";

/// No row or a [`Duplicate`](crate::FailureKind::Duplicate) if there is one. MySQL's IGNORE would hide other
/// errors too.
pub(super) const fn insert_owner(dialect: Dialect) -> &'static str {
    dialect.of(
        "INSERT INTO ophie_crypt_owners (owner) VALUES ($1)",
        "INSERT INTO ophie_crypt_owners (owner) VALUES ($1) ON CONFLICT DO NOTHING",
        "INSERT INTO ophie_crypt_owners (owner) VALUES ($1) ON CONFLICT DO NOTHING",
    )
}

pub(super) const INSERT_DEK: &str = "\
    INSERT INTO ophie_crypt_deks (owner, generation, epoch, state, key_id, kek, wrapped, sealed) \
    VALUES ($1, $2, (SELECT epoch FROM ophie_crypt_installation), $3, $4, $5, $6, $7)";

/// The index key is the first value under the DEK.
pub(super) const INSERT_BUDGET: &str =
    "INSERT INTO ophie_crypt_budgets (owner, generation, granted) VALUES ($1, $2, 1)";

pub(super) const INSERT_INDEX_KEY: &str = "\
    INSERT INTO ophie_crypt_index_keys (owner, generation, key_id, sealed) \
    VALUES ($1, $2, $3, $4)";

/// Of DEK `$2` of owner `$1`, if it may seal now.
macro_rules! sealing {
    () => {
        "ophie_crypt_deks AS dek \
         JOIN ophie_crypt_owners AS own ON own.owner = dek.owner AND own.state = 'living' \
         JOIN ophie_crypt_installation AS home ON home.epoch = dek.epoch"
    };
}

macro_rules! lease {
    ($later:literal, $until:literal) => {
        concat!(
            "UPDATE ophie_crypt_budgets \
             SET granted = granted + $3, leased_until = ",
            $later,
            "(leased_until, ",
            $until,
            ") \
             WHERE owner = $1 AND generation = $2 AND granted + $3 <= $4 \
             AND EXISTS (SELECT 1 FROM ",
            sealing!(),
            " WHERE dek.owner = $1 AND dek.generation = $2 AND dek.state = 'sealing')"
        )
    };
}

/// Grants `$3` of at most `$4` in all, for `$5` microseconds. A grant that meets a change of state on its way
/// counts as before it: its expiry is what retiring waits for.
pub(super) const fn lease(dialect: Dialect) -> &'static str {
    dialect.of(
        lease!("greatest", "utc_timestamp(6) + INTERVAL $5 MICROSECOND"),
        lease!(
            "greatest",
            "clock_timestamp() + interval '1 microsecond' * $5"
        ),
        lease!(
            "max",
            "strftime('%Y-%m-%dT%H:%M:%fZ', 'now', printf('%+.3f seconds', $5 / 1e6))"
        ),
    )
}

/// What the lease before it, in the same transaction, found and left.
pub(super) const GRANT: &str = "\
    SELECT budget.granted, own.version \
    FROM ophie_crypt_budgets AS budget JOIN ophie_crypt_owners AS own ON own.owner = budget.owner \
    WHERE budget.owner = $1 AND budget.generation = $2";

/// A row if the DEK seals, so that the budget was the obstacle, NULL if it has none; or the epoch.
pub(super) const GRANTED: &str = "\
    SELECT budget.granted, dek.epoch, home.epoch AS epoch_now FROM ophie_crypt_deks AS dek \
    JOIN ophie_crypt_owners AS own ON own.owner = dek.owner AND own.state = 'living' \
    CROSS JOIN ophie_crypt_installation AS home \
    LEFT JOIN ophie_crypt_budgets AS budget \
        ON budget.owner = dek.owner AND budget.generation = dek.generation \
    WHERE dek.owner = $1 AND dek.generation = $2 AND dek.state = 'sealing'";

/// Who changed within `$1` microseconds, and whether the server takes no writes, which makes at least one row.
///
/// `statement_timestamp`, because an index serves no volatile function. A file that cannot be written to is
/// not behind. MariaDB's `read_only` is a number or, in newer releases, a text.
pub(super) const fn changes(dialect: Dialect) -> &'static str {
    dialect.of(
        "SELECT own.owner, own.version, server.read_only \
         FROM (SELECT CAST(concat(@@global.read_only) NOT IN ('0', 'OFF') AS signed) AS read_only) AS server \
         LEFT JOIN ophie_crypt_owners AS own \
             ON own.version > 1 AND own.changed_at >= utc_timestamp(6) - INTERVAL $1 MICROSECOND",
        "SELECT own.owner, own.version, server.read_only \
         FROM (SELECT CAST(CAST(pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on' AS int) \
             AS bigint) AS read_only) AS server \
         LEFT JOIN ophie_crypt_owners AS own \
             ON own.version > 1 AND own.changed_at >= statement_timestamp() - interval '1 microsecond' * $1",
        "SELECT owner, version, 0 AS read_only FROM ophie_crypt_owners \
         WHERE version > 1 \
         AND changed_at >= strftime('%Y-%m-%dT%H:%M:%fZ', 'now', printf('%+.3f seconds', -$1 / 1e6))",
    )
}
