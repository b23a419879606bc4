use ophie_crypt::EncryptedModel;
use ophie_crypt_sqlx::{Encrypted, Owner};

#[derive(EncryptedModel, sqlx::FromRow)]
#[crypt(table = "t")]
struct Type {
    r#match: Owner<String>,
    r#type: Encrypted<String, r#type::r#type>,
}

fn main() {
    assert_eq!(r#type::r#type("x").expose_secret(), "x");
    assert_eq!(Type::MODEL.owner().name(), "match");
}
