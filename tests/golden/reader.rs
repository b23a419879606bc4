//! Reads a vector through the public API, and says in SPEC.md's words why it is rejected.
//!
//! Invariant: what opens also gives the vector's plaintext and value. Absent: which cases there are.

use std::{fs, os::unix::fs::PermissionsExt, sync::Arc};

use ophie_crypt::{
    CanonicalId, EncryptionContext, Error, FingerprintError, KeyId, KeyStore, Kms, KmsCall,
    KmsError, LocalKms, LocalKmsError, MemoryKeyStore, MemoryShares, OpenError, OwnerRecord,
    Session, SessionError, Share, ShareId, ShareStore, TwoShareKms, WrappedDek,
};
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::{
    codecs::{Shown, Task, with_raw_type, with_time_type, with_type},
    file::{Vector, hex},
    given::{self, Given, PURPOSE, insert, keyring, parts},
    kept::{read_older_key, read_receipt},
    places::{index, place_of},
};

/// `Err` is the reason to reject.
pub(crate) type Outcome = Result<(), &'static str>;

/// A fingerprint of 17 bytes, but not the plaintext's.
pub(crate) const DIFFERS: &str = "differs";

/// What reading a vector takes, made once, so that its stored bytes can be replaced many times.
pub(crate) struct Reader<'a> {
    vector: &'a Vector,
    keys: Keys,
}

const MASTER_KEY: &str = "master.key";

enum Keys {
    Value(Session),
    IndexKey(OwnerRecord),
    Fingerprint(Session, Box<SqliteConnection>),
    OlderKey(OwnerRecord),
    Receipt(TempDir),
    WrappedKey(TempDir, Option<OwnerRecord>),
}

impl<'a> Reader<'a> {
    pub(crate) async fn new(vector: &'a Vector) -> Self {
        let keys = match vector.field("what") {
            "value" | "sidecar" => {
                let keyring = keyring(given(vector), MemoryKeyStore::new());
                let owner = vector.id("owner");
                Keys::Value(keyring.open_or_provision(&owner, PURPOSE).await.unwrap())
            }
            "index key" => Keys::IndexKey(record(vector).await),
            "fingerprint" => {
                let sealed = vector.hex("sealed index key");
                let record = with_index_key(&record(vector).await, vector, sealed);
                let session = session(vector, &record).await.unwrap();
                let connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
                Keys::Fingerprint(session, Box::new(connection))
            }
            "older key" => Keys::OlderKey(record(vector).await),
            "receipt" => Keys::Receipt(master_key(vector)),
            "wrapped key" => {
                let folder = master_key(vector);
                let record = match vector.get("dek") {
                    Some(_) => Some(record(vector).await),
                    None => None, // it is refused before anything of the record matters
                };
                Keys::WrappedKey(folder, record)
            }
            what => panic!("{}: what is `{what}`?", vector.name),
        };
        Self { vector, keys }
    }

    /// Reads these bytes instead of the vector's, or the vector's own.
    pub(crate) async fn read(&mut self, stored: &[u8]) -> Outcome {
        let vector = self.vector;
        match &mut self.keys {
            Keys::Value(session) => read_value(vector, session, stored),
            Keys::IndexKey(record) => {
                let record = with_index_key(record, vector, stored.to_vec());
                session(vector, &record).await.map(drop)
            }
            Keys::Fingerprint(session, connection) => {
                let row = sqlx::query("SELECT $1").bind(stored);
                let row = row.fetch_one(&mut **connection).await.unwrap();
                let task = Compare(vector, session, &row);
                with_type(vector.field("codec"), integer(vector), task)
            }
            Keys::OlderKey(record) => read_older_key(vector, record, stored).await,
            Keys::Receipt(folder) => {
                read_receipt(vector, &folder.path().join(MASTER_KEY), stored).await
            }
            Keys::WrappedKey(folder, record) => {
                let kms = LocalKms::open(folder.path().join(MASTER_KEY));
                read_wrapped_key(vector, kms, record.as_ref(), stored).await
            }
        }
    }
}

