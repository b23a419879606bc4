-- Owners and their wrapped keys, and who used them. No key here opens anything without the KMS.

-- This key store. A restore or a clone of it forgot what was leased since, and begins a new epoch.
CREATE TABLE ophie_crypt_installation (
    one            boolean PRIMARY KEY DEFAULT true CHECK (one), -- the only row
    id             bytea   NOT NULL DEFAULT uuid_send(gen_random_uuid()) CHECK (octet_length(id) = 16),
    epoch          bigint  NOT NULL DEFAULT 1 CHECK (epoch >= 1),
    -- The head of the ledger when something was last added for this database.
    ledger_position bigint NOT NULL DEFAULT 0 CHECK (ledger_position >= 0),
    ledger_hash    bytea   NOT NULL DEFAULT decode(repeat('00', 32), 'hex') CHECK (octet_length(ledger_hash) = 32),
    schema_version bigint  NOT NULL -- of these tables: each migration sets it
);
INSERT INTO ophie_crypt_installation (schema_version) VALUES (1);

CREATE TABLE ophie_crypt_owners (
    owner      bytea       PRIMARY KEY, -- canonical bytes: a type tag, then the id
    state      text        NOT NULL DEFAULT 'living' CHECK (state IN ('living', 'shredded')),
    version    bigint      NOT NULL DEFAULT 1 CHECK (version >= 1), -- raised by every change of its keys
    changed_at timestamptz NOT NULL DEFAULT now(), -- when the version was raised
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ophie_crypt_owners_changed ON ophie_crypt_owners (changed_at) WHERE version > 1;

-- One row per generation of an owner's data encryption key, wrapped or sealed. Both are NULL once it is gone.
CREATE TABLE ophie_crypt_deks (
    owner      bytea       NOT NULL REFERENCES ophie_crypt_owners,
    generation bigint      NOT NULL CHECK (generation BETWEEN 1 AND 4294967295),
    epoch      bigint      NOT NULL CHECK (epoch >= 1), -- that it was made in
    state      text        NOT NULL
        CHECK (state IN ('announced', 'sealing', 'draining', 'retired', 'destroyed')),
    key_id     bytea       NOT NULL UNIQUE CHECK (octet_length(key_id) = 16),
    kek        text,  -- the KEK's name in the KMS
    wrapped    bytea, -- under the KEK
    sealed     bytea, -- an envelope, under the owner's newest DEK
    created_at timestamptz NOT NULL DEFAULT now(),
    stated_at  timestamptz NOT NULL DEFAULT now(), -- when it came into its state
    PRIMARY KEY (owner, generation),
    CHECK ((kek IS NULL) = (wrapped IS NULL)),
    CHECK (wrapped IS NULL OR sealed IS NULL),
    CHECK (state <> 'destroyed' OR (wrapped IS NULL AND sealed IS NULL))
);
CREATE UNIQUE INDEX ophie_crypt_deks_sealing ON ophie_crypt_deks (owner) WHERE state = 'sealing';

-- How many invocations of AES-GCM were granted under a DEK: at most 2^32 (NIST SP 800-38D, section 8.3).
CREATE TABLE ophie_crypt_budgets (
    owner        bytea       NOT NULL,
    generation   bigint      NOT NULL,
    granted      bigint      NOT NULL CHECK (granted BETWEEN 0 AND 4294967296),
    leased_until timestamptz NOT NULL DEFAULT now(), -- after this nobody seals on what was granted
    announced_at timestamptz, -- when it was first found committed: every process knows it soon after
    PRIMARY KEY (owner, generation),
    FOREIGN KEY (owner, generation) REFERENCES ophie_crypt_deks
);

-- One row per generation of an owner's index key, sealed under the DEK that key_id names.
CREATE TABLE ophie_crypt_index_keys (
    owner      bytea       NOT NULL REFERENCES ophie_crypt_owners,
    generation bigint      NOT NULL CHECK (generation BETWEEN 1 AND 255),
    key_id     bytea       NOT NULL REFERENCES ophie_crypt_deks (key_id),
    sealed     bytea       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, generation)
);

