-- Generations of an owner's index key, as those of its DEK: announced, writing, draining, retired. A row goes with its key.
--
-- Every statement may be run again, as the server commits after each.

ALTER TABLE ophie_crypt_index_keys
    ADD COLUMN IF NOT EXISTS state        VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT 'writing'
        CHECK (state IN ('announced', 'writing', 'draining', 'retired')),
    ADD COLUMN IF NOT EXISTS announced_at DATETIME(6), -- when it was first found committed: every process knows it soon after
    ADD COLUMN IF NOT EXISTS stated_at    DATETIME(6), -- when it came into its state; NULL: when it was made
    ADD COLUMN IF NOT EXISTS writes_for   VARBINARY(1025) AS (if(state = 'writing', owner, NULL)) VIRTUAL; -- one at most
CREATE UNIQUE INDEX IF NOT EXISTS ophie_crypt_index_keys_writing ON ophie_crypt_index_keys (writes_for);

UPDATE ophie_crypt_installation SET schema_version = 2;
