-- The application's tables of the tests.

CREATE TABLE users (
    id   bigint NOT NULL PRIMARY KEY,
    name blob NOT NULL
);

-- A fingerprint has 17 bytes; there is room for those that must be refused.
CREATE TABLE people_links (
    id       bigint AUTO_INCREMENT PRIMARY KEY,
    user_id  bigint NOT NULL,
    `call`   bigint NOT NULL,
    name     blob NOT NULL,
    name_fp  varbinary(64) NOT NULL,
    relation blob,
    UNIQUE (user_id, name_fp)
);

-- Each belongs to a link.
CREATE TABLE mentions (
    id      bigint AUTO_INCREMENT PRIMARY KEY,
    user_id bigint NOT NULL,
    link_id bigint NOT NULL,
    quote   blob NOT NULL
);

-- Nullable where the model is not, for what must be refused.
CREATE TABLE memories (
    id      bigint AUTO_INCREMENT PRIMARY KEY,
    user_id bigint,
    text    blob
);

CREATE TABLE codecs (
    user_id bigint NOT NULL,
    text blob, bytes blob, small blob, `int` blob, big blob, `float` blob, flag blob, uid blob, json blob,
    date blob, time blob, timestamp blob, timestamptz blob
);
