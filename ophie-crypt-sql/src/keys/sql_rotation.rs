//! The statements that change an owner's generations.
//!
//! Invariant: none that changes a key runs but behind [`lock_owner`], in its transaction. Absent: which follows which
//! (`rotation`).

use crate::Dialect;

/// The version of a living owner. No other change of its keys goes on beside it.
pub(super) const fn lock_owner(dialect: Dialect) -> &'static str {
    const LOCKED: &str = "SELECT version AS number FROM ophie_crypt_owners \
                          WHERE owner = $1 AND state = 'living' FOR UPDATE";
    dialect.of(
        LOCKED,
        LOCKED,
        "SELECT version AS number FROM ophie_crypt_owners WHERE owner = $1 AND state = 'living'",
    )
}

pub(super) const SEAL_DEK: &str = "\
    UPDATE ophie_crypt_deks SET kek = NULL, wrapped = NULL, sealed = $3, state = $4 \
    WHERE owner = $1 AND generation = $2";

pub(super) const SEAL_INDEX_KEY: &str = "\
    UPDATE ophie_crypt_index_keys SET key_id = $3, sealed = $4 WHERE owner = $1 AND generation = $2";

pub(super) const INSERT_BUDGET: &str =
    "INSERT INTO ophie_crypt_budgets (owner, generation, granted) VALUES ($1, $2, $3)";

pub(super) const REWRAP: &str = "\
    UPDATE ophie_crypt_deks SET kek = $5, wrapped = $6 \
    WHERE owner = $1 AND generation = $2 AND kek = $3 AND wrapped = $4";

/// Text with the present time of each database in its gaps.
macro_rules! at_now {
    ($dialect:ident, $before:literal, $after:expr) => {
        $dialect.of(
            concat!($before, "utc_timestamp(6)", $after),
            concat!($before, "clock_timestamp()", $after),
            concat!($before, "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')", $after),
        )
    };
}

/// Text with the time `$3` microseconds ago in its gap; behind it, in databases that lock rows, that lock.
macro_rules! at_then {
    ($dialect:ident, $before:literal, $after:literal, $lock:literal) => {
        $dialect.of(
            concat!(
                $before,
                "utc_timestamp(6) - INTERVAL $3 MICROSECOND",
                $after,
                $lock
            ),
            concat!(
                $before,
                "clock_timestamp() - interval '1 microsecond' * $3",
                $after,
                $lock
            ),
            concat!(
                $before,
                "strftime('%Y-%m-%dT%H:%M:%fZ', 'now', printf('%+.3f seconds', -$3 / 1e6))",
                $after
            ),
        )
    };
}

/// It was committed by now: whatever process asks for changes finds it.
pub(super) const fn note_announced(dialect: Dialect) -> &'static str {
    at_now!(
        dialect,
        "UPDATE ophie_crypt_budgets SET announced_at = ",
        " WHERE owner = $1 AND generation = $2 AND announced_at IS NULL"
    )
}

/// A row of an announced generation of the present epoch: its number if it was announced for `$3` microseconds, or 0.
pub(super) const fn may_seal(dialect: Dialect) -> &'static str {
    at_then!(
        dialect,
        "SELECT CASE WHEN budget.announced_at <= ",
        " THEN dek.generation ELSE 0 END AS number \
         FROM ophie_crypt_deks AS dek \
         JOIN ophie_crypt_budgets AS budget \
             ON budget.owner = dek.owner AND budget.generation = dek.generation \
         JOIN ophie_crypt_installation AS home ON home.epoch = dek.epoch \
         WHERE dek.owner = $1 AND dek.generation = $2 AND dek.state = 'announced'",
        ""
    )
}

/// A row of a draining generation: its number if its last lease has been over for `$3` microseconds and no index key
/// is sealed under it, or 0.
pub(super) const fn may_retire(dialect: Dialect) -> &'static str {
    at_then!(
        dialect,
        "SELECT CASE WHEN budget.leased_until <= ",
        " AND NOT EXISTS (SELECT 1 FROM ophie_crypt_index_keys AS under WHERE under.key_id = dek.key_id) \
             THEN dek.generation ELSE 0 END AS number \
         FROM ophie_crypt_deks AS dek \
         JOIN ophie_crypt_budgets AS budget \
             ON budget.owner = dek.owner AND budget.generation = dek.generation \
         WHERE dek.owner = $1 AND dek.generation = $2 AND dek.state = 'draining'",
        " FOR UPDATE"
    )
}

/// A row of a generation that seals no more: its number if its last lease has been over for `$3` microseconds, or 0.
pub(super) const fn is_idle(dialect: Dialect) -> &'static str {
    at_then!(
        dialect,
        "SELECT CASE WHEN budget.leased_until <= ",
        " THEN dek.generation ELSE 0 END AS number \
         FROM ophie_crypt_deks AS dek \
         JOIN ophie_crypt_budgets AS budget \
             ON budget.owner = dek.owner AND budget.generation = dek.generation \
         WHERE dek.owner = $1 AND dek.generation = $2 AND dek.state IN ('draining', 'retired')",
        " FOR UPDATE"
    )
}

