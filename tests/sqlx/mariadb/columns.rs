//! Which column types hold envelopes and fingerprints, and what the others do to them: refused when they are
//! written or when they are read, never taken for something else.

use ophie_crypt::{Error, FingerprintError, OpenError};
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Sealed};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};

use crate::paths::{
    models::{NAME, NAME_FP, person_link},
    world::{World, ours},
};

type Name = Encrypted<String, person_link::name>;
type NameFp = BlindIndex<String, person_link::name_fp>;

async fn run(
    connection: &mut MySqlConnection,
    text: impl Into<String>,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::raw_sql(AssertSqlSafe(text.into())).execute(connection);
    done.await.map(|done| done.rows_affected())
}

/// A connection to a database with a table `here` of one column, under the server's mode (strict by default).
async fn with_column(ty: &str) -> (World, MySqlConnection) {
    let world = World::new().await;
    let mut connection = MySqlConnection::connect(world.database.url())
        .await
        .unwrap();
    run(&mut connection, format!("CREATE TABLE here (it {ty})"))
        .await
        .unwrap_or_else(|error| panic!("{ty}: {error}"));
    (world, connection)
}

/// As an older server, or one whose `sql_mode` was changed.
async fn not_strict(connection: &mut MySqlConnection) {
    run(connection, "SET sql_mode = ''").await.unwrap();
}

/// Writes an envelope of Alice's, and returns its bytes.
async fn write(
    world: &World,
    connection: &mut MySqlConnection,
    insert: &'static str,
    text: &str,
) -> Result<Vec<u8>, sqlx::Error> {
    let sealed = person_link::name(text).seal(&world.alice).unwrap();
    sqlx::query(insert)
        .bind(&sealed)
        .execute(connection)
        .await?;
    Ok(sealed.into_bytes())
}

async fn read(world: &World, connection: &mut MySqlConnection) -> Result<Name, sqlx::Error> {
    let read = sqlx::query_scalar("SELECT it FROM here").fetch_one(connection);
    world.alice.scope(read).await
}

async fn stored(connection: &mut MySqlConnection) -> Vec<u8> {
    let read = sqlx::query_scalar("SELECT CAST(it AS BINARY) FROM here");
    read.fetch_one(connection).await.unwrap()
}

const INSERT: &str = "INSERT INTO here VALUES (?)";

/// SQLx's own error for two types that do not fit, which names ours.
fn mismatched<T>(result: Result<T, sqlx::Error>) -> bool {
    let text = result.err().expect("it is refused").to_string();
    text.contains("mismatched types") && text.contains("ophie_crypt_sqlx::")
}

#[tokio::test]
async fn every_binary_type_holds_an_envelope() {
    for ty in [
        "TINYBLOB",
        "BLOB",
        "MEDIUMBLOB",
        "LONGBLOB",
        "VARBINARY(100)",
        "BINARY(48)",                        // 45 bytes and "Mom"
        "VARCHAR(100) CHARACTER SET binary", // VARBINARY by another name
    ] {
        let (world, mut connection) = with_column(ty).await;
        write(&world, &mut connection, INSERT, "Mom").await.unwrap();
        let name = read(&world, &mut connection).await.unwrap();
        assert_eq!(name.expose_secret(), "Mom", "{ty}");
    }
}

#[tokio::test]
async fn a_column_of_text_takes_no_envelope() {
    for ty in [
        "TEXT CHARACTER SET utf8mb4",
        "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        "VARCHAR(100) CHARACTER SET utf8mb4",
        "CHAR(100) CHARACTER SET utf8mb4",
        "JSON",
    ] {
        let (world, mut connection) = with_column(ty).await;
        let written = write(&world, &mut connection, INSERT, "Mom").await;
        assert!(
            matches!(written, Err(sqlx::Error::Database(_))),
            "{ty}: {written:?}"
        );
        let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM here")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(rows, 0, "{ty}");
    }
}

