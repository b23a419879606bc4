-- Columns that move from plaintext to ciphertext, in the database where the rows are.

CREATE TABLE IF NOT EXISTS ophie_crypt_soaks (
    table_name  TEXT    NOT NULL,
    column_name TEXT    NOT NULL, -- the encrypted one
    twin        TEXT    NOT NULL, -- the plaintext one
    state       TEXT    NOT NULL CHECK (state IN
        ('plain', 'expand', 'dual-write', 'backfill', 'verify', 'soak', 'sealed', 'retired', 'dropped')),
    version     INTEGER NOT NULL DEFAULT 1, -- raised by each step
    since       INTEGER NOT NULL DEFAULT 1, -- the version at which the state began
    admits_old  INTEGER NOT NULL DEFAULT 1 CHECK (admits_old IN (0, 1)), -- binaries that know nothing of it
    floor       TEXT    NOT NULL, -- the lowest state that its model accepts
    closed      INTEGER NOT NULL DEFAULT 0 CHECK (closed IN (0, 1)), -- no plaintext gets in
    verified    INTEGER, -- the version at which a full verify began that found nothing
    PRIMARY KEY (table_name, column_name)
) STRICT;

-- How far jobs are in a column's rows: in a table of its own, as no trigger reads it.
CREATE TABLE IF NOT EXISTS ophie_crypt_soak_cursors (
    table_name  TEXT NOT NULL,
    column_name TEXT NOT NULL,
    lane        INTEGER NOT NULL, -- each worker has one, so that none waits for another's commit
    since       INTEGER NOT NULL, -- in which state; in another, jobs begin anew
    position    TEXT, -- the key of the last row that a job is done with
    filled      INTEGER NOT NULL DEFAULT 0, -- rows that backfills have sealed
    PRIMARY KEY (table_name, column_name, lane)
) STRICT;

-- Processes that read and write such columns. The times are microseconds since 1970, UTC.
CREATE TABLE IF NOT EXISTS ophie_crypt_soak_heartbeats (
    process     BLOB   NOT NULL CHECK (length(process) = 16),
    table_name  TEXT    NOT NULL,
    column_name TEXT    NOT NULL,
    version     INTEGER NOT NULL, -- whose state it goes by
    knows_twin  INTEGER NOT NULL CHECK (knows_twin IN (0, 1)),
    floor       TEXT    NOT NULL,
    pending     INTEGER NOT NULL, -- values that it served at this version
    odd         INTEGER NOT NULL, -- mismatches and failures among them
    beat_at     INTEGER NOT NULL,
    PRIMARY KEY (process, table_name, column_name)
) STRICT;

UPDATE ophie_crypt_installation SET schema_version = 4;
