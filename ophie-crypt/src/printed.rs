//! What logs and panics show of each type: what it is, and nothing of what it holds.

use std::sync::Arc;

use crate::{
    adapter,
    audit::WriterId,
    column::ColumnRef,
    error::{Error, OwnerError},
    hazmat::{
        aead::AeadKey,
        data_key::{Dek, KeyId},
        prf::PrfKey,
        share::Share,
    },
    keyring::Keyring,
    kms::{LocalKms, TwoShareKms, WrappedDek},
    model::Models,
    owner::CanonicalId,
    rotation::Rotation,
    session::Purpose,
    shares::{MemoryShares, ShareId},
    store::{
        DekBlob, IndexKeyRecord, IndexedRow, MemoryKeyStore, Reindex, Reseal, unasked::only_models,
    },
};

#[derive(Debug, Default)]
struct Tables {
    models: Models,
}

only_models!(Tables);

#[test]
fn keys_and_what_they_made() {
    let key = [0xab; 32];
    let aead: AeadKey = AeadKey::new(&key);
    let printed = format!(
        "{:?} {:?} {:?} {aead:?}",
        Dek::from_slice(&key).unwrap(),
        Share::from_slice(&key).unwrap(),
        PrfKey::new(&key),
    );
    assert_eq!(
        printed,
        "Dek([REDACTED]) Share([REDACTED]) PrfKey([REDACTED]) AeadKey([REDACTED])"
    );
    let index = ColumnRef::new("people", "name_fp");
    let fingerprint = adapter::load_fingerprint(index, &[0xab; 17]).unwrap();
    assert_eq!(format!("{fingerprint:?}"), "Fingerprint(..)");
}

#[test]
fn ids_and_columns() {
    let id = "ab".repeat(16);
    assert_eq!(
        format!("{:?}", KeyId::from_bytes([0xab; 16])),
        format!("KeyId({id})")
    );
    assert_eq!(
        format!("{:?}", ShareId::from_bytes([0xab; 16])),
        format!("ShareId({id})")
    );
    assert_eq!(
        format!("{:?}", WriterId::from_bytes([0xab; 16])),
        format!("WriterId({id})")
    );
    let column = ColumnRef::new("people", "name");
    assert_eq!(
        format!("{column} {column:?}"),
        "people.name ColumnRef(people.name)"
    );
    assert_eq!(format!("{:?}", CanonicalId::text("ada")), "CanonicalId(..)");
    let error = Error::from(OwnerError::OtherOwner);
    assert_eq!(format!("{error:?}"), format!("Owner({error})"));
}

#[test]
fn rows_and_records() {
    let sealed = DekBlob::Sealed(vec![0xab; 77]);
    let wrapped = DekBlob::Wrapped(WrappedDek::new("kek", [0xab; 4]));
    assert_eq!(format!("{sealed:?}"), "Sealed(77 bytes)");
    assert_eq!(format!("{wrapped:?}"), r#"WrappedDek { kek: "kek", .. }"#);
    let record = IndexKeyRecord::new(2, KeyId::from_bytes([0; 16]), [0xab; 77]);
    let printed = format!("{record:?}");
    assert!(
        printed.starts_with("IndexKeyRecord { generation: 2, state: Writing"),
        "{printed}"
    );
    let row = IndexedRow::new([0xab; 17], [0xab; 45]);
    let reindex = Reindex::new(row, [0xab; 17]);
    assert_eq!(
        format!("{reindex:?}"),
        "Reindex(IndexedRow(17 bytes, 45 bytes))"
    );
    let reseal = Reseal::new([0xab; 45], [0xab; 46]);
    assert_eq!(format!("{reseal:?}"), "Reseal(45 bytes, 46 bytes)");
}

#[tokio::test]
async fn what_holds_keys_and_stores() {
    let store = Arc::new(MemoryKeyStore::new());
    let kms = Arc::new(LocalKms::ephemeral().unwrap());
    let builder = Keyring::builder()
        .kms(Arc::clone(&kms))
        .key_store(Arc::clone(&store))
        .app("ophie")
        .actor("api@host");
    let printed = format!("{builder:?}");
    assert_eq!(
        printed,
        r#"KeyringBuilder { app: Some("ophie"), ttl: None, .. }"#
    );
    let keyring = builder.build().unwrap();
    let printed = format!("{keyring:?}");
    assert_eq!(
        printed,
        r#"Keyring { app: "ophie", actor: "api@host", .. }"#
    );
    let opened = keyring.open_or_provision("ada", Purpose::new("tests"));
    let session = opened.await.unwrap();
    assert_eq!(
        format!("{session:?}"),
        r#"Session { purpose: "tests", .. }"#
    );
    assert!(!session.is_read_only());
    let reader = keyring.open_read_only("ada", Purpose::new("tests")).await;
    assert!(reader.unwrap().is_read_only());

    let shares = MemoryShares::new();
    let printed = format!("{store:?} {shares:?}");
    assert_eq!(printed, "MemoryKeyStore { .. } MemoryShares { .. }");
    let two = TwoShareKms::new(Arc::clone(&kms), shares);
    let printed = format!("{two:?}");
    assert!(printed.starts_with("TwoShareKms {"), "{printed}");
    let rotation = Rotation::new(keyring, Arc::clone(&store), Tables::default());
    let printed = format!("{rotation:?}");
    assert!(
        printed.starts_with("Rotation { keyring: Keyring {"),
        "{printed}"
    );
}
