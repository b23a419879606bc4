//! src/bin/ophie-crypt.rs of your application
use ophie_crypt::Models;
fn main() -> std::process::ExitCode {
    ophie_crypt_cli::main(Models::new().with::<your_application::Note>())
}
