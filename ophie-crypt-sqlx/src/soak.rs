//! SQLx's traits for a field in a soak: one field, two columns.
//!
//! Invariant: a column that a query left out is not taken for NULL where the value may be in it. Absent: states, keys.

use ophie_crypt::{
    Plaintext, adapter,
    soak::{SoakMarker, SoakState, Soakable},
};
use sqlx::{
    ColumnIndex, Database, Decode, Encode, FromRow, Row, Type, encode::IsNull, error::BoxDynError,
};

use crate::{Error, Soak, SoakSealed, Twin};

/// The plaintext column's type.
impl<DB: Database, T: Plaintext + Type<DB>, C> Type<DB> for Twin<T, C> {
    fn type_info() -> DB::TypeInfo {
        T::type_info()
    }

    fn compatible(ty: &DB::TypeInfo) -> bool {
        T::compatible(ty)
    }
}

/// Plaintext, or NULL from `Retired` on.
impl<'q, DB: Database, T: Plaintext + Encode<'q, DB>, C: SoakMarker> Encode<'q, DB> for Twin<T, C>
where
    Option<T>: Encode<'q, DB>,
{
    fn encode_by_ref(&self, buf: &mut DB::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        match self.out()? {
            Some(value) => value.encode_by_ref(buf),
            // Not `IsNull::Yes` alone: to `sqlx::Any` that is no parameter at all.
            None => Encode::<DB>::encode(None::<T>, buf),
        }
    }

    fn produces(&self) -> Option<DB::TypeInfo> {
        let value = self.0.as_ref()?;
        value.expose_secret().produces()
    }
}

impl<DB: Database, T: Plaintext, C> Type<DB> for SoakSealed<T, C>
where
    Vec<u8>: Type<DB>,
{
    fn type_info() -> DB::TypeInfo {
        <Vec<u8> as Type<DB>>::type_info()
    }

    fn compatible(ty: &DB::TypeInfo) -> bool {
        <Vec<u8> as Type<DB>>::compatible(ty)
    }
}

/// Seals in the current session, or writes NULL before `DualWrite`.
impl<'q, DB: Database, T: Plaintext, C: SoakMarker> Encode<'q, DB> for SoakSealed<T, C>
where
    Option<Vec<u8>>: Encode<'q, DB>,
{
    fn encode_by_ref(&self, buf: &mut DB::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<DB>::encode(self.out()?, buf)
    }
}

/// For `#[sqlx(flatten)]`: reads both columns.
impl<'r, R: Row, V: Soakable, C: SoakMarker> FromRow<'r, R> for Soak<V, C>
where
    for<'i> &'i str: ColumnIndex<R>,
    V::Plain: Decode<'r, R::Database> + Type<R::Database>,
    Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        let column = C::COLUMN.name();
        let failed = |error: Error| sqlx::Error::ColumnDecode {
            index: column.to_owned(),
            source: Box::new(error),
        };
        let state = adapter::soak_state::<C>().map_err(|error| failed(error.into()))?;
        let twin = row.try_get::<Option<V::Plain>, _>(C::TWIN);
        let twin = left_out(twin, state >= SoakState::Retired)?;
        let sealed = row.try_get::<Option<Vec<u8>>, _>(column);
        let sealed = left_out(sealed, state <= SoakState::Expand)?;
        Self::join(twin, sealed).map_err(failed)
    }
}

/// A column that is not in the row; it need not be where nothing is served out of it.
fn left_out<T>(
    cell: Result<Option<T>, sqlx::Error>,
    may_be: bool,
) -> Result<Option<T>, sqlx::Error> {
    match cell {
        Err(sqlx::Error::ColumnNotFound(_)) if may_be => Ok(None),
        cell => cell,
    }
}
