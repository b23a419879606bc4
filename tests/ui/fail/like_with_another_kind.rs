use ophie_crypt::EncryptedModel;
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner, Sealed};

#[derive(EncryptedModel)]
#[crypt(table = "notes")]
struct Note {
    user_id: Owner<i64>,
    text: Encrypted<String, note::text>,
    #[crypt(index_of = "text", normalize = "name")]
    text_fp: BlindIndex<String, note::text_fp>,
}

#[derive(EncryptedModel)]
#[crypt(like = Note)]
struct NewNote {
    user_id: Encrypted<i64, note::user_id>,
    text_fp: Sealed<String, note::text_fp>,
}

fn main() {}
