//! The releases of the application: with the attribute, under two floors, and without it.
//!
//! Absent: their processes (`process`).

use crate::{
    __private::Derived,
    blind_index::Normalizer,
    column::{BoundColumn, ColumnRef, ColumnType, IndexColumn, Kind},
    model::{ColumnInfo, EncryptedModel, ModelInfo, Models},
    plaintext::Codec,
    soak::{SoakMarker, SoakState},
};

pub(super) const TABLE: &str = "people";
pub(super) const COLUMN: &str = "name_ct";
pub(super) const NAME: ColumnRef = ColumnRef::new(TABLE, COLUMN);
pub(super) const TWIN: &str = "name";
const NAME_FP: ColumnRef = ColumnRef::new(TABLE, "name_fp");
const USER: ColumnRef = ColumnRef::new(TABLE, "user_id");

/// Of the index, in every release.
pub(super) struct NameFp;

impl BoundColumn for NameFp {
    const COLUMN: ColumnRef = NAME_FP;
}

impl IndexColumn for NameFp {
    const OF: ColumnRef = NAME;
    const NORMALIZER: Normalizer = Normalizer::Exact;
}

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

const SEALED: ColumnInfo = ColumnInfo::new(NAME, Kind::Encrypted).with_codec(Codec::TEXT);
const OWNER: ColumnInfo = ColumnInfo::new(USER, Kind::Owner);

macro_rules! release {
    ($model:ident, $marker:ident, $floor:ident) => {
        pub(super) struct $marker;

        impl BoundColumn for $marker {
            const COLUMN: ColumnRef = NAME;
        }

        impl SoakMarker for $marker {
            const TWIN: &'static str = TWIN;
            const FLOOR: SoakState = SoakState::$floor;
        }

        struct $model;

        impl Derived for $model {}

        impl EncryptedModel for $model {
            const MODEL: ModelInfo = ModelInfo::new(
                TABLE,
                &[
                    OWNER,
                    SEALED.with_twin(TWIN).with_floor(SoakState::$floor),
                    ColumnInfo::of::<Fingerprints>(NAME_FP).indexing::<NameFp>(),
                ],
            );
        }
    };
}

release!(Lowest, LowestName, Plain);
release!(High, HighName, Backfill);

struct Twinless;

impl Derived for Twinless {}

impl EncryptedModel for Twinless {
    const MODEL: ModelInfo = ModelInfo::new(
        TABLE,
        &[
            OWNER,
            SEALED,
            ColumnInfo::of::<Fingerprints>(NAME_FP).indexing::<NameFp>(),
        ],
    );
}

/// What a process was built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Release {
    /// It accepts every state.
    Lowest,
    /// It accepts none below `Backfill`.
    High,
    /// It knows no plaintext.
    Twinless,
}

impl Release {
    pub(super) fn models(self) -> Models {
        match self {
            Self::Lowest => Models::new().with::<Lowest>(),
            Self::High => Models::new().with::<High>(),
            Self::Twinless => Models::new().with::<Twinless>(),
        }
    }

    pub(super) const fn floor(self) -> SoakState {
        match self {
            Self::Lowest => LowestName::FLOOR,
            Self::High => HighName::FLOOR,
            Self::Twinless => SoakState::Sealed,
        }
    }
}
