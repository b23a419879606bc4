//! Writes pages of which the database may refuse rows.
//!
//! Invariant: a row that is refused stays as it is, is counted, and keeps none of the others. Absent: what is written
//! (`reseal`, `reindex`).

use super::{Progress, RotationError};
use crate::{owner::CanonicalId, store::ModelError};

/// What is still to be written of a page: all of it in one statement first, then halves of what was refused.
pub(super) struct Parts<'p, T> {
    rest: Vec<&'p [T]>,
}

impl<'p, T> Parts<'p, T> {
    pub(super) fn of(page: &'p [T]) -> Self {
        Self { rest: vec![page] }
    }

    pub(super) fn next(&mut self) -> Option<&'p [T]> {
        let part = self.rest.pop();
        part.filter(|part| !part.is_empty())
    }

    /// A part was not written. One row that the database refuses is counted; an error that is about no row is returned.
    pub(super) fn refused(
        &mut self,
        part: &'p [T],
        error: ModelError,
        owner: &CanonicalId,
        progress: &mut Progress,
    ) -> Result<(), RotationError> {
        let count = match &error {
            ModelError::Duplicate => &mut progress.duplicates,
            ModelError::Refused { .. } => &mut progress.refused,
            _ => return Err(error.into()),
        };
        if part.len() > 1 {
            let (first, second) = part.split_at(part.len() / 2);
            self.rest.extend([second, first]);
            return Ok(());
        }
        *count = count.saturating_add(1);
        let error: &dyn core::error::Error = &error;
        tracing::warn!(
            target: "ophie_crypt::rotation",
            owner = owner.to_hex(),
            error,
            "a row keeps the old key"
        );
        Ok(())
    }
}
