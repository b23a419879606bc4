use ophie_crypt::EncryptedModel;
use ophie_crypt_sqlx::Encrypted;

#[derive(EncryptedModel)]
#[crypt(table = "notes")]
struct Note {
    text: Encrypted<String, note::text>,
}

fn main() {}
