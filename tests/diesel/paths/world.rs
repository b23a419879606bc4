//! A database with the tests' tables, a connection of Diesel's, and the open sessions of two owners.

use std::sync::Arc;

use diesel::{
    connection::{Connection as _, SimpleConnection},
    prelude::*,
    result::Error as DieselError,
    sql_types::{Binary, Nullable},
};
use ophie_crypt::{Error, Keyring, LocalKms, MemoryKeyStore, Purpose, Session};
use ophie_crypt_diesel::find_error;

use super::models::{PersonLink, new_link, people_links};
use crate::{Connection, db::Database};

pub(crate) const ALICE: i64 = 11;
pub(crate) const BOB: i64 = 22;
const PURPOSE: Purpose = Purpose::new("tests");

pub(crate) struct World {
    pub(crate) database: Database,
    pub(crate) db: Connection,
    keys: Arc<MemoryKeyStore>,
    keyring: Keyring,
    pub(crate) alice: Session,
    pub(crate) bob: Session,
}

impl World {
    pub(crate) async fn new() -> Self {
        let database = Database::create().await;
        let keys = Arc::new(MemoryKeyStore::new());
        let keyring = Keyring::builder()
            .kms(LocalKms::ephemeral().unwrap())
            .key_store(Arc::clone(&keys))
            .build()
            .unwrap();
        let mut db = connect(&database);
        db.batch_execute(crate::TABLES).unwrap();
        Self {
            database,
            db,
            alice: keyring.open_or_provision(&ALICE, PURPOSE).await.unwrap(),
            bob: keyring.open_or_provision(&BOB, PURPOSE).await.unwrap(),
            keys,
            keyring,
        }
    }

    /// From now on, Alice's rows may stand under two index keys.
    pub(crate) async fn two_index_keys(&self) {
        let keys = Arc::clone(&self.keys);
        ophie_crypt_tests::keys::announce_index_key(&self.keyring, keys, &ALICE).await;
        self.alice.refresh().await.unwrap();
    }

    /// A session of any owner.
    pub(crate) async fn session(&self, owner: i64) -> Session {
        let opened = self.keyring.open_or_provision(&owner, PURPOSE).await;
        opened.unwrap()
    }

    /// Stores one of Alice's links and returns its id.
    pub(crate) fn link(&mut self, name: &str) -> i64 {
        let add = || {
            diesel::insert_into(people_links::table)
                .values(&new_link(ALICE, name))
                .execute(&mut self.db)?;
            people_links::table
                .select(diesel::dsl::max(people_links::id).assume_not_null())
                .first(&mut self.db)
        };
        self.alice.scope_sync(add).unwrap()
    }

    /// The names of all links, in the current session.
    pub(crate) fn names(&mut self) -> QueryResult<Vec<String>> {
        names(&mut self.db)
    }

    /// What the database holds, as bytes: the column `bytes` of all rows.
    pub(crate) fn stored(&mut self, sql: &str) -> Vec<Option<Vec<u8>>> {
        let rows: Vec<Stored> = diesel::sql_query(sql).load(&mut self.db).unwrap();
        rows.into_iter().map(|row| row.bytes).collect()
    }

    pub(crate) fn links(&mut self) -> i64 {
        people_links::table
            .count()
            .get_result(&mut self.db)
            .unwrap()
    }

    pub(crate) fn run(&mut self, sql: &str) {
        self.db.batch_execute(sql).unwrap();
    }
}

pub(crate) fn names(db: &mut Connection) -> QueryResult<Vec<String>> {
    let links = people_links::table
        .order(people_links::id)
        .select(PersonLink::as_select())
        .load(db)?;
    Ok(links
        .iter()
        .map(|link| link.name.expose_secret().clone())
        .collect())
}

#[derive(QueryableByName)]
struct Stored {
    #[diesel(sql_type = Nullable<Binary>)]
    bytes: Option<Vec<u8>>,
}

pub(crate) fn connect(database: &Database) -> Connection {
    Connection::establish(&crate::url(database)).unwrap()
}

/// Our error inside Diesel's.
#[track_caller]
pub(crate) fn ours<T>(result: Result<T, DieselError>) -> Error {
    let error = result.err().expect("the query fails");
    find_error(&error)
        .unwrap_or_else(|| panic!("no error of ours in {error:?}"))
        .clone()
}
