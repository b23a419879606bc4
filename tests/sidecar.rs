//! Sidecars: each opens in its owner's session, at its place, and nowhere else; what is none is refused unread.
//!
//! Absent: the bytes (`golden`), stores of vectors (`pinecone`, `pgvector`).

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_in_result,
    clippy::unwrap_used,
    reason = "a test: what goes wrong here is seen"
)]

use ophie_crypt::{
    BoundColumn, ColumnRef, Dek, Error, GeneratedDek, Json, Keyring, Kms, KmsCall, KmsError,
    LocalKms, MemoryKeyStore, NoSession, OpenError, OwnerId, Plaintext, Purpose, SealError,
    Session, Sidecar, WrappedDek, sidecar_beginnings,
};
use ophie_crypt_sqlx::{Encrypted, Sealed};
use serde_json::{Value, json};
use uuid::Uuid;

const PURPOSE: Purpose = Purpose::new("tests");
const CANARY: &str = "canary slept badly";

macro_rules! columns {
    ($($marker:ident $column:expr;)+) => {$(
        enum $marker {}
        impl BoundColumn for $marker {
            const COLUMN: ColumnRef = $column;
        }
    )+};
}

columns! {
    Text ColumnRef::new("vectors", "text");
    Padded ColumnRef::new("vectors", "text").with_padding(64);
    Note ColumnRef::new("vectors", "note");
    Dream ColumnRef::new("dreams", "text");
}

/// One DEK for all owners: nothing but the binding tells them apart.
struct OneForAll;

#[async_trait::async_trait]
impl Kms for OneForAll {
    async fn make_dek(&self, _: &KmsCall) -> Result<GeneratedDek, KmsError> {
        Ok(GeneratedDek {
            dek: Dek::from_slice(&[7; 32]).unwrap(),
            wrapped: WrappedDek::new("tests", []),
        })
    }

    async fn unwrap_dek(&self, _: &WrappedDek, _: &KmsCall) -> Result<Dek, KmsError> {
        Ok(Dek::from_slice(&[7; 32]).unwrap())
    }

    async fn rewrap_dek(&self, wrapped: &WrappedDek, _: &KmsCall) -> Result<WrappedDek, KmsError> {
        Ok(wrapped.clone())
    }

    fn holds(&self, kek: &str) -> bool {
        kek == "tests"
    }
}

fn keyring(kms: impl Kms) -> Keyring {
    let keyring = Keyring::builder().kms(kms).key_store(MemoryKeyStore::new());
    keyring.build().unwrap()
}

async fn session(keyring: &Keyring, owner: &(impl OwnerId + ?Sized + Sync)) -> Session {
    keyring.open_or_provision(owner, PURPOSE).await.unwrap()
}

fn reason<T>(opened: Result<T, Error>) -> Result<(), OpenError> {
    match opened {
        Ok(_) => Ok(()),
        Err(Error::Open(reason)) => Err(reason),
        Err(error) => panic!("{error}"),
    }
}

fn reads<T: Plaintext, C: BoundColumn>(text: &str, session: &Session) -> Result<(), OpenError> {
    reason(Sidecar::<T, C>::from_text(text).unwrap().open(session))
}

#[tokio::test]
async fn a_sidecar_opens_for_its_owner_at_its_place_and_nowhere_else() {
    let keyring = keyring(OneForAll);
    let ada = session(&keyring, "1").await;
    let others = [
        session(&keyring, "12").await,
        session(&keyring, &1_i64).await,
        session(&keyring, &Uuid::from_u128(1)).await,
    ];
    let sidecar = Sidecar::<String, Text>::seal(CANARY, &ada).unwrap();
    let text = sidecar.as_str();
    assert_eq!(sidecar.open(&ada).unwrap().expose_secret(), CANARY);

    let column = |column| Err(OpenError::Rejected { column });
    for other in &others {
        assert_eq!(reads::<String, Text>(text, other), column(Text::COLUMN));
    }
    assert_eq!(reads::<String, Note>(text, &ada), column(Note::COLUMN));
    assert_eq!(reads::<String, Dream>(text, &ada), column(Dream::COLUMN));
    assert_eq!(reads::<Vec<u8>, Text>(text, &ada), column(Text::COLUMN));
    assert_eq!(
        reads::<Json<String>, Text>(text, &ada),
        column(Text::COLUMN)
    );
    assert_eq!(reads::<String, Padded>(text, &ada), Ok(())); // padding is no part of the place

    // Under a DEK of its own, another owner's session does not hold the key at all.
    let apart = self::keyring(LocalKms::ephemeral().unwrap());
    let sealed = Sidecar::<String, Text>::seal(CANARY, &session(&apart, "1").await).unwrap();
    let opened = reason(sealed.open(&session(&apart, "12").await));
    let column = Text::COLUMN;
    assert_eq!(opened, Err(OpenError::UnknownKey { column }));
}

