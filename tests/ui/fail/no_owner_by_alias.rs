use ophie_crypt::EncryptedModel;
use ophie_crypt_sqlx::Encrypted;

type Text = Encrypted<String, note::text>;

#[derive(EncryptedModel)]
#[crypt(table = "notes")]
struct Note {
    #[crypt(alias)]
    text: Text,
}

fn main() {}
