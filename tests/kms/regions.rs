//! A multi-Region key: which attempt goes where.

use ophie_crypt::{AwsKms, Kms};
use ophie_crypt_tests::strict_kms::{Fault, StrictKms};

use super::{
    APP, HERE, THERE, assert_refused, assert_same, assert_unavailable, attempt, call, make,
};

struct Regions {
    server: StrictKms,
    arns: [String; 2],
    kms: AwsKms,
}

async fn regions() -> Regions {
    let server = StrictKms::new();
    let arns = server.make_multi_region_key(HERE, &[THERE]).await;
    let arns: [String; 2] = arns.try_into().expect("a key and its replica");
    let [key, replica] = &arns;
    let kms = AwsKms::builder()
        .key(server.client(HERE, APP), key)
        .replica(server.client(THERE, APP), replica);
    Regions {
        kms: kms.build().expect("a key and its replica"),
        server,
        arns,
    }
}

#[tokio::test]
async fn attempts_go_round_the_regions_in_order() {
    let Regions { server, arns, kms } = regions().await;
    let (dek, wrapped) = make(&kms, "ada").await;
    for number in 1..=5 {
        let opened = kms.unwrap_dek(&wrapped, &attempt("ada", number)).await;
        assert_same(&dek, &opened.unwrap());
    }
    let log = server.log_of("Decrypt");
    let order: Vec<_> = log.iter().map(|entry| entry.region.as_str()).collect();
    assert_eq!(order, [HERE, THERE, HERE, THERE, HERE]);

    // What a replica wrapped, or wrapped again, opens in each region too.
    let there = kms.make_dek(&attempt("ada", 2)).await.unwrap();
    assert_eq!(there.wrapped.kek(), arns[1]);
    let again = kms.rewrap_dek(&wrapped, &attempt("ada", 2)).await.unwrap();
    assert_eq!(again.kek(), arns[1]);
    for number in [1, 2] {
        let opened = kms
            .unwrap_dek(&there.wrapped, &attempt("ada", number))
            .await;
        assert_same(&there.dek, &opened.unwrap());
        let opened = kms.unwrap_dek(&again, &attempt("ada", number)).await;
        assert_same(&dek, &opened.unwrap());
    }
}

#[tokio::test]
async fn one_attempt_stays_in_its_region_whatever_happens() {
    let Regions { server, kms, .. } = regions().await;
    let (dek, wrapped) = make(&kms, "ada").await;
    server.script(
        HERE,
        [Fault::Page(503), Fault::Error("AccessDeniedException", 400)],
    );
    assert_unavailable(kms.unwrap_dek(&wrapped, &call("ada")).await, "503");
    assert_refused(kms.unwrap_dek(&wrapped, &call("ada")).await, "AccessDenied");
    assert!(
        server
            .log_of("Decrypt")
            .iter()
            .all(|entry| entry.region == HERE)
    );
    let next = kms.unwrap_dek(&wrapped, &attempt("ada", 2)).await;
    assert_same(&dek, &next.unwrap());
}

#[tokio::test]
async fn a_former_key_is_left_in_a_region_that_both_have() {
    let Regions { server, arns, kms } = regions().await;
    let (dek, wrapped) = make(&kms, "ada").await;
    let single = server.make_key(THERE).await;
    let client = |region| server.client(region, APP);
    let next = AwsKms::builder().key(client(THERE), &single);

    let apart = next.clone().former(client(HERE), &arns[0]).build().unwrap();
    assert_same(
        &dek,
        &apart.unwrap_dek(&wrapped, &call("ada")).await.unwrap(),
    );
    let result = apart.rewrap_dek(&wrapped, &call("ada")).await;
    assert_refused(result, "within one region only");
    assert_eq!(server.log_of("ReEncrypt"), []);

    let former = next
        .former(client(HERE), &arns[0])
        .former(client(THERE), &arns[1]);
    let kms = former.build().unwrap();
    for number in [1, 2] {
        let moved = kms
            .rewrap_dek(&wrapped, &attempt("ada", number))
            .await
            .unwrap();
        assert_eq!(moved.kek(), single);
        assert_same(&dek, &kms.unwrap_dek(&moved, &call("ada")).await.unwrap());
    }
}
