//! `keys list|provision|rewrap|shred`, and what is asked before.

use ophie_crypt::{
    CanonicalId, DekBlob, KeyStore, Keyring, LocalKms, Models, Purpose, Rotation, TwoShareKms,
};
use ophie_crypt_sqlx::{SqliteKeyStore, SqliteModels, SqliteShares};
use serde_json::json;

use crate::{
    on_each_database,
    place::{Kind, Place, Program, Rows},
};

on_each_database! {
    keys_are_made_once_and_listed
    a_shred_is_asked_for_by_name
    keys_move_to_another_master_key
}

const WHY: [&str; 2] = ["--reason", "ticket 4711"];

async fn keys_are_made_once_and_listed(kind: Kind) {
    let place = Place::new(kind).await;
    let provision = ["keys", "provision", "--owner", "int:7"];
    place.stock(&provision).await.ends(2).says("--reason");
    place
        .stock(&[&provision[..], &["--reason", " "]].concat())
        .await
        .ends(2)
        .says("--reason");
    let dry = place
        .stock(&[&provision[..], &["--dry-run", "--json"]].concat())
        .await
        .ends(0)
        .json();
    assert_eq!(
        (&dry["had_keys"], &dry["made"]),
        (&false.into(), &false.into())
    );
    place
        .stock(&["keys", "list"])
        .await
        .ends(0)
        .says("no owners");
    for made in [true, false] {
        let done = place
            .stock(&[&provision[..], &WHY, &["--json"]].concat())
            .await
            .ends(0)
            .json();
        assert_eq!(
            (&done["made"], &done["owner"]),
            (&made.into(), &"int:7".into())
        );
    }
    // The application has the same keys.
    place.fill(7, 1).await;
    assert_eq!(place.readable(7).await, 1);
    for owner in ["text:ada", "uuid:67e55044-10b1-426f-9247-bb680e5fe0c8"] {
        place
            .stock(&[&["keys", "provision", "--owner", owner], &WHY[..]].concat())
            .await
            .ends(0);
    }
    let listed = place
        .stock(&["keys", "list", "--json"])
        .await
        .ends(0)
        .json();
    let names: Vec<_> = listed["owners"]
        .as_array()
        .unwrap()
        .iter()
        .map(|owner| owner["owner"].clone())
        .collect();
    assert_eq!(
        names,
        [
            "int:7",
            "text:ada",
            "uuid:67e55044-10b1-426f-9247-bb680e5fe0c8"
        ]
    );
    let seven = &listed["owners"][0];
    assert_eq!(
        (&seven["state"], &seven["generations"][0]["state"]),
        (&"living".into(), &"sealing".into())
    );
    assert_eq!(seven["index_keys"], json!([1]));
    let first = place
        .stock(&["keys", "list", "--limit", "1", "--json"])
        .await
        .ends(0)
        .json();
    assert_eq!(
        (first["owners"].as_array().unwrap().len(), &first["next"]),
        (1, &"int:7".into())
    );
    let rest = place
        .stock(&["keys", "list", "--after", "int:7", "--json"])
        .await
        .ends(0)
        .json();
    assert_eq!(
        (rest["owners"].as_array().unwrap().len(), &rest["next"]),
        (2, &json!(null))
    );
    for owner in ["7", "int:x", "id:7"] {
        place
            .stock(&["keys", "list", "--owner", owner])
            .await
            .ends(2)
            .says("with its kind");
    }
}

async fn a_shred_is_asked_for_by_name(kind: Kind) {
    let place = Place::new(kind).await;
    place.fill(7, 3).await;
    let shred = ["keys", "shred", "--owner", "int:7"];
    place.stock(&shred).await.ends(4).says("--yes-shred int:7");
    place
        .stock(&[&shred[..], &["--yes-shred", "int:8"]].concat())
        .await
        .ends(4)
        .says("names another");
    // The text is not the integer.
    place
        .stock(&[&shred[..], &["--yes-shred", "text:7"]].concat())
        .await
        .ends(4);
    place
        .stock(&[&shred[..], &["--dry-run"]].concat())
        .await
        .ends(0)
        .says("would be destroyed");
    assert_eq!(place.readable(7).await, 3);
    let nobody = [
        "keys",
        "shred",
        "--owner",
        "int:8",
        "--yes-shred",
        "int:8",
        "--json",
    ];
    let nobody = place.stock(&nobody).await.ends(3).json();
    assert_eq!(nobody["error"]["kind"], "keys");
    for was_shredded in [false, true] {
        let done = place
            .stock(&[&shred[..], &["--yes-shred", "int:7", "--json"]].concat())
            .await
            .ends(0)
            .json();
        assert_eq!(done["was_shredded"], was_shredded);
        assert_eq!(done["shred"].as_str().unwrap().len(), 32);
    }
    let owner = CanonicalId::integer(7);
    let record = place.store().await.load(&owner).await.unwrap().unwrap();
    assert!(record.is_shredded());
    place
        .stock(&["keys", "list"])
        .await
        .ends(0)
        .says("int:7  shredded");
    let again = [&["keys", "provision", "--owner", "int:7"], &WHY[..]].concat();
    place.stock(&again).await.ends(3).says("destroyed");
    assert!(
        place
            .store()
            .await
            .load(&owner)
            .await
            .unwrap()
            .unwrap()
            .is_shredded()
    );
}

