//! Pages of which the database refuses rows, and the codec of a page.

use super::{super::parts::Parts, world::Tables, *};
use crate::{
    __private::Derived,
    column::{ColumnRef, Kind},
    model::{ColumnInfo, EncryptedModel, ModelInfo, Models},
    plaintext::Codec,
    store::ModelError,
};

const OWNER: ColumnRef = ColumnRef::new("notes", "user_id");
const MOOD: ColumnRef = ColumnRef::new("notes", "mood");

struct Note;

impl Derived for Note {}

impl EncryptedModel for Note {
    const MODEL: ModelInfo = ModelInfo::new(
        "notes",
        &[
            ColumnInfo::new(OWNER, Kind::Owner),
            ColumnInfo::new(MOOD, Kind::Encrypted).with_codec(Codec::new("int")),
            ColumnInfo::new(TEXT, Kind::Encrypted).with_codec(Codec::TEXT),
        ],
    );
}

/// Under another it would open nothing.
#[tokio::test]
async fn a_page_is_sealed_anew_by_the_codec_of_its_column() {
    let world = World::new().await;
    let tables = Tables {
        models: Models::new().with::<Note>(),
        ..Tables::default()
    };
    let rotation = Rotation::new(world.keyring, world.keys, tables);
    assert_eq!(rotation.codec(&TEXT).unwrap(), Codec::TEXT);
    assert_eq!(rotation.codec(&MOOD).unwrap(), Codec::new("int"));
    for none in [OWNER, NAME] {
        let codec = rotation.codec(&none);
        assert!(matches!(codec, Err(RotationError::Codec { column }) if column == none));
    }
}

/// Halves of what was refused, down to the row; the others are written.
#[test]
fn a_row_that_is_refused_keeps_none_of_the_others() {
    let (page, ada) = ([1, 2, 3, 4], ADA.canonical());
    let (mut parts, mut progress) = (Parts::of(&page), Progress::default());
    let (mut tried, mut written) = (Vec::new(), Vec::new());
    while let Some(part) = parts.next() {
        tried.push(part.to_vec());
        let error = match part {
            part if part.contains(&3) => ModelError::refused("a CHECK"),
            part if part.contains(&4) => ModelError::Duplicate,
            part => {
                written.extend(part);
                continue;
            }
        };
        parts.refused(part, error, &ada, &mut progress).unwrap();
    }
    let expected = [vec![1, 2, 3, 4], vec![1, 2], vec![3, 4], vec![3], vec![4]];
    assert_eq!((tried, written), (expected.to_vec(), vec![1, 2]));
    assert_eq!((progress.refused, progress.duplicates), (1, 1));

    let mut parts = Parts::of(&page);
    let down = ModelError::unavailable("down");
    let stopped = parts.refused(&page, down, &ada, &mut progress);
    assert!(
        matches!(stopped, Err(RotationError::Models(_))),
        "{stopped:?}"
    );
}
