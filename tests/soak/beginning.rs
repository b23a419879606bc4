//! Where an interleaving begins.
//!
//! Absent: turns (the parent).

use ophie_crypt::soak::SoakState;

use super::Run;

impl Run {
    /// Anywhere, without a row.
    pub(crate) async fn begin(&mut self) {
        self.world.soaker().expand("people", "name_ct").await.unwrap();
        let end = self.random.of(&SoakState::ALL[1..8]);
        self.go_on(end).await;
    }

    /// Where what is switched off counts, with a row.
    pub(crate) async fn begin_at(&mut self, state: SoakState) {
        self.world.soaker().expand("people", "name_ct").await.unwrap();
        self.go_on(state.min(SoakState::Sealed)).await;
        self.embedded(0).await;
        self.world.soaker().backfill("people", "name_ct").await.ok();
        self.go_on(state).await;
    }

    async fn go_on(&mut self, end: SoakState) {
        let soaker = self.world.soaker();
        let (table, column) = ("people", "name_ct");
        while self.world.state().await < end {
            let next = self.world.state().await.next().unwrap();
            if next == SoakState::Retired {
                self.old = false;
                soaker.admit_old_binaries(table, column, false).await.unwrap();
            }
            for at in 0..2 {
                self.processes[at].watch.beat().await.unwrap();
            }
            soaker.verify(table, column).await.ok();
            soaker.step(table, column, next).await.unwrap();
        }
        for at in 0..2 {
            self.wake(at).await;
        }
    }
}
