use ophie_crypt::EncryptedModel;
use ophie_crypt_sqlx::{Encrypted, Owner};

type Author = Owner<i64>;

#[derive(EncryptedModel)]
#[crypt(table = "notes")]
struct Note {
    user_id: Owner<i64>,
    #[crypt(alias)]
    author: Author,
    text: Encrypted<String, note::text>,
}

fn main() {}
