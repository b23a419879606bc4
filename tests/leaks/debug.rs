//! `Debug` of every public type: those that hold a secret are printed with one inside, and all others are listed with why
//! they print none (`debug.txt`).
//!
//! Which types there are is read from the snapshots of the public API, so that a new one is missed here.

use std::{
    any::type_name,
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    path::Path,
    sync::Arc,
};

use ophie_crypt::{
    CanonicalId, EncryptedModel, EncryptionContext, IndexedRow, Json, Keyring, Kms, KmsCall,
    LocalKms, MemoryKeyStore, MemoryShares, MovingKms, Opened, OwnerId, PlainBuf, Purpose, Reindex,
    Reseal, Share, Sidecar, TwoShareKms, WrappedDek,
    soak::{Decrypted, PlainRow, SealedRow, SoakedRow},
};
use ophie_crypt_pinecone::{ApiKey, Pinecone};
use ophie_crypt_sql::{Dialect, Param, Statement};
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner, Soak};
use zeroize::Zeroizing;

use crate::search::{contains, forms, hex};

const LISTED: &str = include_str!("debug.txt");

/// 32 bytes, as a key has: what is no text is planted too.
const CANARY: &str = "canary-4f1d-printed-by-a-`Debug`";

#[derive(EncryptedModel)]
#[crypt(table = "prints")]
#[expect(dead_code, reason = "only its columns are used")]
struct Print {
    user_id: Owner<String>,
    text: Encrypted<String, print::text>,
    #[crypt(index_of = "text", normalize = "name")]
    text_fp: BlindIndex<String, print::text_fp>,
    #[crypt(column = "soaking_ct", soak(twin = "soaking", floor = "dual-write"))]
    soaking: Soak<String, print::soaking>,
}

/// What each type printed, by its name.
#[derive(Default)]
struct Shown(BTreeMap<String, String>);

impl Shown {
    fn add<T: Debug>(&mut self, value: &T) {
        let name = type_name::<T>().split('<').next().unwrap();
        let name = name.rsplit("::").next().unwrap().to_owned();
        let shown = self.0.entry(name).or_default();
        shown.push_str(&format!("{value:?}\n{value:#?}\n"));
    }

    /// Those that show it as text, in hex, in base64, or as a list of bytes.
    fn that_hold(&self, secret: &[u8]) -> Vec<&str> {
        let list: Vec<_> = secret.iter().map(u8::to_string).collect();
        let list = list.join(",");
        let holds = |text: &str| {
            let bare: String = text.chars().filter(|c| !c.is_whitespace()).collect();
            bare.contains(&list)
                || forms(secret)
                    .iter()
                    .any(|form| contains(text.as_bytes(), form))
        };
        let held = self.0.iter().filter(|(_, text)| holds(text));
        held.map(|(name, _)| name.as_str()).collect()
    }
}

async fn shown() -> (Shown, Vec<Vec<u8>>) {
    let mut shown = Shown::default();
    let bytes = || CANARY.as_bytes().to_vec();
    let kms = Arc::new(LocalKms::ephemeral().unwrap());
    let ada = "ada".canonical();
    let call = KmsCall::new(EncryptionContext::new("leaks", &ada, 1));
    let made = kms.make_dek(&call).await.unwrap();
    let dek = made.dek.expose_secret().to_vec();
    shown.add(&made);
    shown.add(&made.dek);
    shown.add(&made.wrapped);
    shown.add(&call);
    shown.add(&EncryptionContext::new("leaks", &ada, 1));
    shown.add(&WrappedDek::new("kek", bytes()));
    shown.add(&*kms);
    shown.add(&MovingKms::new(kms.clone(), LocalKms::ephemeral().unwrap()));
    shown.add(&TwoShareKms::new(kms.clone(), MemoryShares::new()));
    shown.add(&MemoryShares::new());
    shown.add(&Share::from_slice(CANARY.as_bytes()).unwrap());

    let store = Arc::new(MemoryKeyStore::new());
    let builder = Keyring::builder().kms(kms).key_store(store.clone());
    shown.add(&builder);
    let keyring = builder.build().unwrap();
    shown.add(&keyring);
    let session = keyring
        .open_or_provision("ada", Purpose::new("leaks"))
        .await
        .unwrap();
    shown.add(&*store);
    shown.add(&session);
    let text: Encrypted<String, print::text> = print::text(CANARY);
    let sealed = text.seal(&session).unwrap();
    shown.add(&sealed);
    shown.add(&text);
    shown.add(&session.scope_sync(|| print::text_fp(CANARY)).unwrap());
    shown.add(&Owner(CANARY.to_owned()));
    let soak: Soak<String, print::soaking> = Soak::new(CANARY);
    shown.add(&soak.twin());
    shown.add(&soak.sealed());
    shown.add(&soak);
    shown.add(&Json(vec![CANARY.to_owned()]));
    let mut buffer = PlainBuf::with_capacity(64);
    buffer.extend(CANARY.as_bytes());
    shown.add(&buffer);
    let sidecar = Sidecar::<String, print::text>::seal(CANARY, &session).unwrap();
    let opened: Opened<String> = sidecar.open(&session).unwrap();
    shown.add(&sidecar);
    shown.add(&opened);
    shown.add(&PlainRow {
        key: "1".to_owned(),
        owner: ada.clone(),
        plain: Zeroizing::new(bytes()),
    });
    let soaked = || SoakedRow {
        key: "1".to_owned(),
        owner: ada.clone(),
        plain: Some(Zeroizing::new(bytes())),
        sealed: Some(bytes()),
        fingerprints: vec![Some(bytes())],
    };
    shown.add(&soaked());
    shown.add(&Decrypted {
        row: soaked(),
        plain: Zeroizing::new(bytes()),
        anew: SealedRow {
            sealed: bytes(),
            fingerprints: vec![bytes()],
        },
    });
    shown.add(&IndexedRow::new(bytes(), bytes()));
    shown.add(&Reindex::new(IndexedRow::new(bytes(), bytes()), bytes()));
    shown.add(&Reseal::new(bytes(), bytes()));
    shown.add(&CanonicalId::text(CANARY));
    for param in [Param::from(CANARY), Param::from(CANARY.as_bytes())] {
        shown.add(&Statement::new(Dialect::Sqlite, "SELECT $1").bind(param.clone()));
        shown.add(&param);
    }
    shown.add(&ApiKey::new(CANARY));
    let pinecone = Pinecone::builder(ApiKey::new(CANARY), "https://index.example");
    shown.add(&pinecone);
    shown.add(&pinecone.build().unwrap());
    (shown, vec![CANARY.as_bytes().to_vec(), dek])
}

