use ophie_crypt::EncryptedModel;
use ophie_crypt_sqlx::{Encrypted, Owner};

#[derive(EncryptedModel, sqlx::FromRow)]
#[crypt(table = "notes")]
struct Note {
    user_id: Owner<i64>,
    #[sqlx(skip)]
    text: Option<Encrypted<String, note::text>>,
}

fn main() {}
