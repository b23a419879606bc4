//! Diesel's traits for the column types.
//!
//! Invariant: `to_sql` writes an envelope or fails; `from_sql` opens one or fails. A NULL is left to
//! Diesel, whose `Option<Model>` after a left join knows it by Diesel's own error. Absent: keys, SQL.

use diesel::{
    backend::Backend,
    deserialize::{self, FromSql},
    serialize::{self, Output, ToSql},
    sql_types::{Binary, SqlType, is_nullable::NotNull},
};
use ophie_crypt::{BoundColumn, IndexColumn, OwnerId, Plaintext, adapter};

use crate::{BlindIndex, Encrypted, Error, Owner, Sealed, sql_type::Holds};

/// A back end that takes bytes which the hook has made.
#[diagnostic::on_unimplemented(
    note = "turn on the feature `mysql`, `postgres` or `sqlite` of ophie-crypt-diesel"
)]
pub(crate) trait TakesBytes: Backend {
    fn take(out: &mut Output<'_, '_, Self>, bytes: Vec<u8>) -> serialize::Result;
}

#[cfg(feature = "mysql")]
impl TakesBytes for diesel::mysql::Mysql {
    fn take(out: &mut Output<'_, '_, Self>, bytes: Vec<u8>) -> serialize::Result {
        std::io::Write::write_all(out, &bytes)?;
        Ok(serialize::IsNull::No)
    }
}

#[cfg(feature = "postgres")]
impl TakesBytes for diesel::pg::Pg {
    fn take(out: &mut Output<'_, '_, Self>, bytes: Vec<u8>) -> serialize::Result {
        std::io::Write::write_all(out, &bytes)?;
        Ok(serialize::IsNull::No)
    }
}

#[cfg(feature = "sqlite")]
impl TakesBytes for diesel::sqlite::Sqlite {
    fn take(out: &mut Output<'_, '_, Self>, bytes: Vec<u8>) -> serialize::Result {
        out.set_value(bytes);
        Ok(serialize::IsNull::No)
    }
}

/// Seals in the current session.
impl<DB: TakesBytes, ST: Holds<C>, T: Plaintext, C: BoundColumn> ToSql<ST, DB> for Encrypted<T, C> {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
        let bytes = adapter::seal(C::COLUMN, self.expose_secret()).map_err(Error::from)?;
        DB::take(out, bytes)
    }
}

/// Opens in the current session.
impl<DB: Backend, ST, T: Plaintext, C: BoundColumn> FromSql<ST, DB> for Encrypted<T, C>
where
    ST: Holds<C> + SqlType<IsNull = NotNull>,
    Vec<u8>: FromSql<Binary, DB>,
{
    fn from_sql(value: DB::RawValue<'_>) -> deserialize::Result<Self> {
        let bytes = Vec::<u8>::from_sql(value)?;
        let value = adapter::open::<T>(C::COLUMN, &bytes).map_err(Error::from)?;
        Ok(Self::new(value))
    }
}

impl<DB: TakesBytes, ST: Holds<C>, T, C> ToSql<ST, DB> for Sealed<T, C> {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
        DB::take(out, self.as_bytes().to_vec())
    }
}

impl<DB: Backend, ST, T, C> FromSql<ST, DB> for Sealed<T, C>
where
    ST: Holds<C> + SqlType<IsNull = NotNull>,
    Vec<u8>: FromSql<Binary, DB>,
{
    fn from_sql(value: DB::RawValue<'_>) -> deserialize::Result<Self> {
        Ok(Self::from_bytes(Vec::<u8>::from_sql(value)?))
    }
}

/// Refuses a fingerprint that was made in another owner's session.
impl<DB: TakesBytes, ST: Holds<C>, T, C: IndexColumn> ToSql<ST, DB> for BlindIndex<T, C> {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
        adapter::check_fingerprint(C::COLUMN, &self.fingerprint).map_err(Error::from)?;
        DB::take(out, self.as_bytes().to_vec())
    }
}

impl<DB: Backend, ST, T, C: IndexColumn> FromSql<ST, DB> for BlindIndex<T, C>
where
    ST: Holds<C> + SqlType<IsNull = NotNull>,
    Vec<u8>: FromSql<Binary, DB>,
{
    fn from_sql(value: DB::RawValue<'_>) -> deserialize::Result<Self> {
        let bytes = Vec::<u8>::from_sql(value)?;
        let fingerprint = adapter::load_fingerprint(C::COLUMN, &bytes).map_err(Error::from)?;
        Ok(Self::from(fingerprint))
    }
}

/// Refuses an owner that is not the session's.
impl<DB: Backend, ST, T: ToSql<ST, DB> + OwnerId> ToSql<ST, DB> for Owner<T> {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
        adapter::check_owner(&self.0).map_err(Error::from)?;
        self.0.to_sql(out)
    }
}

/// Refuses a row whose owner is not the session's.
impl<DB: Backend, ST, T> FromSql<ST, DB> for Owner<T>
where
    ST: SqlType<IsNull = NotNull>,
    T: FromSql<ST, DB> + OwnerId,
{
    fn from_sql(value: DB::RawValue<'_>) -> deserialize::Result<Self> {
        let owner = T::from_sql(value)?;
        adapter::check_owner(&owner).map_err(Error::from)?;
        Ok(Self(owner))
    }
}
