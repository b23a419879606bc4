//! A column type's value in a query: what `.eq(..)`, `.values(..)` and `.bind(..)` make of it.
//!
//! Invariant: the value reaches the driver through its `to_sql` only, and its `Debug` shows nothing.
//! Absent: what `to_sql` does (`hooks`).

use core::marker::PhantomData;

use diesel::{
    backend::Backend,
    deserialize::{FromSql, Queryable},
    expression::{
        AppearsOnTable, AsExpression, Expression, SelectableExpression, TypedExpressionType,
        ValidGrouping, is_aggregate,
    },
    query_builder::{AstPass, QueryFragment, QueryId},
    result::QueryResult,
    serialize::ToSql,
    sql_types::{HasSqlType, SingleValue, SqlType},
};
use ophie_crypt::Plaintext;

use crate::{BlindIndex, Encrypted, Owner, Sealed, sql_type::Holds};

/// A value of a column type as an expression of the SQL type `ST`.
///
/// Diesel makes it wherever a value stands in a query; to name it is hardly ever needed.
///
/// ```
/// use diesel::{expression::AsExpression, sql_types::BigInt};
/// use ophie_crypt_diesel::{Bind, Owner};
///
/// let bind: Bind<BigInt, Owner<i64>> = AsExpression::<BigInt>::as_expression(Owner(7_i64));
/// assert!(!format!("{bind:?}").contains('7'));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Bind<ST, T> {
    value: T,
    sql_type: PhantomData<ST>,
}

impl<ST, T> Bind<ST, T> {
    pub(crate) const fn new(value: T) -> Self {
        Self {
            value,
            sql_type: PhantomData,
        }
    }
}

impl<ST: SqlType + TypedExpressionType, T> Expression for Bind<ST, T> {
    type SqlType = ST;
}

impl<DB, ST, T> QueryFragment<DB> for Bind<ST, T>
where
    DB: Backend + HasSqlType<ST>,
    T: ToSql<ST, DB>,
{
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        pass.push_bind_param(&self.value)
    }
}

/// A statement is the same whatever value it carries.
impl<ST: QueryId, T> QueryId for Bind<ST, T> {
    type QueryId = Bind<ST::QueryId, ()>;

    const HAS_STATIC_QUERY_ID: bool = ST::HAS_STATIC_QUERY_ID;
}

impl<Source, ST, T> AppearsOnTable<Source> for Bind<ST, T> where Self: Expression {}
impl<Source, ST, T> SelectableExpression<Source> for Bind<ST, T> where Self: AppearsOnTable<Source> {}
impl<GroupBy, ST, T> ValidGrouping<GroupBy> for Bind<ST, T> {
    type IsAggregate = is_aggregate::Never;
}

macro_rules! expressions {
    ($([$($params:tt)*] $value:ty, $bound:path;)*) => {$(
        impl<$($params)*, ST: SqlType + TypedExpressionType + $bound> AsExpression<ST> for $value {
            type Expression = Bind<ST, Self>;

            fn as_expression(self) -> Self::Expression {
                Bind { value: self, sql_type: PhantomData }
            }
        }
    )*};
}

// By value, as `&struct` gives its fields, and as a struct of references does.
expressions! {
    [T: Plaintext, C] Encrypted<T, C>, Holds<C>;
    ['a, T: Plaintext, C] &'a Encrypted<T, C>, Holds<C>;
    ['a, 'b, T: Plaintext, C] &'a &'b Encrypted<T, C>, Holds<C>;
    [T, C] Sealed<T, C>, Holds<C>;
    ['a, T, C] &'a Sealed<T, C>, Holds<C>;
    ['a, 'b, T, C] &'a &'b Sealed<T, C>, Holds<C>;
    [T, C] BlindIndex<T, C>, Holds<C>;
    ['a, T, C] &'a BlindIndex<T, C>, Holds<C>;
    ['a, 'b, T, C] &'a &'b BlindIndex<T, C>, Holds<C>;
    [T] Owner<T>, Sized;
    ['a, T] &'a Owner<T>, Sized;
    ['a, 'b, T] &'a &'b Owner<T>, Sized;
}

macro_rules! single_fields {
    ($([$($params:tt)*] $value:ty;)*) => {$(
        impl<$($params)*, ST: SingleValue, DB: Backend> Queryable<ST, DB> for $value
        where
            Self: FromSql<ST, DB>,
        {
            type Row = Self;

            fn build(row: Self) -> diesel::deserialize::Result<Self> {
                Ok(row)
            }
        }
    )*};
}

single_fields! {
    [T: Plaintext, C] Encrypted<T, C>;
    [T, C] Sealed<T, C>;
    [T, C] BlindIndex<T, C>;
    [T] Owner<T>;
}
