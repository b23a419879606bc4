-- Drops every wrapped key, so that nothing that was sealed under one can be read again, and the audit trail.

DROP TABLE ophie_crypt_tombstones;
DROP TABLE ophie_crypt_shreds;
DROP TABLE ophie_crypt_audit_records;
DROP TABLE ophie_crypt_audit_writers;
DROP TABLE ophie_crypt_budgets;
DROP TABLE ophie_crypt_index_keys;
DROP TABLE ophie_crypt_deks;
DROP TABLE ophie_crypt_owners;
DROP TABLE ophie_crypt_installation;
