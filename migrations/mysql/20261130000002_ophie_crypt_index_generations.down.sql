-- Only where each owner has one index key: of two, no release before this knows which one writes.

CREATE UNIQUE INDEX IF NOT EXISTS ophie_crypt_index_keys_writing_alone ON ophie_crypt_index_keys (owner);
DROP INDEX IF EXISTS ophie_crypt_index_keys_writing_alone ON ophie_crypt_index_keys;
DROP INDEX IF EXISTS ophie_crypt_index_keys_writing ON ophie_crypt_index_keys;
ALTER TABLE ophie_crypt_index_keys
    DROP COLUMN IF EXISTS writes_for, DROP COLUMN IF EXISTS state,
    DROP COLUMN IF EXISTS announced_at, DROP COLUMN IF EXISTS stated_at;

UPDATE ophie_crypt_installation SET schema_version = 1;
