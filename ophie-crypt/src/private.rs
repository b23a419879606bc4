//! Only for code that the derive writes: the proofs about field types.
//!
//! Invariant: a field's type is what its name says, or the struct does not compile.
//! Absent: anything that runs, but the constructor. No part of the public API.

use core::marker::PhantomData;

use crate::{
    blind_index::Normalizer,
    column::{BoundColumn, BoundTo, ColumnType, Kind},
    model::{ColumnInfo, ModelInfo},
    plaintext::Codec,
};

/// A model that the derive wrote.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no model",
    label = "write `#[derive(EncryptedModel)]` above it"
)]
pub trait Derived {}

/// The field that a marker stands for.
pub trait Field {
    /// Its type. Without a bound: that it is a column type is proved once, by [`column`].
    type Ty;
}

/// A marker whose constructor gives a `Made`, whatever the `V` is that it takes.
///
/// Constructors have a parameter `V` of their own, because bounds on it are looked at where one is called:
/// on a field whose type is no column type they would else be a second error.
pub trait Gives<V> {
    /// What the constructor gives.
    type Made;
}

impl<M: Field<Ty: ColumnType>, V> Gives<V> for M {
    type Made = <M::Ty as ColumnType>::Made;
}

/// A marker whose constructor takes a `V`.
pub trait Takes<V>: Gives<V> {
    /// The constructor.
    fn make(value: V) -> Self::Made;
}

impl<M, V> Takes<V> for M
where
    M: Field<Ty: ColumnType>,
    V: Into<<M::Ty as ColumnType>::Plain>,
{
    fn make(value: V) -> Self::Made {
        <M::Ty as ColumnType>::make(value.into())
    }
}

/// What the constructor of `M` gives for a `V`.
pub type Made<M, V> = <M as Gives<V>>::Made;

/// What a model says of a field, and proof that its type is a column type under its own marker.
#[must_use]
pub const fn column<F: ColumnType + BoundTo<C>, C: BoundColumn>() -> ColumnInfo {
    ColumnInfo::of::<F>(C::COLUMN)
}

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

/// A plaintext type that is the same as `P`.
#[diagnostic::on_unimplemented(
    message = "the blind index and the field that it indexes have different plaintext types",
    label = "must have the plaintext type of the field that it indexes: `{P}`"
)]
pub trait SamePlain<P> {}
impl<P> SamePlain<P> for P {}

/// Proof that `I` is a blind index over the encrypted field `F`.
pub const fn index<I, F>()
where
    F: ColumnType + IsEncrypted,
    I: ColumnType<Plain: SamePlain<F::Plain>> + IsBlindIndex,
{
}

/// What is in a column, sealed or not. The types that it gives are names for error messages.
pub trait Holds {
    /// [`ValueOf`], [`FingerprintOf`] or [`AnOwner`].
    type What;
}
impl<F: Holds> Holds for Option<F> {
    type What = F::What;
}
impl<F: Holds> Holds for &F {
    type What = F::What;
}

/// An encrypted value of this plaintext type.
#[derive(Debug)]
pub struct ValueOf<T>(PhantomData<T>);

/// A blind index over this plaintext type.
#[derive(Debug)]
pub struct FingerprintOf<T>(PhantomData<T>);

/// The owner, of whatever type: hooks compare it by its canonical bytes.
#[derive(Debug)]
pub struct AnOwner(());

/// What is in a column is what its model says, `D`.
#[diagnostic::on_unimplemented(
    message = "this field contradicts the model that `like` names; take the column type and the plaintext type from there",
    label = "this column holds `{D}`"
)]
pub trait AsDeclared<D> {}
impl<D> AsDeclared<D> for D {}

/// Proof that `F`, in a second struct on a table, holds what the field of the marker `C` holds.
pub const fn view<F, C>()
where
    F: BoundTo<C> + Holds<What: AsDeclared<<C::Ty as Holds>::What>>,
    C: Field<Ty: Holds>,
{
}

/// Whether values of this type may be padded, or have a plaintext twin.
#[must_use]
pub const fn is_encrypted<F: ColumnType>() -> bool {
    matches!(F::KIND, Kind::Encrypted | Kind::Sealed)
}

/// Whether equal values have equal bytes: JSON has no canonical form.
#[must_use]
pub const fn has_one_encoding<F: ColumnType>() -> bool {
    match F::CODEC {
        Some(codec) => !same(codec.id(), Codec::JSON.id()),
        None => true,
    }
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

/// Whether a struct on this table may have this column in clear: it is none of the model's, or its owner.
#[must_use]
pub const fn may_be_plain(model: &ModelInfo, column: &str) -> bool {
    let mut columns = model.columns();
    while let [info, others @ ..] = columns {
        // Databases do not tell case apart in names that are not quoted.
        if info.column().name().eq_ignore_ascii_case(column) {
            return matches!(info.kind(), Kind::Owner);
        }
        columns = others;
    }
    true
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

/// What the proofs ask of an adapter's types.
#[doc(hidden)]
#[macro_export]
macro_rules! __column_proofs {
    () => {
        impl<T: $crate::Plaintext, C> $crate::__private::IsEncrypted for Encrypted<T, C> {}
        impl<T, C> $crate::__private::IsEncrypted for Sealed<T, C> {}
        impl<T, C> $crate::__private::IsBlindIndex for BlindIndex<T, C> {}

        impl<T: $crate::Plaintext, C> $crate::__private::Holds for Encrypted<T, C> {
            type What = $crate::__private::ValueOf<T>;
        }
        impl<T, C> $crate::__private::Holds for Sealed<T, C> {
            type What = $crate::__private::ValueOf<T>;
        }
        impl<T, C> $crate::__private::Holds for BlindIndex<T, C> {
            type What = $crate::__private::FingerprintOf<T>;
        }
        impl<T> $crate::__private::Holds for Owner<T> {
            type What = $crate::__private::AnOwner;
        }
    };
}
