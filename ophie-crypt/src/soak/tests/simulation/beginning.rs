//! Where an interleaving begins: in any state, with rows as that state has them.
//!
//! Absent: turns (`turns`).

use std::sync::atomic::Ordering::SeqCst;

use super::{
    super::{super::SoakState, guard::Row},
    database::{Stored, Value},
    fault::Fault,
    turns::Run,
};

impl Run {
    pub(super) fn begin(&mut self) {
        let state = self.world.database().soak.state;
        let refused = match state {
            SoakState::Retired | SoakState::Dropped => true,
            SoakState::Plain => false,
            _ => self.random.one_in(3),
        };
        self.old.store(!refused, SeqCst);
        {
            let mut database = self.world.database();
            database.soak.admits_old = !refused;
            database.tell(state, !refused);
        }
        // As by a hand that passes the guard, or by a library with a fault: nobody reads it yet.
        let is_read = !(SoakState::DualWrite..=SoakState::Verify).contains(&state);
        let wrong = !is_read && self.random.one_in(4);
        for key in 0..4 {
            self.put(key, state, refused, wrong);
        }
        if state == SoakState::Retired && self.random.one_in(3) {
            let mut database = self.world.database();
            (database.closed, database.refusing, database.guard) = (true, true, false);
        }
    }

    /// What was begun before, and comes to an end whenever.
    pub(super) async fn late(&mut self, state: SoakState) -> Result<(), Fault> {
        let refused = !self.old.load(SeqCst);
        let decrypted = {
            let database = self.world.database();
            let mut rows = database.behind(None);
            rows.all(|(_, row)| row.plain.is_some() || row.sealed.is_none())
        };
        // They are not admitted before every row has its plaintext.
        if refused && state.is_filled() && decrypted && self.random.one_in(2) {
            self.written_before().await?;
        }
        if refused && state == SoakState::Sealed {
            for _ in 0..self.random.of(&[0, 1, 2]) {
                self.of_the_dead().await?;
            }
        }
        Ok(())
    }

    fn put(&mut self, key: i64, state: SoakState, refused: bool, wrong: bool) {
        let owners = self.keys.owners();
        let owner = self.random.of(&owners);
        let text = match self.random.below(6) {
            0 => None,
            1 => Some(String::new()),
            _ => Some(format!("v{}", self.world.database().next())),
        };
        let sealed = match state {
            SoakState::Plain | SoakState::Expand => false,
            SoakState::DualWrite | SoakState::Backfill => self.random.one_in(2),
            SoakState::Verify | SoakState::Soak | SoakState::Sealed if !refused => {
                !self.random.one_in(4)
            }
            _ => true,
        };
        let plain = match state {
            SoakState::Dropped => false,
            SoakState::Retired => self.random.one_in(2),
            // Back from `Retired`.
            SoakState::Sealed if refused => !self.random.one_in(3),
            _ => true,
        };
        let text = text.as_ref();
        let other = format!("other than {text:?}");
        let wrong = wrong && self.random.one_in(2);
        let fingerprint = text.and_then(|text| self.keys.fingerprint(owner, text));
        let row = Row {
            owner,
            plain: text.filter(|_| plain).map(|text| text.as_bytes().to_vec()),
            sealed: text
                .filter(|_| sealed)
                .map(|text| if wrong { &other } else { text })
                .map(|text| self.keys.seal(owner, text)),
            fingerprint: fingerprint.clone().filter(|_| sealed),
        };
        let value = Value {
            owner,
            text: text.cloned(),
            fingerprint,
        };
        let mut database = self.world.database();
        let stamp = database.next();
        database.rows.insert(key, Stored { row, stamp });
        database.written.insert(key, value);
    }
}
