//! Every error through SQLx: what `try_bind` returns, what a read returns, and what `?` makes of a fingerprint.

use std::collections::BTreeSet;

use ophie_crypt::{EncryptedModel, Error, InSession, Session};
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner, find_error};
use sqlx::{
    Sqlite, SqlitePool,
    error::BoxDynError,
    query::Query,
    sqlite::{SqliteArguments, SqlitePoolOptions},
};

use super::{
    labels,
    sessions::{ALICE, Sessions, spend},
    value::Picky,
};

#[derive(EncryptedModel)]
#[crypt(table = "things")]
#[allow(dead_code, reason = "only its markers are used")]
struct Thing {
    user_id: Owner<i64>,
    text: Encrypted<String, thing::text>,
    #[crypt(index_of = "text", normalize = "exact")]
    text_fp: BlindIndex<String, thing::text_fp>,
    picky: Encrypted<Picky, thing::picky>,
    #[crypt(index_of = "picky", normalize = "exact")]
    picky_fp: BlindIndex<Picky, thing::picky_fp>,
}

type Text = Encrypted<String, thing::text>;
type Fingerprint = BlindIndex<String, thing::text_fp>;

struct World {
    pool: SqlitePool,
    found: BTreeSet<String>,
}

impl World {
    async fn new() -> Self {
        let pool = SqlitePoolOptions::new().max_connections(1);
        let pool = pool.connect("sqlite::memory:").await.unwrap();
        let table = "CREATE TABLE things (text BLOB, text_fp BLOB, picky BLOB, user_id BIGINT)";
        sqlx::raw_sql(table).execute(&pool).await.unwrap();
        sqlx::raw_sql("INSERT INTO things VALUES (NULL, NULL, NULL, 11)")
            .execute(&pool)
            .await
            .unwrap();
        Self {
            pool,
            found: BTreeSet::new(),
        }
    }

    async fn run(&self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&self.pool).await.unwrap();
    }

    /// A value is written.
    async fn put<'q, T>(&self, sql: &'static str, session: &Session, value: T)
    where
        T: sqlx::Encode<'q, Sqlite> + sqlx::Type<Sqlite> + Send + 'q,
    {
        let write = async { sqlx::query(sql).bind(value).execute(&self.pool).await };
        let _ = session.scope(write).await.unwrap();
    }

    /// A value is refused where it is bound.
    #[track_caller]
    fn bound<'q, T>(&mut self, session: Option<&Session>, value: T)
    where
        T: sqlx::Encode<'q, Sqlite> + sqlx::Type<Sqlite> + 'q,
    {
        let mut query: Query<'q, Sqlite, SqliteArguments> = sqlx::query("SELECT ?");
        let bind = || -> Result<(), BoxDynError> { query.try_bind(value) };
        let refused = match session {
            Some(session) => session.scope_sync(bind),
            None => bind(),
        };
        self.find(sqlx::Error::Encode(refused.unwrap_err()));
    }

    /// A value is refused where it is read.
    async fn read<T>(&mut self, session: Option<&Session>, sql: &'static str)
    where
        T: for<'r> sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite> + Send + Unpin,
    {
        let pool = self.pool.clone();
        let read = async move { sqlx::query_scalar::<_, T>(sql).fetch_one(&pool).await };
        let refused = match session {
            Some(session) => read.in_session(session).await,
            None => read.await,
        };
        let Err(error) = refused else {
            panic!("{sql} is read")
        };
        assert!(
            matches!(error, sqlx::Error::ColumnDecode { .. }),
            "{error:?}"
        );
        self.find(error);
    }

    #[track_caller]
    fn find(&mut self, error: sqlx::Error) {
        let Some(found) = find_error(&error) else {
            panic!("no error of ours in {error:?}")
        };
        self.found.extend(labels::of(found));
    }
}

const TEXT: &str = "SELECT text FROM things";
const FINGERPRINT: &str = "SELECT text_fp FROM things";
const OWNER: &str = "SELECT user_id FROM things";

