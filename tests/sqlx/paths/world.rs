//! A database with the tests' tables, a key store, and the open sessions of two owners.

use std::sync::Arc;

use ophie_crypt::{Error, Keyring, LocalKms, Purpose, Session};
use ophie_crypt_sqlx::{Owner, find_error};
use uuid::Uuid;

use super::models::{PersonLink, memory, person_link, transcript};
use crate::{
    Store,
    db::{Database, Pool, sql},
};

pub(crate) const ALICE: Uuid = Uuid::from_u128(0xa11ce);
pub(crate) const BOB: Uuid = Uuid::from_u128(0xb0b);
pub(crate) const CALL: Uuid = Uuid::from_u128(0xca11);
pub(crate) const PURPOSE: Purpose = Purpose::new("tests");

/// Columns in the order of [`World::link`]'s values.
pub(crate) const INSERT_LINK: &str =
    "INSERT INTO people_links (user_id, session_id, name, name_fp) VALUES ($1, $2, $3, $4)";

pub(crate) struct World {
    pub(crate) database: Database,
    pub(crate) kms: Arc<LocalKms>,
    pub(crate) keyring: Keyring,
    pub(crate) alice: Session,
    pub(crate) bob: Session,
}

impl World {
    pub(crate) async fn new() -> Self {
        let (database, kms) = (Database::create().await, kms());
        let store = Store::new(crate::key_pool(&database).await);
        store.migrate().await.unwrap();
        let keyring = keyring(&kms, store);
        sqlx::raw_sql(crate::TABLES)
            .execute(database.pool())
            .await
            .unwrap();
        Self {
            alice: keyring.open_or_provision(&ALICE, PURPOSE).await.unwrap(),
            bob: keyring.open_or_provision(&BOB, PURPOSE).await.unwrap(),
            database,
            kms,
            keyring,
        }
    }

    pub(crate) fn pool(&self) -> &Pool {
        self.database.pool()
    }

    /// Another keyring on the same keys, as another process would have it.
    pub(crate) async fn another_keyring(&self) -> Keyring {
        keyring(&self.kms, Store::new(crate::key_pool(&self.database).await))
    }

    /// From now on, Alice's rows may stand under two index keys.
    pub(crate) async fn two_index_keys(&self) {
        let keys = Store::new(crate::key_pool(&self.database).await);
        ophie_crypt_tests::keys::announce_index_key(&self.keyring, keys, &ALICE).await;
        self.alice.refresh().await.unwrap();
    }

    /// Stores a people-link and returns its id.
    pub(crate) async fn link(&self, session: &Session, name: &str) -> i64 {
        self.link_from(session, CALL, name).await
    }

    /// Stores a people-link of one call.
    pub(crate) async fn link_from(&self, session: &Session, call: Uuid, name: &str) -> i64 {
        let add = async {
            sqlx::query_scalar(
                sql("INSERT INTO people_links (user_id, session_id, name, name_fp) VALUES ($1, $2, $3, $4) RETURNING id"),
            )
            .bind(Owner(self.owner(session)))
            .bind(call)
            .bind(person_link::name(name))
            .bind(person_link::name_fp(name).unwrap())
            .fetch_one(self.pool())
            .await
        };
        session.scope(add).await.unwrap()
    }

    /// Stores a transcript and returns its id.
    pub(crate) async fn transcript(&self, session: &Session, text: &str) -> Uuid {
        let id = Uuid::new_v4();
        let add = async {
            sqlx::query(sql(
                "INSERT INTO transcripts (id, user_id, text) VALUES ($1, $2, $3)",
            ))
            .bind(id)
            .bind(Owner(self.owner(session)))
            .bind(transcript::text(text))
            .execute(self.pool())
            .await
        };
        session.scope(add).await.unwrap();
        id
    }

    /// Stores a memory and returns its id.
    pub(crate) async fn memory(&self, session: &Session, text: &str) -> i64 {
        let add = async {
            sqlx::query_scalar(
                sql("INSERT INTO memories (user_id, text, text_fp, weight) VALUES ($1, $2, $3, $4) RETURNING id"),
            )
            .bind(Owner(self.owner(session)))
            .bind(memory::text(text))
            .bind(memory::text_fp(text).unwrap())
            .bind(memory::weight(1_i16))
            .fetch_one(self.pool())
            .await
        };
        session.scope(add).await.unwrap()
    }

    /// All links of the current session's owner, by name.
    pub(crate) async fn names(&self, owner: Uuid) -> Result<Vec<String>, sqlx::Error> {
        let links = sqlx::query_as::<_, PersonLink>(sql(
            "SELECT * FROM people_links WHERE user_id = $1 ORDER BY id",
        ))
        .bind(Owner(owner))
        .fetch_all(self.pool())
        .await?;
        Ok(links
            .iter()
            .map(|link| link.name.expose_secret().clone())
            .collect())
    }

    /// What the database holds, as bytes: the only column of all rows.
    pub(crate) async fn stored(&self, text: &'static str) -> Vec<Option<Vec<u8>>> {
        sqlx::query_scalar(text)
            .fetch_all(self.pool())
            .await
            .unwrap()
    }

    pub(crate) async fn count(&self, text: &'static str) -> i64 {
        sqlx::query_scalar(text)
            .fetch_one(self.pool())
            .await
            .unwrap()
    }

    pub(crate) async fn links(&self) -> i64 {
        self.count("SELECT COUNT(*) FROM people_links").await
    }

    fn owner(&self, session: &Session) -> Uuid {
        if session.check_owner(&ALICE).is_ok() {
            ALICE
        } else {
            BOB
        }
    }
}

pub(crate) fn kms() -> Arc<LocalKms> {
    Arc::new(LocalKms::ephemeral().unwrap())
}

pub(crate) fn keyring(kms: &Arc<LocalKms>, store: Store) -> Keyring {
    Keyring::builder()
        .kms(Arc::clone(kms))
        .key_store(store)
        .build()
        .unwrap()
}

/// Our error inside SQLx's.
#[track_caller]
pub(crate) fn ours<T>(result: Result<T, sqlx::Error>) -> Error {
    let error = result.err().expect("the query fails");
    find_error(&error)
        .unwrap_or_else(|| panic!("no error of ours in {error:?}"))
        .clone()
}

/// Our error in what `try_bind` returns.
#[track_caller]
pub(crate) fn bound<T>(result: Result<T, sqlx::error::BoxDynError>) -> Error {
    ours(result.map_err(sqlx::Error::Encode))
}
