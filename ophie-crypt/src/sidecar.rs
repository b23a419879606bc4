//! The sidecar: a sealed value as one word of ASCII, to travel where only text travels.
//!
//! Invariant: its text is an envelope and nothing else, in the one form that writers make; what is no sidecar is
//! refused when it arrives, without a word of it in the error. Absent: where it travels (vector stores, queues), and how
//! those are counted (`rotation`).

use core::{fmt, marker::PhantomData, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    adapter,
    column::{BoundColumn, Unbound},
    envelope::{Envelope, NotAnEnvelope},
    error::{Error, OpenError, SealError},
    hazmat::data_key::KeyId,
    owner::{CanonicalId, OwnerId},
    plaintext::{Plaintext, Wiped},
    rotation::PREFIX,
    session::Session,
};

/// A sealed value in text, to stand in a vector's metadata beside the embedding.
///
/// It is sealed as a value of column `C` is: it opens for its owner, in this table, column and type only. The column
/// may be one of a model (`note::text`), or one that no database has, as here. It serialises as a string.
///
/// ```
/// use ophie_crypt::{BoundColumn, ColumnRef, Keyring, LocalKms, MemoryKeyStore, Purpose, Sidecar};
///
/// /// The text of a memory, padded, so that its length tells little.
/// enum MemoryText {}
/// impl BoundColumn for MemoryText {
///     const COLUMN: ColumnRef = ColumnRef::new("memory_vectors", "text").with_padding(64);
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let keyring = Keyring::builder().kms(LocalKms::ephemeral()?).key_store(MemoryKeyStore::new()).build()?;
/// # let session = keyring.open_or_provision("ada", Purpose::new("docs")).await?;
/// # let bens = keyring.open_or_provision("ben", Purpose::new("docs")).await?;
/// let sidecar = Sidecar::<String, MemoryText>::seal("slept badly", &session)?;
/// let metadata = serde_json::json!({ "kind": "memory", "text": sidecar });
/// assert!(metadata["text"].as_str().is_some_and(|text| text.starts_with("ophie1.")));
///
/// let found: Sidecar<String, MemoryText> = serde_json::from_value(metadata["text"].clone())?;
/// assert_eq!(found.open(&session)?.expose_secret(), "slept badly");
/// assert!(found.open(&bens).is_err());
/// assert!("slept badly".parse::<Sidecar<String, MemoryText>>().is_err());
/// # Ok(()) }
/// ```
///
/// # Security
///
/// Whoever can write to the store can put back an older sidecar, and swap two of one owner and column: bind each to
/// its vector's id with [`seal_row`](Self::seal_row). It shows the length of the value, unless the column is padded,
/// and a pseudonym of the owner. It hides the value only: the embedding beside it still says much of it. A rotation
/// does not reach it: [reseal](Self::reseal) what is under an old key before that is destroyed, and tell the
/// [`Rotation`](crate::Rotation::sidecars) where sidecars are, so that it counts them first.
pub struct Sidecar<T, C = Unbound> {
    text: String,
    key_id: KeyId,
    column: PhantomData<fn() -> (T, C)>,
}

impl<T: Plaintext, C: BoundColumn> Sidecar<T, C> {
    /// Seals a value under a session that need not be current.
    ///
    /// # Errors
    ///
    /// [`SealError`], in [`Error`].
    pub fn seal(value: impl Into<T>, session: &Session) -> Result<Self, Error> {
        Self::seal_at(&Wiped(value.into()), session, None)
    }

    /// Seals, bound to the id of its vector as well: it opens by [`open_row`](Self::open_row) with the same id only.
    ///
    /// # Errors
    ///
    /// [`SealError`], in [`Error`].
    pub fn seal_row(
        value: impl Into<T>,
        session: &Session,
        row: &(impl OwnerId + ?Sized),
    ) -> Result<Self, Error> {
        Self::seal_at(&Wiped(value.into()), session, Some(&row.canonical()))
    }

    fn seal_at(
        value: &Wiped<T>,
        session: &Session,
        row: Option<&CanonicalId>,
    ) -> Result<Self, Error> {
        let column = C::COLUMN;
        let envelope = adapter::seal_in(session, column, row, &value.0)?;
        let mut text = PREFIX.to_owned();
        URL_SAFE_NO_PAD.encode_string(envelope, &mut text);
        let sidecar = Self::from_text(text); // as its readers will
        Ok(sidecar.map_err(|reason| OpenError::NotAnEnvelope { column, reason })?)
    }

    /// Opens under a session that need not be current.
    ///
    /// # Errors
    ///
    /// [`OpenError`], in [`Error`].
    pub fn open(&self, session: &Session) -> Result<Opened<T>, Error> {
        self.open_at(session, None)
    }

