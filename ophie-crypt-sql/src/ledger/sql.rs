//! The statements of a ledger's table, and the table.
//!
//! Invariant: entries are added, and neither changed nor taken away. Absent: what they say.

use crate::Dialect;

/// Whether the table is there; on PostgreSQL and MySQL, which let others make it at the same time, behind a lock.
pub(super) const fn is_there(dialect: Dialect) -> &'static str {
    dialect.of(
        "SELECT count(*) AS number FROM information_schema.tables \
         WHERE table_schema = database() AND table_name = 'ophie_crypt_ledger'",
        "SELECT CAST(CAST(to_regclass('ophie_crypt_ledger') IS NOT NULL AS int) AS bigint) AS number \
         FROM pg_advisory_xact_lock(8031924761528419874)",
        "SELECT count(*) AS number FROM sqlite_schema WHERE name = 'ophie_crypt_ledger'",
    )
}

pub(super) const fn create(dialect: Dialect) -> &'static str {
    dialect.of(
        "CREATE TABLE IF NOT EXISTS ophie_crypt_ledger ( \
             entry   BIGINT        NOT NULL PRIMARY KEY CHECK (entry >= 1), \
             kind    VARCHAR(32)   NOT NULL, \
             payload BLOB          NOT NULL, \
             hash    VARBINARY(32) NOT NULL CHECK (octet_length(hash) = 32) \
         ) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin; \
         CREATE TRIGGER IF NOT EXISTS ophie_crypt_ledger_kept_from_update \
             BEFORE UPDATE ON ophie_crypt_ledger FOR EACH ROW \
             SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the ledger is only added to'; \
         CREATE TRIGGER IF NOT EXISTS ophie_crypt_ledger_kept_from_delete \
             BEFORE DELETE ON ophie_crypt_ledger FOR EACH ROW \
             SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the ledger is only added to';",
        "CREATE TABLE ophie_crypt_ledger ( \
             entry   bigint PRIMARY KEY CHECK (entry >= 1), \
             kind    text   NOT NULL, \
             payload bytea  NOT NULL, \
             hash    bytea  NOT NULL CHECK (octet_length(hash) = 32) \
         ); \
         CREATE FUNCTION ophie_crypt_ledger_kept() RETURNS trigger \
             LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$ \
         BEGIN \
             RAISE EXCEPTION 'the ledger is only added to' USING ERRCODE = 'restrict_violation'; \
         END $$; \
         CREATE TRIGGER ophie_crypt_ledger_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON ophie_crypt_ledger \
             FOR EACH STATEMENT EXECUTE FUNCTION ophie_crypt_ledger_kept();",
        "CREATE TABLE ophie_crypt_ledger ( \
             entry   INTEGER NOT NULL PRIMARY KEY CHECK (entry >= 1), \
             kind    TEXT    NOT NULL, \
             payload BLOB    NOT NULL, \
             hash    BLOB    NOT NULL CHECK (length(hash) = 32) \
         ) STRICT; \
         CREATE TRIGGER ophie_crypt_ledger_kept_from_update BEFORE UPDATE ON ophie_crypt_ledger BEGIN \
             SELECT RAISE(ABORT, 'the ledger is only added to'); \
         END; \
         CREATE TRIGGER ophie_crypt_ledger_kept_from_delete BEFORE DELETE ON ophie_crypt_ledger BEGIN \
             SELECT RAISE(ABORT, 'the ledger is only added to'); \
         END; \
         CREATE TRIGGER ophie_crypt_ledger_kept_from_replace BEFORE INSERT ON ophie_crypt_ledger \
         WHEN EXISTS (SELECT 1 FROM ophie_crypt_ledger WHERE entry = NEW.entry) BEGIN \
             SELECT RAISE(IGNORE); \
         END;",
    )
}

/// No row or a [`Duplicate`](crate::FailureKind::Duplicate) if another entry took the place.
pub(super) const INSERT: &str =
    "INSERT INTO ophie_crypt_ledger (entry, kind, payload, hash) VALUES ($1, $2, $3, $4)";

pub(super) const READ: &str = "\
    SELECT entry, kind, payload, hash FROM ophie_crypt_ledger WHERE entry >= $1 ORDER BY entry LIMIT $2";
