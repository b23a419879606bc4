use ophie_crypt::EncryptedModel;
use ophie_crypt_sqlx::Owner;

#[derive(EncryptedModel)]
#[crypt(table = "notes")]
struct Note {
    user_id: Owner<f64>,
}

fn main() {}
