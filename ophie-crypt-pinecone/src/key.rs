//! The API key.
//!
//! Invariant: it prints nothing, and is wiped on drop. Absent: where it comes from.

use core::fmt;

use http::HeaderValue;
use zeroize::Zeroizing;

/// A key for Pinecone's API. Wiped on drop; `Debug` shows none of it.
///
/// ```
/// let key = ophie_crypt_pinecone::ApiKey::new("pcsk_secret");
/// assert_eq!(format!("{key:?}"), "ApiKey([REDACTED])");
/// ```
///
/// # Security
///
/// Each request copies it into a buffer of the HTTP client, which is freed unwiped: the zeroing allocator of
/// `ophie_crypt::memory` clears that too. Give it a role that may list and delete, and this index only.
pub struct ApiKey(Zeroizing<String>);

impl ApiKey {
    /// From its text.
    #[must_use]
    pub fn new(key: impl Into<String>) -> Self {
        Self(Zeroizing::new(key.into()))
    }

    /// For one request; HTTP's own `Debug` hides it too.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&self.0).ok()?;
        value.set_sensitive(true);
        (!value.is_empty()).then_some(value)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey([REDACTED])")
    }
}
