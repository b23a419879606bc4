//! The release's statements in Diesel, on the rows that SQLx writes too: `#[diesel(embed)]`, one struct for reading and
//! inserting, and one for changing.

#![allow(unnameable_types, reason = "`table!` makes public columns")]

use std::sync::Mutex;

use diesel::{connection::SimpleConnection, prelude::*};
use ophie_crypt::EncryptedModel;
use ophie_crypt_diesel::{BlindIndex, Owner, Soak};

use super::Connected;

#[derive(Debug, EncryptedModel, Insertable, Queryable, Selectable)]
#[crypt(table = "people")]
#[diesel(table_name = people)]
pub struct Embedded {
    #[crypt(plain)]
    pub id: i32,
    pub user_id: Owner<i64>,
    #[diesel(embed)]
    #[crypt(column = "name_ct", soak(twin = "name"))]
    pub name: Soak<Option<String>, embedded::name>,
    #[crypt(index_of = "name")]
    pub name_fp: Option<BlindIndex<String, embedded::name_fp>>,
}

#[derive(AsChangeset, Debug, EncryptedModel)]
#[crypt(like = Embedded)]
#[diesel(table_name = people, treat_none_as_null = true)]
pub struct Change {
    #[diesel(embed)]
    pub name: Soak<Option<String>, embedded::name>,
    pub name_fp: Option<BlindIndex<String, embedded::name_fp>>,
}

diesel::table! {
    use diesel::sql_types::{BigInt, Integer, Nullable, Text};
    use ophie_crypt_diesel::Ciphertext;
    use super::embedded;

    people (id) {
        id -> Integer,
        user_id -> BigInt,
        name -> Nullable<Text>,
        name_ct -> Nullable<Ciphertext<embedded::name>>,
        name_fp -> Nullable<Ciphertext<embedded::name_fp>>,
    }
}

/// Diesel's connections are no `Sync`.
pub(super) struct Diesel(Mutex<Connected>);

impl Diesel {
    pub(super) fn new(url: &str) -> Self {
        let path = url.trim_start_matches("sqlite://");
        let mut connection = Connected::establish(path).unwrap();
        if path != url {
            connection.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
        }
        Self(Mutex::new(connection))
    }

    pub(super) fn connection(&mut self) -> &mut Connected {
        self.0.get_mut().unwrap()
    }

    pub(super) fn write(
        &mut self,
        id: i32,
        owner: i64,
        name: Option<&str>,
        there: bool,
    ) -> Result<usize, diesel::result::Error> {
        let connection = self.connection();
        let value = name.map_or_else(Soak::null, embedded::name);
        let fp = name.map(embedded::name_fp).transpose()?;
        if there {
            let change = Change { name: value, name_fp: fp };
            return diesel::update(people::table.find(id)).set(&change).execute(connection);
        }
        let new = Embedded {
            id,
            user_id: Owner(owner),
            name: value,
            name_fp: fp,
        };
        diesel::insert_into(people::table).values(&new).execute(connection)
    }
}