#[tokio::test]
async fn every_error_is_found_in_sqlxs() {
    let sessions = Sessions::open().await;
    let (alice, bob) = (&sessions.alice, &sessions.bob);
    let mut world = World::new().await;

    // NULL.
    world.read::<Text>(Some(alice), TEXT).await;
    world.read::<Fingerprint>(None, FINGERPRINT).await;

    // Sessions that are none.
    let fingerprint = || alice.scope_sync(|| thing::text_fp("x").unwrap());
    world
        .put("UPDATE things SET text = ?", alice, thing::text("x"))
        .await;
    for (reason, session) in &sessions.ended {
        let session = session.as_ref();
        let before = world.found.len();
        world.bound(session, thing::text("x"));
        world.read::<Text>(session, TEXT).await;
        world.bound(session, Owner(ALICE));
        world.read::<Owner<i64>>(session, OWNER).await;
        match session {
            Some(session) => world.bound(Some(session), fingerprint()),
            None => world.find(sqlx::Error::from(thing::text_fp("x").unwrap_err())),
        }
        assert!(world.found.contains(&labels::reason_label(reason)));
        assert!(world.found.len() > before, "{reason:?}");
    }

    // Sealing.
    world.bound(Some(&sessions.read_only), thing::text("x"));
    spend(&sessions.few);
    world.bound(Some(&sessions.few), thing::text("x"));
    sessions.few.reserve(1).await.unwrap_err();
    world.bound(Some(&sessions.few), thing::text("x"));
    world.bound(Some(alice), thing::picky(Picky::Unwritable));
    world.bound(Some(alice), thing::picky(Picky::Huge));

    // Opening.
    world.read::<Text>(Some(bob), TEXT).await;
    let bound = thing::text("x").seal_row(alice, &1_i64).unwrap();
    world.put("UPDATE things SET text = ?", alice, bound).await;
    world.read::<Text>(Some(alice), TEXT).await;
    let unreadable = thing::picky(Picky::Unreadable);
    world
        .put("UPDATE things SET picky = ?", alice, unreadable)
        .await;
    let picky = "SELECT picky FROM things";
    world
        .read::<Encrypted<Picky, thing::picky>>(Some(alice), picky)
        .await;
    world.run("UPDATE things SET text = picky").await;
    world.read::<Text>(Some(alice), TEXT).await;
    world
        .run("UPDATE things SET text = x'00', text_fp = x'00'")
        .await;
    world.read::<Text>(Some(alice), TEXT).await;

    // Fingerprints and owners.
    world.read::<Fingerprint>(Some(alice), FINGERPRINT).await;
    world.bound(Some(bob), fingerprint());
    let two = &sessions.two_keys;
    let one = two.scope_sync(|| thing::text_fp("x").unwrap());
    world.bound(Some(two), one);
    world
        .run("UPDATE things SET text_fp = x'0900000000000000000000000000000000'")
        .await;
    let old: Fingerprint = sqlx::query_scalar(FINGERPRINT)
        .fetch_one(&world.pool)
        .await
        .unwrap();
    world.bound(Some(alice), old);
    world.bound(Some(bob), Owner(ALICE));
    world.read::<Owner<i64>>(Some(bob), OWNER).await;
    let none = alice.scope_sync(|| thing::picky_fp(Picky::Unwritable));
    world.find(sqlx::Error::from(none.unwrap_err()));

    // An operating system without random bytes is no matter of queries.
    labels::complete(world.found, &["SealError::Randomness"]);
}

/// And nothing where there is nothing.
#[tokio::test]
async fn other_errors_are_none_of_ours() {
    let world = World::new().await;
    let missing = sqlx::query("SELECT nothing").fetch_one(&world.pool).await;
    assert_eq!(find_error(&missing.unwrap_err()), None);
    assert_eq!(find_error(&sqlx::Error::RowNotFound), None);
    let text = sqlx::query_scalar::<_, i64>("SELECT 'text'").fetch_one(&world.pool);
    let error = text.await.unwrap_err();
    assert_eq!(find_error(&error), None::<&Error>);
    // `.bind()` keeps the text and loses the type.
    let lost = sqlx::query("SELECT ?")
        .bind(Owner(ALICE))
        .fetch_one(&world.pool);
    let error = lost.await.unwrap_err();
    assert_eq!(find_error(&error), None);
    assert!(error.to_string().contains("session.scope(..)"), "{error}");
}
