use ophie_crypt::EncryptedModel;
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner};

#[derive(EncryptedModel)]
#[crypt(table = "notes")]
struct Note {
    #[crypt(pad = 64)]
    user_id: Owner<i64>,
    text: Encrypted<String, note::text>,
    #[crypt(pad = 64, index_of = "text")]
    text_fp: BlindIndex<String, note::text_fp>,
}

fn main() {}
