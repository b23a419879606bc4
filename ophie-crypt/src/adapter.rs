//! What adapter crates build their hooks from: the current session, byte by byte.
//!
//! Invariant: each hook takes the session from `scope` once, and fails closed without one.
//! Absent: ORMs. Not for applications, and exempt from semantic versioning.

use crate::{
    blind_index::Fingerprint,
    column::{ColumnRef, IndexColumn},
    error::{Error, FingerprintError, NoSession, OpenError, OwnerError, SealError},
    hazmat::aead::{Nonce, Nonces},
    owner::{CanonicalId, OwnerId},
    plaintext::Plaintext,
    scope,
    session::Session,
    soak::hooks::writes_alone,
};

pub use crate::soak::hooks::{
    joined as soak_join, null as soak_null, seal as soak_seal, state as soak_state,
};

/// Seals under the current session.
///
/// # Errors
///
/// [`SealError`]; [`SoakError`](crate::soak::SoakError) of a column that soaks yet, in a release that knows no plaintext.
pub fn seal<T: Plaintext>(column: ColumnRef, value: &T) -> Result<Vec<u8>, Error> {
    let current = scope::current().map_err(|reason| SealError::NoSession { column, reason })?;
    writes_alone(&current, &column)?;
    current.spend(1, column)?;
    let sealed = current.keys().sealing(column, None, |sealer| {
        sealer.seal(sealer.encode(value)?, Nonce::make())
    })?;
    Ok(sealed)
}

/// Opens under the current session.
///
/// # Errors
///
/// [`OpenError`].
pub fn open<T: Plaintext>(column: ColumnRef, bytes: &[u8]) -> Result<T, Error> {
    let current = scope::current().map_err(|reason| OpenError::NoSession { column, reason })?;
    Ok(current.keys().open(column, None, bytes)?)
}

/// Seals under a session; with `row`, bound to it.
///
/// # Errors
///
/// [`SealError`].
pub fn seal_in<T: Plaintext>(
    session: &Session,
    column: ColumnRef,
    row: Option<&CanonicalId>,
    value: &T,
) -> Result<Vec<u8>, Error> {
    let pinned = session
        .pin()
        .map_err(|reason| SealError::NoSession { column, reason })?;
    writes_alone(&pinned, &column)?;
    pinned.spend(1, column)?;
    let sealed = pinned.keys().sealing(column, row, |sealer| {
        sealer.seal(sealer.encode(value)?, Nonce::make())
    })?;
    Ok(sealed)
}

/// Seals many values under a session, drawing nonces in blocks within this call.
///
/// # Errors
///
/// [`SealError`] of the first value that cannot be sealed.
pub fn seal_many<'a, T: Plaintext + 'a>(
    session: &Session,
    column: ColumnRef,
    values: impl ExactSizeIterator<Item = &'a T>,
) -> Result<Vec<Vec<u8>>, Error> {
    let pinned = session
        .pin()
        .map_err(|reason| SealError::NoSession { column, reason })?;
    let count = values.len();
    writes_alone(&pinned, &column)?;
    pinned.spend(count.try_into().unwrap_or(u64::MAX), column)?;
    let sealed = pinned.keys().sealing(column, None, |sealer| {
        let mut encoded = Vec::with_capacity(count);
        // What was counted, whatever the iterator says of itself.
        for value in values.take(count) {
            encoded.push(sealer.encode(value)?);
        }
        // From here on no code but ours runs: of a block of nonces that was drawn before, a codec that forks
        // would leave two.
        let mut nonces = Nonces::for_values(encoded.len());
        let mut sealed = Vec::with_capacity(encoded.len());
        for buf in encoded {
            sealed.push(sealer.seal(buf, nonces.next())?);
        }
        Ok::<_, SealError>(sealed)
    })?;
    Ok(sealed)
}

/// Opens under a session; with `row`, bound to it.
///
/// # Errors
///
/// [`OpenError`].
pub fn open_in<T: Plaintext>(
    session: &Session,
    column: ColumnRef,
    row: Option<&CanonicalId>,
    bytes: &[u8],
) -> Result<T, Error> {
    let pinned = session
        .pin()
        .map_err(|reason| OpenError::NoSession { column, reason })?;
    Ok(pinned.keys().open(column, row, bytes)?)
}

/// A fingerprint under the current session.
///
/// # Errors
///
/// [`FingerprintError`].
pub fn fingerprint<T: Plaintext, C: IndexColumn>(value: T) -> Result<Fingerprint, Error> {
    let value = crate::plaintext::Wiped(value);
    let current = scope::current().map_err(|reason| no_session::<C>(reason))?;
    Ok(current.keys().fingerprint::<T, C>(&value.0)?)
}

