use ophie_crypt::EncryptedModel;
use ophie_crypt_sqlx::{Encrypted, Owner};

#[derive(EncryptedModel)]
#[crypt(table = "notes")]
struct Note {
    user_id: Owner<i64>,
    tags: Encrypted<Vec<String>, note::tags>,
}

fn main() {}
