//! The statements that change the generations of an owner's index key.
//!
//! Invariant: none that changes a key runs but behind `lock_owner`, in its transaction. Absent: which follows which
//! (`index`).

use super::sql_rotation::{at_now, at_then};
use crate::Dialect;

/// How many generations keep another from being announced.
pub(super) const UNDER_WAY: &str = "\
    SELECT COUNT(*) AS number FROM ophie_crypt_index_keys \
    WHERE owner = $1 AND state IN ('announced', 'draining')";

/// One invocation more under generation `$2` of the DEK, if it is of the present epoch and has one left.
pub(super) const SPEND: &str = "\
    UPDATE ophie_crypt_budgets SET granted = granted + 1 \
    WHERE owner = $1 AND generation = $2 AND granted < 4294967296 \
    AND EXISTS (SELECT 1 FROM ophie_crypt_deks AS dek \
        JOIN ophie_crypt_installation AS home ON home.epoch = dek.epoch \
        WHERE dek.owner = $1 AND dek.generation = $2)";

pub(super) const ANNOUNCE: &str = "\
    INSERT INTO ophie_crypt_index_keys (owner, generation, state, key_id, sealed) \
    VALUES ($1, $2, 'announced', $3, $4)";

/// It was committed by now: whatever process asks for changes finds it.
pub(super) const fn note_announced(dialect: Dialect) -> &'static str {
    at_now!(
        dialect,
        "UPDATE ophie_crypt_index_keys SET announced_at = ",
        " WHERE owner = $1 AND generation = $2 AND state = 'announced' AND announced_at IS NULL"
    )
}

/// A row of an announced generation: its number if it was announced for `$3` microseconds, or 0.
pub(super) const fn may_be_written(dialect: Dialect) -> &'static str {
    at_then!(
        dialect,
        "SELECT CASE WHEN announced_at <= ",
        " THEN generation ELSE 0 END AS number FROM ophie_crypt_index_keys \
         WHERE owner = $1 AND generation = $2 AND state = 'announced'",
        ""
    )
}

/// A row of a draining generation: its number if it has been so for `$3` microseconds, or 0.
pub(super) const fn may_retire(dialect: Dialect) -> &'static str {
    at_then!(
        dialect,
        "SELECT CASE WHEN stated_at <= ",
        " THEN generation ELSE 0 END AS number FROM ophie_crypt_index_keys \
         WHERE owner = $1 AND generation = $2 AND state = 'draining'",
        ""
    )
}

/// A row of a generation that is written no more: its number if it has been draining for `$3` microseconds or is retired,
/// or 0.
pub(super) const fn is_idle(dialect: Dialect) -> &'static str {
    at_then!(
        dialect,
        "SELECT CASE WHEN state = 'retired' OR stated_at <= ",
        " THEN generation ELSE 0 END AS number FROM ophie_crypt_index_keys \
         WHERE owner = $1 AND generation = $2 AND state IN ('draining', 'retired')",
        ""
    )
}

/// A row of a generation that was retired: its number if that was `$3` microseconds ago, or 0.
pub(super) const fn may_destroy(dialect: Dialect) -> &'static str {
    at_then!(
        dialect,
        "SELECT CASE WHEN stated_at <= ",
        " THEN generation ELSE 0 END AS number FROM ophie_crypt_index_keys \
         WHERE owner = $1 AND generation = $2 AND state = 'retired'",
        ""
    )
}

/// What was written until now. Its time begins to run when this is known to be committed.
pub(super) const DRAIN: &str = "\
    UPDATE ophie_crypt_index_keys SET state = 'draining', stated_at = NULL \
    WHERE owner = $1 AND state = 'writing'";

/// It was committed by now: whoever reads the keys anew finds it.
pub(super) const fn note_draining(dialect: Dialect) -> &'static str {
    at_now!(
        dialect,
        "UPDATE ophie_crypt_index_keys SET stated_at = ",
        " WHERE owner = $1 AND generation = $2 AND state = 'draining' AND stated_at IS NULL"
    )
}

pub(super) const fn move_to(dialect: Dialect) -> &'static str {
    at_now!(
        dialect,
        "UPDATE ophie_crypt_index_keys SET state = $3, stated_at = ",
        " WHERE owner = $1 AND generation = $2"
    )
}

pub(super) const DESTROY: &str =
    "DELETE FROM ophie_crypt_index_keys WHERE owner = $1 AND generation = $2";
