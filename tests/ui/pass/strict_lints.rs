#![deny(
    warnings,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    non_camel_case_types,
    unused
)]
#![deny(rust_2018_idioms, rust_2024_compatibility)]
//! Lints of the user's do not fire on what the derive writes.

use ophie_crypt::EncryptedModel;
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner};

/// A person.
#[derive(Debug, EncryptedModel, sqlx::FromRow)]
#[crypt(table = "people")]
pub struct Person {
    /// Whose.
    pub user_id: Owner<i64>,
    /// Name.
    pub name: Encrypted<String, person::name>,
    /// Note.
    pub note: Option<Encrypted<String, person::note>>,
    /// Fingerprint.
    #[crypt(index_of = "name")]
    pub name_fp: BlindIndex<String, person::name_fp>,
}

fn main() {}
