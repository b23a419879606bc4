//! The SQL type of an encrypted column in `table!`.
//!
//! Invariant: only a value under the column's own marker goes in or comes out. Absent: bytes (`hooks`).

use core::{fmt, marker::PhantomData};

use diesel::{
    query_builder::QueryId,
    sql_types::{Binary, Nullable, SqlType},
};

/// Bytes of one column, told apart from those of others when the program is compiled.
///
/// `BYTEA` or `BLOB` to the database. Written in `table!` in place of `Binary`, for ciphertext and for
/// fingerprints: raw bytes, plaintext, and values of another column then do not compile. `table!` makes
/// public columns, so the model and these fields are `pub`.
///
/// ```
/// use ophie_crypt::EncryptedModel;
/// use ophie_crypt_diesel::{Encrypted, Owner};
///
/// #[derive(EncryptedModel)]
/// #[crypt(table = "notes")]
/// pub struct Note {
///     pub user_id: Owner<i64>,
///     pub text: Encrypted<String, note::text>,
///     pub title: Option<Encrypted<String, note::title>>,
/// }
///
/// diesel::table! {
///     use diesel::sql_types::{BigInt, Nullable};
///     use ophie_crypt_diesel::Ciphertext;
///     use super::note;
///
///     notes (user_id) {
///         user_id -> BigInt,
///         text -> Ciphertext<note::text>,
///         title -> Nullable<Ciphertext<note::title>>,
///     }
/// }
/// # fn main() {
/// use diesel::ExpressionMethods;
///
/// let _ = notes::text.eq(note::text("slept badly"));
/// # }
/// ```
///
/// ```compile_fail,E0277
/// # use diesel::ExpressionMethods;
/// # use ophie_crypt::EncryptedModel;
/// # use ophie_crypt_diesel::{Encrypted, Owner};
/// #
/// # #[derive(EncryptedModel)]
/// # #[crypt(table = "notes")]
/// # pub struct Note {
/// #     pub user_id: Owner<i64>,
/// #     pub text: Encrypted<String, note::text>,
/// #     pub title: Option<Encrypted<String, note::title>>,
/// # }
/// # diesel::table! {
/// #     use diesel::sql_types::{BigInt, Nullable};
/// #     use ophie_crypt_diesel::Ciphertext;
/// #     use super::note;
/// #     notes (user_id) {
/// #         user_id -> BigInt,
/// #         text -> Ciphertext<note::text>,
/// #         title -> Nullable<Ciphertext<note::title>>,
/// #     }
/// # }
/// # fn main() {
/// let _ = notes::text.eq(note::title("a title")); // another column's
/// # }
/// ```
#[derive(SqlType)]
#[diesel(mysql_type(name = "Blob"))]
#[diesel(postgres_type(oid = 17, array_oid = 1001))]
#[diesel(sqlite_type(name = "Binary"))]
pub struct Ciphertext<C: 'static>(PhantomData<fn() -> C>);

impl<C: 'static> fmt::Debug for Ciphertext<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ciphertext")
    }
}

/// The column is in the query's own type; statements do not differ by the marker.
impl<C: 'static> QueryId for Ciphertext<C> {
    type QueryId = Binary;

    const HAS_STATIC_QUERY_ID: bool = true;
}

/// SQL types of a column that holds values under the marker `C`.
#[diagnostic::on_unimplemented(
    message = "a value under the marker `{C}` does not belong in a column of type `{Self}`",
    label = "the column is declared as `{Self}`"
)]
pub(crate) trait Holds<C> {}

impl<C> Holds<C> for Binary {}
impl<C: 'static> Holds<C> for Ciphertext<C> {}
impl<C, ST: Holds<C>> Holds<C> for Nullable<ST> {}
