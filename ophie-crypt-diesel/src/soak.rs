//! Diesel's traits for a field in a soak: `#[diesel(embed)]`, one field, two columns.
//!
//! Invariant: both columns are read and written together. Absent: states, keys.

use diesel::{
    backend::Backend,
    deserialize::{self, FromStaticSqlRow, Queryable},
    dsl,
    expression::{AsExpression, Expression, TypedExpressionType},
    prelude::{AsChangeset, ExpressionMethods, Insertable, Selectable},
    serialize::{self, IsNull, Output, ToSql},
    sql_types::{Nullable, SingleValue, SqlType},
};
use ophie_crypt::{
    Plaintext,
    soak::{SoakColumns, SoakMarker, Soakable},
};

use crate::{Bind, Sealed, Soak, SoakSealed, Twin, hooks::TakesBytes, sql_type::Holds};

impl<T: Plaintext, C, ST> AsExpression<Nullable<ST>> for Twin<T, C>
where
    ST: SingleValue,
    Nullable<ST>: SqlType + TypedExpressionType,
{
    type Expression = Bind<Nullable<ST>, Self>;

    fn as_expression(self) -> Self::Expression {
        Bind::new(self)
    }
}

/// Plaintext, or NULL from `Retired` on.
impl<DB: Backend, ST: SingleValue, T, C: SoakMarker> ToSql<Nullable<ST>, DB> for Twin<T, C>
where
    T: Plaintext + ToSql<ST, DB>,
    Nullable<ST>: SqlType,
{
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
        match self.out()? {
            Some(value) => value.to_sql(out),
            None => Ok(IsNull::Yes),
        }
    }
}

impl<T: Plaintext, C, ST> AsExpression<ST> for SoakSealed<T, C>
where
    ST: SqlType + TypedExpressionType + Holds<C>,
{
    type Expression = Bind<ST, Self>;

    fn as_expression(self) -> Self::Expression {
        Bind::new(self)
    }
}

/// Seals in the current session, or writes NULL before `DualWrite`.
impl<DB: TakesBytes, ST: Holds<C>, T: Plaintext, C: SoakMarker> ToSql<ST, DB> for SoakSealed<T, C> {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
        match self.out()? {
            Some(bytes) => DB::take(out, bytes),
            None => Ok(IsNull::Yes),
        }
    }
}

/// What the two columns give.
type Pair<V, C> = (
    Option<<V as Soakable>::Plain>,
    Option<Sealed<<V as Soakable>::Plain, C>>,
);

impl<V: Soakable, C: SoakMarker, S1, S2, DB: Backend> Queryable<(S1, S2), DB> for Soak<V, C>
where
    Pair<V, C>: FromStaticSqlRow<(S1, S2), DB>,
{
    type Row = Pair<V, C>;

    fn build((twin, sealed): Self::Row) -> deserialize::Result<Self> {
        Ok(Self::join(twin, sealed.map(Sealed::into_bytes))?)
    }
}

impl<V: Soakable, C: SoakColumns, DB: Backend> Selectable<DB> for Soak<V, C>
where
    C::Twin: Expression + Default,
    C::Sealed: Expression + Default,
{
    type SelectExpression = (C::Twin, C::Sealed);

    fn construct_selection() -> Self::SelectExpression {
        Self::SelectExpression::default()
    }
}

/// The two assignments.
type Both<V, C> = (
    dsl::Eq<<C as SoakColumns>::Twin, Twin<<V as Soakable>::Plain, C>>,
    dsl::Eq<<C as SoakColumns>::Sealed, SoakSealed<<V as Soakable>::Plain, C>>,
);

macro_rules! written {
    ($($value:ty, [$($lifetime:lifetime)?];)*) => {$(
        impl<$($lifetime,)? Tab, V: Soakable<Plain: Clone>, C: SoakColumns> Insertable<Tab> for $value
        where
            C::Twin: ExpressionMethods + Default,
            C::Sealed: ExpressionMethods + Default,
            <C::Twin as Expression>::SqlType: SqlType,
            <C::Sealed as Expression>::SqlType: SqlType,
            Twin<V::Plain, C>: AsExpression<<C::Twin as Expression>::SqlType>,
            SoakSealed<V::Plain, C>: AsExpression<<C::Sealed as Expression>::SqlType>,
            Both<V, C>: Insertable<Tab>,
        {
            type Values = <Both<V, C> as Insertable<Tab>>::Values;

            fn values(self) -> Self::Values {
                let both = (
                    C::Twin::default().eq(self.twin()),
                    C::Sealed::default().eq(self.sealed()),
                );
                both.values()
            }
        }

        impl<$($lifetime,)? V: Soakable<Plain: Clone>, C: SoakColumns> AsChangeset for $value
        where
            C::Twin: ExpressionMethods + Default,
            C::Sealed: ExpressionMethods + Default,
            <C::Twin as Expression>::SqlType: SqlType,
            <C::Sealed as Expression>::SqlType: SqlType,
            Twin<V::Plain, C>: AsExpression<<C::Twin as Expression>::SqlType>,
            SoakSealed<V::Plain, C>: AsExpression<<C::Sealed as Expression>::SqlType>,
            Both<V, C>: AsChangeset,
        {
            type Target = <Both<V, C> as AsChangeset>::Target;
            type Changeset = <Both<V, C> as AsChangeset>::Changeset;

            fn as_changeset(self) -> Self::Changeset {
                let both = (
                    C::Twin::default().eq(self.twin()),
                    C::Sealed::default().eq(self.sealed()),
                );
                both.as_changeset()
            }
        }
    )*};
}

written! {
    Soak<V, C>, [];
    &'a Soak<V, C>, ['a];
}
