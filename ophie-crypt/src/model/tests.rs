//! What models say of their tables, and the proofs that the derive asks for.

use super::*;
use crate::__private;

/// A column type by its kind and codec.
macro_rules! column_types {
    ($($name:ident: $kind:ident, $codec:expr;)*) => {$(
        struct $name;

        impl ColumnType for $name {
            const KIND: Kind = Kind::$kind;
            const CODEC: Option<Codec> = $codec;
            const NULLABLE: bool = false;
            const OWNER: Option<OwnerKind> = match Kind::$kind {
                Kind::Owner => Some(OwnerKind::Integer),
                _ => None,
            };
            type Plain = ();
            type Made = ();

            fn make((): ()) {}
        }
    )*};
}

column_types! {
    Id: Owner, None;
    Text: Encrypted, Some(Codec::TEXT);
    Json: Sealed, Some(Codec::JSON);
    Number: Encrypted, Some(Codec::new("int"));
    Shorter: Encrypted, Some(Codec::new("tex"));
    Longer: Encrypted, Some(Codec::new("texts"));
    Print: BlindIndex, None;
}

const USER: ColumnRef = ColumnRef::new("people", "user_id");
const NAME: ColumnRef = ColumnRef::new("people", "name_ct")
    .with_ids("persons", "name")
    .with_padding(32);
const NAME_FP: ColumnRef = ColumnRef::new("people", "name_fp");

enum NameFp {}

impl crate::column::BoundColumn for NameFp {
    const COLUMN: ColumnRef = NAME_FP;
}

impl IndexColumn for NameFp {
    const OF: ColumnRef = NAME;
    const NORMALIZER: Normalizer = Normalizer::Name;
}

struct Person;

impl Derived for Person {}

impl EncryptedModel for Person {
    const MODEL: ModelInfo = ModelInfo::new(
        "people",
        &[
            ColumnInfo::of::<Id>(USER),
            ColumnInfo::of::<Option<Text>>(NAME).with_twin("name"),
            ColumnInfo::of::<Print>(NAME_FP).indexing::<NameFp>(),
        ],
    )
    .with_tombstone("deleted_at");
}

/// A second struct on the table.
struct Again;

impl Derived for Again {}

impl EncryptedModel for Again {
    const MODEL: ModelInfo = Person::MODEL;
}

struct Bill;

impl Derived for Bill {}

impl EncryptedModel for Bill {
    const MODEL: ModelInfo = ModelInfo::new(
        "bills",
        &[
            ColumnInfo::of::<Id>(ColumnRef::new("bills", "user_id")),
            ColumnInfo::of::<Json>(ColumnRef::new("bills", "lines")),
        ],
    );
}

/// Jobs go over each table and column once, however many structs there are of it.
#[test]
fn each_table_and_column_counts_once() {
    let models = Models::new()
        .with::<Person>()
        .with_kept::<Bill>("tax law")
        .with::<Again>();
    let tables: Vec<_> = models.iter().map(ModelInfo::table).collect();
    assert_eq!(tables, ["people", "bills", "people"]);
    assert_eq!(models.deleted_tables().collect::<Vec<_>>(), ["people"]);
    assert_eq!(models.kept().collect::<Vec<_>>(), [("bills", "tax law")]);
    let sealed: Vec<_> = models.sealed_columns().collect();
    assert_eq!(sealed, [ColumnRef::new("bills", "lines"), NAME]);
    let indexed: Vec<_> = models.indexed_columns().collect();
    assert_eq!(
        indexed,
        [IndexedColumn::new(NAME_FP, NAME, Normalizer::Name)]
    );
    assert_eq!(models.of_table("bills").unwrap().table(), "bills");
    assert!(models.of_table("others").is_none());
}

#[test]
fn a_model_says_what_its_derive_knew() {
    let model = Person::MODEL;
    assert_eq!(
        (model.owner(), model.owner_kind()),
        (USER, Some(OwnerKind::Integer))
    );
    assert_eq!(model.tombstone(), Some("deleted_at"));
    let [owner, name, print] = model.columns() else {
        panic!("three columns")
    };
    assert_eq!(
        (owner.kind(), owner.codec(), owner.twin()),
        (Kind::Owner, None, None)
    );
    assert_eq!(
        (name.codec(), name.twin()),
        (Some(Codec::TEXT), Some("name"))
    );
    assert!(name.is_nullable() && !print.is_nullable());
    assert_eq!(
        (name.index_of(), print.index_of()),
        (None, Some((NAME, Normalizer::Name)))
    );
    let column = name.column();
    assert_eq!((column.table(), column.table_id()), ("people", "persons"));
    assert_eq!((column.name(), column.id()), ("name_ct", "name"));
    assert_eq!((column.padding(), USER.padding()), (Some(32), None));
    assert_eq!(Bill::MODEL.tombstone(), None);
}

/// What does not hold of a field's type does not compile; each proof is about one mistake.
#[test]
fn a_proof_holds_of_what_it_is_about() {
    use __private::{has_one_encoding, is_encrypted, may_be_plain, normalizer_fits};

    assert!(is_encrypted::<Text>() && is_encrypted::<Json>());
    assert!(!is_encrypted::<Id>() && !is_encrypted::<Print>());
    // Equal values of JSON may have different bytes, and so different fingerprints.
    assert!(has_one_encoding::<Text>() && has_one_encoding::<Id>());
    assert!(!has_one_encoding::<Json>());
    for normalizer in [Normalizer::Name, Normalizer::Email] {
        assert!(normalizer_fits::<Text>(normalizer));
        assert!(!normalizer_fits::<Number>(normalizer));
        assert!(!normalizer_fits::<Shorter>(normalizer) && !normalizer_fits::<Longer>(normalizer));
        assert!(!normalizer_fits::<Id>(normalizer));
    }
    assert!(normalizer_fits::<Number>(Normalizer::Exact));
    // A second struct must not have a column in clear that the first has encrypted.
    let model = Person::MODEL;
    assert!(may_be_plain(&model, "id") && may_be_plain(&model, "user_id"));
    assert!(!may_be_plain(&model, "name_ct") && !may_be_plain(&model, "NAME_FP"));
}
