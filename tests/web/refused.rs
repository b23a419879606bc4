//! What is answered when a request has no session: no owner, one without keys, a KMS or key store that fails.

use std::future::ready;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, atomic::Ordering::SeqCst};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{StatusCode, header, request::Parts},
    middleware::{from_fn, map_response},
    response::Response,
    routing::get,
};
use futures_util::StreamExt;
use ophie_crypt::{Keyring, KmsError, Session, SessionError, SessionLayer, StoreError};
use ophie_crypt_sqlx::SqliteKeyStore;
use ophie_crypt_tests::sqlite::Database;
use tower::{ServiceBuilder, ServiceExt};

use crate::{
    ADVICE, Picky, Result,
    app::{ADA, App, BOB, Failed, PURPOSE, authenticate, lock, write},
    client::{Client, serve, text},
    ok,
};

const STRANGER: i64 = 3;

#[tokio::test]
async fn a_request_without_owner_goes_on_without_session() -> Result {
    let app = App::new().await?;
    let routes = app.routes().merge(
        Router::new()
            .route(
                "/write",
                get(async |State(app): State<App>| {
                    Ok::<_, Failed>(write(app.pool(), ADA, "nobody's").await?)
                }),
            )
            .layer(app.layer())
            .with_state(app.clone()),
    );
    let mut client = Client::connect(serve(routes).await?).await?;

    let (status, message) = client.get("/write", None).await?;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(message.contains(ADVICE), "{message}");
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM notes")
        .fetch_one(app.pool())
        .await?;
    assert_eq!(rows, 0);

    let (status, message) = client.get("/needs-session", None).await?;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        message,
        "no session for this request; is the user signed in, and does authentication run before `SessionLayer`?"
    );
    assert_eq!(client.get("/needs-session", ADA).await?, ok("reached"));
    Ok(())
}

#[tokio::test]
async fn a_route_without_the_layer_is_the_servers_mistake() -> Result {
    let routes = Router::new().route("/", get(async |_: Session| "reached"));
    let mut client = Client::connect(serve(routes).await?).await?;
    let (status, message) = client.get("/", None).await?;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(
        message,
        "no session for this request; put `SessionLayer` around the route"
    );
    Ok(())
}

/// The client is told nothing, so the log must say why, down to the last cause.
#[tokio::test]
async fn why_there_is_no_session_is_logged() -> Result {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            lock(&self.0).write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // For all threads: an event that a test without a subscriber meets first is left out everywhere.
    tracing::subscriber::set_global_default(subscriber)?;

    let app = App::new().await?;
    *lock(&app.kms.failure) = Some(KmsError::refused("access denied to the role"));
    refusal(&app, ADA, app.layer()).await?;
    refusal(&app, STRANGER, app.layer()).await?;
    let log = String::from_utf8(lock(&log.0).clone())?;
    let line = |level: &str, text: &str| {
        log.lines().any(|line| {
            line.contains(level) && line.contains("ophie_crypt::web") && line.contains(text)
        })
    };
    assert!(line("ERROR", "access denied to the role"), "{log}");
    assert!(line("DEBUG", "call `provision` at sign-up"), "{log}");
    Ok(())
}

/// Sends one request of `user`, and gives what an outer layer found in the response's extensions.
async fn refusal(
    app: &App,
    user: i64,
    layer: SessionLayer<impl Fn(&Parts) -> Option<i64> + Clone + Send + Sync + 'static>,
) -> Result<(StatusCode, bool, Option<SessionError>)> {
    let found = Arc::new(Mutex::new(None));
    let (finding, handled) = (Arc::clone(&found), Arc::clone(&app.handled));
    let routes = Router::new()
        .route(
            "/",
            get(async move || {
                handled.fetch_add(1, SeqCst);
            }),
        )
        .layer(layer)
        .layer(map_response(move |response: Response| {
            *lock(&finding) = response.extensions().get::<SessionError>().cloned();
            ready(response)
        }))
        .layer(from_fn(authenticate));
    let mut client = Client::connect(serve(routes).await?).await?;
    let response = client.send("GET", "/", Some(user), Body::empty()).await?;
    let (status, retry) = (
        response.status(),
        response.headers().contains_key(header::RETRY_AFTER),
    );
    assert_eq!(text(response).await?, "");
    let found = lock(&found).take();
    Ok((status, retry, found))
}

