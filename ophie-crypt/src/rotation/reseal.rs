//! Seals the values of an old generation anew, page after page.
//!
//! Invariant: each page is behind the one before, so that values that stay as they are end nothing and stop nothing.
//! Absent: when the old generation is done with (the parent).

use super::{Progress, Rotation, RotationError, WaitsFor, parts::Parts};
use crate::{
    column::ColumnRef,
    error::{Error, OpenError, SealError},
    hazmat::{aead::Nonces, data_key::KeyId},
    owner::CanonicalId,
    plaintext::Codec,
    session::{Purpose, Session},
    store::{ModelError, Reseal},
};

/// How often a page is tried whose reserve others used up.
const RESERVES: u32 = 5;

impl Rotation {
    /// All values of the owner under the old key, in every registered column. A session is opened if there is any.
    /// Where others hold rows, the rest is left for another time.
    pub(super) async fn reseal(
        &self,
        owner: &CanonicalId,
        (old, new): (KeyId, KeyId),
        progress: &mut Progress,
    ) -> Result<(), RotationError> {
        let mut session = None;
        for column in self.models.models().sealed_columns() {
            let mut after: Option<Vec<u8>> = None;
            loop {
                let reading =
                    self.models
                        .sealed_under(owner, &column, old, after.as_deref(), self.page);
                let mut page = reading.await?;
                let Some(last) = page.last().cloned() else {
                    break;
                };
                after = Some(last);
                page.dedup();
                let session = match &mut session {
                    Some(session) => session,
                    none => none.insert(self.session(owner, new).await?),
                };
                let reseals = self.page_anew(session, &column, &page, progress).await?;
                let mut parts = Parts::of(&reseals);
                while let Some(part) = parts.next() {
                    match self.models.replace(owner, &column, part).await {
                        Ok(rows) => progress.resealed = progress.resealed.saturating_add(rows),
                        Err(ModelError::Busy) => {
                            progress.wait_for(WaitsFor::Transactions);
                            return Ok(());
                        }
                        Err(error) => parts.refused(part, error, owner, progress)?,
                    }
                }
                if let Some(watch) = &self.watch {
                    watch(owner, progress);
                }
            }
        }
        Ok(())
    }

    /// A session that seals under the key of this id.
    async fn session(&self, owner: &CanonicalId, new: KeyId) -> Result<Session, RotationError> {
        let session = self.keyring.open(owner, Purpose::new("rotation")).await?;
        let seals_anew = || {
            let pinned = session.pin().map_err(RotationError::Ended)?;
            Ok::<_, RotationError>(pinned.keys().sealing_id() == new)
        };
        if !seals_anew()? {
            // Keys of before the step, which another session of this process holds.
            session.refresh().await?;
            if !seals_anew()? {
                return Err(RotationError::Interrupted);
            }
        }
        Ok(session)
    }

    async fn page_anew(
        &self,
        session: &Session,
        column: &ColumnRef,
        page: &[Vec<u8>],
        progress: &mut Progress,
    ) -> Result<Vec<Reseal>, RotationError> {
        let codec = self.codec(column)?;
        let count = u32::try_from(page.len()).unwrap_or(u32::MAX);
        let mut tries = RESERVES;
        loop {
            session.reserve(count).await?;
            match seal_anew(session, column, codec, page) {
                Err(RotationError::Seal(SealError::NoBudget { .. })) if tries > 0 => {
                    tries = tries.saturating_sub(1);
                }
                Err(error) => return Err(error),
                Ok(Anew {
                    reseals,
                    row_bound,
                    failed,
                }) => {
                    progress.row_bound = progress.row_bound.saturating_add(row_bound);
                    progress.failed = progress.failed.saturating_add(failed);
                    return Ok(reseals);
                }
            }
        }
    }

    pub(super) fn codec(&self, column: &ColumnRef) -> Result<Codec, RotationError> {
        let models = self.models.models().iter();
        let infos = models.flat_map(|model| model.columns());
        let mut codecs = infos
            .filter(|info| info.column() == *column)
            .filter_map(|info| info.codec());
        let codec = codecs.next();
        codec.ok_or(RotationError::Codec { column: *column })
    }
}

struct Anew {
    reseals: Vec<Reseal>,
    row_bound: u64,
    failed: u64,
}

/// One page under one pin: no I/O, and no code of the application.
fn seal_anew(
    session: &Session,
    column: &ColumnRef,
    codec: Codec,
    page: &[Vec<u8>],
) -> Result<Anew, RotationError> {
    let pinned = session.pin().map_err(RotationError::Ended)?;
    pinned.spend(page.len().try_into().unwrap_or(u64::MAX), *column)?;
    let mut nonces = Nonces::for_values(page.len());
    let mut anew = Anew {
        reseals: Vec::with_capacity(page.len()),
        row_bound: 0,
        failed: 0,
    };
    for old in page {
        match pinned.keys().reseal(column, codec, old, nonces.next()) {
            Ok(new) => anew.reseals.push(Reseal::new(old.as_slice(), new)),
            Err(Error::Open(OpenError::RowBinding { .. })) => {
                anew.row_bound = anew.row_bound.saturating_add(1);
            }
            Err(Error::Seal(error @ SealError::Randomness { .. })) => return Err(error.into()),
            Err(_) => anew.failed = anew.failed.saturating_add(1),
        }
    }
    Ok(anew)
}
