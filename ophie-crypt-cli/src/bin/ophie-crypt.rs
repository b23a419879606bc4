//! The stock command: `ophie-crypt`, which knows no models.

fn main() -> std::process::ExitCode {
    ophie_crypt_cli::main(ophie_crypt::Models::new())
}
