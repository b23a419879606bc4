-- Columns that move from plaintext to ciphertext, in the database where the rows are.

CREATE TABLE IF NOT EXISTS ophie_crypt_soaks (
    table_name  text   NOT NULL,
    column_name text   NOT NULL, -- the encrypted one
    twin        text   NOT NULL, -- the plaintext one
    state       text   NOT NULL CHECK (state IN
        ('plain', 'expand', 'dual-write', 'backfill', 'verify', 'soak', 'sealed', 'retired', 'dropped')),
    version     bigint NOT NULL DEFAULT 1, -- raised by each step
    since       bigint NOT NULL DEFAULT 1, -- the version at which the state began
    admits_old  bigint NOT NULL DEFAULT 1 CHECK (admits_old IN (0, 1)), -- binaries that know nothing of it
    floor       text   NOT NULL, -- the lowest state that its model accepts
    closed      bigint NOT NULL DEFAULT 0 CHECK (closed IN (0, 1)), -- no plaintext gets in
    verified    bigint, -- the version at which a full verify began that found nothing
    PRIMARY KEY (table_name, column_name)
);

-- How far jobs are in a column's rows: in a table of its own, as no trigger reads it.
CREATE TABLE IF NOT EXISTS ophie_crypt_soak_cursors (
    table_name  text NOT NULL,
    column_name text NOT NULL,
    lane        smallint NOT NULL, -- each worker has one, so that none waits for another's commit
    since       bigint NOT NULL, -- in which state; in another, jobs begin anew
    position    text, -- the key of the last row that a job is done with
    filled      bigint NOT NULL DEFAULT 0, -- rows that backfills have sealed
    PRIMARY KEY (table_name, column_name, lane)
);

-- Processes that read and write such columns. The times are microseconds since 1970, UTC.
CREATE TABLE IF NOT EXISTS ophie_crypt_soak_heartbeats (
    process     bytea  NOT NULL CHECK (octet_length(process) = 16),
    table_name  text   NOT NULL,
    column_name text   NOT NULL,
    version     bigint NOT NULL, -- whose state it goes by
    knows_twin  bigint NOT NULL CHECK (knows_twin IN (0, 1)),
    floor       text   NOT NULL,
    pending     bigint NOT NULL, -- values that it served at this version
    odd         bigint NOT NULL, -- mismatches and failures among them
    beat_at     bigint NOT NULL,
    PRIMARY KEY (process, table_name, column_name)
);

UPDATE ophie_crypt_installation SET schema_version = 4;
