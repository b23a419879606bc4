//! A thousand random changes to an audit trail by somebody who may do anything to table and ledger but
//! has no key: each is found.

use std::{collections::BTreeMap, fs};

use ophie_crypt::{AuditRow, AuditStore, AuditWriter, ChainedAudit, LedgerHead, WriterId};

use super::audit::{Trail, events};
use crate::db::sql;

const CHANGES: usize = 1000;
const TRAILS: usize = 4;
const WRITERS: usize = 3;
/// Records of each writer, and how many of them the ledger vouches for.
const RECORDS: i64 = 12;
const VOUCHED: i64 = 9;

/// SplitMix64, so that a failure can be run again from its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    /// A place that the ledger vouches for.
    fn seq(&mut self) -> i64 {
        1 + i64::try_from(self.below(usize::try_from(VOUCHED).unwrap())).unwrap()
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// Two that differ.
    fn two(&mut self, end: usize) -> (usize, usize) {
        let one = self.below(end);
        (one, (one + 1 + self.below(end - 1)) % end)
    }
}

/// All that can be read, and what is done afterwards that no `AuditStore` does.
#[derive(Clone)]
struct State {
    writers: Vec<AuditWriter>,
    rows: Vec<AuditRow>,
    ledger: String,
    /// Statements, and what to bind.
    afterwards: Vec<(String, Vec<Vec<u8>>)>,
}

impl State {
    fn row(&mut self, writer: WriterId, seq: i64) -> &mut AuditRow {
        let mut rows = self.rows.iter_mut();
        let found = rows.find(|row| row.writer == writer && row.seq == seq);
        found.expect("a record of the trail")
    }

    async fn read(trail: &Trail) -> Self {
        let store = trail.store();
        let writers = store.writers(None, 100).await.unwrap();
        let mut rows = Vec::new();
        for writer in &writers {
            rows.extend(store.rows(writer.id, 0, 100).await.unwrap());
        }
        Self {
            writers,
            rows,
            ledger: fs::read_to_string(trail.folder.path().join("ledger")).unwrap(),
            afterwards: Vec::new(),
        }
    }

    async fn write(&self, trail: &Trail) {
        let wipe = "DELETE FROM ophie_crypt_audit_records; DELETE FROM ophie_crypt_audit_writers;";
        trail.run(wipe).await.unwrap();
        for writer in &self.writers {
            trail.store().begin(writer).await.unwrap();
        }
        trail.store().append(&self.rows).await.unwrap();
        fs::write(trail.folder.path().join("ledger"), &self.ledger).unwrap();
        for (text, ids) in &self.afterwards {
            let change = sqlx::query(sql(text));
            let change = ids.iter().fold(change, |change, id| change.bind(id));
            change.execute(&trail.pool).await.unwrap();
        }
    }
}

/// What was changed, and from which record of which writer on nothing may be vouched for.
struct Change {
    kind: &'static str,
    from: Vec<(WriterId, i64)>,
}

fn flip(bytes: &mut [u8], random: &mut Random) {
    let at = random.below(bytes.len());
    bytes[at] ^= 1 << random.below(8);
}

fn edit_text(text: &mut String, random: &mut Random) {
    match random.below(3) {
        0 if !text.is_empty() => drop(text.pop()),
        1 => text.insert(0, 'x'),
        _ => text.push(' '),
    }
}

fn edit_option(text: &mut Option<String>, random: &mut Random) {
    match text {
        Some(given) if random.below(2) == 0 => edit_text(given, random),
        Some(_) => *text = None,
        None => *text = Some(String::new()),
    }
}

fn edit(row: &mut AuditRow, random: &mut Random) {
    let number = |number: &mut Option<i64>| match number {
        Some(given) => *given += 1,
        None => *number = Some(0),
    };
    match random.below(15) {
        0 => row.at += 1,
        1 => edit_text(&mut row.actor, random),
        2 => flip(&mut row.owner, random),
        3 => row.owner.push(0),
        4 => row.generation += 1,
        5 => edit_text(&mut row.purpose, random),
        6 => edit_option(&mut row.reason, random),
        7 => edit_text(&mut row.step, random),
        8 => match &mut row.call {
            Some(call) => flip(call, random),
            None => row.call = Some(vec![0; 16]),
        },
        9 => number(&mut row.attempt),
        10 => edit_option(&mut row.operation, random),
        11 => edit_option(&mut row.result, random),
        12 => edit_option(&mut row.request_id, random),
        13 => number(&mut row.took),
        _ => flip(&mut row.mac, random),
    }
}

