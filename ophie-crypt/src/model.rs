//! What the derive knows of a table, and the list of an application's tables for jobs that reach all of them.
//!
//! Invariant: constants only; what a model says is fixed when it is compiled.
//! Absent: proofs about field types (`private`), rows (`store`).

use crate::{
    __private::Derived,
    blind_index::Normalizer,
    column::{ColumnRef, ColumnType, IndexColumn, Kind},
    owner::OwnerKind,
    plaintext::Codec,
    soak::SoakState,
};

/// What `#[derive(EncryptedModel)]` knows of a table.
///
/// ```
/// use ophie_crypt::{ColumnInfo, ColumnRef, Kind, ModelInfo};
///
/// const COLUMNS: &[ColumnInfo] = &[ColumnInfo::new(ColumnRef::new("notes", "user_id"), Kind::Owner)];
/// const NOTES: ModelInfo = ModelInfo::new("notes", COLUMNS);
/// assert_eq!(NOTES.owner().name(), "user_id");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ModelInfo {
    table: &'static str,
    columns: &'static [ColumnInfo],
    owner: ColumnRef,
    owner_kind: Option<OwnerKind>,
    tombstone: Option<&'static str>,
}

impl ModelInfo {
    /// A table and its classified columns.
    ///
    /// # Panics
    ///
    /// At compile time, in the derive's constant, if not exactly one column is the owner.
    #[must_use]
    pub const fn new(table: &'static str, columns: &'static [ColumnInfo]) -> Self {
        let mut owner = None;
        let mut rest = columns;
        while let [column, others @ ..] = rest {
            if matches!(column.kind, Kind::Owner) {
                assert!(
                    owner.is_none(),
                    "a model has exactly one field of type `Owner<..>`; this one has more"
                );
                owner = Some(column);
            }
            rest = others;
        }
        let Some(owner) = owner else {
            panic!("a model has exactly one field of type `Owner<..>`; this one has none")
        };
        Self {
            table,
            columns,
            owner: owner.column,
            owner_kind: owner.owner,
            tombstone: None,
        }
    }

    /// With a column of this name that is set to the time when a row is to be deleted.
    #[must_use]
    pub const fn with_tombstone(mut self, column: &'static str) -> Self {
        self.tombstone = Some(column);
        self
    }

    /// The column that a shred sets to the time, of a row that was not deleted before. Without one, the rows are told by
    /// their owner only, in `ophie_crypt_tombstones`.
    #[must_use]
    pub const fn tombstone(&self) -> Option<&'static str> {
        self.tombstone
    }

    /// The table's SQL name.
    #[must_use]
    pub const fn table(&self) -> &'static str {
        self.table
    }

    /// The column that holds the row's owner.
    #[must_use]
    pub const fn owner(&self) -> ColumnRef {
        self.owner
    }

    /// What kind of id the owner's is, where its type says so.
    #[must_use]
    pub const fn owner_kind(&self) -> Option<OwnerKind> {
        self.owner_kind
    }

    /// Every field that is not marked plain, the owner among them.
    #[must_use]
    pub const fn columns(&self) -> &'static [ColumnInfo] {
        self.columns
    }
}

/// What `#[derive(EncryptedModel)]` knows of a column.
///
/// ```
/// use ophie_crypt::{ColumnInfo, ColumnRef, Kind};
///
/// let info = ColumnInfo::new(ColumnRef::new("notes", "text_ct"), Kind::Encrypted).with_twin("text");
/// assert_eq!((info.kind(), info.twin(), info.is_nullable()), (Kind::Encrypted, Some("text"), false));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ColumnInfo {
    column: ColumnRef,
    kind: Kind,
    nullable: bool,
    codec: Option<Codec>,
    index_of: Option<(ColumnRef, Normalizer)>,
    twin: Option<&'static str>,
    floor: SoakState,
    owner: Option<OwnerKind>,
}

impl ColumnInfo {
    /// A column of this kind.
    #[must_use]
    pub const fn new(column: ColumnRef, kind: Kind) -> Self {
        Self {
            column,
            kind,
            nullable: false,
            codec: None,
            index_of: None,
            twin: None,
            floor: SoakState::Expand,
            owner: None,
        }
    }

    /// What the field's type says of it.
    #[must_use]
    pub const fn of<F: ColumnType>(column: ColumnRef) -> Self {
        let mut info = Self::new(column, F::KIND);
        info.nullable = F::NULLABLE;
        info.codec = F::CODEC;
        info.owner = F::OWNER;
        info
    }

    /// As a blind index.
    #[must_use]
    pub const fn indexing<C: IndexColumn>(mut self) -> Self {
        self.index_of = Some((C::OF, C::NORMALIZER));
        self
    }

    /// Holding values of this codec.
    #[must_use]
    pub const fn with_codec(mut self, codec: Codec) -> Self {
        self.codec = Some(codec);
        self
    }

    /// Accepting no lower state of its soak than this.
    #[must_use]
    pub const fn with_floor(mut self, floor: SoakState) -> Self {
        self.floor = floor;
        self
    }

    /// With a plaintext column of this name beside it.
    #[must_use]
    pub const fn with_twin(mut self, twin: &'static str) -> Self {
        self.twin = Some(twin);
        self
    }

    /// The column.
    #[must_use]
    pub const fn column(&self) -> ColumnRef {
        self.column
    }

    /// What it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it takes NULL.
    #[must_use]
    pub const fn is_nullable(&self) -> bool {
        self.nullable
    }

    /// The codec of its values.
    #[must_use]
    pub const fn codec(&self) -> Option<Codec> {
        self.codec
    }

    /// The column that it indexes, and how values are made equal.
    #[must_use]
    pub const fn index_of(&self) -> Option<(ColumnRef, Normalizer)> {
        self.index_of
    }

