-- Forgets how far columns are. Their triggers stay, and fail: bring every soak to its end or its beginning before.

DROP TABLE IF EXISTS ophie_crypt_soak_heartbeats;
DROP TABLE IF EXISTS ophie_crypt_soak_cursors;
DROP TABLE IF EXISTS ophie_crypt_soaks;
UPDATE ophie_crypt_installation SET schema_version = 2;
