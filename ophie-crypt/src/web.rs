//! A session for each request: a tower layer, and an extractor for axum.
//!
//! Invariant: a request whose session did not open does not reach the inner service; an open one is current
//! while that service and its response body are polled, and ends with the body. Absent: authentication,
//! ambient state (`scope`).

use core::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll},
};

use http::{HeaderValue, Request, Response, StatusCode, header::RETRY_AFTER, request::Parts};
use http_body::{Body, Frame, SizeHint};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    keyring::{Keyring, SessionError},
    owner::OwnerId,
    scope::Scoped,
    session::{Purpose, Session},
    store::StoreError,
};

/// Runs each request under a session of its owner: a tower layer, for axum and whatever else speaks `http`.
///
/// Handlers, extractors and inner layers are under it, and so is the response body: streamed rows need
/// nothing more. Handlers that must carry the session elsewhere take it as an argument (feature `axum`) or
/// from the request's extensions.
///
/// ```
/// use axum::{Extension, Router, routing::get};
/// use ophie_crypt::{Keyring, LocalKms, MemoryKeyStore, Purpose, Session, SessionLayer};
///
/// #[derive(Clone)]
/// struct User(i64); // what your authentication puts into the request
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let keyring = Keyring::builder().kms(LocalKms::ephemeral()?).key_store(MemoryKeyStore::new()).build()?;
/// # keyring.provision(&7_i64).await?;
/// let sessions = SessionLayer::new(keyring, Purpose::new("api"), |request| {
///     request.extensions.get::<User>().map(|user| user.0)
/// });
/// let app: Router = Router::new()
///     .route("/", get(async || Session::current().is_some().to_string()))
///     .layer(sessions)
///     .layer(Extension(User(7))); // stands for authentication; what is added later runs earlier
/// # use tower::ServiceExt;
/// # let response = app.oneshot(http::Request::new(axum::body::Body::empty())).await?;
/// # assert_eq!(axum::body::to_bytes(response.into_body(), 9).await?, "true");
/// # Ok(()) }
/// ```
///
/// # Where it belongs
///
/// Inside authentication, and only around routes with encrypted columns (in axum, `route_layer`): each
/// request costs one unwrap by the KMS, unless another session of its owner is open in this process.
///
/// # No session
///
/// | the request | is answered with |
/// |---|---|
/// | has no owner (`owner_of` gave `None`) | what the inner service says; its hooks fail for want of a session |
/// | has an owner without keys, or an empty one | 403 |
/// | has an owner whose keys were destroyed | 410 |
/// | comes while KMS, key store or audit is unavailable, too many owners are open, or the runtime is shutting down | 503 with `Retry-After` |
/// | meets any other [`SessionError`] | 500 |
///
/// The last three do not reach the inner service; their responses have an empty body, and the
/// [`SessionError`] is in their extensions, for an outer layer to put into words. It is logged with its causes
/// (`tracing`, target `ophie_crypt::web`): at DEBUG with 403 and 410, otherwise at ERROR.
///
/// # What outlives the response
///
/// The session ends when the response body is dropped, unless a clone of it lives on. A WebSocket and a
/// spawned task are not under it and must carry it:
///
/// ```
/// use axum::{Extension, extract::ws::{WebSocket, WebSocketUpgrade}, response::Response};
/// use ophie_crypt::{InSession, Session};
///
/// async fn talk(mut socket: WebSocket) { /* ordinary queries */ }
///
/// // With feature `axum`, `session: Session` will do.
/// async fn call(Extension(session): Extension<Session>, ws: WebSocketUpgrade) -> Response {
///     ws.on_upgrade(move |socket| talk(socket).in_session(&session))
/// }
/// # let _: axum::Router = axum::Router::new().route("/call", axum::routing::get(call));
/// ```
///
/// Without the layer, a streamed body must carry it too, as it is polled after its handler returned:
/// `Body::from_stream(rows.in_session(&session))`.
///
/// # Requests that follow each other
///
/// Give the keyring some 60 seconds of [`linger`](crate::KeyringBuilder::linger), so that the next request of
/// an owner finds the key.
///
/// # Security
///
/// `owner_of` decides whose data a request may read: take the owner from what authentication proved, never
/// from a header, path or query.
#[derive(Clone)]
#[must_use = "a layer does nothing until it is added to a service"]
pub struct SessionLayer<F> {
    keyring: Keyring,
    purpose: Purpose,
    owner_of: F,
}

