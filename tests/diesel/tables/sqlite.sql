-- The application's tables of the tests.

CREATE TABLE users (
    id   BIGINT NOT NULL PRIMARY KEY,
    name BLOB NOT NULL
);

CREATE TABLE people_links (
    id       INTEGER PRIMARY KEY,
    user_id  BIGINT NOT NULL,
    call     BIGINT NOT NULL,
    name     BLOB NOT NULL,
    name_fp  BLOB NOT NULL,
    relation BLOB,
    UNIQUE (user_id, name_fp)
);

-- Each belongs to a link.
CREATE TABLE mentions (
    id      INTEGER PRIMARY KEY,
    user_id BIGINT NOT NULL,
    link_id BIGINT NOT NULL,
    quote   BLOB NOT NULL
);

-- Nullable where the model is not, for what must be refused.
CREATE TABLE memories (
    id      INTEGER PRIMARY KEY,
    user_id BIGINT,
    text    BLOB
);

CREATE TABLE codecs (
    user_id BIGINT NOT NULL,
    text BLOB, bytes BLOB, small BLOB, int BLOB, big BLOB, float BLOB, flag BLOB, uid BLOB, json BLOB,
    date BLOB, time BLOB, timestamp BLOB, timestamptz BLOB
);
