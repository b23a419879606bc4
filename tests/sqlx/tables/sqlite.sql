-- The application's tables of the tests.

CREATE TABLE people_links (
    id         INTEGER PRIMARY KEY,
    user_id    BLOB NOT NULL,
    session_id BLOB NOT NULL,
    name       BLOB NOT NULL,
    name_fp    BLOB NOT NULL,
    relation   BLOB,
    UNIQUE (user_id, session_id, name_fp)
);

-- Fingerprints as a foreign key: who is mentioned where.
CREATE TABLE mentions (
    transcript_id BLOB NOT NULL,
    person_fp     BLOB NOT NULL
);

CREATE TABLE transcripts (
    id      BLOB NOT NULL PRIMARY KEY,
    user_id BLOB NOT NULL,
    text    BLOB NOT NULL,
    words   BLOB
);

-- Nullable where the model is not, for what must be refused.
CREATE TABLE memories (
    id       INTEGER PRIMARY KEY,
    user_id  BLOB,
    text     BLOB,
    text_fp  BLOB,
    weight   BLOB
);

CREATE TABLE codecs (
    user_id BLOB NOT NULL,
    text BLOB, bytes BLOB, small BLOB, medium BLOB, big BLOB, fraction BLOB, flag BLOB, uid BLOB, json BLOB,
    date BLOB, time BLOB, timestamp BLOB, timestamptz BLOB
);