#[tokio::test]
async fn no_public_type_prints_a_secret() {
    let (shown, secrets) = shown().await;
    for secret in &secrets {
        assert_eq!(shown.that_hold(secret), [""; 0]);
    }
    let shown: BTreeSet<_> = shown.0.keys().map(String::as_str).collect();
    let listed = LISTED.lines().filter(|line| !line.starts_with('#'));
    let listed: Vec<_> = listed.flat_map(str::split_whitespace).collect();
    let once: BTreeSet<_> = listed.iter().copied().collect();
    assert_eq!(once.len(), listed.len(), "one is listed twice");
    let twice: Vec<_> = once.intersection(&shown).collect();
    assert!(
        twice.is_empty(),
        "debug.txt lists what is printed here: {twice:?}"
    );

    let api = types_with_debug();
    let api: BTreeSet<_> = api.iter().map(String::as_str).collect();
    assert!(api.len() > 150, "{api:?}");
    let gone: Vec<_> = once.difference(&api).collect();
    assert!(
        gone.is_empty(),
        "debug.txt lists what is there no more: {gone:?}"
    );
    let known: BTreeSet<_> = once.union(&shown).copied().collect();
    let missed: Vec<_> = api.difference(&known).collect();
    assert!(
        missed.is_empty(),
        "these print themselves; print them in leaks/debug.rs with a secret inside, or say in debug.txt why they hold none: {missed:?}"
    );
}

/// Types that people read by `Display`, besides errors: names of columns, codecs, gates and states; ids; heads of ledgers; and
/// what names rows by their key (`WrongRow`) or owners by their id (receipts, findings of the audit), as it is for.
const DISPLAYED: [&str; 17] = [
    "AuditFinding",
    "AuditReport",
    "CallId",
    "Codec",
    "ColumnRef",
    "Error",
    "Gate",
    "KeyId",
    "LedgerHead",
    "Receipt",
    "ShareId",
    "ShredId",
    "SignedReceipt",
    "SoakState",
    "WriterId",
    "Wrong",
    "WrongRow",
];

#[test]
fn no_other_public_type_is_for_people() {
    let displayed: Vec<_> = types_with("Display").into_iter().collect();
    assert_eq!(
        displayed, DISPLAYED,
        "see whether what is new holds a secret, and say here what it shows"
    );
}

/// What prints its content is found, in each form.
#[test]
fn a_type_that_prints_a_secret_is_found() {
    #[derive(Debug)]
    struct Careless<T>(T);

    let bytes = CANARY.as_bytes().to_vec();
    let mut fine = Shown::default();
    fine.add(&Careless("another"));
    assert_eq!(fine.that_hold(CANARY.as_bytes()), [""; 0]);
    for careless in [hex(&bytes), CANARY.to_owned()] {
        let mut shown = Shown::default();
        shown.add(&Careless(careless));
        assert_eq!(shown.that_hold(CANARY.as_bytes()), ["Careless"]);
    }
    let mut shown = Shown::default();
    shown.add(&Careless(bytes));
    assert_eq!(shown.that_hold(CANARY.as_bytes()), ["Careless"]);
}

/// Names of public types that derive `Debug` or implement it.
fn types_with_debug() -> BTreeSet<String> {
    types_with("Debug")
}

/// Names of public types that derive this or implement it.
fn types_with(shows: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("api");
    let mut found = BTreeSet::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let mut derives = false;
        for line in text.lines() {
            let name = |text: &str| {
                let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
                text[..end.unwrap_or(text.len())].to_owned()
            };
            if let Some((_, of)) = line.split_once(&format!("{shows} for ")) {
                let name = name(of);
                found.extend((!name.is_empty()).then_some(name));
            }
            if line.starts_with("#[derive(") {
                derives = line.contains(shows);
            }
            for kind in ["pub struct ", "pub enum "] {
                if let Some(rest) = line.strip_prefix(kind) {
                    found.extend(std::mem::take(&mut derives).then(|| name(rest)));
                }
            }
        }
    }
    found
}
