//! What is in the way of binaries of before.
//!
//! Invariant: who only looks is told what [`admit_old_binaries`](Soaker::admit_old_binaries) asks for. Absent: the admission
//! (`worker`).

use super::{Gate, SoakJobError, SoakState, Soaker, worker::not_now};

impl Soaker {
    /// What must hold before binaries that know nothing of the soak are admitted again, and does not. See
    /// [`admit_old_binaries`](Self::admit_old_binaries), which looks for itself.
    ///
    /// # Errors
    ///
    /// [`SoakJobError`]; [`SoakJobError::NotNow`] once plaintext is refused.
    pub async fn unmet_of_old_binaries(
        &self,
        table: &str,
        column: &str,
    ) -> Result<Vec<Gate>, SoakJobError> {
        let (soak, row) = self.known(table, column).await?;
        if row.state >= SoakState::Retired {
            return Err(not_now(&soak.column(), &row));
        }
        if row.admits_old {
            return Ok(Vec::new());
        }
        match self
            .check(&soak, &row, row.state, admission(row.state))
            .await
        {
            Err(SoakJobError::Gates { unmet, .. }) => Ok(unmet),
            held => held.map(|()| Vec::new()),
        }
    }
}

/// What must hold before they are admitted again.
pub(super) const fn admission(state: SoakState) -> &'static [Gate] {
    match state {
        SoakState::Sealed => &[
            Gate::Acknowledged,
            Gate::Floor,
            Gate::Decrypted,
            Gate::Verified,
        ],
        _ => &[Gate::Floor],
    }
}