#[tokio::test]
async fn a_sidecar_that_is_bound_to_its_vector_opens_beside_no_other() {
    let keyring = keyring(OneForAll);
    let ada = session(&keyring, "ada").await;
    let sidecar = Sidecar::<String, Text>::seal_row(CANARY, &ada, "memory-1").unwrap();
    let opened = sidecar.open_row(&ada, "memory-1").unwrap();
    assert_eq!(opened.into_secret(), CANARY);
    let column = Text::COLUMN;
    for (opened, expected) in [
        (
            sidecar.open_row(&ada, "memory-12"),
            OpenError::Rejected { column },
        ),
        (
            sidecar.open_row(&ada, &1_i64),
            OpenError::Rejected { column },
        ),
        (sidecar.open(&ada), OpenError::RowBinding { column }),
    ] {
        assert_eq!(reason(opened), Err(expected));
    }
    let unbound = Sidecar::<String, Text>::seal(CANARY, &ada).unwrap();
    let opened = reason(unbound.open_row(&ada, "memory-1"));
    assert_eq!(opened, Err(OpenError::RowBinding { column }));
}

/// Padded or not, bound to its vector or not: a store can search for what is under one key.
#[tokio::test]
async fn a_sidecar_begins_as_those_of_its_key_do_and_as_no_others() {
    let keyring = keyring(LocalKms::ephemeral().unwrap());
    let (ada, ben) = (
        session(&keyring, "ada").await,
        session(&keyring, "ben").await,
    );
    let four = |session: &Session| {
        let plain = Sidecar::<String, Text>::seal(CANARY, session).unwrap();
        let bound = Sidecar::<String, Text>::seal_row(CANARY, session, "1").unwrap();
        let padded = Sidecar::<String, Padded>::seal(CANARY, session).unwrap();
        let both = Sidecar::<String, Padded>::seal_row(CANARY, session, "1").unwrap();
        let key_id = plain.key_id();
        let texts = [
            plain.as_str(),
            bound.as_str(),
            padded.as_str(),
            both.as_str(),
        ];
        (key_id, texts.map(str::to_owned))
    };
    let (adas, texts) = four(&ada);
    let (_, others) = four(&ben);
    let beginnings = sidecar_beginnings(adas);
    for beginning in &beginnings {
        assert_eq!(beginning.len(), 29);
        let begin = |text: &&String| text.starts_with(beginning);
        assert_eq!(texts.iter().filter(begin).count(), 1, "{beginning}");
        assert_eq!(others.iter().filter(begin).count(), 0, "{beginning}");
    }
}

/// It is the envelope of a column, so a stored value and a sidecar of one place are the same bytes.
#[tokio::test]
async fn the_envelope_inside_is_that_of_the_column() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

    let keyring = keyring(LocalKms::ephemeral().unwrap());
    let ada = session(&keyring, "ada").await;
    let sidecar = Sidecar::<String, Text>::seal(CANARY, &ada).unwrap();
    let body = sidecar.as_str().strip_prefix("ophie1.").unwrap();
    let envelope = URL_SAFE_NO_PAD.decode(body).unwrap();
    let stored = Sealed::<String, Text>::from_bytes(envelope.clone());
    assert_eq!(stored.open(&ada).unwrap().expose_secret(), CANARY);
    let parsed = ophie_crypt::Envelope::parse(&envelope).unwrap();
    assert_eq!(sidecar.key_id(), parsed.key_id());

    let stored = Encrypted::<String, Text>::new(CANARY).seal(&ada).unwrap();
    let text = format!("ophie1.{}", URL_SAFE_NO_PAD.encode(stored.as_bytes()));
    assert_eq!(reads::<String, Text>(&text, &ada), Ok(()));

    let lengths = ["", "a", "as long as a bucket or nearly so"].map(|text| {
        Sidecar::<String, Padded>::seal(text, &ada)
            .unwrap()
            .as_str()
            .len()
    });
    assert_eq!(lengths, [lengths[0]; 3], "padding hides no length");
}

