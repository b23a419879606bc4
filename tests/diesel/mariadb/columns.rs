//! Column types of MySQL and MariaDB: which of them hold our bytes, and what the others do; unsigned owners.

use diesel::{
    connection::SimpleConnection,
    deserialize::{self, FromSql, FromSqlRow},
    expression::AsExpression,
    mysql::{Mysql, MysqlValue},
    prelude::*,
    result::{DatabaseErrorKind, Error as DieselError},
    serialize::{self, Output, ToSql},
    sql_types::{BigInt, Binary, Text, Unsigned},
};
use ophie_crypt::{
    CanonicalId, EncryptedModel, Error, Keyring, LocalKms, MemoryKeyStore, OpenError, OwnerError,
    OwnerId, Purpose, Session,
};
use ophie_crypt_diesel::{BlindIndex, Encrypted, Owner, find_error};

use crate::db::Database;

#[derive(Debug, EncryptedModel, Insertable, Queryable)]
#[crypt(table = "notes")]
#[diesel(table_name = notes)]
pub struct Note {
    pub user_id: Owner<i64>,
    pub text: Encrypted<String, note::text>,
    #[crypt(index_of = "text", normalize = "exact")]
    pub text_fp: BlindIndex<String, note::text_fp>,
}

diesel::table! {
    use diesel::sql_types::BigInt;
    use ophie_crypt_diesel::Ciphertext;
    use super::note;

    notes (user_id) {
        user_id -> BigInt,
        text -> Ciphertext<note::text>,
        text_fp -> Ciphertext<note::text_fp>,
    }
}

const ADA: i64 = 7;

struct World {
    _database: Database,
    db: MysqlConnection,
    session: Session,
}

/// A table `notes` whose columns are of these types.
async fn world(owner: &str, text: &str, text_fp: &str) -> World {
    let database = Database::create().await;
    let mut db = MysqlConnection::establish(database.url()).unwrap();
    let table = format!("CREATE TABLE notes (user_id {owner}, text {text}, text_fp {text_fp})");
    db.batch_execute(&table).unwrap();
    World {
        _database: database,
        db,
        session: open(&ADA).await,
    }
}

async fn open(owner: &impl OwnerId) -> Session {
    let keyring = Keyring::builder()
        .kms(LocalKms::ephemeral().unwrap())
        .key_store(MemoryKeyStore::new())
        .build()
        .unwrap();
    let purpose = Purpose::new("tests");
    keyring.open_or_provision(owner, purpose).await.unwrap()
}

impl World {
    fn write(&mut self, text: &str) -> QueryResult<usize> {
        self.session.scope_sync(|| {
            let note = Note {
                user_id: Owner(ADA),
                text: note::text(text),
                text_fp: note::text_fp(text).unwrap(),
            };
            diesel::insert_into(notes::table)
                .values(&note)
                .execute(&mut self.db)
        })
    }

    fn read(&mut self) -> QueryResult<String> {
        self.session.scope_sync(|| {
            let found: Note = notes::table.first(&mut self.db)?;
            Ok(found.text.expose_secret().clone())
        })
    }

    #[track_caller]
    fn refused(&mut self) -> Error {
        let error = self.read().unwrap_err();
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        find_error(&error)
            .unwrap_or_else(|| panic!("no error of ours in {error:?}"))
            .clone()
    }
}

#[tokio::test]
async fn binary_columns_hold_ciphertext_and_fingerprints() {
    for (text, text_fp) in [
        ("TINYBLOB", "BINARY(17)"),
        ("BLOB", "VARBINARY(17)"),
        ("MEDIUMBLOB", "VARBINARY(17)"),
        ("LONGBLOB", "BLOB"),
        ("VARBINARY(100)", "TINYBLOB"),
    ] {
        let mut world = world("BIGINT", text, text_fp).await;
        assert_eq!(world.write("hello"), Ok(1));
        assert_eq!(world.read().unwrap(), "hello", "{text}, {text_fp}");
        let found = world.session.scope_sync(|| {
            notes::table
                .filter(notes::text_fp.eq(note::text_fp("hello").unwrap()))
                .count()
                .get_result(&mut world.db)
        });
        assert_eq!(found, Ok(1_i64), "{text}, {text_fp}");
    }
}

#[tokio::test]
async fn a_column_too_short_refuses_the_row() {
    let too_long = "a".repeat(211); // 256 bytes sealed
    for (text, text_fp, value) in [
        ("TINYBLOB", "BINARY(17)", too_long.as_str()),
        ("VARBINARY(49)", "BINARY(17)", "hello"),
        ("BLOB", "VARBINARY(16)", "hello"),
    ] {
        let mut world = world("BIGINT", text, text_fp).await;
        let error = world.write(value).unwrap_err();
        assert!(
            error.to_string().starts_with("Data too long for"),
            "{error}"
        );
    }
}

/// Outside of MariaDB's strict mode, which is its default, the server cuts silently: the row is lost, and says so.
#[tokio::test]
async fn what_the_server_cut_is_refused() {
    let mut world = world("BIGINT", "VARBINARY(49)", "BINARY(17)").await;
    world.db.batch_execute("SET sql_mode = ''").unwrap();
    assert_eq!(world.write("hello"), Ok(1));
    let column = note_text();
    assert_eq!(world.refused(), Error::Open(OpenError::Rejected { column }));
}

/// A wider `BINARY` column pads with zeros.
#[tokio::test]
async fn what_the_server_padded_is_refused() {
    let mut world = world("BIGINT", "BINARY(80)", "BINARY(17)").await;
    assert_eq!(world.write("hello"), Ok(1));
    let column = note_text();
    assert_eq!(world.refused(), Error::Open(OpenError::Rejected { column }));
}

