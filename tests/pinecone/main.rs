//! The Pinecone store against a server of our own that behaves as Pinecone may, and worse.
//!
//! Invariant: what is asserted of a schedule is what the server holds, not what the client says. Absent: Pinecone
//! itself; pgvector (`pgvector`), sidecars (`sidecar`).

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_in_result,
    clippy::unwrap_used,
    reason = "a test: what goes wrong here is seen"
)]

#[path = "../logging/capture.rs"]
mod capture;
mod index;
mod server;

use std::{collections::BTreeSet, time::Duration};

use ophie_crypt::{
    CanonicalId, KeyId, SidecarStore, VectorStore, VectorStoreError, VectorsDeleted,
    sidecar_beginnings,
};
use ophie_crypt_pinecone::{ApiKey, Pinecone};

use self::{
    index::{Index, KEY, Manners, Random, SAID},
    server::Server,
};

const SCHEDULES: u64 = 100;

const BY_CHANCE: Manners = Manners {
    chance: true,
    ignores_prefix: false,
    ignores_namespace: false,
    missing_is_404: false,
    status: None,
    deletes_never: false,
    shows_one_never: false,
};

fn pinecone(url: &str, shared: bool) -> Pinecone {
    let builder = Pinecone::builder(ApiKey::new(KEY), url).pause(Duration::from_millis(1));
    let builder = if shared {
        builder.shared_namespace("all of us & more")
    } else {
        builder
    };
    builder.build().unwrap()
}

/// Owners whose names begin alike, and the same number in three types.
fn owners() -> Vec<CanonicalId> {
    let mut owners: Vec<_> = ["user", "user1", "user12", "user1#", "1"]
        .map(CanonicalId::text)
        .into();
    owners.push(CanonicalId::integer(1));
    owners.push(CanonicalId::uuid(&[b'1'; 16]));
    owners
}

/// Vectors of all owners, and of nobody.
fn fill(index: &mut Index, pinecone: &Pinecone, vectors: u64) -> usize {
    const IDS: [&str; 5] = ["memory", "a#b", "Grüße & mehr", "%23", "?x=1+2"];
    for owner in &owners() {
        let namespace = pinecone.namespace(owner).unwrap();
        for n in 0..vectors {
            let id = format!("{}{n}", IDS[usize::try_from(n % 5).unwrap()]);
            let id = pinecone.vector_id(owner, &id).unwrap();
            index.upsert(&namespace, &id);
        }
    }
    index.upsert("__default__", "nobody's");
    index.held().len()
}

/// What stands under the owner's names.
fn of_owner(held: &BTreeSet<(String, String)>, pinecone: &Pinecone, owner: &CanonicalId) -> usize {
    let namespace = pinecone.namespace(owner).unwrap();
    let prefix = pinecone.vector_id(owner, "").unwrap();
    held.iter()
        .filter(|(of, id)| *of == namespace && id.starts_with(&prefix))
        .count()
}

/// Each call may take a minute; that many mean that it never ends.
async fn until_empty(pinecone: &Pinecone, owner: &CanonicalId) -> VectorsDeleted {
    for _ in 0..3 {
        let deleted = pinecone.delete_owner(owner).await.unwrap();
        if deleted.verified_empty() {
            return deleted;
        }
    }
    panic!("vectors are left, call after call");
}