fn read_value(vector: &Vector, session: &Session, stored: &[u8]) -> Outcome {
    let codec = vector.field("codec");
    let open = || Open(vector, session, stored);
    let opened = with_type(codec, integer(vector), open());
    if matches!(opened, Ok(_) | Err("codec")) {
        let plaintext = with_raw_type(codec, open()).map(Option::unwrap);
        assert_eq!(
            plaintext.as_deref(),
            Ok(vector.field("plaintext")),
            "{}",
            vector.name
        );
    }
    let opened = opened?;
    if !codec.contains('/') {
        let value = vector.get("value").map(|value| plain(codec, value));
        assert_eq!(opened, value, "{}", vector.name);
    }
    Ok(())
}

/// What the crate `time` makes of a vector of times; `None` for others.
pub(crate) async fn read_as_time(vector: &Vector) -> Option<Outcome> {
    let Keys::Value(session) = Reader::new(vector).await.keys else {
        return None;
    };
    let task = Open(vector, &session, &vector.stored);
    let opened = with_time_type(vector.field("codec"), task)?;
    Some(opened.map(|value| assert_eq!(value.as_deref(), vector.get("value"), "{}", vector.name)))
}

/// JSON is compared as what it means.
fn plain(codec: &str, value: &str) -> String {
    match codec {
        "json" | "text" => {
            let value: serde_json::Value = serde_json::from_str(value).expect("JSON");
            value.to_string()
        }
        _ => value.to_owned(),
    }
}

struct Open<'a>(&'a Vector, &'a Session, &'a [u8]);

impl Task for Open<'_> {
    type Out = Result<Option<String>, &'static str>;

    fn run<T: Shown>(self) -> Self::Out {
        let Self(vector, session, stored) = self;
        let [what, table, column] = ["what", "table", "column"].map(|name| vector.field(name));
        let place = place_of::<T>(what, table, column);
        let row = vector.get("row").map(|_| vector.id("row"));
        (place.open)(stored, session, row.as_ref()).map_err(|error| reason(&error))
    }
}

struct Compare<'a>(&'a Vector, &'a Session, &'a sqlx::sqlite::SqliteRow);

impl Task for Compare<'_> {
    type Out = Outcome;

    fn run<T: Shown>(self) -> Outcome {
        let Self(vector, session, row) = self;
        let names = ["table", "column", "index", "normaliser"].map(|name| vector.field(name));
        let [table, column, by, normaliser] = names;
        let value = T::decode(Zeroizing::new(vector.hex("plaintext"))).unwrap();
        let same = (index::<T>(table, column, by, normaliser).compare)(value, session, row);
        match same {
            Ok(true) => Ok(()),
            Ok(false) => Err(DIFFERS),
            Err(error) => Err(reason(&error)),
        }
    }
}

async fn read_wrapped_key(
    vector: &Vector,
    kms: Result<LocalKms, LocalKmsError>,
    record: Option<&OwnerRecord>,
    stored: &[u8],
) -> Outcome {
    let kms = match kms {
        Err(LocalKmsError::NotAKey { .. }) => return Err("refused"),
        opened => opened.unwrap(),
    };
    let (owner, generation) = (vector.id("owner"), vector.number("generation"));
    let wrapped = WrappedDek::new(vector.field("kek"), stored);
    let context = EncryptionContext::new(vector.field("app"), &owner, generation);
    let (kms, kek) = whole_or_in_two_shares(vector, kms).await;
    let dek = match kms.unwrap_dek(&wrapped, &KmsCall::new(context)).await {
        Err(KmsError::NoShare) => return Err("no share"),
        Err(KmsError::Refused { .. }) => return Err("refused"),
        unwrapped => unwrapped.unwrap(),
    };
    assert_eq!(
        hex(dek.expose_secret()),
        vector.field("dek"),
        "{}",
        vector.name
    );
    assert_eq!(kek, vector.field("kek"), "{}", vector.name);

    // The whole way, as an application goes it: the key id is the keyring's to compare.
    let index_key = parts(record.expect("a vector with a DEK has a record")).2;
    let key_id = KeyId::from_bytes(vector.array("key id"));
    let (index_generation, sealed) = (index_key.generation(), index_key.sealed());
    let record = given::record(generation, key_id, wrapped, index_generation, sealed);
    let store = MemoryKeyStore::new();
    insert(&store, &owner, &record).await;
    let keyring = ophie_crypt::Keyring::builder().kms(kms).key_store(store);
    let keyring = keyring.app(vector.field("app")).build().unwrap();
    outcome(keyring.open(&owner, PURPOSE).await).map(drop)
}

