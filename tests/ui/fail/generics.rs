use ophie_crypt::EncryptedModel;
use ophie_crypt_sqlx::Owner;

#[derive(EncryptedModel)]
#[crypt(table = "notes")]
struct Note<T> {
    user_id: Owner<T>,
}

fn main() {}
