-- Owners and their wrapped keys. No key here opens anything without the KMS.

CREATE TABLE ophie_crypt_owners (
    owner      bytea       PRIMARY KEY, -- canonical bytes: a type tag, then the id
    created_at timestamptz NOT NULL DEFAULT now()
);

-- One row per generation of an owner's data encryption key.
CREATE TABLE ophie_crypt_deks (
    owner      bytea       NOT NULL REFERENCES ophie_crypt_owners,
    generation integer     NOT NULL CHECK (generation > 0),
    key_id     bytea       NOT NULL UNIQUE CHECK (octet_length(key_id) = 16),
    kek        text        NOT NULL, -- the KEK's name in the KMS
    wrapped    bytea       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, generation)
);

-- One row per generation of an owner's index key, sealed under the DEK that key_id names.
CREATE TABLE ophie_crypt_index_keys (
    owner      bytea       NOT NULL REFERENCES ophie_crypt_owners,
    generation smallint    NOT NULL CHECK (generation BETWEEN 1 AND 255),
    key_id     bytea       NOT NULL REFERENCES ophie_crypt_deks (key_id),
    sealed     bytea       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, generation)
);
