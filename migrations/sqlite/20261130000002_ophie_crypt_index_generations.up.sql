-- Generations of an owner's index key, as those of its DEK: announced, writing, draining, retired. A row goes with its key.

ALTER TABLE ophie_crypt_index_keys ADD COLUMN state TEXT NOT NULL DEFAULT 'writing'
    CHECK (state IN ('announced', 'writing', 'draining', 'retired'));
-- When it was first found committed: every process knows it soon after.
ALTER TABLE ophie_crypt_index_keys ADD COLUMN announced_at TEXT;
-- When it came into its state; NULL: when it was made.
ALTER TABLE ophie_crypt_index_keys ADD COLUMN stated_at TEXT;
CREATE UNIQUE INDEX ophie_crypt_index_keys_writing ON ophie_crypt_index_keys (owner) WHERE state = 'writing';

UPDATE ophie_crypt_installation SET schema_version = 2;