    /// The plaintext column beside it.
    #[must_use]
    pub const fn twin(&self) -> Option<&'static str> {
        self.twin
    }

    /// The lowest state of its soak that the release accepts.
    #[must_use]
    pub const fn floor(&self) -> SoakState {
        self.floor
    }
}

/// A struct whose every field is classified. Only `#[derive(EncryptedModel)]` implements it, so that later
/// releases can add to it.
pub trait EncryptedModel: Derived {
    /// Its table and columns.
    const MODEL: ModelInfo;
}

/// The application's tables that hold encrypted columns: what rotation seals anew and deletion reaches.
///
/// Name every model. Of a table that is missing here, nothing is sealed anew and nothing is deleted. Rows are read and
/// deleted by their owner: give each owner column an index.
///
/// ```
/// use ophie_crypt::{EncryptedModel, Models};
/// # use ophie_crypt::{ColumnInfo, ColumnRef, Kind, ModelInfo};
///
/// # struct Note;
/// # impl ophie_crypt::__private::Derived for Note {}
/// # impl EncryptedModel for Note {
/// #     const MODEL: ModelInfo = ModelInfo::new("notes", &[
/// #         ColumnInfo::new(ColumnRef::new("notes", "user_id"), Kind::Owner),
/// #         ColumnInfo::new(ColumnRef::new("notes", "text"), Kind::Encrypted),
/// #     ]);
/// # }
/// let models = Models::new().with::<Note>();
/// assert_eq!(models.sealed_columns().map(|column| column.to_string()).collect::<Vec<_>>(), ["notes.text"]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Models(Vec<ModelInfo>, Vec<(&'static str, &'static str)>);

impl Models {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new(), Vec::new())
    }

    /// And this one. Several structs of one table may be named; each column counts once.
    #[must_use]
    pub fn with<M: EncryptedModel>(mut self) -> Self {
        self.0.push(M::MODEL);
        self
    }

    /// And this one, whose rows are kept when their owner is shredded, for a reason that stands in the receipt. What is
    /// encrypted in them is unreadable all the same; what is plain in them stays.
    #[must_use]
    pub fn with_kept<M: EncryptedModel>(mut self, reason: &'static str) -> Self {
        self.1.push((M::MODEL.table, reason));
        self.with::<M>()
    }

    /// The tables that are kept, and why.
    pub fn kept(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.1.iter().copied()
    }

    /// The tables whose rows go with their owner, each once.
    pub fn deleted_tables(&self) -> impl Iterator<Item = &'static str> {
        let mut tables: Vec<_> = self.0.iter().map(|model| model.table).collect();
        tables.sort_unstable();
        tables.dedup();
        tables.retain(|table| !self.1.iter().any(|(kept, _)| kept == table));
        tables.into_iter()
    }

    /// The models, in the order in which they were named.
    pub fn iter(&self) -> impl Iterator<Item = &ModelInfo> {
        self.0.iter()
    }

    /// The model of this table.
    #[must_use]
    pub fn of_table(&self, table: &str) -> Option<&ModelInfo> {
        self.0.iter().find(|model| model.table == table)
    }

    /// Every column that holds envelopes, once.
    pub fn sealed_columns(&self) -> impl Iterator<Item = ColumnRef> {
        let sealed = |info: &ColumnInfo| matches!(info.kind, Kind::Encrypted | Kind::Sealed);
        let columns = self.0.iter().flat_map(|model| model.columns);
        let mut columns: Vec<ColumnRef> = columns
            .filter(|info| sealed(info))
            .map(|info| info.column)
            .collect();
        columns.sort_by_key(|column| (column.table(), column.name()));
        columns.dedup_by_key(|column| (column.table(), column.name()));
        columns.into_iter()
    }
    /// Every blind index, once, with the column that it indexes.
    pub fn indexed_columns(&self) -> impl Iterator<Item = IndexedColumn> {
        let infos = self.0.iter().flat_map(|model| model.columns);
        let mut indexes: Vec<IndexedColumn> = infos
            .filter_map(|info| {
                let (of, normalizer) = info.index_of?;
                Some(IndexedColumn {
                    index: info.column,
                    of,
                    normalizer,
                })
            })
            .collect();
        indexes.sort_by_key(|indexed| (indexed.index.table(), indexed.index.name()));
        indexes.dedup_by_key(|indexed| (indexed.index.table(), indexed.index.name()));
        indexes.into_iter()
    }
}

/// A blind index and the column that it indexes, of one table.
///
/// ```
/// use ophie_crypt::{ColumnRef, IndexedColumn, Normalizer};
///
/// let (name, name_fp) = (ColumnRef::new("people", "name"), ColumnRef::new("people", "name_fp"));
/// let indexed = IndexedColumn::new(name_fp, name, Normalizer::Name);
/// assert_eq!((indexed.index(), indexed.of()), (name_fp, name));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexedColumn {
    index: ColumnRef,
    of: ColumnRef,
    normalizer: Normalizer,
}

impl IndexedColumn {
    /// Fingerprints in `index` of the values in `of`.
    #[must_use]
    pub const fn new(index: ColumnRef, of: ColumnRef, normalizer: Normalizer) -> Self {
        Self {
            index,
            of,
            normalizer,
        }
    }

    /// Where the fingerprints are.
    #[must_use]
    pub const fn index(&self) -> ColumnRef {
        self.index
    }

    /// Where the values are.
    #[must_use]
    pub const fn of(&self) -> ColumnRef {
        self.of
    }

    /// What makes values equal.
    #[must_use]
    pub const fn normalizer(&self) -> Normalizer {
        self.normalizer
    }
}

#[cfg(test)]
mod tests;
