-- The application's tables of the tests.

CREATE TABLE people_links (
    id         BIGINT AUTO_INCREMENT PRIMARY KEY,
    user_id    BINARY(16)    NOT NULL,
    session_id BINARY(16)    NOT NULL,
    name       LONGBLOB      NOT NULL,
    name_fp    VARBINARY(64) NOT NULL, -- 17 bytes, but for tests with more
    relation   BLOB,
    UNIQUE (user_id, session_id, name_fp)
);

-- Fingerprints as a foreign key: who is mentioned where.
CREATE TABLE mentions (
    transcript_id BINARY(16)    NOT NULL,
    person_fp     VARBINARY(17) NOT NULL
);

CREATE TABLE transcripts (
    id      BINARY(16) NOT NULL PRIMARY KEY,
    user_id BINARY(16) NOT NULL,
    text    LONGBLOB   NOT NULL,
    words   BLOB
);

-- Nullable where the model is not, for what must be refused.
CREATE TABLE memories (
    id       BIGINT AUTO_INCREMENT PRIMARY KEY,
    user_id  BINARY(16),
    text     BLOB,
    text_fp  VARBINARY(17),
    weight   BLOB
);

CREATE TABLE codecs (
    user_id BINARY(16) NOT NULL,
    text LONGBLOB, bytes BLOB, small BLOB, medium BLOB, big BLOB, fraction BLOB, flag BLOB, uid BLOB, json BLOB,
    date BLOB, time BLOB, timestamp BLOB, timestamptz BLOB
);
