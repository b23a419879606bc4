//! Columns and their markers: what the adapters' types are held to.
//!
//! Invariant: a column type knows its column by a marker type, so a value cannot be sealed for no column.
//! Absent: SQL, ORMs, keys, the derive's own helpers (`private`).

use core::fmt;

use crate::{blind_index::Normalizer, owner::OwnerKind, plaintext::Codec};

/// Names a column: in SQL for errors and tools, and by logical ids for the AAD.
///
/// The ids default to the names. An id never changes once rows exist; a name may, if the id is frozen
/// first (`#[crypt(table_id = "..")]`, `#[crypt(id = "..")]`).
///
/// ```
/// use ophie_crypt::ColumnRef;
///
/// const NAME: ColumnRef = ColumnRef::new("people", "display_name").with_ids("people", "name");
/// assert_eq!(NAME.to_string(), "people.display_name");
/// assert_eq!(NAME.id(), "name");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ColumnRef {
    table: &'static str,
    name: &'static str,
    table_id: &'static str,
    id: &'static str,
    padding: Option<u16>,
}

impl ColumnRef {
    /// A column whose ids are its names.
    #[must_use]
    pub const fn new(table: &'static str, name: &'static str) -> Self {
        Self {
            table,
            name,
            table_id: table,
            id: name,
            padding: None,
        }
    }

    /// The same column with logical ids of its own.
    #[must_use]
    pub const fn with_ids(mut self, table_id: &'static str, id: &'static str) -> Self {
        self.table_id = table_id;
        self.id = id;
        self
    }

    /// The same column, its values padded to multiples of `bucket` bytes. Reading needs no setting:
    /// each envelope says whether it is padded.
    #[must_use]
    pub const fn with_padding(mut self, bucket: u16) -> Self {
        self.padding = Some(bucket);
        self
    }

    /// The table's SQL name.
    #[must_use]
    pub const fn table(&self) -> &'static str {
        self.table
    }

    /// The column's SQL name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The table's logical id.
    #[must_use]
    pub const fn table_id(&self) -> &'static str {
        self.table_id
    }

    /// The column's logical id.
    #[must_use]
    pub const fn id(&self) -> &'static str {
        self.id
    }

    /// Bucket in bytes that new values are padded to.
    #[must_use]
    pub const fn padding(&self) -> Option<u16> {
        self.padding
    }
}

impl fmt::Display for ColumnRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.table, self.name)
    }
}

impl fmt::Debug for ColumnRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ColumnRef({self})")
    }
}

/// A marker type that stands for one column. The derive writes it.
#[diagnostic::on_unimplemented(
    message = "this value is not bound to a column",
    label = "no column is named here",
    note = "name the column's marker: `Encrypted<T, person_link::name>`; `#[derive(EncryptedModel)]` on `PersonLink` makes it"
)]
pub trait BoundColumn: 'static {
    /// The column.
    const COLUMN: ColumnRef;
}

/// A marker of a blind-index column. The derive writes it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the marker of a blind index",
    note = "add `#[crypt(index_of = \"..\")]` to the field that it stands for"
)]
pub trait IndexColumn: BoundColumn {
    /// The encrypted column that it indexes.
    const OF: ColumnRef;
    /// What makes values equal.
    const NORMALIZER: Normalizer;
}

/// The default of the column parameter: no column. Nothing can be sealed for it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Unbound {}

/// What a field of a model is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A fingerprint.
    BlindIndex,
    /// Plaintext in memory, ciphertext in the database.
    Encrypted,
    /// The row's owner.
    Owner,
    /// Ciphertext in memory and in the database.
    Sealed,
}

/// A type that a field of a model may have without being marked plain. The adapters implement it for
/// their own types.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no column type of ophie-crypt",
    label = "unclassified field",
    note = "write `Encrypted<.., module::field>`, or `#[crypt(plain)]` if this column is meant to be stored in the clear"
)]
pub trait ColumnType {
    /// What it is.
    const KIND: Kind;
    /// The codec of its values, where it has any.
    const CODEC: Option<Codec>;
    /// Whether it takes NULL.
    const NULLABLE: bool = false;
    /// Of an owner, what kind of id it is.
    const OWNER: Option<OwnerKind> = None;
    /// What its constructor takes.
    type Plain;
    /// What its constructor gives.
    type Made;
    /// The constructor.
    fn make(plain: Self::Plain) -> Self::Made;
}

impl<F: ColumnType> ColumnType for Option<F> {
    const KIND: Kind = F::KIND;
    const CODEC: Option<Codec> = F::CODEC;
    const NULLABLE: bool = true;
    const OWNER: Option<OwnerKind> = F::OWNER;
    type Plain = F::Plain;
    type Made = F::Made;

    fn make(plain: F::Plain) -> F::Made {
        F::make(plain)
    }
}

impl<F: ColumnType> ColumnType for &F {
    const KIND: Kind = F::KIND;
    const CODEC: Option<Codec> = F::CODEC;
    const NULLABLE: bool = F::NULLABLE;
    const OWNER: Option<OwnerKind> = F::OWNER;
    type Plain = F::Plain;
    type Made = F::Made;

    fn make(plain: F::Plain) -> F::Made {
        F::make(plain)
    }
}

/// A column type that carries the marker `C`. `Owner` carries every marker.
#[diagnostic::on_unimplemented(
    message = "this field does not carry its own marker",
    label = "the marker of this field must be `{C}`"
)]
pub trait BoundTo<C> {}

impl<C, F: BoundTo<C>> BoundTo<C> for Option<F> {}
impl<C, F: BoundTo<C>> BoundTo<C> for &F {}