/// Where the server takes what it cannot hold, and where any byte is a character: nothing is read from there, not
/// even as `Sealed`, which looks at no byte.
#[tokio::test]
async fn a_column_of_text_gives_no_envelope() {
    for ty in [
        "TEXT CHARACTER SET utf8mb4",
        "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        "VARCHAR(100) CHARACTER SET utf8mb4",
        "TEXT CHARACTER SET latin1",
        "TEXT CHARACTER SET ascii",
        "VARCHAR(100) CHARACTER SET latin1 COLLATE latin1_bin",
        "CHAR(100) CHARACTER SET latin1",
    ] {
        let (world, mut connection) = with_column(ty).await;
        not_strict(&mut connection).await;
        let sealed = write(&world, &mut connection, INSERT, "Mom").await.unwrap();
        assert!(mismatched(read(&world, &mut connection).await), "{ty}");
        let raw = sqlx::query_scalar::<_, Sealed<String, person_link::name>>("SELECT it FROM here");
        assert!(mismatched(raw.fetch_one(&mut connection).await), "{ty}");
        let index = sqlx::query_scalar::<_, NameFp>("SELECT it FROM here");
        assert!(mismatched(index.fetch_one(&mut connection).await), "{ty}");
        // Those of one byte a character can be saved: the bytes are there, only the way out converts them.
        assert_eq!(
            stored(&mut connection).await == sealed,
            !ty.contains("utf8mb4"),
            "{ty}"
        );
        // The macros ask for no type. What they get is no envelope.
        let row = sqlx::query("SELECT it FROM here")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        let unchecked = world
            .alice
            .scope_sync(|| sqlx::Row::try_get_unchecked::<Name, _>(&row, 0));
        let error = ours(unchecked);
        assert!(
            matches!(error, Error::Open(OpenError::NotAnEnvelope { .. })),
            "{ty}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_column_that_is_too_short_takes_no_envelope() {
    for ty in ["VARBINARY(50)", "BINARY(50)", "TINYBLOB"] {
        let (world, mut connection) = with_column(ty).await;
        let written = write(&world, &mut connection, INSERT, &"Mom ".repeat(60)).await;
        let error = written.unwrap_err().to_string();
        assert!(error.contains("Data too long"), "{ty}: {error}");
    }
}

/// Without the strict mode, and with `INSERT IGNORE` under any, the server cuts and says so in a warning, which
/// SQLx does not read. The value is lost; that it is lost is seen when it is read.
#[tokio::test]
async fn an_envelope_that_was_cut_does_not_open() {
    for (insert, strict) in [
        (INSERT, false),
        ("INSERT IGNORE INTO here VALUES (?)", true),
    ] {
        for len in [10, 44, 45, 50] {
            let (world, mut connection) = with_column(&format!("VARBINARY({len})")).await;
            if !strict {
                not_strict(&mut connection).await;
            }
            let sealed = write(&world, &mut connection, insert, "a longer text")
                .await
                .unwrap();
            assert_eq!(stored(&mut connection).await, sealed[..len]);
            let error = ours(read(&world, &mut connection).await);
            if len < 45 {
                assert!(
                    matches!(error, Error::Open(OpenError::NotAnEnvelope { column, .. }) if column == NAME),
                    "{len}: {error:?}"
                );
                assert!(error.to_string().contains("cut short"), "{error}");
            } else {
                assert_eq!(
                    error,
                    Error::Open(OpenError::Rejected { column: NAME }),
                    "{len}"
                );
            }
        }
    }
}

/// `BINARY(n)` fills up with zeros, and gives them back.
#[tokio::test]
async fn an_envelope_that_was_filled_up_does_not_open() {
    let (world, mut connection) = with_column("BINARY(60)").await;
    write(&world, &mut connection, INSERT, "Mom").await.unwrap();
    assert_eq!(
        ours(read(&world, &mut connection).await),
        Error::Open(OpenError::Rejected { column: NAME })
    );
}

async fn found(world: &World, connection: &mut MySqlConnection, name: &str) -> i64 {
    let count = sqlx::query_scalar("SELECT COUNT(*) FROM here WHERE it = ?")
        .bind(NameFp::of_in(&world.alice, name).unwrap());
    count.fetch_one(connection).await.unwrap()
}

#[tokio::test]
async fn fingerprints_are_compared_byte_by_byte() {
    for ty in ["BINARY(17)", "VARBINARY(17)", "VARBINARY(255)", "TINYBLOB"] {
        let (world, mut connection) = with_column(ty).await;
        for name in ["Mom", "Dad", "Ada"] {
            let made = NameFp::of_in(&world.alice, name).unwrap();
            sqlx::query(INSERT)
                .bind(made)
                .execute(&mut connection)
                .await
                .unwrap();
        }
        assert_eq!(found(&world, &mut connection, " mom").await, 1, "{ty}");
        assert_eq!(found(&world, &mut connection, "nobody").await, 0, "{ty}");
        // No byte is a space or a zero that a comparison leaves out.
        let index = NameFp::of_in(&world.alice, "Mom").unwrap();
        for last in [0, b' '] {
            let longer = [index.as_bytes(), &[last]].concat();
            let equal: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM here WHERE it = ?")
                .bind(longer)
                .fetch_one(&mut connection)
                .await
                .unwrap();
            assert_eq!(equal, 0, "{ty}");
        }
        let read: Vec<NameFp> = sqlx::query_scalar("SELECT it FROM here")
            .fetch_all(&mut connection)
            .await
            .unwrap();
        assert!(read.contains(&index), "{ty}");
    }
}

/// Not found and not read, rather than found for another value.
#[tokio::test]
async fn a_fingerprint_that_was_filled_up_is_none() {
    let (world, mut connection) = with_column("BINARY(20)").await;
    let made = NameFp::of_in(&world.alice, "Mom").unwrap();
    sqlx::query(INSERT)
        .bind(made)
        .execute(&mut connection)
        .await
        .unwrap();
    assert_eq!(found(&world, &mut connection, "Mom").await, 0);
    let read = sqlx::query_scalar::<_, NameFp>("SELECT it FROM here").fetch_one(&mut connection);
    let (index, len) = (NAME_FP, 20);
    assert_eq!(
        ours(read.await),
        Error::Fingerprint(FingerprintError::NotAFingerprint { index, len })
    );
}

/// The advice in the crate's docs: no text gets in, in any mode.
#[tokio::test]
async fn a_check_keeps_texts_out() {
    let check = "VARBINARY(100) CHECK (OCTET_LENGTH(it) >= 45 AND ORD(it) BETWEEN 0xFA AND 0xFD)";
    let (world, mut connection) = with_column(check).await;
    write(&world, &mut connection, INSERT, "Mom").await.unwrap();
    read(&world, &mut connection).await.unwrap();
    not_strict(&mut connection).await;
    let long = "canary, and more than 45 bytes of it, as a text that was bound by mistake";
    for text in ["", "canary", long, "\u{fa}", "\u{10ffff}"] {
        let written = sqlx::query(INSERT)
            .bind(text)
            .execute(&mut connection)
            .await;
        let error = written.unwrap_err();
        let error = error.as_database_error().expect("the database refuses");
        assert!(error.is_check_violation(), "{text}: {error:?}");
    }
}
