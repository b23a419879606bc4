//! Whose data it is: the canonical bytes of owners and rows.
//!
//! Invariant: two ids of different types never have the same canonical bytes.
//! Absent: keys, sessions.

use core::fmt;

use smallvec::SmallVec;

/// An id in canonical bytes: a type tag, then the id. It stands in the AAD and names the owner's keys.
///
/// | from | bytes |
/// |---|---|
/// | text | `t`, then UTF-8 |
/// | integers | `i`, then 8 bytes, big-endian, two's complement |
/// | UUID | `u`, then its 16 bytes |
///
/// ```
/// use ophie_crypt::{CanonicalId, OwnerId};
///
/// assert_eq!(7_i32.canonical(), 7_i64.canonical()); // a column may be widened
/// assert_ne!("7".canonical(), 7_i64.canonical());
/// assert_eq!(CanonicalId::text("ada").as_bytes(), b"tada");
/// ```
///
/// # Security
///
/// Use opaque ids, never an e-mail address: KMS logs show the owner in clear. `Debug` prints no id.
#[derive(PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CanonicalId(SmallVec<[u8; 24]>);

impl CanonicalId {
    /// How long an owner's may be, in bytes with its tag: what databases index and KMS take. Rows may be longer.
    pub const MAX_LEN: usize = 1025;

    /// From an integer.
    #[must_use]
    pub fn integer(id: i64) -> Self {
        Self::tagged(b'i', &id.to_be_bytes())
    }

    /// From text.
    #[must_use]
    pub fn text(id: &str) -> Self {
        Self::tagged(b't', id.as_bytes())
    }

    /// From a UUID's 16 bytes.
    #[must_use]
    pub fn uuid(id: &[u8; 16]) -> Self {
        Self::tagged(b'u', id)
    }

    /// From canonical bytes, as a key store holds them.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(SmallVec::from_slice(bytes))
    }

    fn tagged(tag: u8, id: &[u8]) -> Self {
        let mut bytes = SmallVec::new();
        bytes.push(tag);
        bytes.extend_from_slice(id);
        Self(bytes)
    }

    /// The tag and the id.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What kind of id it is; `None` of bytes that are no canonical id.
    #[must_use]
    pub fn kind(&self) -> Option<OwnerKind> {
        match self.0.first()? {
            b'i' => Some(OwnerKind::Integer),
            b't' => Some(OwnerKind::Text),
            b'u' => Some(OwnerKind::Uuid),
            _ => None,
        }
    }

    /// Lower-case hex, as it stands in a KMS encryption context.
    ///
    /// ```
    /// assert_eq!(ophie_crypt::CanonicalId::text("ada").to_hex(), "74616461");
    /// ```
    #[must_use]
    pub fn to_hex(&self) -> String {
        crate::hex::to_hex(&self.0)
    }

    /// Only a tag: an empty text, which is a missing id rather than an id.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.len() <= 1
    }

    pub(crate) fn is_too_long(&self) -> bool {
        self.0.len() > Self::MAX_LEN
    }
}

/// Copies the bytes at once; `SmallVec` would clone them one by one.
impl Clone for CanonicalId {
    fn clone(&self) -> Self {
        Self(SmallVec::from_slice(&self.0))
    }
}

impl fmt::Debug for CanonicalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CanonicalId(..)")
    }
}

/// What a canonical id was made from.
///
/// ```
/// use ophie_crypt::{CanonicalId, OwnerId, OwnerKind};
///
/// assert_eq!(CanonicalId::text("7").kind(), Some(OwnerKind::Text));
/// assert_eq!(<i64 as OwnerId>::KIND, Some(OwnerKind::Integer));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OwnerKind {
    /// An integer.
    Integer,
    /// A text.
    Text,
    /// A UUID.
    Uuid,
}

/// A type that names an owner (or, for row-bound values, a row).
///
/// Implemented for text, `i16`, `i32`, `i64` and, with feature `uuid`, `Uuid`. For an id type of your
/// own, pass on what it holds:
///
/// ```
/// use ophie_crypt::{CanonicalId, OwnerId, OwnerKind};
///
/// struct UserId(i64);
///
/// impl OwnerId for UserId {
///     const KIND: Option<OwnerKind> = <i64 as OwnerId>::KIND;
///
///     fn canonical(&self) -> CanonicalId {
///         self.0.canonical()
///     }
/// }
/// assert_eq!(UserId(7).canonical(), 7_i64.canonical());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot name an owner",
    note = "owners are `Uuid` (feature `uuid`), text or integers; implement `OwnerId` for a type of your own"
)]
pub trait OwnerId {
    /// What its canonical bytes are made from. Jobs that seal anew or delete rows pass over tables whose owners are of
    /// another kind: the integer 7 is not the text `7`. `None` is looked for in every table.
    const KIND: Option<OwnerKind> = None;

    /// The canonical bytes.
    fn canonical(&self) -> CanonicalId;
}

impl<T: OwnerId + ?Sized> OwnerId for &T {
    const KIND: Option<OwnerKind> = T::KIND;

    fn canonical(&self) -> CanonicalId {
        (**self).canonical()
    }
}

impl OwnerId for CanonicalId {
    fn canonical(&self) -> CanonicalId {
        self.clone()
    }
}

impl OwnerId for str {
    const KIND: Option<OwnerKind> = Some(OwnerKind::Text);

    fn canonical(&self) -> CanonicalId {
        CanonicalId::text(self)
    }
}

impl OwnerId for String {
    const KIND: Option<OwnerKind> = Some(OwnerKind::Text);

    fn canonical(&self) -> CanonicalId {
        CanonicalId::text(self)
    }
}

impl OwnerId for i16 {
    const KIND: Option<OwnerKind> = Some(OwnerKind::Integer);

    fn canonical(&self) -> CanonicalId {
        CanonicalId::integer((*self).into())
    }
}

impl OwnerId for i32 {
    const KIND: Option<OwnerKind> = Some(OwnerKind::Integer);

    fn canonical(&self) -> CanonicalId {
        CanonicalId::integer((*self).into())
    }
}

impl OwnerId for i64 {
    const KIND: Option<OwnerKind> = Some(OwnerKind::Integer);

    fn canonical(&self) -> CanonicalId {
        CanonicalId::integer(*self)
    }
}

#[cfg(feature = "uuid")]
impl OwnerId for uuid::Uuid {
    const KIND: Option<OwnerKind> = Some(OwnerKind::Uuid);

    fn canonical(&self) -> CanonicalId {
        CanonicalId::uuid(self.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Jobs pass over tables whose owners are of another kind.
    #[test]
    fn an_id_knows_what_it_was_made_of() {
        let kinds = [
            (CanonicalId::text("7"), Some(OwnerKind::Text)),
            (7_i16.canonical(), Some(OwnerKind::Integer)),
            (CanonicalId::uuid(&[7; 16]), Some(OwnerKind::Uuid)),
            (CanonicalId::from_bytes(b"x7"), None),
            (CanonicalId::from_bytes(b""), None),
        ];
        for (id, kind) in kinds {
            assert_eq!(id.kind(), kind, "{:?}", id.as_bytes());
        }
    }
}