/// Envelopes are no UTF-8: their first byte is none.
#[tokio::test]
async fn a_text_column_takes_no_ciphertext_and_its_plaintext_is_refused() {
    let mut world = world("BIGINT", "TEXT CHARACTER SET utf8mb4", "VARBINARY(17)").await;
    let error = world.write("hello").unwrap_err();
    assert!(
        error.to_string().starts_with("Incorrect string value"),
        "{error}"
    );
    world
        .db
        .batch_execute("INSERT INTO notes VALUES (7, 'canary-4711', NULL)")
        .unwrap();
    let text = world.session.scope_sync(|| {
        notes::table
            .select(notes::text)
            .first::<Encrypted<String, note::text>>(&mut world.db)
    });
    let error = text.unwrap_err();
    assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    let Some(Error::Open(OpenError::NotAnEnvelope { reason, .. })) = find_error(&error) else {
        panic!("{error:?}")
    };
    assert_eq!(reason.len(), 11);
}

/// A character set in which every byte is a character takes it, and gives other bytes back.
#[tokio::test]
async fn what_a_latin_text_column_recoded_is_refused() {
    let mut world = world("BIGINT", "TEXT CHARACTER SET latin1", "VARBINARY(17)").await;
    assert_eq!(world.write("hello"), Ok(1));
    let error = world.refused();
    assert!(
        matches!(error, Error::Open(OpenError::NotAnEnvelope { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_signed_owner_in_an_unsigned_column() {
    let mut world = world("BIGINT UNSIGNED", "BLOB", "VARBINARY(17)").await;
    assert_eq!(world.write("hello"), Ok(1));
    assert_eq!(world.read().unwrap(), "hello");
    let found = world.session.scope_sync(|| {
        notes::table
            .filter(notes::user_id.eq(Owner(ADA)))
            .count()
            .get_result(&mut world.db)
    });
    assert_eq!(found, Ok(1_i64));
    // No i64 at all.
    world
        .db
        .batch_execute("UPDATE notes SET user_id = 18446744073709551615")
        .unwrap();
    let error = world.read().unwrap_err();
    assert!(
        matches!(error, DieselError::DeserializationError(_)),
        "{error:?}"
    );
    assert_eq!(find_error(&error), None);
    // Another owner, whose low bytes are Ada's.
    world
        .db
        .batch_execute("UPDATE notes SET user_id = 4294967303")
        .unwrap();
    assert_eq!(world.refused(), Error::Owner(OwnerError::OtherOwner));
}

fn note_text() -> ophie_crypt::ColumnRef {
    ophie_crypt::ColumnRef::new("notes", "text")
}

/// `u64` is no `OwnerId`; a type of the user's may be one, by eight bytes of its own.
#[derive(Clone, Copy, Debug, PartialEq, AsExpression, FromSqlRow)]
#[diesel(sql_type = Unsigned<BigInt>)]
pub struct UserId(u64);

impl ToSql<Unsigned<BigInt>, Mysql> for UserId {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Mysql>) -> serialize::Result {
        ToSql::<Unsigned<BigInt>, Mysql>::to_sql(&self.0, out)
    }
}

impl FromSql<Unsigned<BigInt>, Mysql> for UserId {
    fn from_sql(value: MysqlValue<'_>) -> deserialize::Result<Self> {
        <u64 as FromSql<Unsigned<BigInt>, Mysql>>::from_sql(value).map(Self)
    }
}

impl OwnerId for UserId {
    fn canonical(&self) -> CanonicalId {
        self.0.to_string().canonical()
    }
}

#[tokio::test]
async fn an_unsigned_owner_is_a_type_of_the_users() {
    let ada = UserId(u64::MAX);
    let mut world = world("BIGINT UNSIGNED", "BLOB", "VARBINARY(17)").await;
    let session = open(&ada).await;
    session.scope_sync(|| {
        diesel::sql_query("INSERT INTO notes (user_id, text) VALUES (?, ?)")
            .bind::<Unsigned<BigInt>, _>(Owner(ada))
            .bind::<Binary, _>(note::text("hello"))
            .execute(&mut world.db)
            .unwrap();
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Unsigned<BigInt>)]
            user_id: Owner<UserId>,
            #[diesel(sql_type = Binary)]
            text: Encrypted<String, note::text>,
        }
        let row: Row = diesel::sql_query("SELECT user_id, text FROM notes")
            .get_result(&mut world.db)
            .unwrap();
        assert_eq!(
            (row.user_id, row.text.expose_secret().as_str()),
            (Owner(ada), "hello")
        );
    });
}

/// The server's message names the key's value, which is a fingerprint here, and no plaintext.
#[tokio::test]
async fn a_second_row_of_one_fingerprint() {
    let mut world = world("BIGINT", "BLOB", "VARBINARY(17) UNIQUE").await;
    assert_eq!(world.write("canary-4711"), Ok(1));
    let error = world.write("canary-4711").unwrap_err();
    let DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _) = &error else {
        panic!("{error:?}")
    };
    assert!(
        !format!("{error} {error:?}").contains("canary"),
        "{error:?}"
    );
    // What a plain column's value looks like there.
    world
        .db
        .batch_execute("CREATE TABLE plain (text VARCHAR(20) UNIQUE)")
        .unwrap();
    let mut plain = || {
        diesel::sql_query("INSERT INTO plain VALUES (?)")
            .bind::<Text, _>("canary-4711")
            .execute(&mut world.db)
    };
    plain().unwrap();
    let shown = plain().unwrap_err().to_string();
    assert!(shown.contains("canary-4711"), "{shown}");
}
