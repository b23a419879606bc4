use ophie_crypt::EncryptedModel;
use ophie_crypt_sqlx::{Encrypted, Owner};

#[derive(EncryptedModel, sqlx::FromRow)]
#[crypt(table = "t")]
struct Note {
    user_id: Owner<i64>,
    text: Option<Encrypted<String, note::text>>,
    #[crypt(plain)]
    #[sqlx(default)]
    id: i64,
}

fn main() {
    let _ = sqlx::query_as::<sqlx::Sqlite, Note>("SELECT 1")
        .bind(note::text("x"))
        .bind(note::text::NULL);
    let _ = sqlx::query_as::<sqlx::Postgres, Note>("SELECT 1")
        .bind(vec![note::text("x")])
        .bind(Owner(7_i64));
}
