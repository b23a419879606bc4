-- Drops every wrapped key: nothing that was sealed under one can be read again.

DROP TABLE ophie_crypt_budgets;
DROP TABLE ophie_crypt_index_keys;
DROP TABLE ophie_crypt_deks;
DROP TABLE ophie_crypt_owners;
DROP TABLE ophie_crypt_installation;