impl<F> SessionLayer<F> {
    /// Opens sessions for `purpose`, of the owner that `owner_of` finds in the request.
    pub fn new<O: OwnerId>(keyring: Keyring, purpose: Purpose, owner_of: F) -> Self
    where
        F: Fn(&Parts) -> Option<O>,
    {
        Self {
            keyring,
            purpose,
            owner_of,
        }
    }
}

impl<S, F: Clone> Layer<S> for SessionLayer<F> {
    type Service = SessionService<S, F>;

    fn layer(&self, inner: S) -> SessionService<S, F> {
        SessionService {
            inner,
            layer: self.clone(),
        }
    }
}

impl<F> fmt::Debug for SessionLayer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLayer")
            .field("keyring", &self.keyring)
            .field("purpose", &self.purpose)
            .finish_non_exhaustive()
    }
}

/// A service whose requests run under sessions: what [`SessionLayer`] makes of a service.
///
/// ```
/// use http::{Request, Response, StatusCode};
/// use ophie_crypt::{Keyring, LocalKms, MemoryKeyStore, Purpose, SessionError, SessionLayer};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let keyring = Keyring::builder().kms(LocalKms::ephemeral()?).key_store(MemoryKeyStore::new()).build()?;
/// let service = ServiceBuilder::new()
///     .layer(SessionLayer::new(keyring, Purpose::new("api"), |_| Some("nobody")))
///     .service(service_fn(async |_: Request<()>| Ok::<_, std::io::Error>(Response::new(String::new()))));
///
/// let refused = service.oneshot(Request::new(())).await?;
/// assert_eq!(refused.status(), StatusCode::FORBIDDEN);
/// assert!(matches!(refused.extensions().get(), Some(SessionError::UnknownOwner)));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct SessionService<S, F> {
    inner: S,
    layer: SessionLayer<F>,
}

impl<S, F, O, A, B> Service<Request<A>> for SessionService<S, F>
where
    S: Service<Request<A>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    F: Fn(&Parts) -> Option<O>,
    O: OwnerId,
    A: Send + 'static,
    B: Default,
{
    type Response = Response<Scoped<B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Scoped<B>>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        // Only the instance that was polled is ready; its clone is polled before the next call.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);

        let (mut parts, body) = request.into_parts();
        let owner = (self.layer.owner_of)(&parts).map(|owner| owner.canonical());
        let SessionLayer {
            keyring, purpose, ..
        } = &self.layer;
        let (keyring, purpose) = (keyring.clone(), *purpose);
        Box::pin(async move {
            let session = match owner {
                None => None,
                Some(owner) => match keyring.open(&owner, purpose).await {
                    Ok(session) => Some(session),
                    Err(error) => return Ok(refusal(error)),
                },
            };
            // An outer layer's answer is of no account here.
            parts.extensions.remove::<Session>();
            parts.extensions.remove::<NoOwner>();
            match &session {
                Some(session) => drop(parts.extensions.insert(session.clone())),
                None => drop(parts.extensions.insert(NoOwner)),
            }
            let request = Request::from_parts(parts, body);
            // `call` too runs under the session, not only the future that it gives.
            let run = async move { inner.call(request).await };
            let response = Scoped::new(run, session.clone()).await?;
            Ok(response.map(|body| Scoped::new(body, session)))
        })
    }
}

impl<S: fmt::Debug, F> fmt::Debug for SessionService<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionService")
            .field("inner", &self.inner)
            .field("layer", &self.layer)
            .finish()
    }
}

/// In the extensions of a request in which the layer found no owner.
#[derive(Clone, Copy)]
struct NoOwner;

