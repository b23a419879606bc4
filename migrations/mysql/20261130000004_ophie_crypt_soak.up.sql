-- Columns that move from plaintext to ciphertext, in the database where the rows are.

CREATE TABLE IF NOT EXISTS ophie_crypt_soaks (
    table_name  VARCHAR(130) NOT NULL,
    column_name VARCHAR(64)  NOT NULL, -- the encrypted one
    twin        VARCHAR(64)  NOT NULL, -- the plaintext one
    state       VARCHAR(16)  NOT NULL CHECK (state IN
        ('plain', 'expand', 'dual-write', 'backfill', 'verify', 'soak', 'sealed', 'retired', 'dropped')),
    version     BIGINT       NOT NULL DEFAULT 1, -- raised by each step
    since       BIGINT       NOT NULL DEFAULT 1, -- the version at which the state began
    admits_old  BIGINT       NOT NULL DEFAULT 1 CHECK (admits_old IN (0, 1)), -- binaries that know nothing of it
    floor       VARCHAR(16)  NOT NULL, -- the lowest state that its model accepts
    closed      BIGINT       NOT NULL DEFAULT 0 CHECK (closed IN (0, 1)), -- no plaintext gets in
    verified    BIGINT, -- the version at which a full verify began that found nothing
    PRIMARY KEY (table_name, column_name)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- How far jobs are in a column's rows: in a table of its own, as no trigger reads it.
CREATE TABLE IF NOT EXISTS ophie_crypt_soak_cursors (
    table_name  VARCHAR(130) NOT NULL,
    column_name VARCHAR(64) NOT NULL,
    lane        SMALLINT NOT NULL, -- each worker has one, so that none waits for another's commit
    since       BIGINT NOT NULL, -- in which state; in another, jobs begin anew
    position    TEXT, -- the key of the last row that a job is done with
    filled      BIGINT NOT NULL DEFAULT 0, -- rows that backfills have sealed
    PRIMARY KEY (table_name, column_name, lane)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Processes that read and write such columns. The times are microseconds since 1970, UTC.
CREATE TABLE IF NOT EXISTS ophie_crypt_soak_heartbeats (
    process     VARBINARY(16) NOT NULL CHECK (octet_length(process) = 16),
    table_name  VARCHAR(130)  NOT NULL,
    column_name VARCHAR(64)   NOT NULL,
    version     BIGINT        NOT NULL, -- whose state it goes by
    knows_twin  BIGINT        NOT NULL CHECK (knows_twin IN (0, 1)),
    floor       VARCHAR(16)   NOT NULL,
    pending     BIGINT        NOT NULL, -- values that it served at this version
    odd         BIGINT        NOT NULL, -- mismatches and failures among them
    beat_at     BIGINT        NOT NULL,
    PRIMARY KEY (process, table_name, column_name)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

UPDATE ophie_crypt_installation SET schema_version = 4;