/// One owner's vectors are all gone, and nobody else's.
async fn check(seed: u64, shared: bool, killed: bool) {
    let mut random = Random::new(seed);
    let manners = Manners {
        missing_is_404: random.one_in(2),
        ..BY_CHANCE
    };
    let server = Server::start(Index::new(seed, manners)).await;
    let pinecone = pinecone(&server.url, shared);
    let vectors = random.below(60);
    let all = fill(&mut server.index(), &pinecone, vectors);
    let owners = owners();
    let owner = &owners[usize::try_from(random.below(7)).unwrap()];
    while killed && random.below(6) > 0 {
        // What is dropped in the middle is as a process that was killed.
        let requests = random.below(12);
        let after = async {
            for _ in 0..requests {
                server.asked.notified().await;
            }
        };
        tokio::select! {
            biased;
            () = after => {}
            deleted = pinecone.delete_owner(owner) => drop(deleted.unwrap()),
        }
    }
    let deleted = until_empty(&pinecone, owner).await;
    let index = server.index();
    let held = index.held();
    let of = |owner: &CanonicalId| of_owner(&held, &pinecone, owner);
    assert_eq!(of(owner), 0, "seed {seed}: vectors of the owner are left");
    for other in owners.iter().filter(|other| *other != owner) {
        assert_eq!(of(other), usize::try_from(vectors).unwrap(), "seed {seed}");
    }
    assert_eq!(held.len(), all - usize::try_from(vectors).unwrap());
    match (shared, killed) {
        (true, false) => assert_eq!(deleted.count(), Some(vectors), "seed {seed}"),
        (true, true) => assert!(deleted.count().unwrap() <= vectors, "seed {seed}"),
        (false, _) => assert_eq!(deleted.count(), None),
    }
}

#[tokio::test]
async fn all_of_the_owners_vectors_go_and_nobody_elses_in_a_namespace_each() {
    for seed in 0..SCHEDULES {
        check(seed, false, false).await;
    }
}

#[tokio::test]
async fn all_of_the_owners_vectors_go_and_nobody_elses_in_a_shared_namespace() {
    for seed in 0..SCHEDULES {
        check(seed, true, false).await;
    }
}

#[tokio::test]
async fn what_was_killed_in_the_middle_is_ended_by_the_next() {
    for seed in 0..SCHEDULES {
        check(seed, seed % 2 == 0, true).await;
    }
}

#[tokio::test]
async fn batches_are_as_large_as_pinecone_takes_and_no_larger() {
    let server = Server::start(Index::new(1, Manners::default())).await;
    let pinecone = pinecone(&server.url, true);
    fill(&mut server.index(), &pinecone, 2_345);
    let owner = &owners()[1];
    let deleted = pinecone.delete_owner(owner).await.unwrap();
    assert_eq!(deleted, VectorsDeleted::new(Some(2_345), true));
    assert_eq!(server.index().deletions, [1_000, 1_000, 345]);
    assert_eq!(of_owner(&server.index().held(), &pinecone, owner), 0);
    // Again: nothing to do is no error.
    let again = pinecone.delete_owner(owner).await.unwrap();
    assert_eq!(again, VectorsDeleted::new(Some(0), true));
    let stranger = CanonicalId::text("stranger");
    assert!(until_empty(&pinecone, &stranger).await.verified_empty());
}

fn sidecar(key: u8) -> String {
    format!(
        "{}rest",
        sidecar_beginnings(KeyId::from_bytes([key; 16]))[0]
    )
}

/// Whether one is under the old key decides whether that is destroyed; what is seen late must not make it none.
#[tokio::test]
async fn sidecars_under_an_old_key_are_never_missed() {
    let (old, new) = (KeyId::from_bytes([1; 16]), KeyId::from_bytes([2; 16]));
    for seed in 0..SCHEDULES / 4 {
        let server = Server::start(Index::new(seed, BY_CHANCE)).await;
        let pinecone = pinecone(&server.url, seed % 2 == 0);
        fill(&mut server.index(), &pinecone, 30);
        let (owner, other) = (&owners()[1], &owners()[2]);
        let describe = |owner: &CanonicalId, n: u64, key: u8| {
            let namespace = pinecone.namespace(owner).unwrap();
            let id = format!("memory{n}");
            let id = pinecone.vector_id(owner, &id).unwrap();
            let metadata = match n {
                0 => serde_json::json!({ "n": 7, "memory": sidecar(key) }),
                _ => serde_json::json!({ "memories": ["x", sidecar(key)], "memory": null }),
            };
            server.index().describe(&namespace, &id, metadata);
        };
        for n in [0, 5, 25] {
            for _ in 0..2 {
                describe(owner, n, 1); // for a while already
                describe(other, n, 1);
            }
        }
        for (n, left) in [(0, 2), (5, 1), (25, 0)] {
            describe(owner, n, 2);
            let count = pinecone.count_under(owner, old).await.unwrap();
            match left {
                0 => {
                    // One that was resealed may still be shown as it was, and never one too few.
                    let mut count = count;
                    for _ in 0..20 {
                        if count == 0 {
                            break;
                        }
                        count = pinecone.count_under(owner, old).await.unwrap();
                    }
                    assert_eq!(count, 0, "seed {seed}");
                }
                _ => assert!((1..=3).contains(&count), "seed {seed}: {count} of {left}"),
            }
        }
        for n in [0, 5, 25] {
            describe(owner, n, 2); // once it has settled
        }
        assert!(pinecone.count_under(owner, new).await.unwrap() > 0);
        assert!(pinecone.count_under(other, old).await.unwrap() > 0);
    }
}

