//! What everybody reads, after each turn.
//!
//! Absent: turns (the parent).

use ophie_crypt::soak::{Rows, SoakState, SoakStore, lookup};
use ophie_crypt_sqlx::Owner;

use super::{
    super::world::{COLUMNS, Person, person},
    OWNERS, Run, db,
};

impl Run {
    /// What everybody reads.
    pub(crate) async fn check(&mut self) {
        let state = self.world.state().await;
        *self.seen.entry(state).or_default() += 1;
        self.emptied &= state == SoakState::Retired;
        if self.emptied {
            let plain = self.world.tables.count(&self.world.soak, Rows::WithTwin);
            assert_eq!(plain.await.unwrap(), 0, "plaintext came back");
        }
        let mut live = vec![state];
        for at in 0..2 {
            if !self.suspended[at] {
                live.push(self.state_of(at).unwrap());
            }
            for owner in OWNERS {
                if !self.shredded.contains(&owner) {
                    self.reads(at, owner).await;
                }
            }
        }
        live.sort_unstable();
        live.dedup();
        let adjacent = matches!(live.as_slice(), [_]) || matches!(live.as_slice(), [a, b] if a.next() == Some(*b));
        assert!(adjacent, "three states live: {live:?}");
        if self.old && state < SoakState::Retired {
            self.old_reads().await;
        }
    }

    async fn reads(&self, at: usize, owner: i64) {
        let session = self.processes[at].session(owner).await.unwrap();
        let pool = self.world.database.pool();
        let sql = db::sql(&format!("SELECT {COLUMNS} FROM people WHERE user_id = $1 ORDER BY id"));
        let rows = session.scope(async {
            let rows = sqlx::query_as::<_, Person>(sql).bind(Owner(owner));
            rows.fetch_all(pool).await
        });
        let rows = match rows.await {
            Err(_) if self.suspended[at] => return, // it knows that it has slept
            rows => rows.unwrap(),
        };
        let served: Vec<(i32, Option<&str>)> = rows
            .iter()
            .map(|row| (row.id, row.name.expose_secret().map(String::as_str)))
            .collect();
        let written = self.rows.iter().filter(|(_, (of, _))| *of == owner);
        let written: Vec<(i32, Option<&str>)> = written.map(|(id, (_, name))| (*id, *name)).collect();
        assert_eq!(served, written, "what process {at} reads");
        if self.suspended[at] {
            return; // there was nothing to read
        }
        let sql = format!("SELECT id FROM people WHERE user_id = $1 AND {} ORDER BY id", lookup("name_fp", "name", "$2", "$3"));
        let found: Vec<i32> = session
            .scope(async {
                let query = sqlx::query_scalar(db::sql(&sql));
                let query = query.bind(Owner(owner)).bind(person::name_fp("slept badly")?);
                query.bind(person::name("slept badly").twin()).fetch_all(pool).await
            })
            .await
            .unwrap();
        let equal = written.iter().filter(|(_, name)| *name == Some("slept badly"));
        let equal: Vec<i32> = equal.map(|(id, _)| *id).collect();
        assert_eq!(found, equal, "what process {at} finds");
    }

    async fn old_reads(&self) {
        let rows: Vec<(i32, Option<String>)> = sqlx::query_as(db::sql("SELECT id, name FROM people WHERE user_id = 7 ORDER BY id"))
            .fetch_all(self.world.database.pool())
            .await
            .unwrap();
        let served: Vec<(i32, Option<&str>)> = rows.iter().map(|(id, name)| (*id, name.as_deref())).collect();
        let written = self.rows.iter().filter(|(_, (of, _))| *of == 7);
        let written: Vec<(i32, Option<&str>)> = written.map(|(id, (_, name))| (*id, *name)).collect();
        assert_eq!(served, written, "what the release of before reads");
    }
}
