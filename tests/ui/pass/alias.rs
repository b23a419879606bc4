use ophie_crypt::EncryptedModel;
use ophie_crypt_sqlx::{Encrypted, Owner};

type Text = Encrypted<String, note::text>;

#[derive(EncryptedModel, sqlx::FromRow)]
#[crypt(table = "t")]
struct Note {
    user_id: Owner<i64>,
    #[crypt(alias)]
    text: Option<Text>,
}

fn main() {
    let text: Text = note::text("x");
    assert_eq!(text.expose_secret(), "x");
    assert!(note::text::NULL.is_none());
    assert!(Note::MODEL.columns()[1].is_nullable());
}