fn change(state: &mut State, random: &mut Random) -> Change {
    let (one, other) = random.two(WRITERS);
    let (one, other) = (state.writers[one].id, state.writers[other].id);
    let seq = random.seq();
    let kind = random.below(14);
    match kind {
        0 | 1 => {
            edit(state.row(one, seq), random);
            Change {
                kind: "edited",
                from: vec![(one, seq)],
            }
        }
        2 => {
            let last = seq + i64::try_from(random.below(3)).unwrap();
            state
                .rows
                .retain(|row| row.writer != one || !(seq..=last).contains(&row.seq));
            Change {
                kind: "deleted",
                from: vec![(one, seq)],
            }
        }
        3 => {
            let (from, to) = random.two(usize::try_from(VOUCHED).unwrap());
            let (from, to) = (
                1 + i64::try_from(from).unwrap(),
                1 + i64::try_from(to).unwrap(),
            );
            state.row(one, from).seq = -1;
            state.row(one, to).seq = from;
            state.row(one, -1).seq = to;
            Change {
                kind: "reordered",
                from: vec![(one, from.min(to))],
            }
        }
        4 => {
            let nobody = WriterId::from_bytes([0; 16]);
            state.row(one, seq).writer = nobody;
            state.row(other, seq).writer = one;
            state.row(nobody, seq).writer = other;
            Change {
                kind: "exchanged between writers",
                from: vec![(one, seq), (other, seq)],
            }
        }
        5 => {
            state.rows.retain(|row| row.writer != one || row.seq < seq);
            Change {
                kind: "truncated",
                from: vec![(one, seq)],
            }
        }
        6 => {
            // A gap is closed by counting down what is behind it.
            state.rows.retain(|row| row.writer != one || row.seq != seq);
            for row in state
                .rows
                .iter_mut()
                .filter(|row| row.writer == one && row.seq > seq)
            {
                row.seq -= 1;
            }
            Change {
                kind: "closed up",
                from: vec![(one, seq)],
            }
        }
        7 => {
            let mut again = state.row(one, seq).clone();
            if random.below(2) == 0 {
                again.writer = other;
            }
            let place = (again.writer, again.seq);
            state.rows.push(again);
            Change {
                kind: "duplicated",
                from: vec![place],
            }
        }
        8 => {
            let (at, to) = random.two(WRITERS);
            let wrapped = state.writers[at].wrapped.clone();
            if random.below(2) == 0 {
                state.writers[to].wrapped = wrapped;
                let id = state.writers[to].id;
                return Change {
                    kind: "key exchanged",
                    from: vec![(id, 1)],
                };
            }
            let given = std::mem::replace(&mut state.writers[to].wrapped, wrapped);
            state.writers[at].wrapped = given;
            let ids = [state.writers[at].id, state.writers[to].id];
            Change {
                kind: "keys exchanged",
                from: ids.map(|id| (id, 1)).into(),
            }
        }
        9 => {
            state.writers.retain(|writer| writer.id != one);
            if random.below(2) == 0 {
                state.rows.retain(|row| row.writer != one);
            }
            Change {
                kind: "writer deleted",
                from: Vec::new(),
            }
        }
        10 => {
            let mut writers = state.writers.iter_mut();
            let writer = writers.find(|writer| writer.id == one).unwrap();
            match random.below(3) {
                0 => writer.started_at += 1,
                1 => flip(&mut writer.mac, random),
                _ => edit_text(&mut writer.app, random),
            }
            Change {
                kind: "writer edited",
                from: vec![(one, 1)],
            }
        }
        11 => change_id(state, random, one),
        12 => change_time(state, random, one, seq),
        _ => change_ledger(state, random),
    }
}

/// To one of another length, which may begin like its own or like another's.
fn change_id(state: &mut State, random: &mut Random, of: WriterId) -> Change {
    let mut id = random.pick(&state.writers).id.as_bytes().to_vec();
    match random.below(3) {
        0 => id.truncate(random.below(16)),
        1 => id.push(0),
        _ => id.extend([0xff; 24]),
    }
    let (kind, table, from) = match random.below(2) {
        0 => ("writer's id changed", "writers", Vec::new()),
        _ => ("records' id changed", "records", vec![(of, 1)]),
    };
    let sql = format!("UPDATE ophie_crypt_audit_{table} SET writer = $1 WHERE writer = $2");
    state
        .afterwards
        .push((sql, vec![id, of.as_bytes().to_vec()]));
    Change { kind, from }
}

/// To one far out of range, or none at all.
fn change_time(state: &mut State, random: &mut Random, of: WriterId, seq: i64) -> Change {
    let time = random.pick(&crate::FAR_TIMES);
    let (kind, sql, seq) = match random.below(2) {
        0 => {
            let sql = format!(
                "UPDATE ophie_crypt_audit_writers SET started_at = '{time}' WHERE writer = $1"
            );
            ("writer's time changed", sql, 1)
        }
        _ => {
            let sql = format!(
                "UPDATE ophie_crypt_audit_records SET at = '{time}' WHERE writer = $1 AND seq = {seq}"
            );
            ("record's time changed", sql, seq)
        }
    };
    state.afterwards.push((sql, vec![of.as_bytes().to_vec()]));
    Change {
        kind,
        from: vec![(of, seq)],
    }
}

