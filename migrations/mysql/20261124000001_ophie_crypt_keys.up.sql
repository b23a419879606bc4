-- Owners and their wrapped keys, and who used them. No key here opens anything without the KMS.
--
-- For MariaDB 10.11. Every statement may be run again, as the server commits after each: what stopped half-way
-- is finished by the next run. TRUNCATE fires no trigger here; the application's role needs no DROP, which it takes.

CREATE TABLE IF NOT EXISTS ophie_crypt_owners (
    owner      VARBINARY(1025) NOT NULL PRIMARY KEY, -- canonical bytes: a type tag, then the id
    state      VARCHAR(16)     NOT NULL DEFAULT 'living' CHECK (state IN ('living', 'shredded')),
    version    BIGINT          NOT NULL DEFAULT 1 CHECK (version >= 1), -- raised by every change of its keys
    changed_at DATETIME(6)     NOT NULL DEFAULT (utc_timestamp(6)), -- when the version was raised
    created_at DATETIME(6)     NOT NULL DEFAULT (utc_timestamp(6)),
    INDEX ophie_crypt_owners_changed (changed_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- One row per generation of an owner's data encryption key, wrapped or sealed. Both are NULL once it is gone.
CREATE TABLE IF NOT EXISTS ophie_crypt_deks (
    owner      VARBINARY(1025) NOT NULL,
    generation BIGINT          NOT NULL CHECK (generation BETWEEN 1 AND 4294967295),
    epoch      BIGINT          NOT NULL CHECK (epoch >= 1), -- that it was made in
    state      VARCHAR(16)     NOT NULL
        CHECK (state IN ('announced', 'sealing', 'draining', 'retired', 'destroyed')),
    key_id     VARBINARY(16)   NOT NULL UNIQUE CHECK (octet_length(key_id) = 16),
    kek        TEXT, -- the KEK's name in the KMS
    wrapped    BLOB, -- under the KEK
    sealed     BLOB, -- an envelope, under the owner's newest DEK
    created_at DATETIME(6)     NOT NULL DEFAULT (utc_timestamp(6)),
    stated_at  DATETIME(6)     NOT NULL DEFAULT (utc_timestamp(6)), -- when it came into its state
    seals_for  VARBINARY(1025) AS (if(state = 'sealing', owner, NULL)) VIRTUAL, -- one at most
    PRIMARY KEY (owner, generation),
    UNIQUE INDEX ophie_crypt_deks_sealing (seals_for),
    FOREIGN KEY (owner) REFERENCES ophie_crypt_owners (owner),
    CHECK ((kek IS NULL) = (wrapped IS NULL)),
    CHECK (wrapped IS NULL OR sealed IS NULL),
    CHECK (state <> 'destroyed' OR (wrapped IS NULL AND sealed IS NULL))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- How many invocations of AES-GCM were granted under a DEK: at most 2^32 (NIST SP 800-38D, section 8.3).
CREATE TABLE IF NOT EXISTS ophie_crypt_budgets (
    owner        VARBINARY(1025) NOT NULL,
    generation   BIGINT          NOT NULL,
    granted      BIGINT          NOT NULL CHECK (granted BETWEEN 0 AND 4294967296),
    leased_until DATETIME(6)     NOT NULL DEFAULT (utc_timestamp(6)), -- after this nobody seals on what was granted
    announced_at DATETIME(6), -- when it was first found committed: every process knows it soon after
    PRIMARY KEY (owner, generation),
    FOREIGN KEY (owner, generation) REFERENCES ophie_crypt_deks (owner, generation)
) ENGINE = InnoDB;

-- One row per generation of an owner's index key, sealed under the DEK that key_id names.
CREATE TABLE IF NOT EXISTS ophie_crypt_index_keys (
    owner      VARBINARY(1025) NOT NULL,
    generation BIGINT          NOT NULL CHECK (generation BETWEEN 1 AND 255),
    key_id     VARBINARY(16)   NOT NULL,
    sealed     BLOB            NOT NULL,
    created_at DATETIME(6)     NOT NULL DEFAULT (utc_timestamp(6)),
    PRIMARY KEY (owner, generation),
    FOREIGN KEY (owner) REFERENCES ophie_crypt_owners (owner),
    FOREIGN KEY (key_id) REFERENCES ophie_crypt_deks (key_id)
) ENGINE = InnoDB;

-- The audit trail. A writer is one run of a process, with a key of its own for its MACs.
CREATE TABLE IF NOT EXISTS ophie_crypt_audit_writers (
    writer     VARBINARY(16) NOT NULL PRIMARY KEY CHECK (octet_length(writer) = 16),
    app        TEXT          NOT NULL, -- as in the encryption context of its key
    started_at DATETIME(6)   NOT NULL,
    kek        TEXT          NOT NULL, -- the KEK's name in the KMS
    wrapped    BLOB          NOT NULL, -- its first key, under the KEK
    mac        VARBINARY(32) NOT NULL CHECK (octet_length(mac) = 32) -- before the first record
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS ophie_crypt_audit_records (
    writer     VARBINARY(16)   NOT NULL,
    seq        BIGINT          NOT NULL CHECK (seq >= 1),
    at         DATETIME(6)     NOT NULL,
    actor      TEXT            NOT NULL, -- which process
    owner      BLOB            NOT NULL, -- whose keys: canonical bytes
    generation BIGINT          NOT NULL,
    purpose    TEXT            NOT NULL,
    reason     TEXT, -- of a break-glass session
    step       VARCHAR(16)     NOT NULL, -- 'intent', 'joined', 'outcome'
    call_id    VARBINARY(64), -- of the KMS; its attempts share it
    attempt    BIGINT,
    operation  TEXT,
    result     TEXT,
    request_id TEXT, -- the KMS's own
    took       BIGINT, -- microseconds
    mac        VARBINARY(32)   NOT NULL CHECK (octet_length(mac) = 32), -- of all this and the one before
    PRIMARY KEY (writer, seq),
    FOREIGN KEY (writer) REFERENCES ophie_crypt_audit_writers (writer)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Every change of an owner's keys raises its version, also one made by hand. First keys are no change.
CREATE TRIGGER IF NOT EXISTS ophie_crypt_deks_inserted AFTER INSERT ON ophie_crypt_deks FOR EACH ROW
    UPDATE ophie_crypt_owners SET version = version + 1, changed_at = utc_timestamp(6)
    WHERE owner = NEW.owner AND (version > 1 OR NEW.generation > 1);
CREATE TRIGGER IF NOT EXISTS ophie_crypt_deks_updated AFTER UPDATE ON ophie_crypt_deks FOR EACH ROW
    UPDATE ophie_crypt_owners SET version = version + 1, changed_at = utc_timestamp(6)
    WHERE owner IN (OLD.owner, NEW.owner);
CREATE TRIGGER IF NOT EXISTS ophie_crypt_deks_deleted AFTER DELETE ON ophie_crypt_deks FOR EACH ROW
    UPDATE ophie_crypt_owners SET version = version + 1, changed_at = utc_timestamp(6)
    WHERE owner = OLD.owner;

CREATE TRIGGER IF NOT EXISTS ophie_crypt_index_keys_inserted AFTER INSERT ON ophie_crypt_index_keys FOR EACH ROW
    UPDATE ophie_crypt_owners SET version = version + 1, changed_at = utc_timestamp(6)
    WHERE owner = NEW.owner AND (version > 1 OR NEW.generation > 1);
CREATE TRIGGER IF NOT EXISTS ophie_crypt_index_keys_updated AFTER UPDATE ON ophie_crypt_index_keys FOR EACH ROW
    UPDATE ophie_crypt_owners SET version = version + 1, changed_at = utc_timestamp(6)
    WHERE owner IN (OLD.owner, NEW.owner);
CREATE TRIGGER IF NOT EXISTS ophie_crypt_index_keys_deleted AFTER DELETE ON ophie_crypt_index_keys FOR EACH ROW
    UPDATE ophie_crypt_owners SET version = version + 1, changed_at = utc_timestamp(6)
    WHERE owner = OLD.owner;

CREATE TRIGGER IF NOT EXISTS ophie_crypt_owners_changed BEFORE UPDATE ON ophie_crypt_owners FOR EACH ROW
    SET NEW.version = if(OLD.state <> NEW.state, OLD.version + 1, NEW.version),
        NEW.changed_at = if(OLD.state <> NEW.state, utc_timestamp(6), NEW.changed_at);

CREATE TRIGGER IF NOT EXISTS ophie_crypt_owners_kept BEFORE DELETE ON ophie_crypt_owners FOR EACH ROW
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT =
        'owners are never deleted; shred them, which destroys their keys and remembers it';
CREATE TRIGGER IF NOT EXISTS ophie_crypt_audit_writers_kept_from_update
    BEFORE UPDATE ON ophie_crypt_audit_writers FOR EACH ROW
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the audit is only added to';
CREATE TRIGGER IF NOT EXISTS ophie_crypt_audit_writers_kept_from_delete
    BEFORE DELETE ON ophie_crypt_audit_writers FOR EACH ROW
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the audit is only added to';
CREATE TRIGGER IF NOT EXISTS ophie_crypt_audit_records_kept_from_update
    BEFORE UPDATE ON ophie_crypt_audit_records FOR EACH ROW
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the audit is only added to';
CREATE TRIGGER IF NOT EXISTS ophie_crypt_audit_records_kept_from_delete
    BEFORE DELETE ON ophie_crypt_audit_records FOR EACH ROW
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the audit is only added to';

-- This key store. A restore or a clone of it forgot what was leased since, and begins a new epoch. Last, as its
-- row says that all the rest is there.
CREATE TABLE IF NOT EXISTS ophie_crypt_installation (
    one            TINYINT       NOT NULL PRIMARY KEY DEFAULT 1 CHECK (one = 1), -- the only row
    id             VARBINARY(16) NOT NULL DEFAULT (random_bytes(16)) CHECK (octet_length(id) = 16),
    epoch          BIGINT        NOT NULL DEFAULT 1 CHECK (epoch >= 1),
    schema_version BIGINT        NOT NULL -- of these tables: each migration sets it
) ENGINE = InnoDB;
CREATE TRIGGER IF NOT EXISTS ophie_crypt_installation_kept BEFORE DELETE ON ophie_crypt_installation FOR EACH ROW
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT =
        'the installation is never deleted; undo the migration to remove the key store';
INSERT INTO ophie_crypt_installation (schema_version) VALUES (1) ON DUPLICATE KEY UPDATE one = 1;
