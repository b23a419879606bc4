//! An owner of the user's own type: Diesel knows no `Uuid` on SQLite.

use diesel::{
    connection::SimpleConnection,
    deserialize::{self, FromSql, FromSqlRow},
    expression::AsExpression,
    prelude::*,
    serialize::{self, IsNull, Output, ToSql},
    sql_types::Binary,
    sqlite::Sqlite,
};
use ophie_crypt::{
    CanonicalId, EncryptedModel, Error, Keyring, LocalKms, MemoryKeyStore, OwnerError, OwnerId,
    Purpose,
};
use ophie_crypt_diesel::{Encrypted, Owner, find_error};
use uuid::Uuid;

#[derive(Clone, Copy, Debug, PartialEq, AsExpression, FromSqlRow)]
#[diesel(sql_type = Binary)]
pub struct UserId(Uuid);

impl ToSql<Binary, Sqlite> for UserId {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(self.0.as_bytes().as_slice());
        Ok(IsNull::No)
    }
}

impl FromSql<Binary, Sqlite> for UserId {
    fn from_sql(value: diesel::sqlite::SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
        let bytes = <Vec<u8> as FromSql<Binary, Sqlite>>::from_sql(value)?;
        Ok(Self(Uuid::from_slice(&bytes)?))
    }
}

impl OwnerId for UserId {
    fn canonical(&self) -> CanonicalId {
        self.0.canonical()
    }
}

#[derive(Debug, EncryptedModel, Insertable, Queryable)]
#[crypt(table = "notes")]
#[diesel(table_name = notes)]
pub struct Note {
    pub user_id: Owner<UserId>,
    pub text: Encrypted<String, note::text>,
}

diesel::table! {
    use diesel::sql_types::Binary;
    use ophie_crypt_diesel::Ciphertext;
    use super::note;

    notes (user_id) {
        user_id -> Binary,
        text -> Ciphertext<note::text>,
    }
}

#[tokio::test]
async fn an_owner_is_the_users_own_type() {
    let ada = UserId(Uuid::from_u128(0xada));
    let mut db = SqliteConnection::establish(":memory:").unwrap();
    db.batch_execute("CREATE TABLE notes (user_id BLOB, text BLOB)")
        .unwrap();
    let keyring = Keyring::builder()
        .kms(LocalKms::ephemeral().unwrap())
        .key_store(MemoryKeyStore::new())
        .build()
        .unwrap();
    let purpose = Purpose::new("tests");
    let session = keyring.open_or_provision(&ada, purpose).await.unwrap();
    session.scope_sync(|| {
        let note = Note {
            user_id: Owner(ada),
            text: note::text("hello"),
        };
        diesel::insert_into(notes::table)
            .values(&note)
            .execute(&mut db)
            .unwrap();
        let found: Note = notes::table
            .filter(notes::user_id.eq(Owner(ada)))
            .first(&mut db)
            .unwrap();
        assert_eq!(
            (found.user_id, found.text.expose_secret().as_str()),
            (Owner(ada), "hello")
        );
        let other = notes::table
            .filter(notes::user_id.eq(Owner(UserId(Uuid::nil()))))
            .count()
            .get_result::<i64>(&mut db)
            .unwrap_err();
        assert_eq!(
            find_error(&other),
            Some(&Error::Owner(OwnerError::OtherOwner))
        );
    });
}
