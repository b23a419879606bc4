-- Generations of an owner's index key, as those of its DEK: announced, writing, draining, retired. A row goes with its key.

ALTER TABLE ophie_crypt_index_keys
    ADD COLUMN state        text NOT NULL DEFAULT 'writing'
        CHECK (state IN ('announced', 'writing', 'draining', 'retired')),
    ADD COLUMN announced_at timestamptz, -- when it was first found committed: every process knows it soon after
    ADD COLUMN stated_at    timestamptz; -- when it came into its state; NULL: when it was made
CREATE UNIQUE INDEX ophie_crypt_index_keys_writing ON ophie_crypt_index_keys (owner) WHERE state = 'writing';

UPDATE ophie_crypt_installation SET schema_version = 2;
