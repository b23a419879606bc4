use ophie_crypt::EncryptedModel;
use ophie_crypt_sqlx::{Encrypted, Owner};

#[derive(EncryptedModel, sqlx::FromRow)]
#[crypt(table = "notes")]
#[sqlx(default)]
struct Note {
    user_id: Owner<i64>,
    text: Option<Encrypted<String, note::text>>,
}

impl Default for Note {
    fn default() -> Self {
        Self { user_id: Owner(0), text: Some(note::text("")) }
    }
}

fn main() {}
