//! One request, tried until it is answered.
//!
//! Invariant: every call may be made twice, so each is tried again after what passes, a bounded number of times; an
//! answer is taken whole or not at all. Absent: what the calls are (`delete`), how answers read (`answer`).

use core::{fmt, time::Duration};
use std::io;

use bytes::Bytes;
use http::{
    HeaderMap, Method, Request,
    header::{CONTENT_TYPE, HeaderName, RETRY_AFTER},
};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{ClientConfig, RootCertStore, crypto::ring::default_provider};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::{
    ApiKey,
    failure::{Failure, What},
};

/// One request: a name for errors, and what is sent.
pub(crate) struct Call {
    pub(crate) name: &'static str,
    pub(crate) method: Method,
    /// With its query, encoded.
    pub(crate) path: String,
    pub(crate) body: Option<Value>,
}

pub(crate) struct Client {
    inner: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    origin: String,
    key: ApiKey,
    pause: Duration,
}

/// What an attempt gave instead of an answer, and how long the server asked to wait.
struct Failed {
    what: What,
    wait: Option<Duration>,
}

impl Client {
    /// `plain`: the origin is on this machine, and needs no root certificates.
    pub(crate) fn new(
        origin: String,
        key: ApiKey,
        pause: Duration,
        plain: bool,
    ) -> io::Result<Self> {
        let tls = HttpsConnectorBuilder::new();
        let tls = if plain {
            let config = ClientConfig::builder_with_provider(default_provider().into())
                .with_safe_default_protocol_versions()
                .map_err(io::Error::other)?
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth();
            tls.with_tls_config(config).https_or_http()
        } else {
            tls.with_provider_and_native_roots(default_provider())?
                .https_only()
        };
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.enforce_http(false); // TLS goes over it
        let connector = tls.enable_http1().wrap_connector(connector);
        Ok(Self {
            inner: legacy::Client::builder(TokioExecutor::new()).build(connector),
            origin,
            key,
            pause,
        })
    }

    /// The answer as `read` reads it; `None` if what was asked for is not there.
    pub(crate) async fn ask<T>(
        &self,
        call: &Call,
        read: impl Fn(&[u8]) -> Result<T, What>,
    ) -> Result<Option<T>, Failure> {
        let mut attempt = 1;
        loop {
            let Failed { what, wait } = match self.attempt(call, &read).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let failure = Failure {
                call: call.name,
                what,
            };
            if attempt >= ATTEMPTS || !failure.passes() {
                return Err(failure);
            }
            sleep(back_off(self.pause, attempt, share(), wait)).await;
            attempt = attempt.saturating_add(1);
        }
    }

    async fn attempt<T>(
        &self,
        call: &Call,
        read: &impl Fn(&[u8]) -> Result<T, What>,
    ) -> Result<Option<T>, Failed> {
        let failed = |what| Failed { what, wait: None };
        let (status, headers, body) = timeout(ATTEMPT, self.send(call))
            .await
            .map_err(|_| failed(What::Timeout))?
            .ok_or_else(|| failed(What::Unanswered))?;
        match status {
            200..300 => read(&body).map(Some).map_err(failed),
            404 => Ok(None),
            _ => Err(Failed {
                what: What::Status(status),
                wait: retry_after(&headers),
            }),
        }
    }

    /// Status, headers and the whole body, or nothing.
    async fn send(&self, call: &Call) -> Option<(u16, HeaderMap, Bytes)> {
        let mut request = Request::builder()
            .method(&call.method)
            .uri(format!("{}{}", self.origin, call.path))
            .header(API_KEY, self.key.header()?)
            .header(API_VERSION, VERSION);
        if call.body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = call.body.as_ref().map(Value::to_string).unwrap_or_default();
        let request = request.body(Full::from(body)).ok()?;

        let (head, body) = self.inner.request(request).await.ok()?.into_parts();
        let body = Limited::new(body, LONGEST).collect().await.ok()?;
        Some((head.status.as_u16(), head.headers, body.to_bytes()))
    }
}

/// Shows where it asks, and no key.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

/// In seconds, as Pinecone writes it; of a date nothing is made.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// A share of a time that doubles with each attempt, and no less than the server asked for, within reason.
fn back_off(pause: Duration, attempt: u32, share: f32, wait: Option<Duration>) -> Duration {
    let doubled = pause.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1)));
    let own = doubled.min(LONGEST_WAIT).mul_f32(share);
    own.max(wait.unwrap_or_default()).min(LONGEST_WAIT)
}

/// A number from 0 to 1. Without randomness the longest wait is as good.
fn share() -> f32 {
    let mut random = [0; 2];
    if getrandom::fill(&mut random).is_err() {
        return 1.0;
    }
    f32::from(u16::from_ne_bytes(random)) / f32::from(u16::MAX)
}

const API_KEY: HeaderName = HeaderName::from_static("api-key");
const API_VERSION: HeaderName = HeaderName::from_static("x-pinecone-api-version");
const VERSION: &str = "2025-10";

/// Attempts at one call.
const ATTEMPTS: u32 = 6;
const CONNECT: Duration = Duration::from_secs(5);
const ATTEMPT: Duration = Duration::from_secs(20);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// An answer's bytes: the counts of some 100,000 namespaces.
const LONGEST: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_heed_the_server_within_reason() {
        let second = Duration::from_secs(1);
        let wait = |attempt, share, asked| back_off(second, attempt, share, asked).as_secs();
        assert_eq!([1, 2, 3].map(|attempt| wait(attempt, 1.0, None)), [1, 2, 4]);
        assert_eq!(wait(3, 0.0, None), 0);
        assert_eq!(wait(40, 1.0, None), 30);
        assert_eq!(wait(1, 0.5, Some(7 * second)), 7);
        assert_eq!(wait(4, 1.0, Some(second)), 8);
        assert_eq!(wait(1, 0.5, Some(86_400 * second)), 30);
        for share in [share(), share()] {
            assert!((0.0..=1.0).contains(&share));
        }
    }

    #[test]
    fn only_seconds_are_heeded() {
        for (text, expected) in [
            ("7", Some(7)),
            ("0", Some(0)),
            ("-1", None),
            ("Wed, 21 Oct 2015 07:28:00 GMT", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            assert_eq!(retry_after(&headers).map(|wait| wait.as_secs()), expected);
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
