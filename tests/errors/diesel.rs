//! Every error through Diesel, by a synchronous and an asynchronous connection, and inside a failed rollback.

use std::collections::BTreeSet;

use ::diesel::{connection::SimpleConnection, prelude::*, result::Error as DieselError};
use diesel_async::{AsyncConnection, sync_connection_wrapper::SyncConnectionWrapper};
use ophie_crypt::{EncryptedModel, InSession, OwnerError, Session};
use ophie_crypt_diesel::{BlindIndex, Encrypted, Owner, find_error};

use super::{
    labels,
    sessions::{ALICE, Sessions, spend},
    value::Picky,
};

#[derive(EncryptedModel)]
#[crypt(table = "things")]
#[allow(dead_code, reason = "only its markers are used")]
pub struct Thing {
    pub user_id: Owner<i64>,
    pub text: Encrypted<String, thing::text>,
    #[crypt(index_of = "text", normalize = "exact")]
    pub text_fp: BlindIndex<String, thing::text_fp>,
    pub picky: Encrypted<Picky, thing::picky>,
    #[crypt(index_of = "picky", normalize = "exact")]
    pub picky_fp: BlindIndex<Picky, thing::picky_fp>,
}

::diesel::table! {
    use diesel::sql_types::BigInt;
    use ophie_crypt_diesel::Ciphertext;
    use super::thing;

    things (user_id) {
        user_id -> BigInt,
        text -> Ciphertext<thing::text>,
        text_fp -> Ciphertext<thing::text_fp>,
        picky -> Ciphertext<thing::picky>,
    }
}

const TABLE: &str = "CREATE TABLE things (text BLOB, text_fp BLOB, picky BLOB, user_id BIGINT);
    INSERT INTO things VALUES (NULL, NULL, NULL, 11)";

type Text = Encrypted<String, thing::text>;
type Fingerprint = BlindIndex<String, thing::text_fp>;

/// Found inside what Diesel returned, and inside what it makes of two errors when a rollback fails too.
#[track_caller]
fn found(error: DieselError) -> Vec<String> {
    let labels = match find_error(&error) {
        Some(found) => labels::of(found),
        None => panic!("no error of ours in {error:?}"),
    };
    let failed = |rollback_error, commit_error| DieselError::RollbackErrorOnCommit {
        rollback_error: Box::new(rollback_error),
        commit_error: Box::new(commit_error),
    };
    let error = failed(error, DieselError::NotFound);
    assert_eq!(labels::of(find_error(&error).expect("ours")), labels);
    let error = failed(DieselError::NotFound, error);
    assert_eq!(labels::of(find_error(&error).expect("ours")), labels);
    labels
}

async fn within<F: Future>(session: Option<&Session>, run: F) -> F::Output {
    match session {
        Some(session) => run.in_session(session).await,
        None => run.await,
    }
}

