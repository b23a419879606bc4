//! Pages of which the database refuses rows, and a page's codec.

use super::{super::parts::Parts, *};
use crate::store::ModelError;

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
