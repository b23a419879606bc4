//! The statements of the key stores.
//!
//! Invariant: no more than the limit is ever granted, because the UPDATE that grants also compares.
//! Absent: Rust types of rows (`rows`), the tables (`migrations/`).

/// Everything of one owner at one moment; one row of NULLs for an owner without keys.
pub(super) const LOAD: &str = "\
    SELECT own.version, own.state AS owner_state, \
           part.kind, part.generation, part.state, part.key_id, part.kek, part.wrapped, part.sealed \
    FROM ophie_crypt_owners AS own \
    LEFT JOIN ( \
        SELECT owner, 'dek' AS kind, CAST(generation AS bigint) AS generation, state, key_id, kek, wrapped, sealed \
        FROM ophie_crypt_deks WHERE owner = $1 \
        UNION ALL \
        SELECT owner, 'index key', CAST(generation AS bigint), NULL, key_id, NULL, NULL, sealed \
        FROM ophie_crypt_index_keys WHERE owner = $1 \
    ) AS part ON part.owner = own.owner AND own.state = 'living' \
    WHERE own.owner = $1";

pub(super) const VERSION: &str = "SELECT version FROM ophie_crypt_owners WHERE owner = $1";

pub(super) const INSERT_OWNER: &str =
    "INSERT INTO ophie_crypt_owners (owner) VALUES ($1) ON CONFLICT DO NOTHING";

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

/// Grants `$3` of at most `$4` in all, for `$5` seconds. A grant that meets a change of state on its way
/// counts as before it: its expiry is what retiring waits for.
macro_rules! lease {
    ($later:literal, $until:literal) => {
        concat!(
            "UPDATE ophie_crypt_budgets \
             SET granted = granted + $3, leased_until = ", $later, "(leased_until, ", $until, ") \
             WHERE owner = $1 AND generation = $2 AND granted + $3 <= $4 \
             AND EXISTS (SELECT 1 FROM ", sealing!(), " \
                 WHERE dek.owner = $1 AND dek.generation = $2 AND dek.state = 'sealing') \
             RETURNING granted, (SELECT own.version FROM ophie_crypt_owners AS own WHERE own.owner = $1)"
        )
    };
}

#[cfg(feature = "postgres")]
pub(super) const POSTGRES_LEASE: &str =
    lease!("greatest", "clock_timestamp() + make_interval(secs => $5)");
#[cfg(feature = "sqlite")]
pub(super) const SQLITE_LEASE: &str = lease!(
    "max",
    "strftime('%Y-%m-%dT%H:%M:%fZ', 'now', printf('%+.3f seconds', $5))"
);

/// A row if the DEK may seal, so that the budget was the obstacle; NULL if it has none.
pub(super) const GRANTED: &str = concat!(
    "SELECT budget.granted FROM ",
    sealing!(),
    " LEFT JOIN ophie_crypt_budgets AS budget \
         ON budget.owner = dek.owner AND budget.generation = dek.generation \
      WHERE dek.owner = $1 AND dek.generation = $2 AND dek.state = 'sealing'"
);

/// Who changed within `$1` seconds, and whether the server takes no writes: at least one row.
/// `statement_timestamp`, because an index serves no volatile function.
#[cfg(feature = "postgres")]
pub(super) const POSTGRES_CHANGES: &str = "\
    SELECT own.owner, own.version, server.read_only \
    FROM (SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on' AS read_only) AS server \
    LEFT JOIN ophie_crypt_owners AS own \
        ON own.version > 1 AND own.changed_at >= statement_timestamp() - make_interval(secs => $1)";
/// Who changed within `$1` seconds. A file that cannot be written to is not behind.
#[cfg(feature = "sqlite")]
pub(super) const SQLITE_CHANGES: &str = "\
    SELECT owner, version, FALSE AS read_only FROM ophie_crypt_owners \
    WHERE version > 1 \
    AND changed_at >= strftime('%Y-%m-%dT%H:%M:%fZ', 'now', printf('%+.3f seconds', -$1))";
