#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod application;
mod arguments;
mod clock;
mod commands;
mod config;
mod confirm;
mod database;
mod error;
mod output;
mod owner;
mod stop;
mod world;

use std::process::ExitCode;

use ophie_crypt::Models;

pub use self::application::Application;

/// The command, for an application's own `src/bin/ophie-crypt.rs`: with its models it can do what the stock command
/// refuses.
///
/// ```no_run
/// use ophie_crypt::{EncryptedModel, Models};
/// use ophie_crypt_sqlx::{Encrypted, Owner};
///
/// #[derive(EncryptedModel)]
/// #[crypt(table = "notes")]
/// struct Note {
///     user_id: Owner<i64>,
///     text: Encrypted<String, note::text>,
/// }
///
/// fn main() -> std::process::ExitCode {
///     ophie_crypt_cli::main(Models::new().with::<Note>())
/// }
/// ```
///
/// # Security
///
/// As for [`Application`], which takes vector stores too.
#[must_use = "it is the process's exit code"]
pub fn main(models: Models) -> ExitCode {
    Application::new(models).run()
}
