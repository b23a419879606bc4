fn main() {
    use ophie_crypt::EncryptedModel;
    use ophie_crypt_sqlx::{Encrypted, Owner};

    #[derive(EncryptedModel, sqlx::FromRow)]
    #[crypt(table = "t")]
    struct Inner {
        owner: Owner<String>,
        name: Encrypted<String, inner::name>,
    }
    assert_eq!(inner::name("a").expose_secret(), "a");
    assert_eq!(Inner::MODEL.table(), "t");
}
