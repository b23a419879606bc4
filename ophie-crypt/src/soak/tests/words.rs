//! What states, gates and findings are called, and what each state writes.

use std::collections::BTreeSet;

use core::sync::atomic::Ordering::SeqCst;

use super::table::World;
use crate::soak::{
    Decrypted,
    Gate::{
        Acknowledged, Decrypted as AllDecrypted, Emptied, Floor, NoOldBinaries, NothingPending,
        Quiet, TwinUnknown, Verified,
    },
    SealedRow, SoakJobError,
    SoakState::{self, Dropped, Expand, Plain, Retired},
    Wrong, WrongRow,
};

#[test]
fn each_state_writes_what_it_must() {
    for state in SoakState::ALL {
        assert_eq!(state.writes_twin(), ![Retired, Dropped].contains(&state));
        assert_eq!(state.writes_sealed(), ![Plain, Expand].contains(&state));
        assert_eq!(state.to_string(), state.as_str());
    }
}

/// No two alike, or nobody knew what to do.
#[test]
fn each_gate_and_each_finding_has_a_text_of_its_own() {
    let gates = [
        Acknowledged,
        AllDecrypted,
        Emptied,
        Floor,
        NoOldBinaries,
        NothingPending,
        Quiet,
        TwinUnknown,
        Verified,
    ];
    let wrong = [
        Wrong::Differs,
        Wrong::DoesNotOpen,
        Wrong::Fingerprint,
        Wrong::NoKeys,
        Wrong::NoPlaintext,
        Wrong::Shredded,
    ];
    let texts = gates.map(|gate| gate.to_string()).into_iter();
    let texts = texts.chain(wrong.map(|wrong| wrong.to_string()));
    let texts: BTreeSet<_> = texts.filter(|text| text.len() > 20).collect();
    assert_eq!(texts.len(), gates.len() + wrong.len());
    let row = WrongRow {
        key: "7".into(),
        wrong: Wrong::Differs,
    };
    assert_eq!(row.to_string(), format!("row 7: {}", Wrong::Differs));
}

#[tokio::test]
async fn plaintext_that_comes_back_is_not_printed() {
    let world = World::new(SoakState::Sealed).await;
    let row = Decrypted {
        row: world.row("1", None, Some("Mom")),
        plain: b"Mom".to_vec().into(),
        anew: SealedRow {
            sealed: Vec::new(),
            fingerprints: Vec::new(),
        },
    };
    assert_eq!(format!("{row:?}"), "Decrypted { .. }");
}

/// By both of its names, whether or not its model still knows the plaintext.
#[tokio::test]
async fn a_column_is_looked_up_by_table_and_name() {
    let world = World::new(SoakState::Sealed).await;
    world.table.notes_soak.store(true, SeqCst);
    let status = async |table: &str, column: &str| world.soaker.status(table, column).await;
    for (table, column) in [("people", "nick_ct"), ("person", "name_ct"), ("", "note")] {
        let unknown = status(table, column).await;
        let is = matches!(unknown, Err(SoakJobError::Unknown { .. }));
        assert!(is, "{table}.{column}: {unknown:?}");
    }
    for (column, twin) in [("name_ct", "name"), ("note", "note_plain")] {
        let known = status("people", column).await.unwrap();
        assert_eq!((&*known.row.column, &*known.row.twin), (column, twin));
    }
}

/// Somebody writes both columns while the row is to get its plaintext back.
#[tokio::test]
async fn a_row_that_got_its_plaintext_meanwhile_is_left() {
    let world = World::new(SoakState::Sealed).await;
    world.put(["1", "2"].map(|key| world.row(key, None, Some("Mom"))));
    let whole = world.row("1", Some("Dad"), Some("Dad"));
    let sealed = whole.sealed.clone();
    *world.table.before_decrypted.lock().unwrap() = vec![Box::new(move |rows| rows[0] = whole)];
    let done = world.soaker.decrypt_back("people", "name_ct").await;
    assert_eq!(done.unwrap(), 1, "the other");
    assert_eq!(world.table.rows.lock().unwrap()[0].sealed, sealed);
}
