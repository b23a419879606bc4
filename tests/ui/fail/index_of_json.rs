use ophie_crypt::{EncryptedModel, Json};
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner};
use std::collections::HashMap;

#[derive(EncryptedModel)]
#[crypt(table = "notes")]
struct Note {
    user_id: Owner<i64>,
    moods: Encrypted<Json<HashMap<String, i64>>, note::moods>,
    #[crypt(index_of = "moods")]
    moods_fp: BlindIndex<Json<HashMap<String, i64>>, note::moods_fp>,
}

fn main() {}
