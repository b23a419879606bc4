//! Our error in SQLx's clothes, and the way back.

use core::error;

use crate::Error;

/// So that `?` works in a block whose error is `sqlx::Error`.
///
/// ```
/// use ophie_crypt::{ColumnRef, OpenError};
///
/// let error = OpenError::Rejected { column: ColumnRef::new("memories", "text") };
/// let error = ophie_crypt_sqlx::Error::from(ophie_crypt::Error::from(error));
/// assert!(matches!(sqlx::Error::from(error), sqlx::Error::Decode(_)));
/// ```
impl From<Error> for sqlx::Error {
    fn from(error: Error) -> Self {
        match error.get() {
            ophie_crypt::Error::Open(_) => Self::Decode(Box::new(error)),
            _ => Self::Encode(Box::new(error)),
        }
    }
}

/// Finds the error of a hook inside SQLx's.
///
/// `None` if there is none, or if SQLx kept only its text: that is what `.bind()` does; `.try_bind()`
/// and the `query!` macros keep the error.
///
/// ```
/// use ophie_crypt::{Error, OwnerError};
/// use ophie_crypt_sqlx::{Owner, find_error};
///
/// let mut query = sqlx::query::<sqlx::Sqlite>("SELECT $1");
/// let error = sqlx::Error::Encode(query.try_bind(Owner(7_i64)).unwrap_err());
/// assert!(matches!(find_error(&error), Some(Error::Owner(OwnerError::NoSession(_)))));
/// ```
#[must_use]
pub fn find_error(error: &sqlx::Error) -> Option<&ophie_crypt::Error> {
    let mut next: Option<&(dyn error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<Error>() {
            return Some(found.get());
        }
        next = error.source();
    }
    None
}
