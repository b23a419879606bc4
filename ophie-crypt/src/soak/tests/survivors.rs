//! What mutants of `tests/mutants` had survived.

use core::sync::atomic::Ordering::SeqCst;

use super::{
    model::Person,
    table::{Event, UNFIT, World},
};
use crate::{
    __private::Derived,
    blind_index::Normalizer,
    column::{ColumnRef, ColumnType, Kind},
    model::{ColumnInfo, EncryptedModel, ModelInfo, Models},
    owner::{OwnerId, OwnerKind},
    plaintext::{Codec, Plaintext},
    soak::{
        Gate::{Acknowledged, Decrypted, Floor, Quiet, Verified},
        Heartbeat, PlainRow, Sealing, SoakColumn, SoakJobError, SoakProcess,
        SoakState::{self, Dropped, DualWrite, Expand, Retired, Sealed, Soak},
        Soakable, lookup,
        seal::seal_rows,
        sessions::Keys,
    },
    store::ModelError,
};

const AT: (&str, &str) = ("people", "name_ct");

/// The table's soak is at version 7.
fn late() -> Heartbeat {
    Heartbeat {
        process: SoakProcess([1; 16]),
        beat_at: 5,
        lives: true,
        version: 6,
        knows_twin: false,
        floor: Expand,
        pending: 0,
        odd: 0,
    }
}

async fn without_old_binaries(state: SoakState) -> World {
    let world = World::new(state).await;
    world.table.soak.lock().unwrap().admits_old = false;
    world
}

/// Who only looks is told what whoever admits them is told.
#[tokio::test]
async fn what_is_in_the_way_of_old_binaries() {
    let look = async |world: &World| world.soaker.unmet_of_old_binaries(AT.0, AT.1).await;
    for state in [Retired, Dropped] {
        let looked = look(&without_old_binaries(state).await).await;
        let not_now = matches!(looked, Err(SoakJobError::NotNow { .. }));
        assert!(not_now, "{state}: {looked:?}");
    }
    let world = without_old_binaries(Sealed).await;
    world.put([world.row("1", None, Some("Mom"))]);
    world.table.heartbeats.lock().unwrap().push(late());
    let all = [Acknowledged, Floor, Decrypted, Verified];
    assert_eq!(look(&world).await.unwrap(), all);
    world.table.soak.lock().unwrap().admits_old = true;
    assert_eq!(look(&world).await.unwrap(), [], "they are admitted");

    let world = without_old_binaries(Soak).await;
    assert_eq!(look(&world).await.unwrap(), [], "nothing is in the way");
    let above = Heartbeat {
        floor: Sealed,
        ..late()
    };
    world.table.heartbeats.lock().unwrap().push(above);
    assert_eq!(look(&world).await.unwrap(), [Floor]);
}

/// Each of its indexes, once, however many models there are of the table.
#[test]
fn a_column_knows_what_belongs_to_it() {
    const FIRST: ColumnRef = ColumnRef::new("people", "name_first_fp");
    struct Also;
    impl Derived for Also {}
    impl EncryptedModel for Also {
        const MODEL: ModelInfo = ModelInfo::new(
            "people",
            &[
                ColumnInfo::new(ColumnRef::new("people", "user_id"), Kind::Owner),
                ColumnInfo::new(FIRST, Kind::BlindIndex)
                    .with_codec(Codec::TEXT)
                    .indexing::<FirstFp>(),
            ],
        );
    }
    struct FirstFp;
    impl crate::column::BoundColumn for FirstFp {
        const COLUMN: ColumnRef = FIRST;
    }
    impl crate::column::IndexColumn for FirstFp {
        const OF: ColumnRef = super::NAME;
        const NORMALIZER: Normalizer = Normalizer::Exact;
    }

    let models = Models::new().with::<Person>().with::<Also>();
    let soak = SoakColumn::of(&models, "people", "name_ct").unwrap();
    let found = soak.indexes().iter();
    let found: Vec<_> = found
        .map(|index| (index.column().name(), index.normalizer()))
        .collect();
    let expected = [
        ("name_fp", Normalizer::Name),
        ("name_first_fp", Normalizer::Exact),
    ];
    assert_eq!(found, expected);
    assert_eq!((soak.twin(), soak.owner().name()), ("name", "user_id"));
    assert_eq!(soak.owner_kind(), None, "its model does not say");
    let models = Models::new().with::<Numbered>();
    let soak = SoakColumn::of(&models, "people", "name_ct").unwrap();
    assert_eq!(soak.owner_kind(), Some(OwnerKind::Integer));
}

