use ophie_crypt::EncryptedModel;
use ophie_crypt_sqlx::{Encrypted, Owner};

#[derive(EncryptedModel)]
#[crypt(table = "notes")]
struct Note {
    user_id: Owner<i64>,
    #[crypt(pad = 16, pad = 32)]
    text: Encrypted<String, note::text>,
}

fn main() {}
