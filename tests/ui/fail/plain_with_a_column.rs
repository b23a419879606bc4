use ophie_crypt::EncryptedModel;
use ophie_crypt_sqlx::{Encrypted, Owner};

#[derive(EncryptedModel)]
#[crypt(table = "notes")]
struct Note {
    user_id: Owner<i64>,
    text: Encrypted<String, note::text>,
}

#[derive(EncryptedModel)]
#[crypt(like = Note)]
struct NewNote {
    #[crypt(plain, column = "harmless")]
    text: String,
}

fn main() {}
