use ophie_crypt::EncryptedModel;
use ophie_crypt_sqlx::{Encrypted, Owner};

type Text = Encrypted<String, note::text>;

#[derive(EncryptedModel)]
#[crypt(table = "notes")]
struct Note {
    user_id: Owner<i64>,
    text: Text,
}

fn main() {}
