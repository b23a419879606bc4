//! What becomes of the plaintext once the ciphertext counts: it goes, or comes back.
//!
//! Invariant: plaintext goes only where ciphertext is, and ciphertext is as it was afterwards. Absent: SQL (`store`).

use super::{
    Gate, Rows, SoakColumn, SoakJobError, SoakRow, SoakState, Soaker, Wrong,
    seal::{Looked, RETRY},
    sessions::Sessions,
    worker::not_now,
};
use crate::store::ModelError;

impl Soaker {
    /// Closes the column, in `Retired`, so that no plaintext gets in any more, and sets what there is in every row to NULL.
    /// Every live process must have acknowledged the state before: until then, they write plaintext. The rows' dead versions stay in the table's files until it is
    /// written anew: [`drop_twin`](Self::drop_twin) does.
    ///
    /// # Errors
    ///
    /// [`SoakJobError`]; what was done stays done.
    pub async fn null_out(&self, table: &str, column: &str) -> Result<u64, SoakJobError> {
        let (soak, row) = self.known(table, column).await?;
        if row.state != SoakState::Retired {
            return Err(not_now(&soak.column(), &row));
        }
        self.check(&soak, &row, SoakState::Retired, &[Gate::Acknowledged])
            .await?;
        if !self.store.close(&soak, &row).await? {
            return Err(SoakJobError::Interrupted);
        }
        let total = self.store.count(&soak, Rows::WithTwin).await?;
        let (mut done, mut passed) = (0_u64, u64::MAX);
        while !self.is_stopped() {
            match self.store.empty(&soak, self.batch).await {
                Err(ModelError::Busy) => tokio::time::sleep(RETRY).await,
                Err(error) => return Err(error.into()),
                Ok(None) => {
                    // Another tool may have put the guard back, which the comparison sees too.
                    self.still(&soak, &row).await?;
                    let column = soak.column();
                    return Err(SoakJobError::NullOutTouches { column });
                }
                Ok(Some(0)) => {
                    self.still(&soak, &row).await?;
                    // At the end: what others held is looked for from the beginning.
                    self.store.rewind(&soak).await?;
                    if self.store.count(&soak, Rows::WithTwin).await? == 0 || done == passed {
                        break;
                    }
                    passed = done;
                }
                Ok(Some(emptied)) => done = done.saturating_add(emptied),
            }
            self.tell(done, total);
            self.rest().await;
        }
        Ok(done)
    }

    /// What the step to `Plain` would otherwise do while the table is locked.
    pub(super) async fn empty_sealed(&self, soak: &SoakColumn) -> Result<(), SoakJobError> {
        let total = self.store.count(soak, Rows::All).await?;
        let (mut done, mut after): (u64, Option<String>) = (0, None);
        loop {
            if self.is_stopped() {
                return Err(SoakJobError::Stopped);
            }
            let emptied = self.store.empty_sealed(soak, after.as_deref(), self.batch);
            match emptied.await {
                Err(ModelError::Busy) => tokio::time::sleep(RETRY).await,
                Err(error) => return Err(error.into()),
                Ok(keys) => {
                    let count = u64::try_from(keys.len()).unwrap_or(u64::MAX);
                    done = done.saturating_add(count);
                    after = match keys.into_iter().next_back() {
                        None => return Ok(()),
                        last => last,
                    };
                }
            }
            self.tell(done, total);
            self.rest().await;
        }
    }

