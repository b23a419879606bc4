//! An application's own `ophie-crypt` command: with its models it rotates, sweeps and checks tables.
//!
//! ```sh
//! cargo run -p ophie-crypt-examples --features command --example command -- doctor --database-url sqlite:app.db
//! ```

use std::process::ExitCode;

use ophie_crypt::{EncryptedModel, Models};
use ophie_crypt_sqlx::{Encrypted, Owner};
use uuid::Uuid;

// In your application: `use your_application::Note;`.
#[derive(EncryptedModel)]
#[crypt(table = "notes")]
#[expect(dead_code, reason = "the command needs no more than its model")]
struct Note {
    #[crypt(plain)]
    id: Uuid,
    user_id: Owner<Uuid>,
    text: Encrypted<String, note::text>,
}

fn main() -> ExitCode {
    ophie_crypt_cli::main(Models::new().with::<Note>())
}