    /// Opens what [`seal_row`](Self::seal_row) bound to this id.
    ///
    /// # Errors
    ///
    /// [`OpenError`], in [`Error`].
    pub fn open_row(
        &self,
        session: &Session,
        row: &(impl OwnerId + ?Sized),
    ) -> Result<Opened<T>, Error> {
        self.open_at(session, Some(&row.canonical()))
    }

    /// The same value under the key that the session seals with now, to be stored in this one's place; `None` if it is under
    /// that already. For after a rotation, once the new key seals: until nothing is left under the old one,
    /// [`Rotation::destroy`](crate::Rotation::destroy) keeps it.
    ///
    /// ```
    /// # use ophie_crypt::{BoundColumn, ColumnRef, Keyring, LocalKms, MemoryKeyStore, Purpose, Sidecar};
    /// # enum Mood {}
    /// # impl BoundColumn for Mood { const COLUMN: ColumnRef = ColumnRef::new("moods", "mood"); }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let keyring = Keyring::builder().kms(LocalKms::ephemeral()?).key_store(MemoryKeyStore::new()).build()?;
    /// # let session = keyring.open_or_provision("ada", Purpose::new("docs")).await?;
    /// # let mut stored = Sidecar::<i64, Mood>::seal(7, &session)?;
    /// if let Some(anew) = stored.reseal(&session)? {
    ///     stored = anew; // and write it to the vector store
    /// }
    /// assert!(session.seals_under(stored.key_id())?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`OpenError`] or [`SealError`], in [`Error`].
    pub fn reseal(&self, session: &Session) -> Result<Option<Self>, Error> {
        self.reseal_at(session, None)
    }

    /// The same of what [`seal_row`](Self::seal_row) bound to this id.
    ///
    /// # Errors
    ///
    /// As for [`reseal`](Self::reseal).
    pub fn reseal_row(
        &self,
        session: &Session,
        row: &(impl OwnerId + ?Sized),
    ) -> Result<Option<Self>, Error> {
        self.reseal_at(session, Some(&row.canonical()))
    }

    fn reseal_at(
        &self,
        session: &Session,
        row: Option<&CanonicalId>,
    ) -> Result<Option<Self>, Error> {
        let column = C::COLUMN;
        let seals = session.seals_under(self.key_id);
        if seals.map_err(|reason| SealError::NoSession { column, reason })? {
            return Ok(None);
        }
        let Opened(value) = self.open_at(session, row)?;
        Self::seal_at(&value, session, row).map(Some)
    }

    fn open_at(&self, session: &Session, row: Option<&CanonicalId>) -> Result<Opened<T>, Error> {
        let column = C::COLUMN;
        let (envelope, _) =
            envelope(&self.text).map_err(|reason| OpenError::NotAnEnvelope { column, reason })?;
        let value = adapter::open_in(session, column, row, &envelope)?;
        Ok(Opened(Wiped(value)))
    }
}

impl<T, C> Sidecar<T, C> {
    /// From text as it was stored. That it is whole and its owner's shows when it is opened.
    ///
    /// # Errors
    ///
    /// [`NotAnEnvelope`] on anything that no writer makes: a plaintext, another encoding, something cut short.
    pub fn from_text(text: impl Into<String>) -> Result<Self, NotAnEnvelope> {
        let text = text.into();
        let (_, key_id) = envelope(&text)?;
        Ok(Self {
            text,
            key_id,
            column: PhantomData,
        })
    }

    /// The text: `ophie1.`, then letters, digits, `-` and `_`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Names the DEK that sealed it, if nobody changed the text.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }
}

/// The envelope in a text, and the id of its key.
fn envelope(text: &str) -> Result<(Vec<u8>, KeyId), NotAnEnvelope> {
    let none = NotAnEnvelope::of_len(text.len());
    // The engine takes neither padding nor bits that are left over, so that no two texts are one envelope.
    let decoded = text
        .strip_prefix(PREFIX)
        .and_then(|body| URL_SAFE_NO_PAD.decode(body).ok());
    let bytes = decoded.ok_or(none)?;
    let key_id = Envelope::parse(&bytes).map_err(|_| none)?.key_id();
    Ok((bytes, key_id))
}

impl<T, C> FromStr for Sidecar<T, C> {
    type Err = NotAnEnvelope;

    fn from_str(text: &str) -> Result<Self, NotAnEnvelope> {
        Self::from_text(text)
    }
}

