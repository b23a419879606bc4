use ophie_crypt::EncryptedModel;
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner, Sealed};

#[derive(EncryptedModel)]
#[crypt(table = "people")]
struct Person {
    user_id: Owner<i64>,
    name: Encrypted<String, person::name>,
    note: Option<Encrypted<String, person::note>>,
    #[crypt(index_of = "name", normalize = "name")]
    name_fp: BlindIndex<String, person::name_fp>,
}

#[derive(EncryptedModel)]
#[crypt(like = Person)]
struct NewPerson<'a, X: Clone>
where
    X: Default,
{
    #[crypt(plain)]
    extra: X,
    name: &'a Encrypted<String, person::name>,
    note: Option<&'a Encrypted<String, person::note>>,
    name_fp: BlindIndex<String, person::name_fp>,
}

#[derive(EncryptedModel, sqlx::FromRow)]
#[crypt(like = Person)]
struct SealedPerson {
    #[crypt(plain)]
    id: i64,
    name: Sealed<String, person::name>,
}

fn main() {
    let info = Person::MODEL.columns()[3];
    assert_eq!(info.index_of().map(|(of, _)| of.id()), Some("name"));
}