-- Owners whose keys were destroyed, and how far the rest of the deletion is. To add a row destroys the keys, in the same
-- transaction; nothing here brings one back. Times are microseconds since 1970, UTC.
CREATE TABLE ophie_crypt_shreds (
    owner         bytea  PRIMARY KEY, -- canonical bytes
    id            bytea  NOT NULL UNIQUE DEFAULT uuid_send(gen_random_uuid()) CHECK (octet_length(id) = 16),
    requested_at  bigint NOT NULL DEFAULT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint),
    entry         bigint CHECK (entry >= 1), -- its position in the ledger
    appended_at   bigint, -- to the ledger
    tombstoned_at bigint, -- every row of the models
    emptied_at    bigint, -- the vector stores
    vacuumed_at   bigint, -- the tables of the keys; NULL also where that was refused
    done_at       bigint, -- all of this
    swept_at      bigint, -- the rows, for the last time
    due_at        bigint NOT NULL DEFAULT 0, -- nobody works at it until then
    attempts      bigint NOT NULL DEFAULT 0, -- since it last went forward
    failure       text, -- of the last attempt
    CHECK ((entry IS NULL) = (appended_at IS NULL)),
    CHECK (done_at IS NULL OR entry IS NOT NULL)
);
CREATE INDEX ophie_crypt_shreds_undone ON ophie_crypt_shreds (due_at) WHERE done_at IS NULL;

-- Owners whose rows are to be deleted, in the database where the rows are.
CREATE TABLE ophie_crypt_tombstones (
    owner bytea PRIMARY KEY REFERENCES ophie_crypt_shreds
);

-- The audit trail. A writer is one run of a process, with a key of its own for its MACs.
CREATE TABLE ophie_crypt_audit_writers (
    writer     bytea       PRIMARY KEY CHECK (octet_length(writer) = 16),
    app        text        NOT NULL, -- as in the encryption context of its key
    started_at timestamptz NOT NULL,
    kek        text        NOT NULL, -- the KEK's name in the KMS
    wrapped    bytea       NOT NULL, -- its first key, under the KEK
    mac        bytea       NOT NULL CHECK (octet_length(mac) = 32) -- before the first record
);

CREATE TABLE ophie_crypt_audit_records (
    writer     bytea       NOT NULL REFERENCES ophie_crypt_audit_writers,
    seq        bigint      NOT NULL CHECK (seq >= 1),
    at         timestamptz NOT NULL,
    actor      text        NOT NULL, -- which process
    owner      bytea       NOT NULL, -- whose keys: canonical bytes
    generation bigint      NOT NULL,
    purpose    text        NOT NULL,
    reason     text, -- of a break-glass session
    step       text        NOT NULL, -- 'intent', 'joined', 'outcome'
    call_id    bytea, -- of the KMS; its attempts share it
    attempt    bigint,
    operation  text,
    result     text,
    request_id text, -- the KMS's own
    took       bigint, -- microseconds
    mac        bytea       NOT NULL CHECK (octet_length(mac) = 32), -- of all this and the one before
    PRIMARY KEY (writer, seq)
);