/// Whose owners are integers.
struct Numbered;

struct Number;

impl ColumnType for Number {
    const KIND: Kind = Kind::Owner;
    const CODEC: Option<Codec> = None;
    const OWNER: Option<OwnerKind> = Some(OwnerKind::Integer);
    type Plain = ();
    type Made = ();

    fn make((): ()) {}
}

impl Derived for Numbered {}
impl EncryptedModel for Numbered {
    const MODEL: ModelInfo = ModelInfo::new(
        "people",
        &[
            ColumnInfo::of::<Number>(ColumnRef::new("people", "user_id")),
            ColumnInfo::new(super::NAME, Kind::Encrypted)
                .with_codec(Codec::TEXT)
                .with_twin("name"),
        ],
    );
}

#[test]
fn a_process_is_printed_by_its_number() {
    let text = format!("{:?}", SoakProcess([0xa5; 16]));
    assert_eq!(text, format!("SoakProcess({})", "a5".repeat(16)));
}

#[test]
fn a_value_is_shown_and_so_is_its_absence() {
    let name = String::from("Mom");
    assert_eq!(String::expose(Some(&name)), Some(&name));
    assert_eq!(String::expose(None), None);
    assert_eq!(Option::<String>::expose(Some(&name)), Some(Some(&name)));
    assert_eq!(Option::<String>::expose(None), Some(None));
}

#[test]
fn a_look_up_finds_what_is_pending() {
    assert_eq!(
        lookup("fp", "name", "$1", "$2"),
        "(fp = $1 OR (fp IS NULL AND name = $2))"
    );
}

/// Each step whose gates do not hold is refused, and says which.
#[tokio::test]
async fn no_step_is_taken_behind_its_gates() {
    for state in SoakState::ALL {
        for to in [state.next(), state.back()].into_iter().flatten() {
            if to == Dropped || state == SoakState::Plain {
                continue; // no such step
            }
            let world = World::new(state).await;
            world.table.heartbeats.lock().unwrap().push(late());
            let refused = world.soaker.step(AT.0, AT.1, to).await;
            let Err(SoakJobError::Gates { unmet, .. }) = &refused else {
                panic!("{state} to {to}: {refused:?}");
            };
            assert!(unmet.contains(&Acknowledged), "{state} to {to}: {unmet:?}");
            assert_eq!(world.table.state(), state);
        }
    }
    let world = World::new(Expand).await;
    world.soaker.step(AT.0, AT.1, DualWrite).await.unwrap();
    assert_eq!(world.table.state(), DualWrite);
}

/// What is in the way stands in the text, and what to do.
#[test]
fn a_refusal_names_every_gate() {
    let refused = SoakJobError::Gates {
        column: super::NAME,
        to: Sealed,
        unmet: vec![Acknowledged, Quiet],
    };
    let text = refused.to_string();
    for gate in [Acknowledged, Quiet] {
        assert!(text.contains(&gate.to_string()), "{text}");
    }
}

fn plain(world: &World) -> Vec<Option<String>> {
    let rows = world.table.rows.lock().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let plain = rows.iter().map(|row| row.plain.as_deref());
    plain.map(|plain| plain.map(|plain| text(plain))).collect()
}

fn texts<const N: usize>(names: [Option<&str>; N]) -> Vec<Option<String>> {
    names
        .into_iter()
        .map(|name| name.map(str::to_owned))
        .collect()
}

