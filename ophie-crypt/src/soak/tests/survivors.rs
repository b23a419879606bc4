//! What mutants of `tests/mutants` had survived.

use super::table::World;
use crate::soak::{
    Gate::{Acknowledged, Decrypted, Floor, Verified},
    Heartbeat, SoakJobError, SoakProcess,
    SoakState::{self, Dropped, Expand, Retired, Sealed, Soak},
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