/// All cases on one connection; `$wait` is `.await` or nothing.
macro_rules! cases {
    ($db:ident, $orm:ident $($wait:tt)*) => {{
        let sessions = Sessions::open().await;
        let (alice, bob) = (&sessions.alice, &sessions.bob);
        let mut labels = BTreeSet::new();
        macro_rules! put {
            ($session:expr, $set:expr) => {
                within($session, async {
                    let update = ::diesel::update(things::table).set($set);
                    ::$orm::RunQueryDsl::execute(update, &mut $db)$($wait)*
                }).await
            };
        }
        macro_rules! read {
            ($session:expr, $column:ident, $ty:ty) => {
                within($session, async {
                    let select = things::table.select(things::$column);
                    ::$orm::RunQueryDsl::first::<$ty>(select, &mut $db)$($wait)*
                }).await.map(|_| ())
            };
        }
        macro_rules! refused {
            ($result:expr) => { labels.extend(found($result.unwrap_err())) };
        }

        // Sessions that are none.
        let fingerprint = || alice.scope_sync(|| thing::text_fp("x").unwrap());
        put!(Some(alice), things::text.eq(thing::text("x"))).unwrap();
        for (reason, session) in &sessions.ended {
            let session = session.as_ref();
            refused!(put!(session, things::text.eq(thing::text("x"))));
            refused!(read!(session, text, Text));
            refused!(put!(session, things::user_id.eq(Owner(ALICE))));
            refused!(read!(session, user_id, Owner<i64>));
            match session {
                Some(_) => refused!(put!(session, things::text_fp.eq(fingerprint()))),
                None => refused!(thing::text_fp("x").map_err(DieselError::from)),
            }
            assert!(labels.contains(&labels::reason_label(reason)), "{reason:?}");
        }

        // Sealing.
        refused!(put!(Some(&sessions.read_only), things::text.eq(thing::text("x"))));
        spend(&sessions.few);
        refused!(put!(Some(&sessions.few), things::text.eq(thing::text("x"))));
        sessions.few.reserve(1).await.unwrap_err();
        refused!(put!(Some(&sessions.few), things::text.eq(thing::text("x"))));
        for value in [Picky::Unwritable, Picky::Huge] {
            refused!(put!(Some(alice), things::picky.eq(thing::picky(value))));
        }

        // Opening.
        refused!(read!(Some(bob), text, Text));
        let bound = thing::text("x").seal_row(alice, &1_i64).unwrap();
        put!(Some(alice), things::text.eq(bound)).unwrap();
        refused!(read!(Some(alice), text, Text));
        put!(Some(alice), things::picky.eq(thing::picky(Picky::Unreadable))).unwrap();
        refused!(read!(Some(alice), picky, Encrypted<Picky, thing::picky>));
        $db.batch_execute("UPDATE things SET text = picky")$($wait)*.unwrap();
        refused!(read!(Some(alice), text, Text));
        $db.batch_execute("UPDATE things SET text = x'00', text_fp = x'00'")$($wait)*.unwrap();
        refused!(read!(Some(alice), text, Text));

        // Fingerprints and owners.
        refused!(read!(Some(alice), text_fp, Fingerprint));
        refused!(put!(Some(bob), things::text_fp.eq(fingerprint())));
        let two = &sessions.two_keys;
        let one = two.scope_sync(|| thing::text_fp("x").unwrap());
        refused!(put!(Some(two), things::text_fp.eq(one)));
        $db.batch_execute("UPDATE things SET text_fp = x'0900000000000000000000000000000000'")$($wait)*.unwrap();
        let old: Fingerprint = {
            let select = things::table.select(things::text_fp);
            ::$orm::RunQueryDsl::first(select, &mut $db)$($wait)*.unwrap()
        };
        refused!(put!(Some(alice), things::text_fp.eq(old)));
        refused!(put!(Some(bob), things::user_id.eq(Owner(ALICE))));
        refused!(read!(Some(bob), user_id, Owner<i64>));
        let none = alice.scope_sync(|| thing::picky_fp(Picky::Unwritable));
        refused!(none.map_err(DieselError::from));
        labels
    }};
}

/// A NULL is Diesel's own error; an operating system without random bytes is no matter of queries.
const NO_QUERY_MAKES: [&str; 3] = [
    "FingerprintError::Null",
    "OpenError::Null",
    "SealError::Randomness",
];

#[tokio::test]
async fn every_error_is_found_in_diesels() {
    let mut db = SqliteConnection::establish(":memory:").unwrap();
    db.batch_execute(TABLE).unwrap();
    labels::complete(cases!(db, diesel), &NO_QUERY_MAKES);
}

#[tokio::test]
async fn every_error_is_found_in_diesel_asyncs() {
    use diesel_async::SimpleAsyncConnection;
    let mut db = SyncConnectionWrapper::<SqliteConnection>::establish(":memory:")
        .await
        .unwrap();
    db.batch_execute(TABLE).await.unwrap();
    labels::complete(cases!(db, diesel_async.await), &NO_QUERY_MAKES);
}

/// And nothing where there is nothing.
#[test]
fn other_errors_are_none_of_ours() {
    let ours = ophie_crypt::Error::from(OwnerError::OtherOwner);
    let boxed = Box::new(ophie_crypt_diesel::Error::from(ours.clone()));
    assert_eq!(
        find_error(&DieselError::QueryBuilderError(boxed)),
        Some(&ours)
    );
    assert_eq!(find_error(&DieselError::NotFound), None);
    assert_eq!(
        find_error(&DieselError::DeserializationError("x".into())),
        None
    );
    let mut db = SqliteConnection::establish(":memory:").unwrap();
    assert_eq!(
        find_error(&db.batch_execute("SELECT nothing").unwrap_err()),
        None
    );
}