/// Plaintext in its place, in any type, is refused, and no error repeats it.
#[tokio::test]
async fn what_is_no_sidecar_is_refused_unread() {
    let ada = session(&keyring(LocalKms::ephemeral().unwrap()), "ada").await;
    let good = Sidecar::<String, Text>::seal(CANARY, &ada).unwrap();
    let text = good.as_str();
    let mut refused = 0;
    for value in [
        json!(CANARY),
        json!(format!("ophie1.{CANARY}")),
        json!(format!("{text}{CANARY}")),
        json!(format!(" {text}")),
        json!(format!("{text}=")),
        json!(""),
        json!(775_533),
        json!(-775_533),
        json!(775_533.5),
        json!([775_533]),
        json!({ CANARY: 775_533 }),
        Value::Null,
        json!(true),
    ] {
        let error = serde_json::from_value::<Sidecar<String, Text>>(value.clone()).unwrap_err();
        let from_text = serde_json::from_str::<Sidecar<String, Text>>(&value.to_string());
        for shown in [
            error.to_string(),
            format!("{error:?}"),
            from_text.unwrap_err().to_string(),
        ] {
            assert!(!shown.contains("canary"), "{shown}");
            assert!(!shown.contains("775533"), "{shown}");
            assert!(!shown.contains("true"), "{shown}");
        }
        refused += 1;
    }
    assert_eq!(refused, 13);
    for len in 0..text.len() {
        let cut = text[..len].parse::<Sidecar<String, Text>>();
        let opens = cut.is_ok_and(|cut| cut.open(&ada).is_ok());
        assert!(!opens, "cut to {len}");
    }
    let error = CANARY.parse::<Sidecar<String, Text>>().unwrap_err();
    assert_eq!(error.len(), CANARY.len());
}

#[tokio::test]
async fn it_travels_as_a_string_and_prints_nothing() {
    let ada = session(&keyring(LocalKms::ephemeral().unwrap()), "ada").await;
    let sidecar = Sidecar::<String, Text>::seal(CANARY, &ada).unwrap();
    let metadata = json!({ "kind": "memory", "text": sidecar });
    assert_eq!(metadata["text"], json!(sidecar.as_str()));
    assert!(!metadata.to_string().contains("canary"));
    let word = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    assert!(sidecar.as_str().chars().all(word), "it has to be escaped");
    let back: Sidecar<String, Text> = serde_json::from_value(metadata["text"].clone()).unwrap();
    assert!(back == sidecar && back.clone() == sidecar);
    let opened = back.open(&ada).unwrap();
    let shown = format!("{sidecar:?} {opened:?}");
    assert!(!shown.contains(&sidecar.as_str()[20..]) && !shown.contains("canary"));
    let again = Sidecar::<String, Text>::seal(CANARY, &ada).unwrap();
    assert!(again != sidecar, "two seals of one value are alike");
}

#[tokio::test]
async fn without_a_session_that_may_nothing_is_sealed_or_opened() {
    let keyring = keyring(LocalKms::ephemeral().unwrap());
    let ada = session(&keyring, "ada").await;
    let sidecar = Sidecar::<i64, Note>::seal(7, &ada).unwrap();
    let reader = keyring.open_read_only("ada", PURPOSE).await.unwrap();
    let column = Note::COLUMN;
    let sealed = Sidecar::<i64, Note>::seal(7, &reader);
    assert_eq!(sealed.unwrap_err(), SealError::ReadOnly { column }.into());
    assert_eq!(sidecar.open(&reader).unwrap().expose_secret(), &7);
    ada.close();
    let reason = NoSession::Closed;
    let sealed = Sidecar::<i64, Note>::seal(7, &ada);
    assert_eq!(
        sealed.unwrap_err(),
        SealError::NoSession { column, reason }.into()
    );
    let opened = sidecar.open(&ada);
    assert_eq!(
        opened.unwrap_err(),
        OpenError::NoSession { column, reason }.into()
    );
}
