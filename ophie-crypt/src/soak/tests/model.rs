//! A model whose names and nicknames soak, each with an index of its own.
//!
//! Absent: where they are kept (`table`).

use crate::{
    __private::Derived,
    blind_index::Normalizer,
    column::{BoundColumn, ColumnRef, ColumnType, IndexColumn, Kind},
    model::{ColumnInfo, EncryptedModel, ModelInfo},
    plaintext::Codec,
    soak::{Rows, SoakMarker, SoakRow, SoakState, SoakedRow},
};

pub(in crate::soak) const NAME: ColumnRef = ColumnRef::new("people", "name_ct");
/// Encrypted by a release that knows none of its soak.
pub(in crate::soak) const NOTE: ColumnRef = ColumnRef::new("people", "note");
pub(super) const NAME_FP: ColumnRef = ColumnRef::new("people", "name_fp");
const NICK: ColumnRef = ColumnRef::new("people", "nick_ct");
const NICK_FP: ColumnRef = ColumnRef::new("people", "nick_fp");

/// The marker of a name.
pub(super) struct Name;

impl BoundColumn for Name {
    const COLUMN: ColumnRef = NAME;
}

impl SoakMarker for Name {
    const TWIN: &'static str = "name";
    const FLOOR: SoakState = SoakState::Expand;
}

macro_rules! index {
    ($marker:ident, $column:ident, $of:ident) => {
        struct $marker;

        impl BoundColumn for $marker {
            const COLUMN: ColumnRef = $column;
        }

        impl IndexColumn for $marker {
            const OF: ColumnRef = $of;
            const NORMALIZER: Normalizer = Normalizer::Name;
        }
    };
}

index!(NameFp, NAME_FP, NAME);
index!(NickFp, NICK_FP, NICK);

struct Fingerprints;

impl ColumnType for Fingerprints {
    const KIND: Kind = Kind::BlindIndex;
    const CODEC: Option<Codec> = Some(Codec::TEXT);
    type Plain = String;
    type Made = String;

    fn make(plain: String) -> String {
        plain
    }
}

pub(super) struct Person;

impl Derived for Person {}

impl EncryptedModel for Person {
    const MODEL: ModelInfo = ModelInfo::new(
        "people",
        &[
            ColumnInfo::new(ColumnRef::new("people", "user_id"), Kind::Owner),
            ColumnInfo::new(NAME, Kind::Encrypted)
                .with_codec(Codec::TEXT)
                .with_twin("name"),
            ColumnInfo::of::<Fingerprints>(NAME_FP).indexing::<NameFp>(),
            ColumnInfo::new(NICK, Kind::Encrypted)
                .with_codec(Codec::TEXT)
                .with_twin("nick"),
            ColumnInfo::of::<Fingerprints>(NICK_FP).indexing::<NickFp>(),
            ColumnInfo::new(NOTE, Kind::Encrypted).with_codec(Codec::TEXT),
        ],
    );
}

/// What the database knows of a soak, at version 7.
pub(super) fn soak_of(column: ColumnRef, twin: &str, state: SoakState) -> SoakRow {
    SoakRow {
        table: column.table().to_owned(),
        column: column.name().to_owned(),
        twin: twin.to_owned(),
        state,
        version: 7,
        since: 7,
        admits_old: true,
        verified: None,
        filled: 0,
    }
}

pub(super) fn is_of(row: &SoakedRow, rows: Rows) -> bool {
    let has_all = row.sealed.is_some() && row.fingerprints.iter().all(Option::is_some);
    match rows {
        Rows::All => true,
        Rows::Undecrypted => row.sealed.is_some() && row.plain.is_none(),
        Rows::Pending => row.plain.is_some() && !has_all,
        Rows::WithTwin => row.plain.is_some(),
    }
}
