//! Bad bytes in a column: each a typed error that names table and column and no value, and the row
//! stays as it is.

use ophie_crypt::{
    BoundColumn, Codec, CodecError, Error, FingerprintError, OpenError, PlainBuf, Plaintext,
};
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Sealed, find_error};
use zeroize::{Zeroize, Zeroizing};

use super::{
    models::{MEMORY, NAME, NAME_FP, PersonLink, memory, person_link},
    world::{ALICE, World, ours},
};
use crate::db::sql;

/// Puts bytes where Alice's name stands, reads the row, and checks that the read changed nothing.
async fn read_with(world: &World, bytes: &[u8]) -> Error {
    sqlx::query(sql("UPDATE people_links SET name = $1"))
        .bind(bytes)
        .execute(world.pool())
        .await
        .unwrap();
    let before = world.stored("SELECT name FROM people_links").await;
    let read =
        sqlx::query_as::<_, PersonLink>("SELECT * FROM people_links").fetch_one(world.pool());
    let error = world.alice.scope(read).await;
    let shown = error
        .as_ref()
        .map_or_else(|error| format!("{error} {error:?}"), |_| String::new());
    assert!(
        shown.contains("people_links.name") && !shown.contains("canary"),
        "{shown}"
    );
    assert_eq!(world.stored("SELECT name FROM people_links").await, before);
    assert_eq!(before[0].as_deref(), Some(bytes));
    ours(error)
}

/// A world with one link of Alice's, and its envelope.
async fn with_envelope() -> (World, Vec<u8>) {
    let world = World::new().await;
    world.link(&world.alice, "canary").await;
    let stored = world.stored("SELECT name FROM people_links").await;
    let envelope = stored[0].clone().expect("an envelope");
    (world, envelope)
}

fn is_no_envelope(error: &Error, len: usize) -> bool {
    matches!(error, Error::Open(OpenError::NotAnEnvelope { column, reason }) if *column == NAME && reason.len() == len)
}

#[tokio::test]
async fn truncated_at_every_length() {
    let (world, envelope) = with_envelope().await;
    for len in 0..envelope.len() {
        let error = read_with(&world, &envelope[..len]).await;
        if len < 45 {
            assert!(is_no_envelope(&error, len), "{len}: {error:?}");
        } else {
            assert_eq!(
                error,
                Error::Open(OpenError::Rejected { column: NAME }),
                "{len}"
            );
        }
    }
}

#[tokio::test]
async fn lengthened() {
    let (world, mut envelope) = with_envelope().await;
    envelope.push(0);
    assert_eq!(
        read_with(&world, &envelope).await,
        Error::Open(OpenError::Rejected { column: NAME })
    );
}

#[tokio::test]
async fn every_byte_flipped() {
    let (world, envelope) = with_envelope().await;
    for at in 0..envelope.len() {
        let mut changed = envelope.clone();
        changed[at] ^= 0x40;
        let error = read_with(&world, &changed).await;
        let expected = match at {
            0 => is_no_envelope(&error, envelope.len()),
            1..=16 => error == Error::Open(OpenError::UnknownKey { column: NAME }),
            _ => error == Error::Open(OpenError::Rejected { column: NAME }),
        };
        assert!(expected, "byte {at}: {error:?}");
    }
}

#[tokio::test]
async fn every_first_byte() {
    let (world, envelope) = with_envelope().await;
    for byte in 0..=255_u8 {
        let mut changed = envelope.clone();
        if changed[0] == byte {
            continue;
        }
        changed[0] = byte;
        let error = read_with(&world, &changed).await;
        let expected = match byte {
            0xFB | 0xFD => error == Error::Open(OpenError::RowBinding { column: NAME }),
            0xFC => error == Error::Open(OpenError::Rejected { column: NAME }),
            _ => is_no_envelope(&error, envelope.len()),
        };
        assert!(expected, "first byte {byte:#04x}: {error:?}");
    }
}

#[tokio::test]
async fn empty_plaintext_and_foreign_bytes() {
    let (world, _) = with_envelope().await;
    let long = "canary ".repeat(100);
    for bytes in [&b""[..], b"canary", long.as_bytes(), &[0; 45], &[0xFF; 64]] {
        let error = read_with(&world, bytes).await;
        assert!(is_no_envelope(&error, bytes.len()), "{error:?}");
    }
    let theirs = person_link::name("canary").seal(&world.bob).unwrap();
    assert_eq!(
        read_with(&world, theirs.as_bytes()).await,
        Error::Open(OpenError::UnknownKey { column: NAME })
    );
    assert_eq!(
        read_with(&world, &[0xFA; 45]).await,
        Error::Open(OpenError::UnknownKey { column: NAME })
    );
}

