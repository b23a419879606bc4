//! Values that are too large: refused before anything is written, read without harm.

use ophie_crypt::{
    Codec, CodecError, Error, MAX_PLAINTEXT_LEN, OpenError, PlainBuf, Plaintext, SealError,
};
use ophie_crypt_sqlx::{Encrypted, Sealed};
use zeroize::Zeroizing;

use super::{
    models::{NAME, person_link},
    world::{World, bound, ours},
};
use crate::db::{Db, sql};

/// Pretends to a length; writes nothing.
struct Long(usize);

impl Plaintext for Long {
    const CODEC: Codec = Codec::TEXT;

    fn size_hint(&self) -> usize {
        self.0
    }

    fn encode(&self, _: &mut PlainBuf) -> Result<(), CodecError> {
        Ok(())
    }

    fn decode(_: Zeroizing<Vec<u8>>) -> Result<Self, CodecError> {
        Ok(Self(0))
    }

    fn wipe(&mut self) {}
}

#[tokio::test]
async fn more_than_512_mib_is_not_sealed() {
    let world = World::new().await;
    let too_long = Error::Seal(SealError::TooLong { column: NAME });
    assert!(too_long.to_string().contains("512 MiB"), "{too_long}");
    world.alice.scope_sync(|| {
        for len in [MAX_PLAINTEXT_LEN + 1, 1 << 30, usize::MAX] {
            let mut query = sqlx::query::<Db>(sql("UPDATE people_links SET name = $1"));
            let value = Encrypted::<Long, person_link::name>::new(Long(len));
            assert_eq!(bound(query.try_bind(value)), too_long, "{len}");
        }
    });
    let real = Encrypted::<Vec<u8>, person_link::name>::new(vec![0; MAX_PLAINTEXT_LEN + 1]);
    assert_eq!(real.seal(&world.alice).unwrap_err().get(), &too_long);
}

#[tokio::test]
async fn a_megabyte_passes_through() {
    let world = World::new().await;
    let text = "lorem ipsum ".repeat(90_000);
    world.link(&world.alice, &text).await;
    let names = world
        .alice
        .scope(world.names(super::world::ALICE))
        .await
        .unwrap();
    assert!(names == [text], "another text came back");
}

/// As many bytes as a database hands over at all: that many zeros, or digits where text has no NUL.
#[tokio::test]
async fn the_longest_value_is_no_envelope() {
    let world = World::new().await;
    let read = sqlx::query_scalar::<_, Encrypted<String, person_link::name>>(crate::LONGEST.0)
        .fetch_one(world.pool());
    let error = ours(world.alice.scope(read).await);
    assert!(
        matches!(&error, Error::Open(OpenError::NotAnEnvelope { column, reason })
            if *column == NAME && reason.len() == crate::LONGEST.1),
        "{error:?}"
    );
}

#[tokio::test]
async fn the_longest_value_under_an_unknown_key_is_refused_unread() {
    let world = World::new().await;
    let sealed: Sealed<String, person_link::name> = sqlx::query_scalar(crate::LONGEST.0)
        .fetch_one(world.pool())
        .await
        .unwrap();
    let mut bytes = sealed.into_bytes();
    bytes[0] = 0xFA;
    let error = Sealed::<String, person_link::name>::from_bytes(bytes).open(&world.alice);
    assert_eq!(
        error.unwrap_err().get(),
        &Error::Open(OpenError::UnknownKey { column: NAME })
    );
}