/// A fingerprint under a session.
///
/// # Errors
///
/// [`FingerprintError`].
pub fn fingerprint_in<T: Plaintext, C: IndexColumn>(
    session: &Session,
    value: T,
) -> Result<Fingerprint, Error> {
    let value = crate::plaintext::Wiped(value);
    let pinned = session.pin().map_err(|reason| no_session::<C>(reason))?;
    Ok(pinned.keys().fingerprint::<T, C>(&value.0)?)
}

fn no_session<C: IndexColumn>(reason: NoSession) -> FingerprintError {
    FingerprintError::NoSession {
        index: C::COLUMN,
        reason,
    }
}

/// A fingerprint from stored bytes.
///
/// # Errors
///
/// [`FingerprintError::NotAFingerprint`].
pub fn load_fingerprint(index: ColumnRef, bytes: &[u8]) -> Result<Fingerprint, Error> {
    Ok(Fingerprint::load(index, bytes)?)
}

/// Refuses a fingerprint in a session that is not its owner's, or has ended; one under an index key that is not in use;
/// and, while two are in use, one that says neither that it is looked up beside the other nor that it is written. Without
/// a session, whose it is is not asked: whoever made it held its owner's session.
///
/// # Errors
///
/// [`FingerprintError`].
pub fn check_fingerprint(index: ColumnRef, fingerprint: &Fingerprint) -> Result<(), Error> {
    match scope::current() {
        Ok(current) => {
            let keys = current.keys();
            Ok(fingerprint.check(index, Some((&keys.owner, &keys.index)))?)
        }
        Err(NoSession::Absent) => Ok(fingerprint.check(index, None)?),
        Err(reason) => Err(FingerprintError::NoSession { index, reason }.into()),
    }
}

/// Refuses an owner that is not the current session's.
///
/// # Errors
///
/// [`OwnerError`].
pub fn check_owner(owner: &(impl OwnerId + ?Sized)) -> Result<(), Error> {
    let current = scope::current().map_err(OwnerError::NoSession)?;
    if current.keys().owner == owner.canonical() {
        Ok(())
    } else {
        Err(OwnerError::OtherOwner.into())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use zeroize::Zeroizing;

    use super::*;
    use crate::{Codec, CodecError, Keyring, LocalKms, MemoryKeyStore, PlainBuf, Purpose};

    const COLUMN: ColumnRef = ColumnRef::new("notes", "text");

    async fn session(owner: &str) -> Session {
        let keyring = Keyring::builder()
            .kms(LocalKms::ephemeral().unwrap())
            .key_store(MemoryKeyStore::new())
            .build()
            .unwrap();
        let opened = keyring.open_or_provision(owner, Purpose::new("tests"));
        opened.await.unwrap()
    }

    #[tokio::test]
    async fn each_of_many_values_is_sealed_by_itself() {
        let session = session("ada").await;
        let before = session.budget().unwrap().left();
        let values = ["Mom", "", "Mom"].map(String::from);
        let sealed = seal_many(&session, COLUMN, values.iter()).unwrap();
        let open = |bytes: &Vec<u8>| open_in::<String>(&session, COLUMN, None, bytes).unwrap();
        assert_eq!(sealed.iter().map(open).collect::<Vec<_>>(), values);
        let different: HashSet<_> = sealed.iter().collect();
        assert_eq!(different.len(), 3, "one nonce for two values");
        assert_eq!(
            before.checked_sub(3),
            Some(session.budget().unwrap().left())
        );

        session.close();
        let ended = seal_many(&session, COLUMN, values.iter());
        assert!(matches!(
            ended,
            Err(Error::Seal(SealError::NoSession { .. }))
        ));
    }

    /// Before its bytes are made: there may be no room for them.
    #[tokio::test]
    async fn what_says_that_it_is_too_long_is_not_encoded() {
        struct Endless;
        impl Plaintext for Endless {
            const CODEC: Codec = Codec::new("tests/endless");

            fn size_hint(&self) -> usize {
                usize::MAX
            }

            fn encode(&self, _: &mut PlainBuf) -> Result<(), CodecError> {
                unreachable!("it is too long")
            }

            fn decode(_: Zeroizing<Vec<u8>>) -> Result<Self, CodecError> {
                Ok(Self)
            }

            fn wipe(&mut self) {}
        }
        let sealed = seal_in(&session("ada").await, COLUMN, None, &Endless);
        assert_eq!(
            sealed,
            Err(Error::Seal(SealError::TooLong { column: COLUMN }))
        );
    }

    #[tokio::test]
    async fn a_row_is_the_owners_whose_session_is_current() {
        let session = session("ada").await;
        assert!(check_owner("ada").is_err(), "none is current");
        session.scope_sync(|| {
            check_owner("ada").unwrap();
            let other = check_owner("ben");
            assert_eq!(other, Err(Error::Owner(OwnerError::OtherOwner)));
        });
        session.check_owner("ada").unwrap();
        assert_eq!(session.check_owner("ben"), Err(OwnerError::OtherOwner));
    }
}
