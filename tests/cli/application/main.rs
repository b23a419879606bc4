//! The command of an application that has notes: what the tests in `cli/` run beside the stock command.

use std::process::ExitCode;

use ophie_crypt::{EncryptedModel, Models};
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner};

#[derive(EncryptedModel)]
#[crypt(table = "notes")]
#[expect(dead_code, reason = "the command needs no more than its model")]
struct Note {
    owner: Owner<i64>,
    text: Encrypted<String, note::text>,
    #[crypt(index_of = "text", normalize = "name")]
    text_fp: Option<BlindIndex<String, note::text_fp>>,
}

fn main() -> ExitCode {
    ophie_crypt_cli::main(Models::new().with::<Note>())
}