#[tokio::test]
async fn a_failing_kms_is_told_from_a_refusing_one() -> Result {
    let app = App::new().await?;
    let fail = |error| *lock(&app.kms.failure) = error;

    fail(Some(KmsError::unavailable("connection refused")));
    let down = refusal(&app, ADA, app.layer()).await?;
    assert!(
        matches!(
            down,
            (
                StatusCode::SERVICE_UNAVAILABLE,
                true,
                Some(SessionError::Kms(KmsError::Unavailable { .. }))
            )
        ),
        "{down:?}"
    );

    fail(Some(KmsError::refused("access denied")));
    let refused = refusal(&app, ADA, app.layer()).await?;
    assert!(
        matches!(
            refused,
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                false,
                Some(SessionError::Kms(KmsError::Refused { .. }))
            )
        ),
        "{refused:?}"
    );
    assert_eq!(app.handled.load(SeqCst), 0);

    fail(None);
    let well = refusal(&app, ADA, app.layer()).await?;
    assert!(matches!(well, (StatusCode::OK, false, None)), "{well:?}");
    assert_eq!(app.handled.load(SeqCst), 1);
    Ok(())
}

#[tokio::test]
async fn a_failing_key_store_is_told_from_one_without_tables() -> Result {
    let app = App::new().await?;
    let keys = Database::create().await;
    let keyring = Keyring::builder()
        .kms(Arc::clone(&app.kms))
        .key_store(SqliteKeyStore::new(keys.pool().clone()))
        .build()?;
    let layer = SessionLayer::new(keyring, PURPOSE, |_: &Parts| Some(ADA));

    let unmigrated = refusal(&app, ADA, layer.clone()).await?;
    assert!(
        matches!(
            unmigrated,
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                false,
                Some(SessionError::Store(StoreError::NotMigrated))
            )
        ),
        "{unmigrated:?}"
    );

    keys.pool().close().await;
    let down = refusal(&app, ADA, layer).await?;
    assert!(
        matches!(
            down,
            (
                StatusCode::SERVICE_UNAVAILABLE,
                true,
                Some(SessionError::Store(StoreError::Unavailable { .. }))
            )
        ),
        "{down:?}"
    );
    assert_eq!(app.handled.load(SeqCst), 0);
    Ok(())
}

/// A request that comes behind the shred, and a body that was being sent: neither looks like a KMS that fails, or damage.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_whose_keys_were_destroyed_is_gone() -> Result {
    let app = App::new().await?;
    crate::write_thousand(&app, ADA).await?;
    let mut client = Client::connect(serve(app.routes()).await?).await?;
    let response = client
        .send("GET", "/endless", Some(ADA), Body::empty())
        .await?;
    let mut body = Body::new(response.into_body()).into_data_stream();
    assert!(matches!(body.next().await, Some(Ok(_))));
    app.keyring.shred(&ADA).await?;
    while let Some(Ok(_)) = body.next().await {} // endless, but for the error
    let errors = app.take_errors();
    assert!(
        matches!(&errors[..], [error] if error.contains("keys were destroyed")),
        "{errors:?}"
    );

    let gone = refusal(&app, ADA, app.layer()).await?;
    assert!(
        matches!(
            gone,
            (StatusCode::GONE, false, Some(SessionError::Shredded))
        ),
        "{gone:?}"
    );
    assert_eq!(app.handled.load(SeqCst), 0);
    let living = refusal(&app, BOB, app.layer()).await?;
    assert!(
        matches!(living, (StatusCode::OK, false, None)),
        "{living:?}"
    );
    Ok(())
}

#[tokio::test]
async fn an_owner_without_keys_is_refused() -> Result {
    let app = App::new().await?;
    let unknown = refusal(&app, STRANGER, app.layer()).await?;
    assert!(
        matches!(
            unknown,
            (
                StatusCode::FORBIDDEN,
                false,
                Some(SessionError::UnknownOwner)
            )
        ),
        "{unknown:?}"
    );
    assert_eq!(app.handled.load(SeqCst), 0);

    let layer = SessionLayer::new(app.keyring.clone(), PURPOSE, |_: &Parts| Some(""));
    let service = ServiceBuilder::new().layer(layer).service(Picky::default());
    let empty = service.oneshot(Request::new(Body::empty())).await?;
    assert_eq!(empty.status(), StatusCode::FORBIDDEN);
    assert!(matches!(
        empty.extensions().get(),
        Some(SessionError::EmptyOwner)
    ));
    Ok(())
}
