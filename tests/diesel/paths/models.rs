//! The models of the tests, and their `table!`s with the SQL types that the compiler tells apart.

use diesel::prelude::*;
use ophie_crypt::{ColumnRef, EncryptedModel};
use ophie_crypt_diesel::{BlindIndex, Encrypted, Owner};

/// The rows of what stands in `users`: the owner is the key.
#[derive(Debug, EncryptedModel, Identifiable, Insertable, Queryable, Selectable)]
#[crypt(table = "users")]
#[diesel(table_name = users)]
pub struct User {
    pub id: Owner<i64>,
    pub name: Encrypted<String, user::name>,
}

#[derive(
    Debug, EncryptedModel, Identifiable, Associations, Queryable, Selectable, QueryableByName,
)]
#[crypt(table = "people_links")]
#[diesel(table_name = people_links)]
#[diesel(belongs_to(User))]
pub struct PersonLink {
    #[crypt(plain)]
    pub id: i64,
    pub user_id: Owner<i64>,
    #[crypt(plain)]
    pub call: i64,
    pub name: Encrypted<String, person_link::name>,
    #[crypt(index_of = "name", normalize = "name")]
    pub name_fp: BlindIndex<String, person_link::name_fp>,
    pub relation: Option<Encrypted<String, person_link::relation>>,
}

/// A link without an id.
#[derive(Debug, EncryptedModel, Insertable)]
#[crypt(like = PersonLink)]
#[diesel(table_name = people_links)]
pub struct NewLink {
    pub user_id: Owner<i64>,
    #[crypt(plain)]
    pub call: i64,
    pub name: Encrypted<String, person_link::name>,
    pub name_fp: BlindIndex<String, person_link::name_fp>,
    pub relation: Option<Encrypted<String, person_link::relation>>,
}

#[derive(Debug, EncryptedModel, Identifiable, Associations, Queryable, Selectable)]
#[crypt(table = "mentions")]
#[diesel(table_name = mentions)]
#[diesel(belongs_to(PersonLink, foreign_key = link_id))]
pub struct Mention {
    #[crypt(plain)]
    pub id: i64,
    pub user_id: Owner<i64>,
    #[crypt(plain)]
    pub link_id: i64,
    pub quote: Encrypted<String, mention::quote>,
}

/// Its database columns are nullable, its fields are not.
#[derive(Debug, EncryptedModel, Queryable, Selectable)]
#[crypt(table = "memories")]
#[diesel(table_name = memories)]
pub(crate) struct Memory {
    #[crypt(plain)]
    pub(crate) id: i64,
    pub(crate) user_id: Owner<i64>,
    #[crypt(pad = 64)]
    pub(crate) text: Encrypted<String, memory::text>,
}

diesel::table! {
    use diesel::sql_types::BigInt;
    use ophie_crypt_diesel::Ciphertext;
    use super::user;

    users (id) {
        id -> BigInt,
        name -> Ciphertext<user::name>,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Nullable};
    use ophie_crypt_diesel::Ciphertext;
    use super::person_link;

    people_links (id) {
        id -> BigInt,
        user_id -> BigInt,
        call -> BigInt,
        name -> Ciphertext<person_link::name>,
        name_fp -> Ciphertext<person_link::name_fp>,
        relation -> Nullable<Ciphertext<person_link::relation>>,
    }
}

diesel::table! {
    use diesel::sql_types::BigInt;
    use ophie_crypt_diesel::Ciphertext;
    use super::mention;

    mentions (id) {
        id -> BigInt,
        user_id -> BigInt,
        link_id -> BigInt,
        quote -> Ciphertext<mention::quote>,
    }
}

// As `diesel print-schema` writes it, if the database's columns were NOT NULL.
diesel::table! {
    memories (id) {
        id -> BigInt,
        user_id -> BigInt,
        text -> Binary,
    }
}

diesel::joinable!(people_links -> users (user_id));
diesel::joinable!(mentions -> people_links (link_id));
diesel::allow_tables_to_appear_in_same_query!(users, people_links, mentions, memories);

pub(crate) const NAME: ColumnRef = ColumnRef::new("people_links", "name");
pub(crate) const NAME_FP: ColumnRef = ColumnRef::new("people_links", "name_fp");
pub(crate) const RELATION: ColumnRef = ColumnRef::new("people_links", "relation");
pub(crate) const MEMORY: ColumnRef = ColumnRef::new("memories", "text").with_padding(64);

/// A link to insert, made in its owner's session.
pub(crate) fn new_link(owner: i64, name: &str) -> NewLink {
    NewLink {
        user_id: Owner(owner),
        call: 1,
        name: person_link::name(name),
        name_fp: person_link::name_fp(name).unwrap(),
        relation: None,
    }
}
