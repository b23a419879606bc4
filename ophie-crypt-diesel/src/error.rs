//! Our error in Diesel's clothes, and the way back.

use core::error;

use diesel::result::Error as DieselError;

use crate::Error;

/// So that `?` works in a block whose error is Diesel's.
///
/// ```
/// use ophie_crypt::{ColumnRef, OpenError};
///
/// let error = OpenError::Rejected { column: ColumnRef::new("memories", "text") };
/// let error = ophie_crypt_diesel::Error::from(ophie_crypt::Error::from(error));
/// let error = diesel::result::Error::from(error);
/// assert!(matches!(error, diesel::result::Error::DeserializationError(_)));
/// ```
impl From<Error> for DieselError {
    fn from(error: Error) -> Self {
        match error.get() {
            ophie_crypt::Error::Open(_) => Self::DeserializationError(Box::new(error)),
            _ => Self::SerializationError(Box::new(error)),
        }
    }
}

/// Finds the error of a hook inside Diesel's.
///
/// `None` if there is none. A search along `Error::source()` alone does not always find it: Diesel's skips the error
/// of a refused bind.
///
/// ```
/// use diesel::{prelude::*, sql_types::BigInt};
/// use ophie_crypt::{Error, OwnerError};
/// use ophie_crypt_diesel::{Owner, find_error};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut db = SqliteConnection::establish(":memory:")?;
/// let query = diesel::select(Owner(7_i64).into_sql::<BigInt>());
/// let error = query.execute(&mut db).unwrap_err();
/// assert!(matches!(find_error(&error), Some(Error::Owner(OwnerError::NoSession(_)))));
/// # Ok(()) }
/// ```
#[must_use]
pub fn find_error(error: &DieselError) -> Option<&ophie_crypt::Error> {
    let mut next: Option<&(dyn error::Error + 'static)> = match error {
        DieselError::DeserializationError(held)
        | DieselError::SerializationError(held)
        | DieselError::QueryBuilderError(held) => Some(held.as_ref()),
        DieselError::RollbackErrorOnCommit {
            rollback_error,
            commit_error,
        } => {
            return find_error(commit_error).or_else(|| find_error(rollback_error));
        }
        other => Some(other),
    };
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<Error>() {
            return Some(found.get());
        }
        next = error.source();
    }
    None
}
