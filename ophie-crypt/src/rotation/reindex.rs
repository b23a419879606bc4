//! Gives the rows of an old index key new fingerprints, page after page, from the values beside them.
//!
//! Invariant: each page is behind the one before, so that rows that stay as they are end nothing and stop nothing; a
//! fingerprint is written only beside the envelope that it was made of. Absent: when the old key is done with (`index`).

use super::{Progress, Rotation, RotationError, parts::Parts};
use crate::{
    error::{Error, OpenError},
    model::IndexedColumn,
    owner::CanonicalId,
    plaintext::Codec,
    session::{Purpose, Session},
    store::{IndexedRow, ModelError, Reindex},
};

impl Rotation {
    /// All rows of the owner under the old index key, in every registered index. A session is opened if there is any.
    /// False where others hold rows: the rest is left for another time.
    pub(super) async fn reindex(
        &self,
        owner: &CanonicalId,
        (old, new): (u8, u8),
        progress: &mut Progress,
    ) -> Result<bool, RotationError> {
        let mut session = None;
        for indexed in self.models.models().indexed_columns() {
            let codec = self.codec(&indexed.of())?;
            let mut after: Option<IndexedRow> = None;
            loop {
                let reading =
                    self.models
                        .indexed_under(owner, &indexed, old, after.as_ref(), self.page);
                let mut page = reading.await?;
                let Some(last) = page.last().cloned() else {
                    break;
                };
                after = Some(last);
                page.dedup();
                let session = match &mut session {
                    Some(session) => session,
                    none => none.insert(self.writing_session(owner, new).await?),
                };
                let anew = fingerprint_anew(session, &indexed, codec, page, progress)?;
                if !self.put(owner, &indexed, &anew, progress).await? {
                    return Ok(false);
                }
                if let Some(watch) = &self.watch {
                    watch(owner, progress);
                }
            }
        }
        Ok(true)
    }

    /// A session that writes under the index key of this generation. It seals nothing.
    async fn writing_session(
        &self,
        owner: &CanonicalId,
        new: u8,
    ) -> Result<Session, RotationError> {
        let purpose = Purpose::new("rotation");
        let session = self.keyring.open_read_only(owner, purpose).await?;
        let writes = || {
            let pinned = session.pin().map_err(RotationError::Ended)?;
            Ok::<_, RotationError>(pinned.keys().index.writing.generation() == new)
        };
        if !writes()? {
            // Keys of before the step, which another session of this process holds.
            session.refresh().await?;
            if !writes()? {
                return Err(RotationError::Interrupted);
            }
        }
        Ok(session)
    }

    /// Of a page that the database refuses, all but the rows that it refuses. False where others hold rows.
    async fn put(
        &self,
        owner: &CanonicalId,
        indexed: &IndexedColumn,
        anew: &[Reindex],
        progress: &mut Progress,
    ) -> Result<bool, RotationError> {
        let mut parts = Parts::of(anew);
        while let Some(part) = parts.next() {
            match self.models.reindex(owner, indexed, part).await {
                Ok(rows) => progress.reindexed = progress.reindexed.saturating_add(rows),
                Err(ModelError::Busy) => return Ok(false),
                Err(error) => parts.refused(part, error, owner, progress)?,
            }
        }
        Ok(true)
    }
}

/// One page under one pin: no I/O, and no code of the application.
fn fingerprint_anew(
    session: &Session,
    indexed: &IndexedColumn,
    codec: Codec,
    page: Vec<IndexedRow>,
    progress: &mut Progress,
) -> Result<Vec<Reindex>, RotationError> {
    let pinned = session.pin().map_err(RotationError::Ended)?;
    let mut anew = Vec::with_capacity(page.len());
    for row in page {
        match pinned.keys().reindex(indexed, codec, row.sealed()) {
            Ok(fingerprint) => anew.push(Reindex::new(row, fingerprint)),
            Err(Error::Open(OpenError::RowBinding { .. })) => {
                progress.row_bound = progress.row_bound.saturating_add(1);
            }
            Err(_) => progress.failed = progress.failed.saturating_add(1),
        }
    }
    Ok(anew)
}
