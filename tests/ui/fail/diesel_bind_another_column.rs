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

fn main() {
    let _ = diesel::sql_query("UPDATE people SET name = $1")
        .bind::<ophie_crypt_diesel::Ciphertext<person::name>, _>(person::relation("mother"))
        .execute(&mut SqliteConnection::establish("").unwrap());
}
