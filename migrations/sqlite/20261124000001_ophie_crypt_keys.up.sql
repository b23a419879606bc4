-- Owners and their wrapped keys, and who used them. No key here opens anything without the KMS.

-- This key store. A restore or a clone of it forgot what was leased since, and begins a new epoch.
CREATE TABLE ophie_crypt_installation (
    one            INTEGER NOT NULL PRIMARY KEY DEFAULT 1 CHECK (one = 1), -- the only row
    id             BLOB    NOT NULL DEFAULT (randomblob(16)) CHECK (length(id) = 16),
    epoch          INTEGER NOT NULL DEFAULT 1 CHECK (epoch >= 1),
    -- The head of the ledger when something was last added for this database.
    ledger_position INTEGER NOT NULL DEFAULT 0 CHECK (ledger_position >= 0),
    ledger_hash    BLOB    NOT NULL DEFAULT (zeroblob(32)) CHECK (length(ledger_hash) = 32),
    schema_version INTEGER NOT NULL -- of these tables: each migration sets it
) STRICT;
INSERT INTO ophie_crypt_installation (schema_version) VALUES (1);

CREATE TABLE ophie_crypt_owners (
    owner      BLOB    NOT NULL PRIMARY KEY, -- canonical bytes: a type tag, then the id
    state      TEXT    NOT NULL DEFAULT 'living' CHECK (state IN ('living', 'shredded')),
    version    INTEGER NOT NULL DEFAULT 1 CHECK (version >= 1), -- raised by every change of its keys
    changed_at TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')), -- when the version was raised
    created_at TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;
CREATE INDEX ophie_crypt_owners_changed ON ophie_crypt_owners (changed_at) WHERE version > 1;

-- One row per generation of an owner's data encryption key, wrapped or sealed. Both are NULL once it is gone.
CREATE TABLE ophie_crypt_deks (
    owner      BLOB    NOT NULL REFERENCES ophie_crypt_owners,
    generation INTEGER NOT NULL CHECK (generation BETWEEN 1 AND 4294967295),
    epoch      INTEGER NOT NULL CHECK (epoch >= 1), -- that it was made in
    state      TEXT    NOT NULL
        CHECK (state IN ('announced', 'sealing', 'draining', 'retired', 'destroyed')),
    key_id     BLOB    NOT NULL UNIQUE CHECK (length(key_id) = 16),
    kek        TEXT, -- the KEK's name in the KMS
    wrapped    BLOB, -- under the KEK
    sealed     BLOB, -- an envelope, under the owner's newest DEK
    created_at TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    -- when it came into its state
    stated_at  TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    PRIMARY KEY (owner, generation),
    CHECK ((kek IS NULL) = (wrapped IS NULL)),
    CHECK (wrapped IS NULL OR sealed IS NULL),
    CHECK (state <> 'destroyed' OR (wrapped IS NULL AND sealed IS NULL))
) STRICT;
CREATE UNIQUE INDEX ophie_crypt_deks_sealing ON ophie_crypt_deks (owner) WHERE state = 'sealing';

-- How many invocations of AES-GCM were granted under a DEK: at most 2^32 (NIST SP 800-38D, section 8.3).
CREATE TABLE ophie_crypt_budgets (
    owner        BLOB    NOT NULL,
    generation   INTEGER NOT NULL,
    granted      INTEGER NOT NULL CHECK (granted BETWEEN 0 AND 4294967296),
    -- after this nobody seals on what was granted
    leased_until TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    announced_at TEXT, -- when it was first found committed: every process knows it soon after
    PRIMARY KEY (owner, generation),
    FOREIGN KEY (owner, generation) REFERENCES ophie_crypt_deks
) STRICT;

-- One row per generation of an owner's index key, sealed under the DEK that key_id names.
CREATE TABLE ophie_crypt_index_keys (
    owner      BLOB    NOT NULL REFERENCES ophie_crypt_owners,
    generation INTEGER NOT NULL CHECK (generation BETWEEN 1 AND 255),
    key_id     BLOB    NOT NULL REFERENCES ophie_crypt_deks (key_id),
    sealed     BLOB    NOT NULL,
    created_at TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    PRIMARY KEY (owner, generation)
) STRICT;

-- Owners whose keys were destroyed, and how far the rest of the deletion is. To add a row destroys the keys, in the same
-- transaction; nothing here brings one back. Times are microseconds since 1970, UTC.
CREATE TABLE ophie_crypt_shreds (
    owner         BLOB    NOT NULL PRIMARY KEY, -- canonical bytes
    id            BLOB    NOT NULL UNIQUE DEFAULT (randomblob(16)) CHECK (length(id) = 16),
    requested_at  INTEGER NOT NULL DEFAULT (CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER) * 1000),
    entry         INTEGER CHECK (entry >= 1), -- its position in the ledger
    appended_at   INTEGER, -- to the ledger
    tombstoned_at INTEGER, -- every row of the models
    emptied_at    INTEGER, -- the vector stores
    vacuumed_at   INTEGER, -- the tables of the keys; NULL also where that was refused
    done_at       INTEGER, -- all of this
    swept_at      INTEGER, -- the rows, for the last time
    due_at        INTEGER NOT NULL DEFAULT 0, -- nobody works at it until then
    attempts      INTEGER NOT NULL DEFAULT 0, -- since it last went forward
    failure       TEXT, -- of the last attempt
    CHECK ((entry IS NULL) = (appended_at IS NULL)),
    CHECK (done_at IS NULL OR entry IS NOT NULL)
) STRICT;
CREATE INDEX ophie_crypt_shreds_undone ON ophie_crypt_shreds (due_at) WHERE done_at IS NULL;

