use ophie_crypt::EncryptedModel;
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner};

#[derive(EncryptedModel)]
#[crypt(table = "notes")]
struct Note {
    user_id: Owner<i64>,
    age: Encrypted<i64, note::age>,
    #[crypt(index_of = "age", normalize = "name")]
    age_fp: BlindIndex<i64, note::age_fp>,
}

fn main() {}