/// The KMS of the vector's keys, and what it calls its KEK.
async fn whole_or_in_two_shares(vector: &Vector, local: LocalKms) -> (Arc<dyn Kms>, String) {
    let kek = local.kek();
    if !vector.field("kek").starts_with("two-share:") {
        return (Arc::new(local), kek);
    }
    let shares = MemoryShares::new();
    if vector.get("second share").is_some() {
        let (owner, generation) = (vector.id("owner"), vector.number("generation"));
        let id = ShareId::from_bytes(vector.array("share id"));
        let share = Share::from_slice(&vector.hex("second share")).unwrap();
        shares.put(&owner, generation, id, &share).await.unwrap();
    }
    let kek = TwoShareKms::kek(&kek);
    (Arc::new(TwoShareKms::new(local, shares)), kek)
}

/// A folder with the vector's master key in it.
fn master_key(vector: &Vector) -> TempDir {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(MASTER_KEY);
    fs::write(&path, vector.hex("master key")).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    folder
}

fn given(vector: &Vector) -> Given {
    Given(vector.array("dek"))
}

/// The codec `int` has a reader's type; fingerprints are of any.
fn integer(vector: &Vector) -> Option<&str> {
    let default = (vector.field("codec") == "int").then_some("i64");
    vector.get("type").or(default)
}

/// The record that provisioning makes under the vector's DEK.
async fn record(vector: &Vector) -> OwnerRecord {
    let store = Arc::new(MemoryKeyStore::new());
    let owner = vector.id("owner");
    let keyring = keyring(given(vector), store.clone());
    keyring.provision(&owner).await.unwrap();
    store.load(&owner).await.unwrap().unwrap()
}

/// The same record with the vector's index key.
fn with_index_key(record: &OwnerRecord, vector: &Vector, sealed: Vec<u8>) -> OwnerRecord {
    let (dek, wrapped, _) = parts(record);
    let generation = vector.number("generation");
    given::record(
        dek.generation(),
        dek.key_id(),
        wrapped.clone(),
        generation,
        sealed,
    )
}

async fn session(vector: &Vector, record: &OwnerRecord) -> Result<Session, &'static str> {
    let store = MemoryKeyStore::new();
    let owner: CanonicalId = vector.id("owner");
    insert(&store, &owner, record).await;
    outcome(keyring(given(vector), store).open(&owner, PURPOSE).await)
}

pub(crate) fn outcome(opened: Result<Session, SessionError>) -> Result<Session, &'static str> {
    match opened {
        Ok(session) => Ok(session),
        Err(SessionError::WrongKey) => Err("wrong key"),
        Err(SessionError::Kms(KmsError::Refused { .. })) => Err("refused"),
        Err(error) => panic!("{error}"),
    }
}

fn reason(error: &Error) -> &'static str {
    match error {
        Error::Open(OpenError::Codec { .. }) => "codec",
        Error::Open(OpenError::NotAnEnvelope { .. }) => "not an envelope",
        Error::Open(OpenError::Rejected { .. }) => "rejected",
        Error::Open(OpenError::RowBinding { .. }) => "row binding",
        Error::Open(OpenError::UnknownKey { .. }) => "unknown key",
        Error::Fingerprint(FingerprintError::NotAFingerprint { .. }) => "not a fingerprint",
        error => panic!("{error}"),
    }
}
