mod encryption {
    pub use ophie_crypt::*;
}
use encryption::EncryptedModel;
use ophie_crypt_sqlx::{Encrypted, Owner};

#[derive(EncryptedModel)]
#[crypt(table = "t", crate = "crate::encryption")]
struct Note {
    user_id: Owner<i64>,
    text: Encrypted<String, note::text>,
}

fn main() {
    let _ = (note::text("x"), Note::MODEL);
}