/// A row of a generation that was retired and is not the newest: its number if that was `$3` microseconds ago, or 0.
pub(super) const fn may_destroy(dialect: Dialect) -> &'static str {
    at_then!(
        dialect,
        "SELECT CASE WHEN dek.stated_at <= ",
        " THEN dek.generation ELSE 0 END AS number \
         FROM ophie_crypt_deks AS dek \
         WHERE dek.owner = $1 AND dek.generation = $2 AND dek.state = 'retired' AND dek.wrapped IS NULL",
        ""
    )
}

/// What sealed until now.
pub(super) const fn drain(dialect: Dialect) -> &'static str {
    at_now!(
        dialect,
        "UPDATE ophie_crypt_deks SET state = 'draining', stated_at = ",
        " WHERE owner = $1 AND state = 'sealing'"
    )
}

pub(super) const fn move_to(dialect: Dialect) -> &'static str {
    at_now!(
        dialect,
        "UPDATE ophie_crypt_deks SET state = $3, stated_at = ",
        " WHERE owner = $1 AND generation = $2"
    )
}

pub(super) const fn destroy(dialect: Dialect) -> &'static str {
    at_now!(
        dialect,
        "UPDATE ophie_crypt_deks SET state = 'destroyed', kek = NULL, wrapped = NULL, sealed = NULL, stated_at = ",
        " WHERE owner = $1 AND generation = $2"
    )
}

/// Of owners: what seals has done so for `$2` microseconds or to `$3` invocations, or is of an earlier epoch, and no
/// other is announced in this one.
pub(super) const fn due(dialect: Dialect) -> &'static str {
    macro_rules! due {
        ($then:literal) => {
            concat!(
                "EXISTS (SELECT 1 FROM ophie_crypt_deks AS dek \
                     CROSS JOIN ophie_crypt_installation AS home \
                     LEFT JOIN ophie_crypt_budgets AS budget \
                         ON budget.owner = dek.owner AND budget.generation = dek.generation \
                     WHERE dek.owner = own.owner AND dek.state = 'sealing' \
                     AND (dek.stated_at <= ",
                $then,
                " OR budget.granted >= $3 OR dek.epoch <> home.epoch)) \
                 AND NOT EXISTS (SELECT 1 FROM ophie_crypt_deks AS dek \
                     JOIN ophie_crypt_installation AS home ON home.epoch = dek.epoch \
                     WHERE dek.owner = own.owner AND dek.state = 'announced')"
            )
        };
    }
    dialect.of(
        due!("utc_timestamp(6) - INTERVAL $2 MICROSECOND"),
        due!("clock_timestamp() - interval '1 microsecond' * $2"),
        due!("strftime('%Y-%m-%dT%H:%M:%fZ', 'now', printf('%+.3f seconds', -$2 / 1e6))"),
    )
}

pub(super) const ROTATING: &str = "\
    (EXISTS (SELECT 1 FROM ophie_crypt_deks AS dek \
        WHERE dek.owner = own.owner AND dek.state IN ('announced', 'draining')) \
     OR EXISTS (SELECT 1 FROM ophie_crypt_index_keys AS ind \
        WHERE ind.owner = own.owner AND ind.state IN ('announced', 'draining')))";

pub(super) const fn retired(dialect: Dialect) -> &'static str {
    macro_rules! retired {
        ($then:literal) => {
            concat!(
                "(EXISTS (SELECT 1 FROM ophie_crypt_deks AS dek \
                     WHERE dek.owner = own.owner AND dek.state = 'retired' AND dek.stated_at <= ",
                $then,
                ") OR EXISTS (SELECT 1 FROM ophie_crypt_index_keys AS ind \
                     WHERE ind.owner = own.owner AND ind.state = 'retired' AND ind.stated_at <= ",
                $then,
                "))"
            )
        };
    }
    dialect.of(
        retired!("utc_timestamp(6) - INTERVAL $2 MICROSECOND"),
        retired!("clock_timestamp() - interval '1 microsecond' * $2"),
        retired!("strftime('%Y-%m-%dT%H:%M:%fZ', 'now', printf('%+.3f seconds', -$2 / 1e6))"),
    )
}

pub(super) const WRAPPED_ELSEWHERE: &str = "\
    EXISTS (SELECT 1 FROM ophie_crypt_deks AS dek \
        WHERE dek.owner = own.owner AND dek.kek IS NOT NULL AND dek.kek <> $2)";

pub(super) use at_now;
pub(super) use at_then;