-- Owners whose rows are to be deleted, in the database where the rows are.
CREATE TABLE ophie_crypt_tombstones (
    owner BLOB NOT NULL PRIMARY KEY REFERENCES ophie_crypt_shreds
) STRICT;

-- The audit trail. A writer is one run of a process, with a key of its own for its MACs.
CREATE TABLE ophie_crypt_audit_writers (
    writer     BLOB    NOT NULL PRIMARY KEY CHECK (length(writer) = 16),
    app        TEXT    NOT NULL, -- as in the encryption context of its key
    started_at TEXT    NOT NULL,
    kek        TEXT    NOT NULL, -- the KEK's name in the KMS
    wrapped    BLOB    NOT NULL, -- its first key, under the KEK
    mac        BLOB    NOT NULL CHECK (length(mac) = 32) -- before the first record
) STRICT;

CREATE TABLE ophie_crypt_audit_records (
    writer     BLOB    NOT NULL REFERENCES ophie_crypt_audit_writers,
    seq        INTEGER NOT NULL CHECK (seq >= 1),
    at         TEXT    NOT NULL, -- UTC, with microseconds
    actor      TEXT    NOT NULL, -- which process
    owner      BLOB    NOT NULL, -- whose keys: canonical bytes
    generation INTEGER NOT NULL,
    purpose    TEXT    NOT NULL,
    reason     TEXT, -- of a break-glass session
    step       TEXT    NOT NULL, -- 'intent', 'joined', 'outcome'
    call_id    BLOB, -- of the KMS; its attempts share it
    attempt    INTEGER,
    operation  TEXT,
    result     TEXT,
    request_id TEXT, -- the KMS's own
    took       INTEGER, -- microseconds
    mac        BLOB    NOT NULL CHECK (length(mac) = 32), -- of all this and the one before
    PRIMARY KEY (writer, seq)
) STRICT, WITHOUT ROWID;

-- Every change of an owner's keys raises its version, also one made by hand. First keys are no change.
-- BEFORE INSERT, because REPLACE deletes a row without a word.
CREATE TRIGGER ophie_crypt_deks_inserted BEFORE INSERT ON ophie_crypt_deks BEGIN
    UPDATE ophie_crypt_owners
    SET version = version + 1, changed_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
    WHERE owner = NEW.owner AND (version > 1 OR NEW.generation > 1
        OR EXISTS (SELECT 1 FROM ophie_crypt_deks WHERE owner = NEW.owner));