fn change_ledger(state: &mut State, random: &mut Random) -> Change {
    let mut lines: Vec<String> = state.ledger.lines().map(Into::into).collect();
    let (one, other) = random.two(lines.len());
    let kind = match random.below(4) {
        0 => {
            lines.swap(one, other);
            "ledger lines swapped"
        }
        1 => {
            lines.remove(one);
            "ledger line deleted"
        }
        2 => {
            let again = lines[one].clone();
            lines.insert(other, again);
            "ledger line duplicated"
        }
        _ => {
            let at = random.below(lines[one].len());
            let old = lines[one].as_bytes()[at];
            let new = *random.pick(b"0123456789abcdef ");
            let new = if new == old { b'g' } else { new };
            lines[one].replace_range(at..=at, std::str::from_utf8(&[new]).unwrap());
            "ledger line edited"
        }
    };
    state.ledger = lines.join("\n") + "\n";
    Change {
        kind,
        from: Vec::new(),
    }
}

/// A trail of three writers, without the constraints and triggers that keep its own database's users
/// from changing it; the ledger's head; and the processes.
async fn trail() -> (Trail, LedgerHead, Vec<ChainedAudit>) {
    let trail = Trail::new().await;
    let events = events().await;
    let mut audits = Vec::new(); // or their last checkpoints would come
    for _ in 0..WRITERS {
        let audit = trail.process().await;
        let mut events = events.iter().cycle();
        for seq in 1..=RECORDS {
            let event = events.next().expect("a cycle has no end");
            ophie_crypt::AuditSink::record(&audit, event).await.unwrap();
            if seq % 3 == 0 && seq <= VOUCHED {
                audit.checkpoint().await.unwrap();
            }
        }
        audits.push(audit);
    }
    for table in ["records", "writers"] {
        let sql = "CREATE TABLE loose AS SELECT * FROM ophie_crypt_audit_{}; \
                   DROP TABLE ophie_crypt_audit_{}; \
                   ALTER TABLE loose RENAME TO ophie_crypt_audit_{};";
        trail.run(&sql.replace("{}", table)).await.unwrap();
        if let Some(widen) = crate::WIDEN {
            trail.run(&widen.replace("{}", table)).await.unwrap();
        }
    }
    let report = trail.report().await;
    assert!(report.has_no_findings(), "{report}");
    let head = report.ledger.expect("there is a ledger");
    (trail, head, audits)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_random_changes_are_found() {
    // Each waits for the database most of the time.
    let trails = [(); TRAILS].map(|()| tokio::spawn(changes_of_a_trail()));
    let mut found = BTreeMap::<&str, usize>::new();
    for trail in trails {
        for (kind, count) in trail.await.unwrap() {
            *found.entry(kind).or_default() += count;
        }
    }
    assert_eq!(found.values().sum::<usize>(), CHANGES);
    assert_eq!(
        found.len(),
        19,
        "some kinds of change did not happen: {found:?}"
    );
}

/// How many of each kind were found.
async fn changes_of_a_trail() -> BTreeMap<&'static str, usize> {
    let seed = uuid::Uuid::new_v4().as_u64_pair().0;
    let mut random = Random(seed);
    let (trail, known, _audits) = trail().await;
    let whole = State::read(&trail).await;
    let mut found = BTreeMap::<&str, usize>::new();
    for number in 0..CHANGES / TRAILS {
        let mut state = whole.clone();
        let Change { kind, from } = change(&mut state, &mut random);
        state.write(&trail).await;
        let report = trail.verifier().known(known).verify().await.unwrap();
        assert!(
            !report.has_no_findings(),
            "seed {seed}, {number}: {kind} {from:?} was not found"
        );
        for writer in report.writers {
            let first = from.iter().find(|(id, _)| *id == writer.writer);
            let limit = first.map_or(VOUCHED, |(_, seq)| seq - 1);
            let vouched = i64::try_from(writer.vouched).unwrap();
            assert!(
                vouched <= limit,
                "seed {seed}, {number}: {kind} {from:?}: {vouched} are vouched for"
            );
            if first.is_none() && !kind.starts_with("ledger") {
                assert_eq!(vouched, VOUCHED, "seed {seed}, {number}: {kind} {from:?}");
            }
        }
        *found.entry(kind).or_default() += 1;
    }
    whole.write(&trail).await;
    let report = trail.verifier().known(known).verify().await.unwrap();
    assert!(report.has_no_findings(), "{report}");
    for writer in &report.writers {
        assert_eq!(i64::try_from(writer.vouched).unwrap(), VOUCHED);
    }
    found
}
