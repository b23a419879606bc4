//! The statements of shares, and their tables.
//!
//! Invariant: a share is added and deleted, never changed; none is added for an owner who is noted as destroyed. No
//! statement reaches another key store's. Absent: what shares are.

use crate::Dialect;

/// Whether the tables are there; on PostgreSQL and MySQL, which let others make them at the same time, behind a lock.
pub(super) const fn is_there(dialect: Dialect) -> &'static str {
    dialect.of(
        "SELECT count(*) AS number FROM information_schema.tables \
         WHERE table_schema = database() AND table_name = 'ophie_crypt_shares'",
        "SELECT CAST(CAST(to_regclass('ophie_crypt_shares') IS NOT NULL AS int) AS bigint) AS number \
         FROM pg_advisory_xact_lock(8031924761528419875)",
        "SELECT count(*) AS number FROM sqlite_schema WHERE name = 'ophie_crypt_shares'",
    )
}

/// The one that [`is_there`] looks for comes last, as MySQL commits after each.
pub(super) const fn create(dialect: Dialect) -> &'static str {
    dialect.of(
        "CREATE TABLE IF NOT EXISTS ophie_crypt_shares_destroyed ( \
             key_store    VARBINARY(255)  NOT NULL CHECK (octet_length(key_store) > 0), \
             owner        VARBINARY(1025) NOT NULL, \
             destroyed_at BIGINT NOT NULL \
                 DEFAULT (timestampdiff(MICROSECOND, '1970-01-01 00:00:00', utc_timestamp(6))), \
             PRIMARY KEY (key_store, owner) \
         ) ENGINE = InnoDB; \
         CREATE TABLE IF NOT EXISTS ophie_crypt_shares ( \
             key_store  VARBINARY(255)  NOT NULL CHECK (octet_length(key_store) > 0), \
             owner      VARBINARY(1025) NOT NULL, \
             generation BIGINT          NOT NULL CHECK (generation BETWEEN 1 AND 4294967295), \
             id         VARBINARY(16)   NOT NULL CHECK (octet_length(id) = 16), \
             share      VARBINARY(32)   NOT NULL CHECK (octet_length(share) = 32), \
             created_at DATETIME(6)     NOT NULL DEFAULT (utc_timestamp(6)), \
             PRIMARY KEY (key_store, owner, generation, id) \
         ) ENGINE = InnoDB;",
        "CREATE TABLE ophie_crypt_shares_destroyed ( \
             key_store    bytea  NOT NULL CHECK (octet_length(key_store) BETWEEN 1 AND 255), \
             owner        bytea  NOT NULL, \
             destroyed_at bigint NOT NULL DEFAULT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint), \
             PRIMARY KEY (key_store, owner) \
         ); \
         CREATE TABLE ophie_crypt_shares ( \
             key_store  bytea       NOT NULL CHECK (octet_length(key_store) BETWEEN 1 AND 255), \
             owner      bytea       NOT NULL, \
             generation bigint      NOT NULL CHECK (generation BETWEEN 1 AND 4294967295), \
             id         bytea       NOT NULL CHECK (octet_length(id) = 16), \
             share      bytea       NOT NULL CHECK (octet_length(share) = 32), \
             created_at timestamptz NOT NULL DEFAULT now(), \
             PRIMARY KEY (key_store, owner, generation, id) \
         );",
        "CREATE TABLE ophie_crypt_shares_destroyed ( \
             key_store    BLOB    NOT NULL CHECK (length(key_store) BETWEEN 1 AND 255), \
             owner        BLOB    NOT NULL, \
             destroyed_at INTEGER NOT NULL \
                 DEFAULT (CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER) * 1000), \
             PRIMARY KEY (key_store, owner) \
         ) STRICT; \
         CREATE TABLE ophie_crypt_shares ( \
             key_store  BLOB    NOT NULL CHECK (length(key_store) BETWEEN 1 AND 255), \
             owner      BLOB    NOT NULL, \
             generation INTEGER NOT NULL CHECK (generation BETWEEN 1 AND 4294967295), \
             id         BLOB    NOT NULL CHECK (length(id) = 16), \
             share      BLOB    NOT NULL CHECK (length(share) = 32), \
             created_at TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')), \
             PRIMARY KEY (key_store, owner, generation, id) \
         ) STRICT;",
    )
}

/// No row for an owner who is destroyed. One that is being destroyed just now may get one: nothing that goes with it can
/// be stored any more.
pub(super) const INSERT: &str = "\
    INSERT INTO ophie_crypt_shares (key_store, owner, generation, id, share) \
    SELECT $1, $2, $3, $4, $5 FROM (SELECT 1 AS one) AS one \
    WHERE NOT EXISTS (SELECT 1 FROM ophie_crypt_shares_destroyed WHERE key_store = $1 AND owner = $2)";

pub(super) const GET: &str = "\
    SELECT share FROM ophie_crypt_shares WHERE key_store = $1 AND owner = $2 AND generation = $3 AND id = $4";

pub(super) const DELETE_BETWEEN: &str = "\
    DELETE FROM ophie_crypt_shares \
    WHERE key_store = $1 AND owner = $2 AND generation > $3 AND generation < $4";

pub(super) const DELETE: &str =
    "DELETE FROM ophie_crypt_shares WHERE key_store = $1 AND owner = $2";

/// Shares that came back, from a backup say, are destroyed now and not when the first were. One statement, which locks the
/// row for itself at once: several that all first share it, and then want it alone, are a deadlock on MySQL.
pub(super) const fn note(dialect: Dialect) -> &'static str {
    dialect.of(
        "INSERT INTO ophie_crypt_shares_destroyed (key_store, owner) VALUES ($1, $2) \
         ON DUPLICATE KEY UPDATE destroyed_at = \
         if(EXISTS (SELECT 1 FROM ophie_crypt_shares WHERE key_store = $1 AND owner = $2), \
            timestampdiff(MICROSECOND, '1970-01-01 00:00:00', utc_timestamp(6)), destroyed_at)",
        "INSERT INTO ophie_crypt_shares_destroyed (key_store, owner) VALUES ($1, $2) \
         ON CONFLICT (key_store, owner) DO UPDATE \
         SET destroyed_at = CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint) \
         WHERE EXISTS (SELECT 1 FROM ophie_crypt_shares WHERE key_store = $1 AND owner = $2)",
        "INSERT INTO ophie_crypt_shares_destroyed (key_store, owner) VALUES ($1, $2) \
         ON CONFLICT (key_store, owner) DO UPDATE \
         SET destroyed_at = CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER) * 1000 \
         WHERE EXISTS (SELECT 1 FROM ophie_crypt_shares WHERE key_store = $1 AND owner = $2)",
    )
}

/// No row as long as a share is there.
pub(super) const DESTROYED_AT: &str = "\
    SELECT destroyed_at AS number FROM ophie_crypt_shares_destroyed \
    WHERE key_store = $1 AND owner = $2 AND NOT EXISTS (SELECT 1 FROM ophie_crypt_shares WHERE key_store = $1 AND owner = $2)";

/// In which shares stand.
pub(super) const OF_SHARES: [&str; 1] = ["ophie_crypt_shares"];