async fn keys_move_to_another_master_key(kind: Kind) {
    let place = Place::new(kind).await;
    for owner in [7, 8, 9] {
        place.fill(owner, 2).await;
    }
    let (old, new) = (place.path("master.key"), place.path("new.key"));
    LocalKms::open_or_create(&new).unwrap();
    let (old_kms, new_kms) = (
        format!("local:{}", old.display()),
        format!("local:{}", new.display()),
    );
    let moving = [
        "keys",
        "rewrap",
        "--all",
        "--kms",
        &new_kms,
        "--former-kms",
        &old_kms,
    ];
    let dry = place
        .stock(&[&moving[..], &["--dry-run", "--json"]].concat())
        .await
        .ends(0)
        .json();
    assert_eq!((&dry["owners"], &dry["done"]), (&3.into(), &0.into()));
    // Without the former one nothing opens: every owner is a failure, and all stay as they were.
    let alone = ["keys", "rewrap", "--all", "--kms", &new_kms, "--json"];
    let alone = place
        .stock(&[&alone[..], &WHY].concat())
        .await
        .ends(1)
        .json();
    assert_eq!(alone["failures"].as_array().unwrap().len(), 3);
    let one = [
        "keys",
        "rewrap",
        "--owner",
        "int:8",
        "--kms",
        &new_kms,
        "--former-kms",
        &old_kms,
        "--json",
    ];
    let one = place.stock(&[&one[..], &WHY].concat()).await.ends(0).json();
    assert_eq!((&one["owners"], &one["done"]), (&1.into(), &1.into()));
    let rest = place
        .stock(&[&moving[..], &WHY, &["--json"]].concat())
        .await
        .ends(0)
        .json();
    assert_eq!((&rest["owners"], &rest["done"]), (&2.into(), &2.into()));
    let none = place
        .stock(&[&moving[..], &WHY, &["--json"]].concat())
        .await
        .ends(0)
        .json();
    assert_eq!(none["owners"], 0);
    std::fs::rename(new, old).unwrap();
    for owner in [7, 8, 9] {
        assert_eq!(place.readable(owner).await, 2);
    }
}

/// A command without the share store would make keys in one piece, and leave second shares behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_in_two_shares_need_a_command_that_knows_their_store() {
    let place = Place::new(Kind::Sqlite).await;
    let url = format!("sqlite:{}?mode=rwc", place.path("shares.db").display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let shares = SqliteShares::new(pool.clone(), "tests");
    shares.create().await.unwrap();
    let keyring = || {
        let local = LocalKms::open(place.path("master.key")).unwrap();
        let kms = TwoShareKms::new(local, shares.clone());
        Keyring::builder().kms(kms)
    };
    let store = SqliteKeyStore::open(place.path("keys.db")).await.unwrap();
    let keyring = keyring().key_store(store.clone()).build().unwrap();
    keyring.provision(&7_i64).await.unwrap();

    let provision = ["keys", "provision", "--owner", "int:8"];
    let provision = [&provision[..], &WHY].concat();
    let destroy = [
        "keys",
        "destroy",
        "--owner",
        "int:7",
        "--yes-destroy",
        "int:7",
    ];
    let destroy = [&destroy[..], &WHY].concat();
    place.stock(&provision).await.ends(4).says("two shares");
    place.run(&destroy).await.ends(4).says("two shares");
    let knows = async |arguments: &[&str]| {
        let mut command = place.command(Program::Application, arguments);
        command.env("TEST_SHARES", &url);
        place.ended(&mut command).await
    };
    knows(&provision).await.ends(0);
    let record = store.load(&CanonicalId::integer(8)).await.unwrap().unwrap();
    let DekBlob::Wrapped(wrapped) = record.newest().unwrap().blob() else {
        panic!("the newest is wrapped")
    };
    assert!(wrapped.kek().starts_with("two-share:"), "{}", wrapped.kek());
    keyring.open(&8_i64, Purpose::new("tests")).await.unwrap();

    // The second share goes with the generation.
    let Rows::Sqlite(rows) = &place.rows else {
        panic!("its kind says so")
    };
    let models = SqliteModels::new(rows.pool().clone(), Models::new());
    let rotation = Rotation::new(keyring.clone(), store.clone(), models);
    rotation.begin(&7_i64).await.unwrap();
    let passes = "UPDATE ophie_crypt_budgets SET announced_at = '2020-01-01T00:00:00.000Z', \
                  leased_until = '2020-01-01T00:00:00.000Z'";
    place.execute_on_keys(passes).await;
    assert_eq!(rotation.advance(&7_i64).await.unwrap().waits_for, None);
    let left = async || -> i64 {
        let left = "SELECT count(*) FROM ophie_crypt_shares";
        sqlx::query_scalar(left).fetch_one(&pool).await.unwrap()
    };
    assert_eq!(left().await, 3);
    let at_once = [&destroy[..], &["--retired-days", "0"]].concat();
    knows(&at_once).await.ends(0);
    assert_eq!(left().await, 2);
}
