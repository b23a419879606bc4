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

-- Owners whose keys were destroyed, and how far the rest of the deletion is. To add a row destroys the keys, in the same
-- transaction; nothing here brings one back. Times are microseconds since 1970, UTC.
CREATE TABLE IF NOT EXISTS ophie_crypt_shreds (
    owner         VARBINARY(1025) NOT NULL PRIMARY KEY, -- canonical bytes
    id            VARBINARY(16)   NOT NULL UNIQUE DEFAULT (random_bytes(16)) CHECK (octet_length(id) = 16),
    requested_at  BIGINT NOT NULL DEFAULT (timestampdiff(MICROSECOND, '1970-01-01 00:00:00', utc_timestamp(6))),
    entry         BIGINT CHECK (entry >= 1), -- its position in the ledger
    appended_at   BIGINT, -- to the ledger
    tombstoned_at BIGINT, -- every row of the models
    emptied_at    BIGINT, -- the vector stores
    vacuumed_at   BIGINT, -- the tables of the keys; NULL also where that was refused
    done_at       BIGINT, -- all of this
    swept_at      BIGINT, -- the rows, for the last time
    due_at        BIGINT NOT NULL DEFAULT 0, -- nobody works at it until then
    attempts      BIGINT NOT NULL DEFAULT 0, -- since it last went forward
    failure       TEXT, -- of the last attempt
    INDEX ophie_crypt_shreds_undone (done_at, due_at),
    CHECK ((entry IS NULL) = (appended_at IS NULL)),
    CHECK (done_at IS NULL OR entry IS NOT NULL)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Owners whose rows are to be deleted, in the database where the rows are.
CREATE TABLE IF NOT EXISTS ophie_crypt_tombstones (
    owner VARBINARY(1025) NOT NULL PRIMARY KEY,
    FOREIGN KEY (owner) REFERENCES ophie_crypt_shreds (owner)
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

CREATE TRIGGER IF NOT EXISTS ophie_crypt_owners_stay_shredded BEFORE UPDATE ON ophie_crypt_owners FOR EACH ROW
    IF OLD.state = 'shredded' AND NEW.state <> 'shredded' THEN SIGNAL SQLSTATE '45000'
        SET MESSAGE_TEXT = 'a shredded owner stays shredded'; END IF;

-- Whoever may add a row here destroys keys, and needs no right to write them. Also of an owner who is not known here, so
-- that it never gets keys.
CREATE TRIGGER IF NOT EXISTS ophie_crypt_shreds_owner AFTER INSERT ON ophie_crypt_shreds FOR EACH ROW
    INSERT INTO ophie_crypt_owners (owner, state, version) VALUES (NEW.owner, 'shredded', 2)
    ON DUPLICATE KEY UPDATE state = 'shredded';
CREATE TRIGGER IF NOT EXISTS ophie_crypt_shreds_index_keys AFTER INSERT ON ophie_crypt_shreds FOR EACH ROW
    DELETE FROM ophie_crypt_index_keys WHERE owner = NEW.owner;
CREATE TRIGGER IF NOT EXISTS ophie_crypt_shreds_deks AFTER INSERT ON ophie_crypt_shreds FOR EACH ROW
    UPDATE ophie_crypt_deks SET state = 'destroyed', kek = NULL, wrapped = NULL, sealed = NULL
    WHERE owner = NEW.owner;

-- The lock: who adds one now waits for a shred that is not committed.
CREATE TRIGGER IF NOT EXISTS ophie_crypt_deks_of_a_shredded_owner BEFORE INSERT ON ophie_crypt_deks FOR EACH ROW
    IF (SELECT state FROM ophie_crypt_owners WHERE owner = NEW.owner FOR UPDATE) = 'shredded' THEN
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'a shredded owner gets no keys'; END IF;
CREATE TRIGGER IF NOT EXISTS ophie_crypt_deks_of_a_shredded_owner_changed BEFORE UPDATE ON ophie_crypt_deks FOR EACH ROW
    IF (NEW.wrapped IS NOT NULL OR NEW.sealed IS NOT NULL)
        AND (SELECT state FROM ophie_crypt_owners WHERE owner = NEW.owner FOR UPDATE) = 'shredded' THEN
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'a shredded owner gets no keys'; END IF;
CREATE TRIGGER IF NOT EXISTS ophie_crypt_index_keys_of_a_shredded_owner BEFORE INSERT ON ophie_crypt_index_keys FOR EACH ROW
    IF (SELECT state FROM ophie_crypt_owners WHERE owner = NEW.owner FOR UPDATE) = 'shredded' THEN
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'a shredded owner gets no keys'; END IF;

CREATE TRIGGER IF NOT EXISTS ophie_crypt_shreds_kept BEFORE DELETE ON ophie_crypt_shreds FOR EACH ROW
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'shreds are never forgotten';
CREATE TRIGGER IF NOT EXISTS ophie_crypt_shreds_kept_as_they_were BEFORE UPDATE ON ophie_crypt_shreds FOR EACH ROW
    IF OLD.owner <> NEW.owner OR OLD.id <> NEW.id OR OLD.requested_at <> NEW.requested_at THEN
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'a shred stays the owner''s whose it is'; END IF;

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
    -- The head of the ledger when something was last added for this database.
    ledger_position BIGINT       NOT NULL DEFAULT 0 CHECK (ledger_position >= 0),
    ledger_hash    VARBINARY(32) NOT NULL DEFAULT (unhex(repeat('00', 32))) CHECK (octet_length(ledger_hash) = 32),
    schema_version BIGINT        NOT NULL -- of these tables: each migration sets it
) ENGINE = InnoDB;
CREATE TRIGGER IF NOT EXISTS ophie_crypt_installation_kept BEFORE DELETE ON ophie_crypt_installation FOR EACH ROW
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT =
        'the installation is never deleted; undo the migration to remove the key store';
INSERT INTO ophie_crypt_installation (schema_version) VALUES (1) ON DUPLICATE KEY UPDATE one = 1;
