//! The transplant matrix: every ciphertext, fingerprint, index key and wrapped key in every other slot.
//!
//! Invariant: all slots hold the same plaintext, and in half of them all owners have one DEK, so that nothing but
//! the binding tells these apart; each opens in its own slot, so that a matrix of failures proves something.
//! Absent: changed bytes (the golden files), the way through a database (the suite `sqlx`).

use std::{collections::HashSet, sync::Arc};

use ophie_crypt::{
    CanonicalId, EncryptionContext, Error, Json, KeyStore, Kms, KmsCall, KmsError, LocalKms,
    MemoryKeyStore, OpenError, OwnerRecord, Session, SessionError,
};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{
    codecs::Shown,
    given::{self, Given, PURPOSE, insert, keyring, parts},
    places::{INDEXES, PLACES, Place, index, place},
};

/// One value in text, bytes and JSON alike.
const PLAINTEXT: &str = "\"slept badly\"";

fn owners() -> [CanonicalId; 3] {
    [
        CanonicalId::uuid(&[7; 16]),
        CanonicalId::text("7"),
        CanonicalId::integer(7),
    ]
}

fn rows() -> [Option<CanonicalId>; 3] {
    [
        None,
        Some(CanonicalId::integer(7)),
        Some(CanonicalId::text("7")),
    ]
}

/// An owner's keys under one KMS. Under the second, all owners have the same DEK.
struct Keys {
    owner: CanonicalId,
    kms: Arc<dyn Kms>,
    record: OwnerRecord,
    session: Session,
    shared: bool,
}

async fn all_keys() -> Vec<Keys> {
    let each: Arc<dyn Kms> = Arc::new(LocalKms::ephemeral().unwrap());
    let one_for_all: Arc<dyn Kms> = Arc::new(Given([7; 32]));
    let mut all = Vec::new();
    for (kms, shared) in [(each, false), (one_for_all, true)] {
        for owner in owners() {
            let store = Arc::new(MemoryKeyStore::new());
            let keyring = keyring(Arc::clone(&kms), Arc::clone(&store));
            let session = keyring.open_or_provision(&owner, PURPOSE).await.unwrap();
            let record = store.load(&owner).await.unwrap().unwrap();
            let kms = Arc::clone(&kms);
            all.push(Keys {
                owner,
                kms,
                record,
                session,
                shared,
            });
        }
    }
    all
}

type Open = Box<dyn Fn(&[u8], &Session, Option<&CanonicalId>) -> Result<Option<String>, Error>>;

/// Where a value is sealed and opened.
struct Slot {
    keys: usize,
    row: Option<CanonicalId>,
    open: Open,
    stored: Vec<u8>,
}

fn slot<T: Shown>(
    all: &[Keys],
    keys: usize,
    (table, column): (&str, &str),
    row: Option<CanonicalId>,
) -> Slot {
    let Place { seal, open } = place::<T>(table, column);
    let value = T::decode(Zeroizing::new(PLAINTEXT.into())).unwrap();
    let stored = seal(value, &all[keys].session, row.as_ref());
    Slot {
        keys,
        row,
        open: Box::new(open),
        stored,
    }
}

#[tokio::test]
async fn a_ciphertext_opens_in_its_own_slot_only() {
    let all = all_keys().await;
    let mut slots = Vec::new();
    for keys in 0..all.len() {
        for at in PLACES {
            for row in rows() {
                slots.push(slot::<String>(&all, keys, *at, row.clone()));
                slots.push(slot::<Vec<u8>>(&all, keys, *at, row.clone()));
                slots.push(slot::<Json<Value>>(&all, keys, *at, row));
            }
        }
    }

    let (mut opened, mut row_binding, mut unknown_key, mut rejected) = (0, 0, 0, 0);
    for (i, from) in slots.iter().enumerate() {
        for (j, to) in slots.iter().enumerate() {
            let found = (to.open)(&from.stored, &all[to.keys].session, to.row.as_ref());
            let shared = all[from.keys].shared && all[to.keys].shared;
            match found {
                Ok(_) if i == j => opened += 1,
                Err(Error::Open(OpenError::RowBinding { .. }))
                    if from.row.is_some() != to.row.is_some() =>
                {
                    row_binding += 1;
                }
                Err(Error::Open(OpenError::UnknownKey { .. }))
                    if from.keys != to.keys && !shared =>
                {
                    unknown_key += 1;
                }
                Err(Error::Open(OpenError::Rejected { .. })) if from.keys == to.keys || shared => {
                    rejected += 1
                }
                found => panic!("from slot {i} to {j}: {found:?}"),
            }
        }
    }
    assert_eq!((slots.len(), opened), (324, 324));
    assert_eq!(
        (row_binding, unknown_key, rejected),
        (46_656, 38_880, 19_116)
    );
    assert_eq!(row_binding + unknown_key + rejected, 324 * 323);
}

