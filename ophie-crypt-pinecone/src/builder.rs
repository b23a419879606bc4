//! Where the index is, and how hard to try.
//!
//! Invariant: the API key goes over TLS, or to this machine. Absent: any request.

use core::time::Duration;

use http::{Uri, uri::Scheme};

use crate::{ApiKey, Pinecone, http::Client, names::Layout};

/// Builds a [`Pinecone`].
///
/// ```
/// use ophie_crypt_pinecone::{ApiKey, BuildPineconeError, Pinecone};
///
/// let error = Pinecone::builder(ApiKey::new("pcsk_x"), "http://memories-abc.svc.pinecone.io").build().unwrap_err();
/// assert!(matches!(error, BuildPineconeError::PlainHttp));
/// ```
#[derive(Debug)]
#[must_use]
pub struct PineconeBuilder {
    key: ApiKey,
    host: String,
    layout: Layout,
    pause: Duration,
    limit: Duration,
}

/// A [`Pinecone`] cannot be made of this.
///
/// ```
/// use ophie_crypt_pinecone::{ApiKey, Pinecone};
///
/// let error = Pinecone::builder(ApiKey::new("pcsk_x"), "https://host/path").build().unwrap_err();
/// assert!(error.to_string().contains("no path"));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildPineconeError {
    /// An API key that is empty or has characters that no header takes.
    #[error("the API key is empty or has characters that no key has; check where it is read")]
    ApiKey,
    /// Not the host of an index.
    #[error(
        "not the host of an index; give https:// and the host that Pinecone's console shows, with no path and no key in it"
    )]
    Host,
    /// Plain HTTP would show the API key to the network.
    #[error(
        "plain HTTP is taken for loopback addresses only, such as http://127.0.0.1:5080; use https://"
    )]
    PlainHttp,
    /// The system has no root certificates.
    #[error("no root certificates; install the system's package of them (ca-certificates)")]
    Roots,
}

impl PineconeBuilder {
    pub(crate) fn new(key: ApiKey, host: String) -> Self {
        Self {
            key,
            host,
            layout: Layout::Namespaces,
            pause: Duration::from_secs(2),
            limit: Duration::from_secs(60),
        }
    }

    /// All owners share this namespace (`__default__` is the index's own), and ids begin with the owner.
    ///
    /// Without it, each owner has a namespace, which is deleted in one call: prefer that.
    pub fn shared_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.layout = Layout::Shared(namespace.into());
        self
    }

    /// How long to wait between two looks for what is left, 2 seconds by default. Attempts that fail are tried again
    /// after a random share of it, doubled each time.
    pub const fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// How long one [`delete_owner`](ophie_crypt::VectorStore::delete_owner) may take, 60 seconds by default. What is
    /// left then is the next call's.
    pub const fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The store. No request is made yet.
    ///
    /// # Errors
    ///
    /// [`BuildPineconeError`].
    pub fn build(self) -> Result<Pinecone, BuildPineconeError> {
        if self.key.header().is_none() {
            return Err(BuildPineconeError::ApiKey);
        }
        let origin = origin(&self.host)?;
        let plain = origin.starts_with("http:");
        let client = Client::new(origin, self.key, self.pause, plain)
            .map_err(|_| BuildPineconeError::Roots)?;
        Ok(Pinecone::new(client, self.layout, self.pause, self.limit))
    }
}

/// Scheme and authority, to which paths are appended.
fn origin(host: &str) -> Result<String, BuildPineconeError> {
    // Pinecone's console shows the host alone.
    let url = if host.contains("://") {
        host.to_owned()
    } else {
        format!("https://{host}")
    };
    let uri: Uri = url.parse().map_err(|_| BuildPineconeError::Host)?;
    let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
        return Err(BuildPineconeError::Host);
    };
    let bare = uri.path() == "/" && uri.query().is_none() && !authority.as_str().contains('@');
    if !bare || authority.host().is_empty() {
        return Err(BuildPineconeError::Host);
    }
    if *scheme == Scheme::HTTPS {
        Ok(format!("https://{authority}"))
    } else if *scheme != Scheme::HTTP {
        Err(BuildPineconeError::Host)
    } else if is_loopback(authority.host()) {
        Ok(format!("http://{authority}"))
    } else {
        Err(BuildPineconeError::PlainHttp)
    }
}

/// A literal address: whoever answers for a name could say anything.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    address
        .parse::<core::net::IpAddr>()
        .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_goes_over_tls_or_to_this_machine() {
        for (host, expected) in [
            ("index.svc.pinecone.io", "https://index.svc.pinecone.io"),
            (
                "https://index.svc.pinecone.io/",
                "https://index.svc.pinecone.io",
            ),
            (
                "https://index.svc.pinecone.io:8443",
                "https://index.svc.pinecone.io:8443",
            ),
            ("http://127.0.0.1:5080", "http://127.0.0.1:5080"),
            ("http://127.9.9.9", "http://127.9.9.9"),
            ("http://[::1]:5080", "http://[::1]:5080"),
        ] {
            assert_eq!(origin(host).unwrap(), expected);
        }
        for host in [
            "http://index.svc.pinecone.io",
            "http://localhost:5080", // a name like any other
            "http://10.0.0.1",
            "http://127.0.0.1.example.org",
            "http://[::2]",
            "http://0.0.0.0",
        ] {
            let error = origin(host).unwrap_err();
            assert!(matches!(error, BuildPineconeError::PlainHttp), "{host}");
        }
        for host in [
            "",
            "https://",
            "https://host/path",
            "https://host?key=x",
            "https://pcsk_x@host",
            "ftp://host",
            "https://ho st",
            "http://127.0.0.1@evil.example",
        ] {
            let error = origin(host).unwrap_err();
            assert!(matches!(error, BuildPineconeError::Host), "{host}");
        }
    }

    #[test]
    fn a_key_that_no_header_takes() {
        for key in ["", "a\nb", "a\0"] {
            let built = Pinecone::builder(ApiKey::new(key), "https://host").build();
            assert!(matches!(built, Err(BuildPineconeError::ApiKey)));
        }
    }
}
