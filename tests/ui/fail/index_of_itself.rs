use ophie_crypt::EncryptedModel;
use ophie_crypt_sqlx::{BlindIndex, Owner};

#[derive(EncryptedModel)]
#[crypt(table = "notes")]
struct Note {
    user_id: Owner<i64>,
    #[crypt(index_of = "text_fp")]
    text_fp: BlindIndex<String, note::text_fp>,
}

fn main() {}