#[tokio::test]
async fn what_is_listed_and_not_shown_is_an_error_and_no_none() {
    let none = KeyId::from_bytes([9; 16]);
    let unseen = Manners {
        shows_one_never: true,
        ..Manners::default()
    };
    let gone = Manners {
        status: Some(503),
        ..Manners::default()
    };
    let foreign = Manners {
        ignores_namespace: true,
        ..Manners::default()
    };
    for (manners, says) in [
        (unseen, "were not shown"),
        (gone, "status 503"),
        (foreign, "another namespace"),
    ] {
        for shared in [false, true] {
            let server = Server::start(Index::new(1, manners)).await;
            let pinecone = pinecone(&server.url, shared);
            fill(&mut server.index(), &pinecone, 30);
            let error = pinecone.count_under(&owners()[1], none).await.unwrap_err();
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert!(source.contains(says), "{source}");
        }
    }
    let server = Server::start(Index::new(1, Manners::default())).await;
    let pinecone = pinecone(&server.url, true);
    fill(&mut server.index(), &pinecone, 30);
    assert_eq!(pinecone.count_under(&owners()[1], none).await.unwrap(), 0);
    let nobody = CanonicalId::text("stranger");
    assert_eq!(pinecone.count_under(&nobody, none).await.unwrap(), 0);
}

/// Nothing is deleted on the word of a server that lists what was not asked for.
#[tokio::test]
async fn what_is_not_the_owners_is_not_deleted_whatever_is_listed() {
    let no_prefix = Manners {
        ignores_prefix: true,
        ..Manners::default()
    };
    let other_namespace = Manners {
        ignores_namespace: true,
        ..Manners::default()
    };
    for (manners, shared) in [
        (no_prefix, true),
        (other_namespace, true),
        (other_namespace, false),
    ] {
        let server = Server::start(Index::new(1, manners)).await;
        let pinecone = pinecone(&server.url, shared);
        let all = fill(&mut server.index(), &pinecone, 3);
        let owner = &owners()[1];
        let error = pinecone.delete_owner(owner).await.unwrap_err();
        let chain = chain(&error);
        assert!(
            matches!(error, VectorStoreError::Refused { .. })
                && chain.contains("another namespace"),
            "{chain}"
        );
        let held = server.index().held();
        let gone = if shared { 0 } else { 3 };
        assert_eq!(held.len(), all - gone, "others' vectors went");
    }
}

#[tokio::test]
async fn what_is_deleted_and_stays_is_never_said_to_be_gone() {
    let manners = Manners {
        deletes_never: true,
        ..Manners::default()
    };
    for shared in [false, true] {
        let server = Server::start(Index::new(1, manners)).await;
        let builder = Pinecone::builder(ApiKey::new(KEY), &server.url)
            .pause(Duration::from_millis(1))
            .limit(Duration::from_millis(300));
        let builder = if shared {
            builder.shared_namespace("all")
        } else {
            builder
        };
        let pinecone = builder.build().unwrap();
        fill(&mut server.index(), &pinecone, 30);
        let deleted = pinecone.delete_owner(&owners()[1]).await.unwrap();
        assert!(!deleted.verified_empty());
        assert!(server.index().requests > 1);
    }
}

