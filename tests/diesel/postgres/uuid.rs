//! Owners of type `Uuid`, which Diesel knows on PostgreSQL only; arrays; a type of the user's in one
//! statement with ours.

use diesel::{connection::SimpleConnection, prelude::*, sql_types::Array};
use ophie_crypt::{
    EncryptedModel, Error, Keyring, LocalKms, MemoryKeyStore, OwnerError, Purpose, Session,
};
use ophie_crypt_diesel::{BlindIndex, Ciphertext, Encrypted, Owner, find_error};
use uuid::Uuid;

use crate::db::Database;

#[derive(Debug, EncryptedModel, Insertable, Queryable, Selectable)]
#[crypt(table = "notes")]
#[diesel(table_name = notes)]
pub struct Note {
    pub user_id: Owner<Uuid>,
    pub text: Encrypted<String, note::text>,
    #[crypt(index_of = "text", normalize = "exact")]
    pub text_fp: BlindIndex<String, note::text_fp>,
}

diesel::table! {
    use diesel::sql_types::Uuid;
    use ophie_crypt_diesel::Ciphertext;
    use super::note;

    notes (user_id) {
        user_id -> Uuid,
        text -> Ciphertext<note::text>,
        text_fp -> Ciphertext<note::text_fp>,
    }
}

const ADA: Uuid = Uuid::from_u128(0xada);

async fn world() -> (Database, PgConnection, Session) {
    let database = Database::create().await;
    let mut db = PgConnection::establish(database.url()).unwrap();
    db.batch_execute("CREATE TABLE notes (user_id uuid, text bytea, text_fp bytea)")
        .unwrap();
    let keyring = Keyring::builder()
        .kms(LocalKms::ephemeral().unwrap())
        .key_store(MemoryKeyStore::new())
        .build()
        .unwrap();
    let purpose = Purpose::new("tests");
    let session = keyring.open_or_provision(&ADA, purpose).await.unwrap();
    (database, db, session)
}

fn note(text: &str) -> Note {
    Note {
        user_id: Owner(ADA),
        text: note::text(text),
        text_fp: note::text_fp(text).unwrap(),
    }
}

#[tokio::test]
async fn an_owner_is_a_uuid() {
    let (_database, mut db, session) = world().await;
    let found: Note = session
        .scope_sync(|| {
            diesel::insert_into(notes::table)
                .values(&note("hello"))
                .execute(&mut db)?;
            notes::table
                .filter(notes::user_id.eq(Owner(ADA)))
                .first(&mut db)
        })
        .unwrap();
    assert_eq!(
        (found.user_id, found.text.expose_secret().as_str()),
        (Owner(ADA), "hello")
    );
    let other = session.scope_sync(|| {
        notes::table
            .filter(notes::user_id.eq(Owner(Uuid::nil())))
            .count()
            .get_result::<i64>(&mut db)
    });
    assert_eq!(
        find_error(&other.unwrap_err()),
        Some(&Error::Owner(OwnerError::OtherOwner))
    );
}

#[tokio::test]
async fn arrays_are_bound() {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        count: i64,
    }
    let (_database, mut db, session) = world().await;
    session.scope_sync(|| {
        let notes: Vec<Note> = ["a", "b", "c"].map(note).into();
        diesel::insert_into(notes::table)
            .values(notes)
            .execute(&mut db)
            .unwrap();
        let wanted: Vec<_> = ["a", "c", "d"]
            .map(|text| note::text_fp(text).unwrap())
            .into();
        let found: Count = diesel::sql_query("SELECT count(*) FROM notes WHERE text_fp = ANY($1)")
            .bind::<Array<Ciphertext<note::text_fp>>, _>(wanted)
            .get_result(&mut db)
            .unwrap();
        assert_eq!(found.count, 2);
        let all: Vec<Vec<Encrypted<String, note::text>>> = notes::table
            .group_by(notes::user_id)
            .select(array_agg(notes::text))
            .load(&mut db)
            .unwrap();
        assert_eq!(all[0].len(), 3);
    });
}

diesel::define_sql_function! {
    #[aggregate]
    fn array_agg(text: Ciphertext<note::text>) -> Array<Ciphertext<note::text>>;
}
