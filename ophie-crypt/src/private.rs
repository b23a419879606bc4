//! Only for code that the derive writes: the proofs about field types.
//!
//! Invariant: a field's type is what its name says, or the struct does not compile.
//! Absent: anything that runs, but the constructor. No part of the public API.

use core::marker::PhantomData;

pub use core::{assert, convert::Into};

use crate::{
    blind_index::Normalizer,
    column::{BoundTo, ColumnType},
    plaintext::Codec,
};

/// The field that a marker stands for.
pub trait Field {
    /// Its type.
    type Ty: ColumnType;
}

/// What a marker's constructor takes.
pub type Plain<M> = <<M as Field>::Ty as ColumnType>::Plain;
/// What a marker's constructor gives.
pub type Made<M> = <<M as Field>::Ty as ColumnType>::Made;

/// A marker's constructor.
pub fn make<M: Field>(plain: Plain<M>) -> Made<M> {
    <M::Ty as ColumnType>::make(plain)
}

/// Proof that a field is a column type and carries its own marker.
pub const fn bound<F: ColumnType + BoundTo<C>, C>() {}

/// A type that is a blind index.
#[diagnostic::on_unimplemented(
    message = "`index_of` stands on a field that is no `BlindIndex`",
    label = "not a `BlindIndex`"
)]
pub trait IsBlindIndex {}
impl<F: IsBlindIndex> IsBlindIndex for Option<F> {}
impl<F: IsBlindIndex> IsBlindIndex for &F {}

/// A type that is an encrypted value.
#[diagnostic::on_unimplemented(
    message = "`index_of` names a field that is not encrypted",
    label = "indexes only encrypted fields"
)]
pub trait IsEncrypted {}
impl<F: IsEncrypted> IsEncrypted for Option<F> {}
impl<F: IsEncrypted> IsEncrypted for &F {}

/// A type that is an owner.
#[diagnostic::on_unimplemented(
    message = "this field is no `Owner`",
    label = "the row's owner is a field of type `Owner<..>`"
)]
pub trait IsOwner {}

/// Column types of the same plaintext.
#[diagnostic::on_unimplemented(
    message = "the blind index and the field that it indexes have different plaintext types",
    label = "must have the plaintext type of the field that it indexes"
)]
pub trait SamePlain<P> {}
impl<F: ColumnType> SamePlain<F::Plain> for F {}

/// Proof that `I` is a blind index over the encrypted field `F`.
pub const fn index<I, F>()
where
    F: ColumnType + IsEncrypted,
    I: ColumnType + IsBlindIndex + SamePlain<F::Plain>,
{
}

/// `name` and `email` are for text.
#[must_use]
pub const fn normalizer_fits<F: ColumnType>(normalizer: Normalizer) -> bool {
    if matches!(normalizer, Normalizer::Exact) {
        return true;
    }
    match F::CODEC {
        Some(codec) => same(codec.id(), Codec::TEXT.id()),
        None => false,
    }
}

const fn same(left: &str, right: &str) -> bool {
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    while let ([a, more_left @ ..], [b, more_right @ ..]) = (left, right) {
        if *a != *b {
            return false;
        }
        (left, right) = (more_left, more_right);
    }
    left.is_empty() && right.is_empty()
}

/// `Probe::<T>::IS`: the inherent constant wins where `T` is a column type. It finds column types
/// that hide behind another name on a field marked plain.
#[derive(Debug)]
pub struct Probe<T: ?Sized>(PhantomData<T>);

impl<T: ColumnType> Probe<T> {
    /// A column type.
    pub const IS: bool = true;
}

/// The other branch of [`Probe`].
pub trait NotAColumnType {
    /// No column type.
    const IS: bool = false;
}

impl<T: ?Sized> NotAColumnType for Probe<T> {}
