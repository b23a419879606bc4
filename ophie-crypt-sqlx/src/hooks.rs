//! SQLx's traits for the column types: one generic implementation serves every driver.
//!
//! Invariant: an encode hook writes an envelope or fails; a decode hook looks at NULL before it looks
//! at bytes, because SQLite hands a NULL over as an empty blob. Absent: keys, SQL.

use ophie_crypt::{
    BoundColumn, FingerprintError, IndexColumn, OpenError, OwnerId, Plaintext, adapter,
};
use sqlx::{
    Database, Decode, Encode, Type, ValueRef,
    encode::IsNull,
    error::{BoxDynError, UnexpectedNullError},
};

use crate::{BlindIndex, Encrypted, Error, Owner, Sealed};

/// Stored as bytes: BYTEA or BLOB.
macro_rules! stored_as_bytes {
    ($($name:ident<T $(: $bound:ident)?>),*) => {$(
        impl<DB: Database, T $(: $bound)?, C> Type<DB> for $name<T, C>
        where
            Vec<u8>: Type<DB>,
            str: Type<DB>,
        {
            fn type_info() -> DB::TypeInfo {
                <Vec<u8> as Type<DB>>::type_info()
            }

            fn compatible(ty: &DB::TypeInfo) -> bool {
                <Vec<u8> as Type<DB>>::compatible(ty) && !is_converted::<DB>(ty)
            }
        }

        #[cfg(feature = "postgres")]
        impl<T $(: $bound)?, C> sqlx::postgres::PgHasArrayType for $name<T, C> {
            fn array_type_info() -> sqlx::postgres::PgTypeInfo {
                <Vec<u8> as sqlx::postgres::PgHasArrayType>::array_type_info()
            }

            fn array_compatible(ty: &sqlx::postgres::PgTypeInfo) -> bool {
                <Vec<u8> as sqlx::postgres::PgHasArrayType>::array_compatible(ty)
            }
        }
    )*};
}

stored_as_bytes!(Encrypted<T: Plaintext>, Sealed<T>, BlindIndex<T>);

/// Whether the database converts what stands in a column of this type between character sets: SQLx reads bytes
/// from MySQL's text columns too, and they are not those that were written.
fn is_converted<DB: Database>(ty: &DB::TypeInfo) -> bool
where
    str: Type<DB>,
{
    DB::NAME == "MySQL" && <str as Type<DB>>::compatible(ty)
}

/// Seals in the current session.
impl<'q, DB: Database, T: Plaintext, C: BoundColumn> Encode<'q, DB> for Encrypted<T, C>
where
    Vec<u8>: Encode<'q, DB>,
{
    fn encode_by_ref(&self, buf: &mut DB::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let bytes = adapter::seal(C::COLUMN, self.expose_secret()).map_err(Error::from)?;
        Encode::<DB>::encode(bytes, buf)
    }
}

/// Opens in the current session.
impl<'r, DB: Database, T: Plaintext, C: BoundColumn> Decode<'r, DB> for Encrypted<T, C>
where
    Vec<u8>: Decode<'r, DB>,
{
    fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
        let column = C::COLUMN;
        let bytes = bytes::<DB>(value, || OpenError::Null { column }.into())?;
        let value = adapter::open::<T>(column, &bytes).map_err(Error::from)?;
        Ok(Self::new(value))
    }
}

impl<'q, DB: Database, T, C> Encode<'q, DB> for Sealed<T, C>
where
    Vec<u8>: Encode<'q, DB>,
{
    fn encode_by_ref(&self, buf: &mut DB::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<DB>::encode(self.as_bytes().to_vec(), buf)
    }
}

impl<'r, DB: Database, T, C: BoundColumn> Decode<'r, DB> for Sealed<T, C>
where
    Vec<u8>: Decode<'r, DB>,
{
    fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
        let column = C::COLUMN;
        Ok(Self::from_bytes(bytes::<DB>(value, || {
            OpenError::Null { column }.into()
        })?))
    }
}

/// Refuses a fingerprint that was made in another owner's session.
impl<'q, DB: Database, T, C: IndexColumn> Encode<'q, DB> for BlindIndex<T, C>
where
    Vec<u8>: Encode<'q, DB>,
{
    fn encode_by_ref(&self, buf: &mut DB::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        adapter::check_fingerprint(C::COLUMN, &self.fingerprint).map_err(Error::from)?;
        Encode::<DB>::encode(self.as_bytes().to_vec(), buf)
    }
}

impl<'r, DB: Database, T, C: IndexColumn> Decode<'r, DB> for BlindIndex<T, C>
where
    Vec<u8>: Decode<'r, DB>,
{
    fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
        let index = C::COLUMN;
        let bytes = bytes::<DB>(value, || FingerprintError::Null { index }.into())?;
        let fingerprint = adapter::load_fingerprint(index, &bytes).map_err(Error::from)?;
        Ok(Self::from(fingerprint))
    }
}

fn bytes<'r, DB: Database>(
    value: DB::ValueRef<'r>,
    null: impl FnOnce() -> ophie_crypt::Error,
) -> Result<Vec<u8>, BoxDynError>
where
    Vec<u8>: Decode<'r, DB>,
{
    if value.is_null() {
        return Err(Error::from(null()).into());
    }
    Decode::<DB>::decode(value)
}

impl<DB: Database, T: Type<DB>> Type<DB> for Owner<T> {
    fn type_info() -> DB::TypeInfo {
        T::type_info()
    }

    fn compatible(ty: &DB::TypeInfo) -> bool {
        T::compatible(ty)
    }
}

#[cfg(feature = "postgres")]
impl<T: sqlx::postgres::PgHasArrayType> sqlx::postgres::PgHasArrayType for Owner<T> {
    fn array_type_info() -> sqlx::postgres::PgTypeInfo {
        T::array_type_info()
    }

    fn array_compatible(ty: &sqlx::postgres::PgTypeInfo) -> bool {
        T::array_compatible(ty)
    }
}

/// Refuses an owner that is not the session's.
impl<'q, DB: Database, T: Encode<'q, DB> + OwnerId> Encode<'q, DB> for Owner<T> {
    fn encode_by_ref(&self, buf: &mut DB::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        adapter::check_owner(&self.0).map_err(Error::from)?;
        self.0.encode_by_ref(buf)
    }

    fn produces(&self) -> Option<DB::TypeInfo> {
        self.0.produces()
    }

    fn size_hint(&self) -> usize {
        self.0.size_hint()
    }
}

/// Refuses a row whose owner is not the session's.
impl<'r, DB: Database, T: Decode<'r, DB> + OwnerId> Decode<'r, DB> for Owner<T> {
    fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
        if value.is_null() {
            return Err(UnexpectedNullError.into());
        }
        let owner = T::decode(value)?;
        adapter::check_owner(&owner).map_err(Error::from)?;
        Ok(Self(owner))
    }
}
