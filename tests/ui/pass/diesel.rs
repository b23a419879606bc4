use diesel::prelude::*;
use ophie_crypt::EncryptedModel;
use ophie_crypt_diesel::{BlindIndex, Encrypted, Owner};

#[derive(EncryptedModel)]
#[crypt(table = "people")]
pub struct Person {
    pub user_id: Owner<i64>,
    pub name: Encrypted<String, person::name>,
    pub relation: Option<Encrypted<String, person::relation>>,
    #[crypt(index_of = "name", normalize = "name")]
    pub name_fp: BlindIndex<String, person::name_fp>,
}

diesel::table! {
    use diesel::sql_types::{BigInt, Nullable};
    use ophie_crypt_diesel::Ciphertext;
    use super::person;

    people (user_id) {
        user_id -> BigInt,
        name -> Ciphertext<person::name>,
        relation -> Nullable<Ciphertext<person::relation>>,
        name_fp -> Ciphertext<person::name_fp>,
    }
}

#[derive(EncryptedModel, Insertable, Queryable, Selectable, QueryableByName, AsChangeset)]
#[crypt(like = Person)]
#[diesel(table_name = people)]
#[diesel(check_for_backend(diesel::sqlite::Sqlite, diesel::pg::Pg, diesel::mysql::Mysql))]
struct Row {
    user_id: Owner<i64>,
    name: Encrypted<String, person::name>,
    relation: Option<Encrypted<String, person::relation>>,
    name_fp: BlindIndex<String, person::name_fp>,
}

/// Borrowed, and ciphertext where the model has plaintext.
#[derive(Insertable)]
#[diesel(table_name = people)]
struct New<'a> {
    user_id: &'a Owner<i64>,
    name: ophie_crypt_diesel::Sealed<String, person::name>,
    relation: Option<&'a Encrypted<String, person::relation>>,
    name_fp: &'a BlindIndex<String, person::name_fp>,
}

fn main() {
    let _ = diesel::update(people::table).set((
        people::name.eq(person::name("Mom")),
        people::name.eq(&person::name("Mom")),
        people::name.eq(Encrypted::<String, _>::new("Mom")),
        people::relation.eq(person::relation::NULL),
        people::relation.eq(person::relation("mother")),
        people::user_id.eq(Owner(7)),
        people::user_id.eq(7),
    ));
    let _ = person::name_fp("Mom").map(|of| {
        diesel::debug_query::<diesel::mysql::Mysql, _>(
            &people::table.filter(people::name_fp.eq_any([of])),
        )
        .to_string()
    });
}