END;
CREATE TRIGGER ophie_crypt_deks_updated AFTER UPDATE ON ophie_crypt_deks BEGIN
    UPDATE ophie_crypt_owners
    SET version = version + 1, changed_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
    WHERE owner IN (OLD.owner, NEW.owner);
END;
CREATE TRIGGER ophie_crypt_deks_deleted AFTER DELETE ON ophie_crypt_deks BEGIN
    UPDATE ophie_crypt_owners
    SET version = version + 1, changed_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
    WHERE owner = OLD.owner;
END;

CREATE TRIGGER ophie_crypt_index_keys_inserted BEFORE INSERT ON ophie_crypt_index_keys BEGIN
    UPDATE ophie_crypt_owners
    SET version = version + 1, changed_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
    WHERE owner = NEW.owner AND (version > 1 OR NEW.generation > 1
        OR EXISTS (SELECT 1 FROM ophie_crypt_index_keys WHERE owner = NEW.owner));
END;
CREATE TRIGGER ophie_crypt_index_keys_updated AFTER UPDATE ON ophie_crypt_index_keys BEGIN
    UPDATE ophie_crypt_owners
    SET version = version + 1, changed_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
    WHERE owner IN (OLD.owner, NEW.owner);
END;
CREATE TRIGGER ophie_crypt_index_keys_deleted AFTER DELETE ON ophie_crypt_index_keys BEGIN
    UPDATE ophie_crypt_owners
    SET version = version + 1, changed_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
    WHERE owner = OLD.owner;
END;

CREATE TRIGGER ophie_crypt_owners_changed AFTER UPDATE OF state ON ophie_crypt_owners
WHEN OLD.state <> NEW.state BEGIN
    UPDATE ophie_crypt_owners
    SET version = version + 1, changed_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
    WHERE owner = NEW.owner;
END;

CREATE TRIGGER ophie_crypt_owners_stay_shredded BEFORE UPDATE OF state ON ophie_crypt_owners
WHEN OLD.state = 'shredded' AND NEW.state <> 'shredded' BEGIN
    SELECT RAISE(ABORT, 'a shredded owner stays shredded');
END;

-- Whoever may add a row here destroys keys. Also of an owner who is not known here, so that it never gets keys.
CREATE TRIGGER ophie_crypt_shred AFTER INSERT ON ophie_crypt_shreds BEGIN
    INSERT INTO ophie_crypt_owners (owner, state, version)
    SELECT NEW.owner, 'shredded', 2
    WHERE NOT EXISTS (SELECT 1 FROM ophie_crypt_owners WHERE owner = NEW.owner);
    UPDATE ophie_crypt_owners SET state = 'shredded' WHERE owner = NEW.owner AND state <> 'shredded';
    DELETE FROM ophie_crypt_index_keys WHERE owner = NEW.owner;
    UPDATE ophie_crypt_deks SET state = 'destroyed', kek = NULL, wrapped = NULL, sealed = NULL
    WHERE owner = NEW.owner;
END;

CREATE TRIGGER ophie_crypt_deks_of_a_shredded_owner BEFORE INSERT ON ophie_crypt_deks
WHEN EXISTS (SELECT 1 FROM ophie_crypt_owners WHERE owner = NEW.owner AND state = 'shredded') BEGIN
    SELECT RAISE(ABORT, 'a shredded owner gets no keys');
END;
CREATE TRIGGER ophie_crypt_deks_of_a_shredded_owner_changed BEFORE UPDATE ON ophie_crypt_deks
WHEN (NEW.wrapped IS NOT NULL OR NEW.sealed IS NOT NULL)
AND EXISTS (SELECT 1 FROM ophie_crypt_owners WHERE owner = NEW.owner AND state = 'shredded') BEGIN
    SELECT RAISE(ABORT, 'a shredded owner gets no keys');