/// A batch that the database refuses is written row by row, and what does not fit is named.
#[tokio::test]
async fn what_does_not_fit_holds_up_no_other() {
    let world = World::new(Sealed).await;
    world.put([
        world.row("1", None, Some("Mom")),
        world.row("2", None, Some(UNFIT)),
        world.row("3", None, Some("Dad")),
        world.row("4", None, Some(UNFIT)),
    ]);
    let refused = world.soaker.decrypt_back(AT.0, AT.1).await;
    let Err(SoakJobError::DoesNotFit { row, rows, .. }) = &refused else {
        panic!("{refused:?}");
    };
    assert_eq!((&**row, *rows), ("2", 2));
    assert_eq!(plain(&world), texts([Some("Mom"), None, Some("Dad"), None]));
}

/// A batch that was written whole is not looked at again.
#[tokio::test]
async fn what_came_back_is_not_read_again() {
    let world = World::new(Sealed).await;
    world.put([
        world.row("1", None, Some("Mom")),
        world.row("2", None, Some("Dad")),
    ]);
    *world.table.meanwhile.lock().unwrap() = Some(Box::new(|_| {}));
    assert_eq!(world.soaker.decrypt_back(AT.0, AT.1).await.unwrap(), 2);
    assert!(world.table.meanwhile.lock().unwrap().is_some());
}

/// Others write the row before it is written: once, and then it is written as it stands; twice, and it is left.
#[tokio::test]
async fn a_row_that_changes_meanwhile_is_not_overwritten() {
    for changes in [1, 2] {
        let world = World::new(Sealed).await;
        world.put([world.row("1", None, Some("Mom"))]);
        let anew = || -> Event {
            let (sealed, _) = world.seal("Dad");
            Box::new(move |rows| rows[0].sealed = Some(sealed))
        };
        let events = (0..changes).map(|_| anew());
        *world.table.before_decrypted.lock().unwrap() = events.collect();
        let done = world.soaker.decrypt_back(AT.0, AT.1).await.unwrap();
        assert_eq!(done, u64::from(changes == 1));
        let back = (changes == 1).then_some("Dad");
        assert_eq!(plain(&world), texts([back]));
    }
}

/// The column is moved while rows get plaintext back: what does not fit is for another to name.
#[tokio::test]
async fn a_job_ends_where_the_state_is_another() {
    let world = World::new(Sealed).await;
    world.put([world.row("1", None, Some(UNFIT))]);
    let table = std::sync::Arc::clone(&world.table);
    *world.table.meanwhile.lock().unwrap() = Some(Box::new(move |_| {
        table.soak.lock().unwrap().since += 1;
    }));
    let ended = world.soaker.decrypt_back(AT.0, AT.1).await;
    assert!(matches!(ended, Err(SoakJobError::Interrupted)), "{ended:?}");
}

#[tokio::test]
async fn rows_that_others_hold_are_no_rows_that_do_not_fit() {
    let world = World::new(Sealed).await;
    world.put([
        world.row("1", None, Some("Mom")),
        world.row("2", None, Some(UNFIT)),
    ]);
    let table = std::sync::Arc::clone(&world.table);
    let then: Event = Box::new(move |_| table.busy.store(1, SeqCst));
    *world.table.before_decrypted.lock().unwrap() = vec![then, Box::new(|_| {})];
    let busy = world.soaker.decrypt_back(AT.0, AT.1).await;
    let is = matches!(busy, Err(SoakJobError::Model(ModelError::Busy)));
    assert!(is, "{busy:?}");

    world.table.busy.store(1, SeqCst);
    let busy = world.soaker.decrypt_back(AT.0, AT.1).await;
    let is = matches!(busy, Err(SoakJobError::Model(ModelError::Busy)));
    assert!(is, "{busy:?}");
}

