-- Drops every wrapped key, so that nothing that was sealed under one can be read again, and the audit trail.

DROP TABLE IF EXISTS ophie_crypt_tombstones;
DROP TABLE IF EXISTS ophie_crypt_shreds;
DROP TABLE IF EXISTS ophie_crypt_audit_records;
DROP TABLE IF EXISTS ophie_crypt_audit_writers;
DROP TABLE IF EXISTS ophie_crypt_budgets;
DROP TABLE IF EXISTS ophie_crypt_index_keys;
DROP TABLE IF EXISTS ophie_crypt_deks;
DROP TABLE IF EXISTS ophie_crypt_owners;
DROP TABLE IF EXISTS ophie_crypt_installation;
