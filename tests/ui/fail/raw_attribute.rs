use ophie_crypt::EncryptedModel;
use ophie_crypt_sqlx::{Encrypted, Owner};

#[derive(EncryptedModel)]
#[r#crypt(table = "notes", tabel_id = "frozen")]
struct Note {
    user_id: Owner<i64>,
    #[r#crypt(padding = 64)]
    text: Encrypted<String, note::text>,
}

fn main() {}