/// By its name, behind its gates, and with what stays said.
#[tokio::test]
async fn plaintext_is_dropped_by_its_name_alone() {
    let world = World::new(Retired).await;
    let drop_twin = async |confirm: &str| world.soaker.drop_twin(AT.0, AT.1, confirm).await;
    for other in ["people.name_ct", "name", "people.names", ""] {
        let refused = drop_twin(other).await;
        let Err(SoakJobError::NotConfirmed { expected }) = &refused else {
            panic!("{other}: {refused:?}");
        };
        assert_eq!(expected, "people.name");
    }
    let refused = drop_twin("people.name").await;
    let unmet = matches!(&refused, Err(SoakJobError::Gates { .. }));
    assert!(
        unmet,
        "nobody said that it does not know the plaintext: {refused:?}"
    );
    assert_eq!(world.table.state(), Retired);
    world.table.heartbeats.lock().unwrap().push(Heartbeat {
        version: 7,
        ..late()
    });
    assert_eq!(drop_twin("people.name").await.unwrap(), ["old pages"]);
    assert_eq!(world.table.state(), Dropped);
    let again = world.soaker.rewrite(AT.0, AT.1).await;
    assert_eq!(again.unwrap(), ["old pages"]);
}

/// A UUID that stands in a text column as something else.
#[tokio::test]
async fn what_is_no_uuid_is_passed_over() {
    struct Ids;
    impl Derived for Ids {}
    impl EncryptedModel for Ids {
        const MODEL: ModelInfo = ModelInfo::new(
            "people",
            &[
                ColumnInfo::new(ColumnRef::new("people", "user_id"), Kind::Owner),
                ColumnInfo::new(super::NAME, Kind::Encrypted)
                    .with_codec(<uuid::Uuid as Plaintext>::CODEC)
                    .with_twin("name"),
            ],
        );
    }

    let world = World::new(Sealed).await;
    let soak = SoakColumn::of(&Models::new().with::<Ids>(), "people", "name_ct").unwrap();
    let ada = "ada".canonical();
    let row = |plain: &[u8]| PlainRow {
        key: "1".into(),
        owner: ada.clone(),
        plain: plain.to_vec().into(),
    };
    let open = [(ada.clone(), Keys::Open(world.session.clone()))].into();
    let sealed = seal_rows(&soak, &open, &[row(&[7; 16]), row(b"no id"), row(&[7; 17])]);
    let are = matches!(
        sealed[..],
        [Sealing::Sealed(_), Sealing::Skip, Sealing::Skip]
    );
    assert!(are, "{sealed:?}");
}

/// Each by its name, and with nothing of what it holds.
#[tokio::test]
async fn what_is_printed_says_what_it_is() {
    let world = World::new(Sealed).await;
    let texts = [
        (format!("{:?}", world.soaker), "Soaker"),
        (format!("{:?}", world.watch), "SoakWatch"),
        (
            format!("{:?}", world.row("1", Some("Mom"), Some("Mom"))),
            "SoakedRow",
        ),
    ];
    for (text, name) in texts {
        assert!(text.starts_with(name) && !text.contains("Mom"), "{text}");
    }
    let plain = PlainRow {
        key: "1".into(),
        owner: "ada".canonical(),
        plain: b"Mom".to_vec().into(),
    };
    assert_eq!(format!("{plain:?}"), "PlainRow { .. }");
}

#[tokio::test]
async fn a_soak_begins_where_there_was_none() {
    for state in SoakState::ALL {
        let world = World::new(state).await;
        let begun = world.soaker.expand(AT.0, AT.1).await;
        if state == SoakState::Plain {
            begun.unwrap();
            assert_eq!(world.table.state(), Expand);
        } else {
            let not_now = matches!(begun, Err(SoakJobError::NotNow { .. }));
            assert!(not_now, "{state}: {begun:?}");
            assert_eq!(world.table.state(), state);
        }
    }
}

/// How long a job has waited for a replica is said; who did not wait, for none.
#[tokio::test(start_paused = true)]
async fn a_job_says_how_long_it_waited() {
    let second = core::time::Duration::from_secs(1);
    for (behind, waited) in [(second, second), (second / 2, core::time::Duration::ZERO)] {
        let world = World::new(Sealed).await;
        world.put([world.row("1", Some("Mom"), Some("Mom"))]);
        *world.table.lags.lock().unwrap() = vec![behind];
        let soaker = world.soaker.max_lag(second / 2);
        soaker.verify(AT.0, AT.1).await.unwrap();
        assert_eq!(soaker.waited_for_replicas(), waited);
    }
}
