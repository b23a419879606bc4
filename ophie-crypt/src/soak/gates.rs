//! What must hold before a step, looked at.
//!
//! Invariant: who may live is waited for, and who is dead is not. Absent: which gates there are (`state`), who is dead
//! (`deaths`).

use core::time::Duration;

use tokio::time::sleep;

use super::{
    Gate, Heartbeat, Rows, SoakColumn, SoakJobError, SoakRow, SoakState, Soaker, deaths::Life,
    worker::not_now,
};

impl Soaker {
    pub(super) async fn unmet_of(
        &self,
        soak: &SoakColumn,
        row: &SoakRow,
        to: SoakState,
    ) -> Result<Vec<Gate>, SoakJobError> {
        let column = soak.column();
        let gates = row.state.gates(to).ok_or_else(|| not_now(&column, row))?;
        self.unmet_among(soak, row, to, gates).await
    }

    /// Of these gates, those that do not hold.
    async fn unmet_among(
        &self,
        soak: &SoakColumn,
        row: &SoakRow,
        to: SoakState,
        gates: &[Gate],
    ) -> Result<Vec<Gate>, SoakJobError> {
        let (beats, lives) = self.beats(soak, row, to, gates).await?;
        let live = || {
            let all = beats.iter().zip(&lives);
            all.filter(|(_, life)| **life != Life::Dead)
                .map(|(beat, _)| beat)
        };
        let mut unmet = Vec::new();
        for gate in gates {
            let holds = match gate {
                Gate::Acknowledged => live().all(|beat| beat.version == row.version),
                Gate::Decrypted => self.store.count(soak, Rows::Undecrypted).await? == 0,
                Gate::Emptied => self.store.count(soak, Rows::WithTwin).await? == 0,
                // What one writes that does not know the plaintext is not in it: a step back would serve what was before.
                Gate::Floor => live().all(|beat| beat.knows_twin && beat.floor <= to),
                Gate::NoOldBinaries => !row.admits_old,
                Gate::NothingPending => self.store.count(soak, Rows::Pending).await? == 0,
                // Those that ended too: what they counted was there.
                Gate::Quiet => beats
                    .iter()
                    .all(|beat| beat.version < row.since || beat.odd == 0),
                Gate::TwinUnknown => {
                    beats.iter().any(|beat| beat.lives) && live().all(|beat| !beat.knows_twin)
                }
                Gate::Verified => row.verified == Some(row.version),
            };
            if !holds {
                unmet.push(*gate);
            }
        }
        Ok(unmet)
    }

    pub(super) async fn check_gates(
        &self,
        soak: &SoakColumn,
        row: &SoakRow,
        to: SoakState,
    ) -> Result<(), SoakJobError> {
        let column = soak.column();
        let gates = row.state.gates(to).ok_or_else(|| not_now(&column, row))?;
        self.check(soak, row, to, gates).await
    }

    /// These gates, and no others.
    pub(super) async fn check(
        &self,
        soak: &SoakColumn,
        row: &SoakRow,
        to: SoakState,
        gates: &[Gate],
    ) -> Result<(), SoakJobError> {
        all_hold(soak, to, self.unmet_among(soak, row, to, gates).await?)
    }

    /// Heartbeats, once it is clear who is dead among those that would stand in the way.
    async fn beats(
        &self,
        soak: &SoakColumn,
        row: &SoakRow,
        to: SoakState,
        gates: &[Gate],
    ) -> Result<(Vec<Heartbeat>, Vec<Life>), SoakJobError> {
        let column = soak.column();
        let stands_in = |beat: &Heartbeat| {
            gates.iter().any(|gate| match gate {
                Gate::Acknowledged => beat.version != row.version,
                Gate::Floor => !beat.knows_twin || beat.floor > to,
                Gate::TwinUnknown => beat.knows_twin,
                _ => false,
            })
        };
        loop {
            let asked = self.deaths.clock.now();
            let beats = self.store.heartbeats(&column).await?;
            let look = |beat| self.deaths.look(&column, beat, &asked);
            let lives: Vec<Life> = beats.iter().map(look).collect();
            let mut all = beats.iter().zip(&lives);
            if self.is_stopped()
                || !all.any(|(beat, life)| *life == Life::Doubtful && stands_in(beat))
            {
                return Ok((beats, lives));
            }
            sleep(LOOK).await;
        }
    }
}

fn all_hold(soak: &SoakColumn, to: SoakState, unmet: Vec<Gate>) -> Result<(), SoakJobError> {
    if unmet.is_empty() {
        return Ok(());
    }
    Err(SoakJobError::Gates {
        column: soak.column(),
        to,
        unmet,
    })
}

/// Between two looks at heartbeats.
const LOOK: Duration = Duration::from_millis(500);