/// Not found may be the word of any server.
#[tokio::test]
async fn a_server_that_is_no_index_does_not_prove_anything() {
    for (status, passes) in [
        (301, false),
        (307, false),
        (400, false),
        (401, false),
        (403, false),
        (404, false),
        (405, false),
        (408, true),
        (429, true),
        (500, true),
        (502, true),
        (503, true),
    ] {
        for shared in [false, true] {
            let manners = Manners {
                status: Some(status),
                ..Manners::default()
            };
            let server = Server::start(Index::new(1, manners)).await;
            let pinecone = pinecone(&server.url, shared);
            let error = pinecone.delete_owner(&owners()[1]).await.unwrap_err();
            let chain = chain(&error);
            let is_passing = matches!(error, VectorStoreError::Unavailable { .. });
            assert_eq!(is_passing, passes, "{status}: {chain}");
            assert!(chain.contains(&format!("status {status}")), "{chain}");
            let asked = server.index().requests;
            let expected = if passes { 6..=6 } else { 1..=3 };
            assert!(expected.contains(&asked), "{status}: {asked} requests");
        }
    }
}

/// All texts of an error, and what `Debug` shows of it.
fn chain(error: &VectorStoreError) -> String {
    let mut chain = format!("{error}\n{error:?}\n");
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        chain += &format!("{error}\n{error:?}\n");
        source = error.source();
    }
    chain
}

#[tokio::test]
async fn no_error_and_no_log_holds_the_api_key_or_what_the_server_said() {
    capture::start();
    let mut shown = String::new();
    for status in [400, 401, 403, 404, 429, 500] {
        let manners = Manners {
            status: Some(status),
            ..Manners::default()
        };
        let server = Server::start(Index::new(1, manners)).await;
        let pinecone = pinecone(&server.url, true);
        let error = pinecone.delete_owner(&owners()[0]).await.unwrap_err();
        shown += &format!("{}{pinecone:?}\n", chain(&error));
        let sent = String::from_utf8(server.received()).unwrap();
        assert!(sent.contains(KEY), "the key was not sent at all");
    }
    let builder = Pinecone::builder(ApiKey::new(KEY), "https://127.0.0.1:1");
    shown += &format!("{builder:?}\n");
    for host in ["http://10.0.0.1", "https://host/path"] {
        let error = Pinecone::builder(ApiKey::new(KEY), host).build();
        shown += &format!("{error:?}\n");
    }
    let schedule = Server::start(Index::new(3, BY_CHANCE)).await;
    let pinecone = pinecone(&schedule.url, true);
    fill(&mut schedule.index(), &pinecone, 30);
    let _ = until_empty(&pinecone, &owners()[1]).await;
    tracing::trace!("the capture works");
    let logged = capture::logged();
    assert!(logged.contains("the capture works"));
    for text in [KEY, SAID] {
        capture::holds_none_of(&shown, text);
        capture::holds_none_of(&logged, text);
    }
}

/// A server without TLS where TLS was asked for learns nothing.
#[tokio::test]
async fn the_key_is_not_sent_before_tls_stands() {
    let server = Server::start(Index::new(1, Manners::default())).await;
    let pinecone = pinecone(&server.url.replace("http:", "https:"), false);
    let error = pinecone.delete_owner(&owners()[0]).await.unwrap_err();
    let chain = chain(&error);
    assert!(
        matches!(error, VectorStoreError::Unavailable { .. }),
        "{chain}"
    );
    let received = server.received();
    assert_eq!(received.first(), Some(&0x16), "no TLS handshake came");
    assert!(
        !received
            .windows(KEY.len())
            .any(|bytes| bytes == KEY.as_bytes())
    );
    assert_eq!(server.index().requests, 0);
}

#[tokio::test]
async fn nobody_who_listens_is_an_error_that_passes() {
    let pinecone = pinecone("http://127.0.0.1:1", false);
    let error = pinecone.delete_owner(&owners()[0]).await.unwrap_err();
    assert!(matches!(error, VectorStoreError::Unavailable { .. }));
}
