-- The application's tables of the tests.

CREATE TABLE people_links (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id    uuid  NOT NULL,
    session_id uuid  NOT NULL,
    name       bytea NOT NULL,
    name_fp    bytea NOT NULL,
    relation   bytea,
    UNIQUE (user_id, session_id, name_fp)
);

-- Fingerprints as a foreign key: who is mentioned where.
CREATE TABLE mentions (
    transcript_id uuid  NOT NULL,
    person_fp     bytea NOT NULL
);

CREATE TABLE transcripts (
    id      uuid  NOT NULL PRIMARY KEY,
    user_id uuid  NOT NULL,
    text    bytea NOT NULL,
    words   bytea
);

-- Nullable where the model is not, for what must be refused.
CREATE TABLE memories (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id  uuid,
    text     bytea,
    text_fp  bytea,
    weight   bytea
);

CREATE TABLE codecs (
    user_id uuid NOT NULL,
    text bytea, bytes bytea, small bytea, medium bytea, big bytea, fraction bytea, flag bytea, uid bytea, json bytea,
    date bytea, time bytea, timestamp bytea, timestamptz bytea
);
