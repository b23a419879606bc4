use ophie_crypt::EncryptedModel;
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner};

type Fingerprint = BlindIndex<String, note::text_fp>;
type Id = Owner<i64>;

#[derive(EncryptedModel)]
#[crypt(table = "notes")]
struct Note {
    #[crypt(alias, soak(twin = "id"))]
    user_id: Id,
    text: Encrypted<String, note::text>,
    #[crypt(alias, pad = 64, index_of = "text")]
    text_fp: Fingerprint,
}

fn main() {}