/// What is said instead of the inner service's answer.
fn refusal<B: Default>(error: SessionError) -> Response<Scoped<B>> {
    let status = match &error {
        SessionError::EmptyOwner | SessionError::LongOwner | SessionError::UnknownOwner => {
            StatusCode::FORBIDDEN
        }
        SessionError::Shredded => StatusCode::GONE,
        SessionError::Audit(_)
        | SessionError::Interrupted
        | SessionError::Restore(_)
        | SessionError::Store(StoreError::Full | StoreError::Unavailable { .. })
        | SessionError::TooManyOwners => StatusCode::SERVICE_UNAVAILABLE,
        SessionError::Kms(error) if !error.is_final() => StatusCode::SERVICE_UNAVAILABLE,
        SessionError::Ended
        | SessionError::Kms(_)
        | SessionError::LongReason
        | SessionError::NoReason
        | SessionError::Store(
            StoreError::Corrupt { .. } | StoreError::NotMigrated | StoreError::ReadOnly,
        )
        | SessionError::WrongKey => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let why = with_causes(&error);
    if matches!(status, StatusCode::FORBIDDEN | StatusCode::GONE) {
        tracing::debug!(target: "ophie_crypt::web", %status, "no session for a request: {why}");
    } else {
        tracing::error!(target: "ophie_crypt::web", %status, "no session for a request: {why}");
    }
    let mut response = Response::new(Scoped::new(B::default(), None));
    *response.status_mut() = status;
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("5"));
    }
    response.extensions_mut().insert(error);
    response
}

/// An error and what it came from, in one line. Neither names an owner.
fn with_causes(error: &SessionError) -> String {
    let mut text = error.to_string();
    let mut next = core::error::Error::source(error);
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// Polls the body under the session.
impl<B: Body> Body for Scoped<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let (body, _restore) = self.enter();
        body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.get_ref().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.get_ref().size_hint()
    }
}

#[cfg(feature = "axum")]
mod extract {
    use core::convert::Infallible;

    use axum_core::{
        extract::{FromRequestParts, OptionalFromRequestParts},
        response::{IntoResponse, Response},
    };
    use http::{StatusCode, request::Parts};

    use super::NoOwner;
    use crate::session::Session;

    /// The request's session, opened by [`SessionLayer`](crate::SessionLayer). `Option<Session>` is for
    /// handlers that also serve those who are not signed in.
    ///
    /// ```
    /// use axum::extract::ws::{WebSocket, WebSocketUpgrade};
    /// use axum::response::Response;
    /// use ophie_crypt::{InSession, Session};
    ///
    /// async fn talk(mut socket: WebSocket) { /* ordinary queries */ }
    ///
    /// async fn call(session: Session, ws: WebSocketUpgrade) -> Response {
    ///     ws.on_upgrade(move |socket| talk(socket).in_session(&session))
    /// }
    /// # let _: axum::Router = axum::Router::new().route("/call", axum::routing::get(call));
    /// ```
    impl<S: Sync> FromRequestParts<S> for Session {
        type Rejection = SessionRejection;

        async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionRejection> {
            let session = parts.extensions.get().cloned();
            session.ok_or(match parts.extensions.get::<NoOwner>() {
                Some(NoOwner) => SessionRejection::NoOwner,
                None => SessionRejection::NoLayer,
            })
        }
    }

    impl<S: Sync> OptionalFromRequestParts<S> for Session {
        type Rejection = Infallible;

        async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
            Ok(parts.extensions.get().cloned())
        }
    }

    /// A handler takes a [`Session`], and the request has none.
    ///
    /// ```
    /// assert!(ophie_crypt::SessionRejection::NoLayer.to_string().contains("`SessionLayer`"));
    /// ```
    #[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
    #[non_exhaustive]
    pub enum SessionRejection {
        /// The request did not pass a layer: 500.
        #[error("no session for this request; put `SessionLayer` around the route")]
        NoLayer,
        /// The layer found no owner in the request: 401.
        #[error(
            "no session for this request; is the user signed in, and does authentication run before `SessionLayer`?"
        )]
        NoOwner,
    }

    impl IntoResponse for SessionRejection {
        fn into_response(self) -> Response {
            let status = match self {
                Self::NoLayer => StatusCode::INTERNAL_SERVER_ERROR,
                Self::NoOwner => StatusCode::UNAUTHORIZED,
            };
            (status, self.to_string()).into_response()
        }
    }
}

#[cfg(feature = "axum")]
pub use self::extract::SessionRejection;

#[cfg(test)]
mod tests;
