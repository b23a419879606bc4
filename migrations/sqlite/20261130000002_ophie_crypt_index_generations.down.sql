-- Only where each owner has one index key: of two, no release before this knows which one writes.

CREATE UNIQUE INDEX ophie_crypt_index_keys_writing_alone ON ophie_crypt_index_keys (owner);
DROP INDEX ophie_crypt_index_keys_writing_alone;
DROP INDEX ophie_crypt_index_keys_writing;
ALTER TABLE ophie_crypt_index_keys DROP COLUMN state;
ALTER TABLE ophie_crypt_index_keys DROP COLUMN announced_at;
ALTER TABLE ophie_crypt_index_keys DROP COLUMN stated_at;

UPDATE ophie_crypt_installation SET schema_version = 1;
