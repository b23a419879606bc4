//! The life of rows by Diesel and diesel-async, and what must fail: on whichever connection.

use ::diesel::prelude::*;
use ophie_crypt::EncryptedModel;
use ophie_crypt_diesel::{BlindIndex, Encrypted, Owner};

use crate::search::CONTROL;

/// Whose rows they are.
pub(crate) const OWNER: i64 = 0x7a11_0b5e_55ed;

/// On each connection as many canaries.
pub(crate) const EACH: usize = 15;

#[derive(Debug, EncryptedModel, Insertable, Queryable, Selectable, AsChangeset)]
#[crypt(table = "diesel_notes")]
#[diesel(table_name = diesel_notes)]
pub struct DieselNote {
    pub user_id: Owner<i64>,
    pub text: Encrypted<String, diesel_note::text>,
    pub data: Option<Encrypted<Vec<u8>, diesel_note::data>>,
    #[crypt(index_of = "text", normalize = "name")]
    pub text_fp: BlindIndex<String, diesel_note::text_fp>,
    #[crypt(plain)]
    pub label: String,
}

::diesel::table! {
    use diesel::sql_types::{BigInt, Nullable, Text};
    use ophie_crypt_diesel::Ciphertext;
    use super::diesel_note;

    diesel_notes (user_id) {
        user_id -> BigInt,
        text -> Ciphertext<diesel_note::text>,
        data -> Nullable<Ciphertext<diesel_note::data>>,
        text_fp -> Ciphertext<diesel_note::text_fp>,
        label -> Text,
    }
}

/// In a scope of the owner's.
pub(crate) fn note(text: &str, data: Option<&str>) -> DieselNote {
    DieselNote {
        user_id: Owner(OWNER),
        text: diesel_note::text(text),
        data: data.map(|data| diesel_note::data(data.as_bytes())),
        text_fp: diesel_note::text_fp(text).unwrap(),
        label: CONTROL.to_owned(),
    }
}

/// All of it on one connection; `$wait` is `.await` or nothing.
macro_rules! drive {
    ($db:expr, $backend:ty, $session:expr, $canaries:expr, $texts:expr, $orm:ident, [$($wait:tt)*], [$($asynchronous:tt)?]) => {{
        use ::diesel::{ExpressionMethods, QueryDsl, SelectableHelper, result::Error};
        use $crate::diesel::{DieselNote, OWNER, diesel_note, diesel_notes::dsl, note};
        use ophie_crypt_diesel::{Encrypted, Owner};

        let (mut db, canaries, texts) = ($db, $canaries, $texts);
        let text = |at: usize| canaries[at].as_str();
        let run = async {
            for at in 0..3 {
                let insert = ::diesel::insert_into(dsl::diesel_notes).values(note(text(at), None));
                let shown = ::diesel::debug_query::<$backend, _>(&insert);
                texts.add(format_args!("{shown} {shown:?}"));
                ::$orm::RunQueryDsl::execute(insert, &mut db)$($wait)*.unwrap();
            }
            for at in [3, 5] {
                let row = note(text(at), Some(text(at + 1)));
                let insert = ::diesel::insert_into(dsl::diesel_notes).values(&row);
                ::$orm::RunQueryDsl::execute(insert, &mut db)$($wait)*.unwrap();
            }
            let only = || dsl::diesel_notes.filter(dsl::text_fp.eq(diesel_note::text_fp(text(0)).unwrap()));
            let update = ::diesel::update(only()).set(dsl::text.eq(diesel_note::text(text(7))));
            assert_eq!(::$orm::RunQueryDsl::execute(update, &mut db)$($wait)*, Ok(1));
            let changed = ::diesel::update(only()).set(note(text(0), Some(text(8))));
            assert_eq!(::$orm::RunQueryDsl::execute(changed, &mut db)$($wait)*, Ok(1));
            let gone: Result<(), Error> = db.transaction($($asynchronous)? |db| {
                let insert = ::diesel::insert_into(dsl::diesel_notes).values(note(text(9), None));
                let _ = ::$orm::RunQueryDsl::execute(insert, db)$($wait)*?;
                Err(Error::RollbackTransaction)
            })$($wait)*;
            texts.add_error(&gone.unwrap_err());
            // A constraint's error, whose detail may print the row.
            let twice = ::diesel::insert_into(dsl::diesel_notes).values(note(text(0), Some(text(10))));
            texts.add_error(&::$orm::RunQueryDsl::execute(twice, &mut db)$($wait)*.unwrap_err());
            let eq = [1, 2].map(|at| diesel_note::text_fp(text(at)).unwrap());
            let select = dsl::diesel_notes.filter(dsl::text_fp.eq_any(eq)).select(DieselNote::as_select());
            let found: Vec<DieselNote> = ::$orm::RunQueryDsl::load(select, &mut db)$($wait)*.unwrap();
            let read: Vec<_> = found.iter().map(|note| note.text.expose_secret().as_str()).collect();
            assert!(read.len() == 2 && read.contains(&text(1)) && read.contains(&text(2)));
            texts.add(&found);
            let session = ophie_crypt::Session::current().unwrap();
            let sealed = diesel_note::text(text(11)).seal(&session).unwrap();
            texts.add((&sealed, sealed.open(&session).unwrap(), Owner(OWNER)));
        };
        $session.scope(run).await;

        // Without a session.
        let read: Result<Vec<DieselNote>, _> =
            ::$orm::RunQueryDsl::load(dsl::diesel_notes.select(DieselNote::as_select()), &mut db)$($wait)*;
        texts.add_error(&read.unwrap_err());
        let value: Encrypted<String, diesel_note::text> = diesel_note::text(text(12));
        let write = ::diesel::update(dsl::diesel_notes).set(dsl::text.eq(value));
        let shown = ::diesel::debug_query::<$backend, _>(&write);
        texts.add(format_args!("{shown} {shown:?}"));
        texts.add_error(&::$orm::RunQueryDsl::execute(write, &mut db)$($wait)*.unwrap_err());
        texts.add_error(&diesel_note::text_fp(text(13)).unwrap_err());
        let panicked = std::panic::catch_unwind(|| note(text(14), None));
        assert!(panicked.is_err());
    }};
}
pub(crate) use drive;