impl<T, C> Clone for Sidecar<T, C> {
    fn clone(&self) -> Self {
        Self {
            text: self.text.clone(),
            key_id: self.key_id,
            column: PhantomData,
        }
    }
}

/// Equal text. Two seals of one value differ.
impl<T, C> PartialEq for Sidecar<T, C> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl<T, C> Eq for Sidecar<T, C> {}

impl<T, C> fmt::Debug for Sidecar<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sidecar({} bytes)", self.text.len())
    }
}

/// As a string.
impl<T, C> Serialize for Sidecar<T, C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// From a string that is a sidecar.
impl<'de, T, C> Deserialize<'de> for Sidecar<T, C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Asked for a string, JSON's reader prints what it finds instead. Formats that know no types cannot be asked
        // for anything.
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(Text(PhantomData))
        } else {
            deserializer.deserialize_str(Text(PhantomData))
        }
    }
}

/// Takes the text. Serde's own errors would print what stands in its place: a plaintext, perhaps.
struct Text<T, C>(PhantomData<(T, C)>);

macro_rules! refuse {
    ($($visit:ident $ty:ty),+) => {$(
        fn $visit<E: de::Error>(self, _: $ty) -> Result<Self::Value, E> {
            Err(E::custom("a number, a bool or bytes where a sidecar is expected; was it written past ophie-crypt?"))
        }
    )+};
}

impl<T, C> de::Visitor<'_> for Text<T, C> {
    type Value = Sidecar<T, C>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sidecar, in a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Sidecar::from_text(text).map_err(E::custom)
    }

    refuse!(visit_bool bool, visit_i64 i64, visit_i128 i128, visit_u64 u64, visit_u128 u128, visit_f64 f64, visit_bytes &[u8]);
}

/// A plaintext that was opened: it wipes itself on drop, as far as its type allows, and prints nothing.
///
/// Where an adapter's type is wanted, `Encrypted::new(opened.into_secret())` makes one.
///
/// ```
/// # use ophie_crypt::{BoundColumn, ColumnRef, Keyring, LocalKms, MemoryKeyStore, Purpose, Sidecar};
/// # enum Mood {}
/// # impl BoundColumn for Mood { const COLUMN: ColumnRef = ColumnRef::new("moods", "mood"); }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let keyring = Keyring::builder().kms(LocalKms::ephemeral()?).key_store(MemoryKeyStore::new()).build()?;
/// # let session = keyring.open_or_provision("ada", Purpose::new("docs")).await?;
/// let opened = Sidecar::<i64, Mood>::seal(7, &session)?.open(&session)?;
/// assert_eq!(format!("{opened:?}"), "[REDACTED]");
/// assert_eq!(opened.expose_secret(), &7);
/// # Ok(()) }
/// ```
pub struct Opened<T: Plaintext>(Wiped<T>);

impl<T: Plaintext> Opened<T> {
    /// The plaintext.
    #[must_use]
    pub const fn expose_secret(&self) -> &T {
        &self.0.0
    }

    /// Takes the plaintext out (a default stays behind); wiping it is the caller's then.
    #[must_use]
    pub fn into_secret(mut self) -> T
    where
        T: Default,
    {
        core::mem::take(&mut self.0.0)
    }
}

impl<T: Plaintext> fmt::Debug for Opened<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Keyring, LocalKms, MemoryKeyStore, Purpose, column::ColumnRef};

    enum Mood {}
    impl BoundColumn for Mood {
        const COLUMN: ColumnRef = ColumnRef::new("moods", "mood");
    }

    #[tokio::test]
    async fn a_sidecar_is_its_text() {
        let keyring = Keyring::builder()
            .kms(LocalKms::ephemeral().unwrap())
            .key_store(MemoryKeyStore::new())
            .build()
            .unwrap();
        let opened = keyring.open_or_provision("ada", Purpose::new("tests"));
        let session = opened.await.unwrap();
        let seal = || Sidecar::<String, Mood>::seal("calm", &session).unwrap();
        let (one, other) = (seal(), seal());
        assert_eq!(one.as_str().parse().as_ref(), Ok(&one));
        assert_ne!(one, other, "two nonces");
        let opened = one.open(&session).unwrap();
        assert_eq!(
            format!("{one:?} {opened:?}"),
            "Sidecar(73 bytes) [REDACTED]"
        );
        assert_eq!(opened.into_secret(), "calm");
    }

    #[cfg(feature = "json")]
    #[test]
    fn what_is_no_text_is_no_sidecar() {
        let number = serde_json::from_str::<Sidecar<String, Mood>>("[7]").unwrap_err();
        assert!(
            number
                .to_string()
                .contains("expected a sidecar, in a string"),
            "{number}"
        );
    }
}
