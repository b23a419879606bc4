//! What a request meets: its session, or an answer that says why it has none.

use core::convert::Infallible;

use tower::{ServiceExt, service_fn};

use super::*;
use crate::{
    error::NoSession,
    keyring::SessionError,
    kms::{KmsError, LocalKms},
    scope,
    store::MemoryKeyStore,
};

const PURPOSE: Purpose = Purpose::new("api");

/// Three bytes, and no more once they were read; only under a session.
#[derive(Default)]
struct Three(bool);

impl Body for Three {
    type Data = &'static [u8];
    type Error = NoSession;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<&'static [u8]>, NoSession>>> {
        if mem::replace(&mut self.0, true) {
            return Poll::Ready(None);
        }
        let frame = scope::current().map(|_| Frame::data(&b"one"[..]));
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(3)
    }
}

async fn keyring() -> Keyring {
    let keyring = Keyring::builder()
        .kms(LocalKms::ephemeral().unwrap())
        .key_store(MemoryKeyStore::new())
        .build()
        .unwrap();
    keyring.provision("ada").await.unwrap();
    keyring
}

/// The owner stands in a header.
fn owner(parts: &Parts) -> Option<String> {
    let owner = parts.headers.get("owner")?;
    Some(owner.to_str().unwrap().to_owned())
}

/// Who knows how long a body is need not read it to its end; what a server makes of that must be true of it.
#[tokio::test]
async fn a_body_is_read_in_its_requests_session_and_is_as_long_as_it_says() {
    let answers =
        service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(Three::default())));
    let service = SessionLayer::new(keyring().await, PURPOSE, owner).layer(answers);
    let request = Request::builder().header("owner", "ada").body(()).unwrap();
    let mut body = service.oneshot(request).await.unwrap().into_body();
    assert!(scope::current().is_err(), "its session is current outside");
    assert_eq!(body.size_hint().exact(), Some(3));
    assert!(!body.is_end_stream());
    let frame = core::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
    let frame = frame.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), b"one");
    assert!(body.is_end_stream());
}

/// A service that is not ready, as one that lets only so many in, is not called.
#[tokio::test]
async fn the_layer_is_ready_when_its_service_is() {
    #[derive(Clone, Debug)]
    struct Busy;
    impl Service<Request<()>> for Busy {
        type Response = Response<Three>;
        type Error = &'static str;
        type Future = core::future::Ready<Result<Response<Three>, &'static str>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
            Poll::Ready(Err("busy"))
        }

        fn call(&mut self, _: Request<()>) -> Self::Future {
            unreachable!("it was not ready")
        }
    }
    let layer = SessionLayer::new(keyring().await, PURPOSE, owner);
    let service = layer.layer(Busy);
    let printed = format!("{service:?}");
    for said in [
        "SessionService { inner: Busy",
        "SessionLayer { keyring:",
        "api",
    ] {
        assert!(printed.contains(said), "{printed}");
    }
    let called = service.oneshot(Request::new(())).await;
    assert_eq!(called.err(), Some("busy"));
}

/// What the client can mend, what passes, and what the operator must look at.
#[test]
fn a_refusal_says_whose_turn_it_is() {
    let cases = [
        (SessionError::UnknownOwner, 403),
        (SessionError::EmptyOwner, 403),
        (SessionError::Shredded, 410),
        (SessionError::TooManyOwners, 503),
        (SessionError::Kms(KmsError::unavailable("down")), 503),
        (SessionError::Kms(KmsError::refused("no")), 500),
        (SessionError::Store(StoreError::unavailable("down")), 503),
        (SessionError::Store(StoreError::NotMigrated), 500),
        (SessionError::WrongKey, 500),
    ];
    for (error, status) in cases {
        let said = error.to_string();
        let response = refusal::<Three>(error);
        assert_eq!(response.status().as_u16(), status, "{said}");
        let again = response.headers().get(RETRY_AFTER);
        assert_eq!(again.is_some(), status == 503, "{said}");
        let kept = response.extensions().get::<SessionError>().unwrap();
        assert_eq!(kept.to_string(), said);
    }
}

#[test]
fn what_is_logged_names_the_causes() {
    let error = SessionError::Kms(KmsError::unavailable("connection refused"));
    let text = with_causes(&error);
    assert!(text.starts_with(&error.to_string()), "{text}");
    assert!(text.ends_with(": connection refused"), "{text}");
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn a_handler_takes_the_session_or_says_why_there_is_none() {
    use axum_core::{
        extract::{FromRequestParts, OptionalFromRequestParts},
        response::IntoResponse,
    };

    async fn taken(mut parts: Parts) -> (bool, Result<Session, SessionRejection>) {
        let optional =
            <Session as OptionalFromRequestParts<()>>::from_request_parts(&mut parts, &());
        let Ok(optional) = optional.await;
        let taken = <Session as FromRequestParts<()>>::from_request_parts(&mut parts, &()).await;
        (optional.is_some(), taken)
    }

    let (parts, ()) = Request::new(()).into_parts();
    let (is_there, taken_without) = taken(parts.clone()).await;
    let rejection = taken_without.unwrap_err();
    assert_eq!((is_there, rejection), (false, SessionRejection::NoLayer));
    assert_eq!(rejection.into_response().status(), 500);

    let mut signed_out = parts.clone();
    signed_out.extensions.insert(NoOwner);
    let rejection = taken(signed_out).await.1.unwrap_err();
    assert_eq!(rejection, SessionRejection::NoOwner);
    assert_eq!(rejection.into_response().status(), 401);

    let mut signed_in = parts;
    let session = keyring().await.open("ada", PURPOSE).await.unwrap();
    signed_in.extensions.insert(session);
    let (is_there, session) = taken(signed_in).await;
    assert!(is_there && session.is_ok());
}