-- Every change of an owner's keys raises its version, also one made by hand. First keys are no change.
-- The function may do what its caller may not; it takes the schema from its table, never from a path.
CREATE FUNCTION ophie_crypt_key_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format(
        'UPDATE %I.ophie_crypt_owners SET version = version + 1
         WHERE owner IN ($1, $2) AND (version > 1 OR NOT $3)', TG_TABLE_SCHEMA)
    USING OLD.owner, NEW.owner, TG_OP = 'INSERT' AND NEW.generation = 1;
    RETURN NULL;
END $$;

CREATE TRIGGER ophie_crypt_inserted AFTER INSERT OR DELETE ON ophie_crypt_deks
    FOR EACH ROW EXECUTE FUNCTION ophie_crypt_key_changed();
CREATE TRIGGER ophie_crypt_updated AFTER UPDATE ON ophie_crypt_deks
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION ophie_crypt_key_changed();
CREATE TRIGGER ophie_crypt_inserted AFTER INSERT OR DELETE ON ophie_crypt_index_keys
    FOR EACH ROW EXECUTE FUNCTION ophie_crypt_key_changed();
CREATE TRIGGER ophie_crypt_updated AFTER UPDATE ON ophie_crypt_index_keys
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION ophie_crypt_key_changed();

CREATE FUNCTION ophie_crypt_state_changed() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF OLD.state = 'shredded' THEN
        RAISE EXCEPTION 'a shredded owner stays shredded' USING ERRCODE = 'restrict_violation';
    END IF;
    NEW.version := OLD.version + 1;
    RETURN NEW;
END $$;

CREATE TRIGGER ophie_crypt_state_changed BEFORE UPDATE ON ophie_crypt_owners
    FOR EACH ROW WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION ophie_crypt_state_changed();

-- Deferred to the commit: whoever asks for recent changes must not miss one whose transaction took long.
CREATE FUNCTION ophie_crypt_tell() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format(
        'UPDATE %I.ophie_crypt_owners SET changed_at = clock_timestamp() WHERE owner = $1', TG_TABLE_SCHEMA)
    USING NEW.owner;
    PERFORM pg_notify('ophie_crypt', '');
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER ophie_crypt_tell AFTER UPDATE ON ophie_crypt_owners
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (OLD.version <> NEW.version) EXECUTE FUNCTION ophie_crypt_tell();

-- Whoever may add a row here destroys keys, and needs no right to write them.
CREATE FUNCTION ophie_crypt_shred() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Also of an owner who is not known here, so that it never gets keys. Waits for one who is just being provisioned.
    EXECUTE format(
        'INSERT INTO %I.ophie_crypt_owners (owner, state, version) VALUES ($1, ''shredded'', 2)
         ON CONFLICT (owner) DO UPDATE SET state = ''shredded''', TG_TABLE_SCHEMA)
    USING NEW.owner;
    EXECUTE format('DELETE FROM %I.ophie_crypt_index_keys WHERE owner = $1', TG_TABLE_SCHEMA) USING NEW.owner;
    EXECUTE format(
        'UPDATE %I.ophie_crypt_deks SET state = ''destroyed'', kek = NULL, wrapped = NULL, sealed = NULL
         WHERE owner = $1', TG_TABLE_SCHEMA)
    USING NEW.owner;
    RETURN NULL;
END $$;

CREATE TRIGGER ophie_crypt_shred AFTER INSERT ON ophie_crypt_shreds
    FOR EACH ROW EXECUTE FUNCTION ophie_crypt_shred();

-- No key for an owner whose keys were destroyed. The lock: who adds one now waits for a shred that is not committed.
CREATE FUNCTION ophie_crypt_stays_shredded() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    state text;
BEGIN
    EXECUTE format('SELECT state FROM %I.ophie_crypt_owners WHERE owner = $1 FOR NO KEY UPDATE', TG_TABLE_SCHEMA)
    INTO state USING NEW.owner;
    IF state = 'shredded' THEN
        RAISE EXCEPTION 'a shredded owner gets no keys' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER ophie_crypt_stays_shredded BEFORE INSERT OR UPDATE ON ophie_crypt_deks
    FOR EACH ROW WHEN (NEW.wrapped IS NOT NULL OR NEW.sealed IS NOT NULL)
    EXECUTE FUNCTION ophie_crypt_stays_shredded();
CREATE TRIGGER ophie_crypt_stays_shredded BEFORE INSERT OR UPDATE ON ophie_crypt_index_keys
    FOR EACH ROW EXECUTE FUNCTION ophie_crypt_stays_shredded();

CREATE FUNCTION ophie_crypt_refuse() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING MESSAGE = TG_ARGV[0], ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER ophie_crypt_kept BEFORE DELETE OR TRUNCATE ON ophie_crypt_owners
    FOR EACH STATEMENT EXECUTE FUNCTION ophie_crypt_refuse(
        'owners are never deleted; shred them, which destroys their keys and remembers it');
CREATE TRIGGER ophie_crypt_kept BEFORE DELETE OR TRUNCATE ON ophie_crypt_installation
    FOR EACH STATEMENT EXECUTE FUNCTION ophie_crypt_refuse(
        'the installation is never deleted; undo the migration to remove the key store');
CREATE TRIGGER ophie_crypt_kept BEFORE DELETE OR TRUNCATE ON ophie_crypt_shreds
    FOR EACH STATEMENT EXECUTE FUNCTION ophie_crypt_refuse('shreds are never forgotten');
CREATE TRIGGER ophie_crypt_kept_as_it_was BEFORE UPDATE OF owner, id, requested_at ON ophie_crypt_shreds
    FOR EACH STATEMENT EXECUTE FUNCTION ophie_crypt_refuse('a shred stays the owner''s whose it is');
-- TRUNCATE would raise no version.
CREATE TRIGGER ophie_crypt_kept BEFORE TRUNCATE ON ophie_crypt_deks
    FOR EACH STATEMENT EXECUTE FUNCTION ophie_crypt_refuse(
        'keys are never truncated; shred their owners');
CREATE TRIGGER ophie_crypt_kept BEFORE TRUNCATE ON ophie_crypt_index_keys
    FOR EACH STATEMENT EXECUTE FUNCTION ophie_crypt_refuse(
        'keys are never truncated; shred their owners');
CREATE TRIGGER ophie_crypt_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON ophie_crypt_audit_writers
    FOR EACH STATEMENT EXECUTE FUNCTION ophie_crypt_refuse('the audit is only added to');
CREATE TRIGGER ophie_crypt_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON ophie_crypt_audit_records
    FOR EACH STATEMENT EXECUTE FUNCTION ophie_crypt_refuse('the audit is only added to');

-- Or anyone could hang these on a table of their own, and act as the owner of this one.
REVOKE EXECUTE ON FUNCTION ophie_crypt_key_changed(), ophie_crypt_tell(), ophie_crypt_shred(),
    ophie_crypt_stays_shredded() FROM PUBLIC;