/// SQLx compares types before it asks us: its error, which names the column and our marker.
#[tokio::test]
async fn another_sql_type() {
    let world = World::new().await;
    let read = sqlx::query_as::<_, (Encrypted<String, person_link::name>,)>(
        "SELECT COUNT(*) + 4711 AS name FROM people_links",
    )
    .fetch_one(world.pool());
    let error = world.alice.scope(read).await.unwrap_err();
    assert!(
        matches!(error, sqlx::Error::ColumnDecode { .. }),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(
        text.contains("mismatched types") && text.contains("person_link::name"),
        "{text}"
    );
    assert!(!text.contains("4711"), "{text}");
    assert_eq!(find_error(&error), None);
}

/// Writes any bytes under the text codec, as no release does.
struct AnyBytes(Vec<u8>);

impl Plaintext for AnyBytes {
    const CODEC: Codec = Codec::TEXT;

    fn encode(&self, out: &mut PlainBuf) -> Result<(), CodecError> {
        out.extend(&self.0);
        Ok(())
    }

    fn decode(mut bytes: Zeroizing<Vec<u8>>) -> Result<Self, CodecError> {
        Ok(Self(std::mem::take(&mut *bytes)))
    }

    fn wipe(&mut self) {
        self.0.zeroize();
    }
}

/// A value that its codec cannot write.
struct Unwritable;

impl Plaintext for Unwritable {
    const CODEC: Codec = Codec::TEXT;

    fn encode(&self, _: &mut PlainBuf) -> Result<(), CodecError> {
        Err(CodecError::new("no such value"))
    }

    fn decode(_: Zeroizing<Vec<u8>>) -> Result<Self, CodecError> {
        Ok(Self)
    }

    fn wipe(&mut self) {}
}

#[tokio::test]
async fn no_utf8_after_opening() {
    let (world, _) = with_envelope().await;
    let no_text =
        Encrypted::<AnyBytes, person_link::name>::new(AnyBytes(b"canary \xFF\xFE".to_vec()));
    let sealed = no_text.seal(&world.alice).unwrap();
    assert_eq!(
        read_with(&world, sealed.as_bytes()).await,
        Error::Open(OpenError::Codec {
            column: NAME,
            reason: CodecError::new("not UTF-8"),
        })
    );
    let readable = Sealed::<AnyBytes, person_link::name>::from_bytes(sealed.into_bytes());
    let opened = readable.open(&world.alice).unwrap();
    assert_eq!(opened.expose_secret().0, b"canary \xFF\xFE");
}

#[tokio::test]
async fn a_value_without_an_encoding_is_not_sealed() {
    let (world, before) = with_envelope().await;
    let value = || Encrypted::<Unwritable, person_link::name>::new(Unwritable);
    let error = value().seal(&world.alice).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot seal people_links.name: no such value"
    );
    let write = async {
        sqlx::query(sql("UPDATE people_links SET name = $1"))
            .bind(value())
            .execute(world.pool())
            .await
    };
    world.alice.scope(write).await.unwrap_err();
    assert_eq!(
        world.stored("SELECT name FROM people_links").await,
        [Some(before)]
    );
}

#[tokio::test]
async fn bytes_that_are_no_fingerprint() {
    let (world, _) = with_envelope().await;
    for len in [0, 1, 16, 18, 62] {
        sqlx::query(sql("UPDATE people_links SET name_fp = $1"))
            .bind(vec![1_u8; len])
            .execute(world.pool())
            .await
            .unwrap();
        let read =
            sqlx::query_as::<_, PersonLink>("SELECT * FROM people_links").fetch_one(world.pool());
        let error = ours(world.alice.scope(read).await);
        let expected = FingerprintError::NotAFingerprint {
            index: NAME_FP,
            len,
        };
        assert_eq!(error, Error::Fingerprint(expected));
        assert!(
            error.to_string().contains("people_links.name_fp"),
            "{error}"
        );
    }
    // The look-up finds nothing then, and harms nothing.
    let found = sqlx::query_scalar::<_, BlindIndex<String, person_link::name_fp>>(sql(
        "SELECT name_fp FROM people_links WHERE name_fp = $1",
    ));
    let read = async {
        found
            .bind(person_link::name_fp("canary").unwrap())
            .fetch_optional(world.pool())
            .await
    };
    assert!(world.alice.scope(read).await.unwrap().is_none());
}

#[tokio::test]
async fn one_bad_row_spoils_its_query_and_no_other() {
    let world = World::new().await;
    let good = world.link(&world.alice, "Mom").await;
    let bad = world.link(&world.alice, "Dad").await;
    sqlx::query(sql("UPDATE people_links SET name = $1 WHERE id = $2"))
        .bind(b"canary".as_slice())
        .bind(bad)
        .execute(world.pool())
        .await
        .unwrap();
    let run = async {
        assert!(is_no_envelope(&ours(world.names(ALICE).await), 6));
        let one = sqlx::query_as::<_, PersonLink>(sql("SELECT * FROM people_links WHERE id = $1"))
            .bind(good);
        assert_eq!(
            one.fetch_one(world.pool())
                .await
                .unwrap()
                .name
                .expose_secret(),
            "Mom"
        );
        // A new value mends the row.
        sqlx::query(sql("UPDATE people_links SET name = $1 WHERE id = $2"))
            .bind(person_link::name("Dad"))
            .bind(bad)
            .execute(world.pool())
            .await
            .unwrap();
        assert_eq!(world.names(ALICE).await.unwrap(), ["Mom", "Dad"]);
    };
    world.alice.scope(run).await;
}

#[tokio::test]
async fn a_padded_value_cut_by_whole_blocks_is_rejected() {
    let world = World::new().await;
    world.memory(&world.alice, &"x".repeat(200)).await;
    let stored = world.stored("SELECT text FROM memories").await;
    let envelope = stored[0].clone().expect("an envelope");
    let cut = Sealed::<String, memory::text>::from_bytes(&envelope[..envelope.len() - 64]);
    assert_eq!(
        cut.open(&world.alice).unwrap_err().get(),
        &Error::Open(OpenError::Rejected { column: MEMORY })
    );
    assert_eq!(<memory::text as BoundColumn>::COLUMN, MEMORY);
}