    /// The way back from `Retired`: after the step to `Sealed`, gives every row its plaintext back, and a new envelope with
    /// it; also a row whose plaintext says something else than its ciphertext, which counts: a release that knows no
    /// plaintext wrote it. What does not open is left, and verify names it. Says how many rows got plaintext.
    ///
    /// # Errors
    ///
    /// [`SoakJobError`]; what was done stays done. [`SoakJobError::DoesNotFit`] if the plaintext column does not take a
    /// value, at the end.
    pub async fn decrypt_back(&self, table: &str, column: &str) -> Result<u64, SoakJobError> {
        let (soak, at) = self.known(table, column).await?;
        if at.state != SoakState::Sealed {
            return Err(not_now(&soak.column(), &at));
        }
        let total = self.store.count(&soak, Rows::Undecrypted).await?;
        let mut sessions = Sessions::new(&self.keyring, false);
        let (mut done, mut after): (u64, Option<String>) = (0, None);
        let mut unfit: (u64, Option<String>) = (0, None);
        while !self.is_stopped() {
            let page = self.store.page(&soak, after.as_deref(), self.batch).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.key.clone());
            let sealed = page.iter().filter(|row| row.sealed.is_some());
            sessions.open_all(sealed.map(|row| &row.owner), 0).await?;
            let mut rows = Vec::new();
            for row in page {
                if row.sealed.is_none() || !sessions.open(&row.owner, 0).await? {
                    continue;
                }
                if lacks_plaintext(sessions.look(&soak, &row)?) {
                    sessions.open(&row.owner, 1).await?;
                    rows.extend(sessions.again(&soak, row)?);
                }
            }
            let keys: Vec<String> = rows.iter().map(|row| row.row.key.clone()).collect();
            let all = u64::try_from(keys.len()).unwrap_or(u64::MAX);
            let decrypted = match self.store.decrypted(&soak, rows).await {
                Err(ModelError::Busy) => return Err(ModelError::Busy.into()),
                decrypted => decrypted.unwrap_or_default(), // all of them, or none
            };
            done = done.saturating_add(decrypted);
            if decrypted < all {
                for key in keys {
                    match self.decrypt_one(&soak, &at, &mut sessions, &key).await? {
                        One::Changed => {}
                        One::Decrypted => done = done.saturating_add(1),
                        One::Unfit => {
                            unfit.0 = unfit.0.saturating_add(1);
                            unfit.1.get_or_insert(key);
                        }
                    }
                }
            }
            self.tell(done, total);
            self.rest().await;
        }
        match unfit {
            (rows, Some(row)) => {
                let column = soak.column();
                Err(SoakJobError::DoesNotFit { column, row, rows })
            }
            (_, None) => Ok(done),
        }
    }

    /// One row by itself, of a batch that was not written whole.
    async fn decrypt_one(
        &self,
        soak: &SoakColumn,
        at: &SoakRow,
        sessions: &mut Sessions,
        key: &str,
    ) -> Result<One, SoakJobError> {
        let row = self.store.reread(soak, key).await?;
        let Some(row) = row.filter(|row| row.sealed.is_some()) else {
            return Ok(One::Changed);
        };
        if !sessions.open(&row.owner, 0).await? || !lacks_plaintext(sessions.look(soak, &row)?) {
            return Ok(One::Changed);
        }
        sessions.open(&row.owner, 1).await?;
        let old = row.sealed.clone();
        let Some(row) = sessions.again(soak, row)? else {
            return Ok(One::Changed);
        };
        match self.store.decrypted(soak, vec![row]).await {
            Ok(written) if written > 0 => return Ok(One::Decrypted),
            Err(ModelError::Busy) => return Err(ModelError::Busy.into()),
            _ => {}
        }
        // A database that does not answer says so here, and so does another tool.
        self.still(soak, at).await?;
        let still = self.store.reread(soak, key).await?;
        let same = still.is_some_and(|row| row.sealed == old);
        Ok(if same { One::Unfit } else { One::Changed })
    }

    /// Whether the column is where it was when the job began.
    async fn still(&self, soak: &SoakColumn, at: &SoakRow) -> Result<(), SoakJobError> {
        let column = soak.column();
        let (_, now) = self.known(column.table(), column.name()).await?;
        if (now.state, now.since) == (at.state, at.since) {
            return Ok(());
        }
        Err(SoakJobError::Interrupted)
    }

    /// Drops the plaintext column, for good, and writes the table anew; gives the places where plaintext may still lie.
    ///
    /// `confirm` is the table and the plaintext column, `people.name`. The table is locked while it is written anew.
    ///
    /// # Errors
    ///
    /// [`SoakJobError`]. If only the rewrite failed, [`rewrite`](Self::rewrite) does it again.
    ///
    /// # Security
    ///
    /// Nothing brings the column back. Owners whose keys are lost have lost what was in it.
    pub async fn drop_twin(
        &self,
        table: &str,
        column: &str,
        confirm: &str,
    ) -> Result<&'static [&'static str], SoakJobError> {
        let (soak, row) = self.known(table, column).await?;
        let expected = format!("{table}.{}", soak.twin());
        if confirm != expected {
            return Err(SoakJobError::NotConfirmed { expected });
        }
        self.check_gates(&soak, &row, SoakState::Dropped).await?;
        if !self.store.drop_twin(&soak, &row).await? {
            return Err(SoakJobError::Interrupted);
        }
        self.rewrite(table, column).await
    }

    /// Writes the table anew, after the drop; gives the places where plaintext may still lie.
    ///
    /// # Errors
    ///
    /// [`SoakJobError`].
    pub async fn rewrite(
        &self,
        table: &str,
        column: &str,
    ) -> Result<&'static [&'static str], SoakJobError> {
        let (soak, row) = self.known(table, column).await?;
        if row.state != SoakState::Dropped {
            return Err(not_now(&soak.column(), &row));
        }
        self.store.rewrite(&soak).await?;
        Ok(self.store.residue())
    }
}

const fn lacks_plaintext(looked: Looked) -> bool {
    matches!(looked, Looked::Wrong(Wrong::NoPlaintext | Wrong::Differs))
}

/// What became of a row whose plaintext was to come back.
enum One {
    /// Others changed it meanwhile, or it does not open.
    Changed,
    Decrypted,
    /// The column does not take it.
    Unfit,
}