END;
CREATE TRIGGER ophie_crypt_index_keys_of_a_shredded_owner BEFORE INSERT ON ophie_crypt_index_keys
WHEN EXISTS (SELECT 1 FROM ophie_crypt_owners WHERE owner = NEW.owner AND state = 'shredded') BEGIN
    SELECT RAISE(ABORT, 'a shredded owner gets no keys');
END;

CREATE TRIGGER ophie_crypt_shreds_kept BEFORE DELETE ON ophie_crypt_shreds BEGIN
    SELECT RAISE(ABORT, 'shreds are never forgotten');
END;
CREATE TRIGGER ophie_crypt_shreds_kept_as_they_were BEFORE UPDATE OF owner, id, requested_at ON ophie_crypt_shreds BEGIN
    SELECT RAISE(ABORT, 'a shred stays the owner''s whose it is');
END;
CREATE TRIGGER ophie_crypt_shreds_kept_from_replace BEFORE INSERT ON ophie_crypt_shreds
WHEN EXISTS (SELECT 1 FROM ophie_crypt_shreds WHERE owner = NEW.owner) BEGIN
    SELECT RAISE(IGNORE); -- as INSERT .. ON CONFLICT DO NOTHING asks for
END;

CREATE TRIGGER ophie_crypt_owners_kept BEFORE DELETE ON ophie_crypt_owners BEGIN
    SELECT RAISE(ABORT, 'owners are never deleted; shred them, which destroys their keys and remembers it');
END;
CREATE TRIGGER ophie_crypt_installation_kept BEFORE DELETE ON ophie_crypt_installation BEGIN
    SELECT RAISE(ABORT, 'the installation is never deleted; undo the migration to remove the key store');
END;
-- REPLACE would delete a row without a word.
CREATE TRIGGER ophie_crypt_owners_kept_from_replace BEFORE INSERT ON ophie_crypt_owners
WHEN EXISTS (SELECT 1 FROM ophie_crypt_owners WHERE owner = NEW.owner) BEGIN
    SELECT RAISE(IGNORE); -- as INSERT .. ON CONFLICT DO NOTHING asks for
END;
CREATE TRIGGER ophie_crypt_installation_kept_from_replace BEFORE INSERT ON ophie_crypt_installation
WHEN EXISTS (SELECT 1 FROM ophie_crypt_installation) BEGIN
    SELECT RAISE(ABORT, 'there is one installation');
END;
CREATE TRIGGER ophie_crypt_audit_writers_kept_from_update BEFORE UPDATE ON ophie_crypt_audit_writers BEGIN
    SELECT RAISE(ABORT, 'the audit is only added to');
END;
CREATE TRIGGER ophie_crypt_audit_writers_kept_from_delete BEFORE DELETE ON ophie_crypt_audit_writers BEGIN
    SELECT RAISE(ABORT, 'the audit is only added to');
END;
CREATE TRIGGER ophie_crypt_audit_writers_kept_from_replace BEFORE INSERT ON ophie_crypt_audit_writers
WHEN EXISTS (SELECT 1 FROM ophie_crypt_audit_writers WHERE writer = NEW.writer) BEGIN
    SELECT RAISE(ABORT, 'the audit is only added to');
END;
CREATE TRIGGER ophie_crypt_audit_records_kept_from_update BEFORE UPDATE ON ophie_crypt_audit_records BEGIN
    SELECT RAISE(ABORT, 'the audit is only added to');
END;
CREATE TRIGGER ophie_crypt_audit_records_kept_from_delete BEFORE DELETE ON ophie_crypt_audit_records BEGIN
    SELECT RAISE(ABORT, 'the audit is only added to');
END;
CREATE TRIGGER ophie_crypt_audit_records_kept_from_replace BEFORE INSERT ON ophie_crypt_audit_records
WHEN EXISTS (SELECT 1 FROM ophie_crypt_audit_records WHERE writer = NEW.writer AND seq = NEW.seq) BEGIN
    SELECT RAISE(ABORT, 'the audit is only added to');
END;
