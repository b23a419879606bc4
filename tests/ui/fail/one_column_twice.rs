use ophie_crypt::EncryptedModel;
use ophie_crypt_sqlx::{Encrypted, Owner};

#[derive(EncryptedModel)]
#[crypt(table = "notes")]
struct Note {
    user_id: Owner<i64>,
    text: Encrypted<String, note::text>,
    #[crypt(column = "text")]
    body: Encrypted<String, note::body>,
}

fn main() {}
