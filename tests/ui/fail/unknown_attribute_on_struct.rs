use ophie_crypt::EncryptedModel;
use ophie_crypt_sqlx::Owner;

#[derive(EncryptedModel)]
#[crypt(tabel = "notes")]
struct Note {
    user_id: Owner<i64>,
}

fn main() {}
