//! A column in a soak, as jobs know it, and what a field of one may hold.
//!
//! Absent: how far it is (`store`).

use super::SoakState;
use crate::{
    blind_index::Normalizer,
    column::{ColumnRef, Kind},
    model::{ColumnInfo, Models},
    owner::OwnerKind,
    plaintext::{Codec, Plaintext},
};

/// An encrypted column, the plaintext column beside it, and the fingerprints that depend on it.
///
/// ```
/// use ophie_crypt::{ColumnInfo, ColumnRef, Codec, Kind, ModelInfo, Models, soak::SoakColumn};
/// # use ophie_crypt::EncryptedModel;
/// # struct Person;
/// # impl ophie_crypt::__private::Derived for Person {}
/// # impl EncryptedModel for Person {
/// #     const MODEL: ModelInfo = ModelInfo::new("people", &[
/// #         ColumnInfo::new(ColumnRef::new("people", "user_id"), Kind::Owner),
/// #         ColumnInfo::new(ColumnRef::new("people", "name_ct"), Kind::Encrypted).with_codec(Codec::TEXT).with_twin("name"),
/// #     ]);
/// # }
/// let models = Models::new().with::<Person>();
/// let name = SoakColumn::of(&models, "people", "name_ct").expect("a column in a soak");
/// assert_eq!((name.column().name(), name.twin()), ("name_ct", "name"));
/// ```
#[derive(Clone, Debug)]
pub struct SoakColumn {
    column: ColumnRef,
    codec: Codec,
    owner: ColumnRef,
    owner_kind: Option<OwnerKind>,
    twin: String,
    floor: SoakState,
    indexes: Vec<SoakIndex>,
}

/// A blind index over a column in a soak.
///
/// ```
/// use ophie_crypt::{ColumnRef, Normalizer, soak::SoakIndex};
///
/// let index = SoakIndex::new(ColumnRef::new("people", "name_fp"), Normalizer::Name);
/// assert_eq!(index.column().name(), "name_fp");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SoakIndex {
    column: ColumnRef,
    normalizer: Normalizer,
}

impl SoakIndex {
    /// An index of this column.
    #[must_use]
    pub const fn new(column: ColumnRef, normalizer: Normalizer) -> Self {
        Self { column, normalizer }
    }

    /// Its column.
    #[must_use]
    pub const fn column(&self) -> ColumnRef {
        self.column
    }

    /// How values are made equal.
    #[must_use]
    pub const fn normalizer(&self) -> Normalizer {
        self.normalizer
    }
}

impl SoakColumn {
    /// The encrypted column of this name, if a model says which plaintext column stands beside it.
    #[must_use]
    pub fn of(models: &Models, table: &str, column: &str) -> Option<Self> {
        let found = infos(models, table).find(|(_, info)| info.column().name() == column)?;
        Self::with(models, table, found.1, found.1.twin()?)
    }

    /// The same of a model that no longer says so.
    #[must_use]
    pub fn without_attribute(
        models: &Models,
        table: &str,
        column: &str,
        twin: &str,
    ) -> Option<Self> {
        let found = infos(models, table).find(|(_, info)| info.column().name() == column)?;
        Self::with(models, table, found.1, twin)
    }

    fn with(models: &Models, table: &str, info: &ColumnInfo, twin: &str) -> Option<Self> {
        let model = models.of_table(table)?;
        let column = info.column();
        let mut indexes: Vec<SoakIndex> = Vec::new();
        for (_, other) in infos(models, table) {
            let Some((of, normalizer)) = other.index_of() else {
                continue;
            };
            let known = indexes
                .iter()
                .any(|known| known.column.name() == other.column().name());
            if of.name() == column.name() && !known {
                indexes.push(SoakIndex::new(other.column(), normalizer));
            }
        }
        Some(Self {
            column,
            codec: info.codec()?,
            owner: model.owner(),
            owner_kind: model.owner_kind(),
            twin: twin.to_owned(),
            floor: info.floor(),
            indexes,
        })
    }

    /// The encrypted column.
    #[must_use]
    pub const fn column(&self) -> ColumnRef {
        self.column
    }

    /// The codec of its values.
    #[must_use]
    pub const fn codec(&self) -> Codec {
        self.codec
    }

    /// The column of the rows' owner.
    #[must_use]
    pub const fn owner(&self) -> ColumnRef {
        self.owner
    }

    /// What kind of id the owner's is, where its type says so.
    #[must_use]
    pub const fn owner_kind(&self) -> Option<OwnerKind> {
        self.owner_kind
    }

    /// The plaintext column.
    #[must_use]
    pub fn twin(&self) -> &str {
        &self.twin
    }

    /// The lowest state that the release accepts.
    #[must_use]
    pub const fn floor(&self) -> SoakState {
        self.floor
    }

    /// The blind indexes over it.
    #[must_use]
    pub fn indexes(&self) -> &[SoakIndex] {
        &self.indexes
    }
}

fn infos<'a>(
    models: &'a Models,
    table: &'a str,
) -> impl Iterator<Item = (&'a str, &'a ColumnInfo)> {
    let of_table = models.iter().filter(move |model| model.table() == table);
    of_table.flat_map(|model| {
        let columns = model.columns().iter();
        let held = columns.filter(|info| info.kind() != Kind::Owner);
        held.map(|info| (model.table(), info))
    })
}

/// What a field of a model may hold during a soak: `T`, or `Option<T>` where the column takes NULL.
///
/// ```
/// use ophie_crypt::soak::Soakable;
///
/// assert!(!<String as Soakable>::NULLABLE && <Option<String> as Soakable>::NULLABLE);
/// ```
pub trait Soakable {
    /// The plaintext.
    type Plain: Plaintext;
    /// What `expose_secret` gives.
    type Exposed<'a>
    where
        Self::Plain: 'a;
    /// Whether it may be NULL.
    const NULLABLE: bool;

    /// What `expose_secret` gives; `None` only of a NULL that [`NULLABLE`](Self::NULLABLE) admits.
    fn expose(value: Option<&Self::Plain>) -> Option<Self::Exposed<'_>>;
}

impl<T: Plaintext> Soakable for T {
    type Plain = T;
    type Exposed<'a>
        = &'a T
    where
        T: 'a;
    const NULLABLE: bool = false;

    fn expose(value: Option<&T>) -> Option<&T> {
        value
    }
}

impl<T: Plaintext> Soakable for Option<T> {
    type Plain = T;
    type Exposed<'a>
        = Option<&'a T>
    where
        T: 'a;
    const NULLABLE: bool = true;

    fn expose(value: Option<&T>) -> Option<Option<&T>> {
        Some(value)
    }
}

/// The condition of a look-up by fingerprint that finds rows which are pending too, as SQL. Bind the fingerprint in the
/// first place and the value's `twin()` in the second.
///
/// Pending rows are found only where the plaintext is equal as the database compares it: a normaliser such as `name` does
/// not reach them until the backfill has.
///
/// ```
/// let sql = ophie_crypt::soak::lookup("name_fp", "name", "$2", "$3");
/// assert_eq!(sql, "(name_fp = $2 OR (name_fp IS NULL AND name = $3))");
/// ```
#[must_use]
pub fn lookup(fingerprint: &str, twin: &str, first: &str, second: &str) -> String {
    format!("({fingerprint} = {first} OR ({fingerprint} IS NULL AND {twin} = {second}))")
}
