//! Sidecars on their way through a rotation.

use std::sync::atomic::AtomicBool;

use async_trait::async_trait;

use super::*;
use crate::{BoundColumn, Sidecar, column::ColumnRef, hazmat::data_key::KeyId, session::Purpose};

const PURPOSE: Purpose = Purpose::new("test");

enum Memory {}
impl BoundColumn for Memory {
    const COLUMN: ColumnRef = ColumnRef::new("memories", "text");
}

type Text = Sidecar<String, Memory>;

/// Metadata beside vectors, with whose they are.
#[derive(Debug, Default)]
struct Beside {
    texts: Mutex<Vec<(CanonicalId, String)>>,
    is_away: AtomicBool,
}

impl Beside {
    fn put(&self, owner: &str, sidecar: &Text) {
        let text = sidecar.as_str().to_owned();
        self.texts.lock().unwrap().push((owner.canonical(), text));
    }

    fn of_ada(&self) -> Vec<Text> {
        let texts = self.texts.lock().unwrap();
        let of_ada = texts.iter().filter(|(owner, _)| *owner == ADA.canonical());
        of_ada.map(|(_, text)| text.parse().unwrap()).collect()
    }
}

#[async_trait]
impl SidecarStore for Beside {
    async fn count_under(
        &self,
        owner: &CanonicalId,
        key_id: KeyId,
    ) -> Result<u64, SidecarStoreError> {
        if self.is_away.load(SeqCst) {
            return Err(SidecarStoreError::new("no route to it"));
        }
        let begin = sidecar_beginnings(key_id);
        let texts = self.texts.lock().unwrap();
        let under = texts
            .iter()
            .filter(|(of, text)| of == owner && begin.iter().any(|begin| text.starts_with(begin)));
        Ok(under.count().try_into().unwrap())
    }
}

/// Nobody's memory is lost with a key that nobody knew it to be under.
#[tokio::test]
async fn a_key_stays_while_a_sidecar_is_under_it() {
    let world = World::new().await;
    let (beside, elsewhere) = (Arc::new(Beside::default()), Arc::new(Beside::default()));
    let (keys, tables) = (Arc::clone(&world.keys), Arc::clone(&world.tables));
    let rotation = Rotation::new(world.keyring.clone(), keys, tables);
    world.keyring.provision("ben").await.unwrap();
    let bens = world.keyring.open("ben", PURPOSE).await.unwrap();
    beside.put("ben", &Text::seal("slept well", &bens).unwrap());
    let session = world.session().await;
    beside.put(ADA, &Text::seal("slept badly", &session).unwrap());
    let bound = Text::seal_row("by the sea", &session, "memory-1").unwrap();
    elsewhere.put(ADA, &bound);
    assert!(session.seals_under(bound.key_id()).unwrap());
    drop(session);

    let week = Duration::from_secs(7 * 24 * 3600);
    world.to_the_end_of_leases().await;
    assert_eq!(world.advance().await.waits_for, None);
    world.clock.pass(week);
    // Nobody has said where they are.
    let unsaid = rotation.destroy(ADA, week).await;
    assert!(matches!(unsaid, Err(RotationError::Sidecars)), "{unsaid:?}");
    let unsaid = rotation.destroy_all(week).await;
    assert!(matches!(unsaid, Err(RotationError::Sidecars)), "{unsaid:?}");

    let rotation = rotation
        .sidecars(Arc::clone(&beside))
        .sidecars(Arc::clone(&elsewhere));
    let waits = rotation.destroy(ADA, week).await.unwrap();
    assert_eq!((waits.destroyed, waits.left), (0, 2));
    assert_eq!(waits.waits_for, Some(WaitsFor::Sidecars));
    elsewhere.is_away.store(true, SeqCst);
    let away = rotation.destroy(ADA, week).await;
    assert!(matches!(away, Err(RotationError::SidecarStore(_))));
    elsewhere.is_away.store(false, SeqCst);

    // The application seals them anew.
    let session = world.session().await;
    let anew = beside.of_ada()[0].reseal(&session).unwrap().unwrap();
    assert!(session.seals_under(anew.key_id()).unwrap());
    assert_eq!(anew.reseal(&session).unwrap(), None);
    beside.texts.lock().unwrap().pop();
    beside.put(ADA, &anew);
    assert_eq!(rotation.destroy(ADA, week).await.unwrap().left, 1);
    let old = elsewhere.of_ada().remove(0);
    assert!(!session.seals_under(old.key_id()).unwrap());
    old.reseal(&session).unwrap_err(); // it is bound to its vector
    let bound = old.reseal_row(&session, "memory-1").unwrap().unwrap();
    elsewhere.texts.lock().unwrap().clear();
    elsewhere.put(ADA, &bound);
    drop(session);

    let gone = rotation.destroy(ADA, week).await.unwrap();
    assert_eq!((gone.destroyed, gone.waits_for), (1, None));
    world
        .keyring
        .open(ADA, PURPOSE)
        .await
        .unwrap()
        .refresh()
        .await
        .unwrap();
    let session = world.session().await;
    let text = beside.of_ada()[0].open(&session).unwrap();
    assert_eq!(text.expose_secret(), "slept badly");
    let text = elsewhere.of_ada()[0]
        .open_row(&session, "memory-1")
        .unwrap();
    assert_eq!(text.expose_secret(), "by the sea");
    old.open_row(&session, "memory-1").unwrap_err(); // as it would have been with all of them
}