/// Of one value that is its own normal form. Made twice, they are equal.
#[tokio::test]
async fn no_two_slots_have_one_fingerprint() {
    let (mut made, mut again) = (HashSet::new(), HashSet::new());
    for keys in all_keys().await {
        for (table, column, by) in INDEXES {
            for normaliser in ["exact/1", "name/1", "email/1"] {
                let make = index::<String>(table, column, by, normaliser).make;
                made.insert(make("mom".to_owned(), &keys.session));
                again.insert(make("mom".to_owned(), &keys.session));
            }
        }
    }
    assert_eq!(made.len(), 72, "two slots share a fingerprint");
    assert_eq!(made, again);
}

#[tokio::test]
async fn an_index_key_opens_in_its_owners_record_only() {
    let all = all_keys().await;
    let (mut opened, mut refused) = (0, 0);
    for (i, from) in all.iter().enumerate() {
        for (j, to) in all.iter().enumerate() {
            let ((dek, wrapped, index_key), (.., sealed)) =
                (parts(&to.record), parts(&from.record));
            let record = given::record(
                dek.generation(),
                dek.key_id(),
                wrapped.clone(),
                index_key.generation(),
                sealed.sealed(),
            );
            match open(to, &record).await {
                Ok(_) if i == j => opened += 1,
                Err(SessionError::WrongKey) if i != j => refused += 1,
                found => panic!("from record {i} to {j}: {found:?}"),
            }
        }
    }
    assert_eq!((opened, refused), (6, 30));
}

/// The whole record, key id and index key with it.
#[tokio::test]
async fn a_record_is_its_owners_only() {
    let all = all_keys().await;
    let (mut opened, mut refused) = (0, 0);
    for (i, from) in all.iter().enumerate().filter(|(_, keys)| !keys.shared) {
        for (j, to) in all.iter().enumerate().filter(|(_, keys)| !keys.shared) {
            match open(to, &from.record).await {
                Ok(_) if i == j => opened += 1,
                Err(SessionError::Kms(KmsError::Refused { .. })) if i != j => refused += 1,
                found => panic!("from owner {i} to {j}: {found:?}"),
            }
        }
    }
    assert_eq!((opened, refused), (3, 6));
}

async fn open(keys: &Keys, record: &OwnerRecord) -> Result<Session, SessionError> {
    let store = MemoryKeyStore::new();
    insert(&store, &keys.owner, record).await;
    keyring(Arc::clone(&keys.kms), store)
        .open(&keys.owner, PURPOSE)
        .await
}

#[tokio::test]
async fn a_wrapped_key_unwraps_in_its_own_context_only() {
    let masters = [
        LocalKms::ephemeral().unwrap(),
        LocalKms::ephemeral().unwrap(),
    ];
    let mut slots = Vec::new();
    for kms in &masters {
        for owner in owners() {
            for (app, generation) in [
                ("ophie-crypt", 1),
                ("ophie-crypt", 2),
                ("another", 1),
                ("another", 2),
            ] {
                let call = KmsCall::new(EncryptionContext::new(app, &owner, generation));
                let made = kms.make_dek(&call).await.unwrap();
                slots.push((kms, call, made));
            }
        }
    }
    let (mut unwrapped, mut refused) = (0, 0);
    for (i, (_, _, from)) in slots.iter().enumerate() {
        for (j, (kms, call, _)) in slots.iter().enumerate() {
            match kms.unwrap_dek(&from.wrapped, call).await {
                Ok(dek) if i == j => {
                    assert_eq!(dek.expose_secret(), from.dek.expose_secret());
                    unwrapped += 1;
                }
                Err(KmsError::Refused { .. }) if i != j => refused += 1,
                found => panic!("from context {i} to {j}: {found:?}"),
            }
        }
    }
    assert_eq!((unwrapped, refused), (24, 552));
}
