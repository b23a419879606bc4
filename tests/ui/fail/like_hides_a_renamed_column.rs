use ophie_crypt::EncryptedModel;
use ophie_crypt_sqlx::{Encrypted, Owner};

#[derive(EncryptedModel)]
#[crypt(table = "notes")]
struct Note {
    user_id: Owner<i64>,
    text: Encrypted<String, note::text>,
}

#[derive(EncryptedModel, sqlx::FromRow)]
#[crypt(like = Note)]
struct NewNote {
    #[crypt(plain)]
    #[sqlx(rename = "text")]
    title: String,
    #[crypt(plain)]
    user_id: i64, // the owner is no secret
}

fn main() {}
