use ophie_crypt::EncryptedModel;
use ophie_crypt_sqlx::Owner;

#[derive(EncryptedModel)]
#[crypt(table = "notes")]
struct Super {
    user_id: Owner<i64>,
}

fn main() {}
