use ophie_crypt::EncryptedModel;
use ophie_crypt_sqlx::Owner;

#[derive(EncryptedModel)]
#[crypt(table = "notes")]
enum Note {
    One(Owner<i64>),
}

fn main() {}
