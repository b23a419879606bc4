-- Owners and their wrapped keys. No key here opens anything without the KMS.

CREATE TABLE ophie_crypt_owners (
    owner      BLOB NOT NULL PRIMARY KEY, -- canonical bytes: a type tag, then the id
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;

-- One row per generation of an owner's data encryption key.
CREATE TABLE ophie_crypt_deks (
    owner      BLOB    NOT NULL REFERENCES ophie_crypt_owners,
    generation INTEGER NOT NULL CHECK (generation > 0),
    key_id     BLOB    NOT NULL UNIQUE CHECK (length(key_id) = 16),
    kek        TEXT    NOT NULL, -- the KEK's name in the KMS
    wrapped    BLOB    NOT NULL,
    created_at TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    PRIMARY KEY (owner, generation)
) STRICT;

-- One row per generation of an owner's index key, sealed under the DEK that key_id names.
CREATE TABLE ophie_crypt_index_keys (
    owner      BLOB    NOT NULL REFERENCES ophie_crypt_owners,
    generation INTEGER NOT NULL CHECK (generation BETWEEN 1 AND 255),
    key_id     BLOB    NOT NULL REFERENCES ophie_crypt_deks (key_id),
    sealed     BLOB    NOT NULL,
    created_at TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    PRIMARY KEY (owner, generation)
) STRICT;
