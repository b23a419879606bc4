use ophie_crypt::EncryptedModel;
use ophie_crypt_sqlx::{Encrypted, Owner};

#[derive(EncryptedModel, sqlx::FromRow)]
#[crypt(table = "t", table_id = "frozen")]
#[sqlx(rename_all = "camelCase")]
struct Note {
    user_id: Owner<i64>,
    long_text: Encrypted<String, note::long_text>,
    #[sqlx(rename = "m")]
    mood: Encrypted<i16, note::mood>,
    #[crypt(id = "kept", pad = 64, soak(twin = "plain_text"))]
    text: Encrypted<String, note::text>,
}

fn main() {
    let columns: Vec<_> = Note::MODEL
        .columns()
        .iter()
        .map(|info| info.column())
        .collect();
    let names: Vec<_> = columns
        .iter()
        .map(|column| (column.name(), column.table_id(), column.id()))
        .collect();
    assert_eq!(
        names,
        [
            ("userId", "frozen", "user_id"),
            ("longText", "frozen", "long_text"),
            ("m", "frozen", "mood"),
            ("text", "frozen", "kept"),
        ]
    );
    assert_eq!(columns[3].padding(), Some(64));
    assert_eq!(Note::MODEL.columns()[3].twin(), Some("plain_text"));
}
