use ophie_crypt::EncryptedModel;
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner};

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
struct NewNote<'a, X: Clone> {
    #[crypt(plain)]
    extra: X,
    text: Option<&'a Encrypted<i64, note::text>>,
}

fn main() {}
