//! The same field under Diesel: `#[diesel(embed)]`, one struct for reading, inserting and changing.

#![allow(unnameable_types, reason = "`table!` makes public columns")]

use diesel::{connection::SimpleConnection, prelude::*};
use ophie_crypt::{
    EncryptedModel, Keyring, LocalKms, MemoryKeyStore, Models, Purpose,
    soak::{SoakState, SoakWatch, Soaker},
};
use ophie_crypt_diesel::{Owner, Soak};
use ophie_crypt_sqlx::SqliteModels;
use ophie_crypt_tests::sqlite::Database;

#[derive(Debug, EncryptedModel, Insertable, Queryable, Selectable)]
#[crypt(table = "people")]
#[diesel(table_name = people)]
pub struct Person {
    #[crypt(plain)]
    pub id: i32,
    pub user_id: Owner<i64>,
    #[diesel(embed)]
    #[crypt(column = "name_ct", soak(twin = "name", floor = "expand"))]
    pub name: Soak<String, person::name>,
}

#[derive(AsChangeset, Debug, EncryptedModel)]
#[crypt(like = Person)]
#[diesel(table_name = people)]
pub struct Edit {
    #[diesel(embed)]
    pub name: Soak<String, person::name>,
}

diesel::table! {
    use diesel::sql_types::{BigInt, Integer, Nullable, Text};
    use ophie_crypt_diesel::Ciphertext;
    use super::person;

    people (id) {
        id -> Integer,
        user_id -> BigInt,
        name -> Nullable<Text>,
        name_ct -> Nullable<Ciphertext<person::name>>,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_struct_in_every_state() {
    let database = Database::create().await;
    let models = SqliteModels::new(database.pool().clone(), Models::new().with::<Person>());
    models.migrate().await.unwrap();
    let mut db = SqliteConnection::establish(&database.path().display().to_string()).unwrap();
    db.batch_execute(
        "PRAGMA busy_timeout = 5000; CREATE TABLE people (id INTEGER PRIMARY KEY, user_id BIGINT NOT NULL, name TEXT); \
         INSERT INTO people VALUES (1, 7, 'before')",
    )
    .unwrap();
    let watch = SoakWatch::new(models.clone()).unwrap();
    let keyring = Keyring::builder()
        .kms(LocalKms::ephemeral().unwrap())
        .key_store(MemoryKeyStore::new())
        .soak_watch(watch.clone())
        .build()
        .unwrap();
    let soaker = Soaker::new(&keyring, models);
    soaker.expand("people", "name_ct").await.unwrap();
    watch.beat().await.unwrap();
    let session = keyring
        .open_or_provision(&7_i64, Purpose::new("test"))
        .await
        .unwrap();
    let mut state = SoakState::Expand;
    let mut expected = vec!["before".to_owned()];
    loop {
        let id = i32::try_from(expected.len()).unwrap() + 1;
        let served = session.scope_sync(|| {
            let new = Person {
                id,
                user_id: Owner(7),
                name: person::name("new"),
            };
            let inserted = match id % 2 {
                0 => diesel::insert_into(people::table)
                    .values(&new)
                    .execute(&mut db),
                _ => diesel::insert_into(people::table)
                    .values(new)
                    .execute(&mut db),
            };
            inserted.unwrap();
            let edit = Edit {
                name: person::name(format!("edited in {state}")),
            };
            diesel::update(people::table.find(id))
                .set(&edit)
                .execute(&mut db)
                .unwrap();
            let rows = people::table.order(people::id).select(Person::as_select());
            let rows: Vec<Person> = rows.load(&mut db).unwrap();
            rows.iter()
                .map(|row| row.name.expose_secret().clone())
                .collect::<Vec<_>>()
        });
        expected.push(format!("edited in {state}"));
        assert_eq!(served, expected);
        let (plain, sealed): (i64, i64) = (
            people::table
                .filter(people::id.eq(id).and(people::name.is_not_null()))
                .count()
                .get_result(&mut db)
                .unwrap(),
            people::table
                .filter(people::id.eq(id).and(people::name_ct.is_not_null()))
                .count()
                .get_result(&mut db)
                .unwrap(),
        );
        assert_eq!(
            (plain == 1, sealed == 1),
            (state.writes_twin(), state.writes_sealed())
        );
        let Some(next) = state.next().filter(|next| *next < SoakState::Dropped) else {
            break;
        };
        if state.is_filled() {
            soaker.backfill("people", "name_ct").await.unwrap();
        }
        if next == SoakState::Retired {
            soaker
                .admit_old_binaries("people", "name_ct", false)
                .await
                .unwrap();
            watch.beat().await.unwrap();
        }
        if matches!(next, SoakState::Soak | SoakState::Retired) {
            assert!(soaker.verify("people", "name_ct").await.unwrap().is_clean());
        }
        soaker.step("people", "name_ct", next).await.unwrap();
        watch.beat().await.unwrap();
        state = next;
    }
}
