//! The tower layer and axum's extractor, on a real server: what runs under a request's session, what must
//! carry it, and what is answered when there is none.

#[path = "web/app.rs"]
mod app;
#[path = "web/client.rs"]
mod client;
#[path = "../ophie-crypt/src/passed_on.rs"]
mod passed_on;
#[path = "web/refused.rs"]
mod refused;

use std::{
    collections::BTreeSet,
    error::Error,
    future::{Ready, ready},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Extension, Router,
    body::{Body, HttpBody},
    extract::{Request, State},
    http::{StatusCode, header, request::Parts},
    middleware::from_fn,
    response::Response,
    routing::get,
};
use futures_util::{SinkExt, StreamExt, future::join_all};
use ophie_crypt::{
    InSession, Keyring, LocalKms, MemoryKeyStore, Session, SessionError, SessionLayer,
};
use ophie_crypt_sqlx::Encrypted;
use sqlx::Row;
use tokio::{sync::Barrier, time::timeout};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, client::IntoClientRequest},
};
use tower::{Service, ServiceBuilder, ServiceExt};

use crate::{
    app::{ADA, App, BOB, Failed, PURPOSE, User, authenticate, lines, note, who, write},
    client::{Client, serve, text},
};

type Result<T = (), E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// What the first of the newcomer's mistakes ends in.
const ADVICE: &str = "no session is current in this task; run the query inside `session.scope(..)`, \
                      give spawned tasks, streams and WebSocket tasks `.in_session(&session)`";

fn ok(text: impl Into<String>) -> (StatusCode, String) {
    (StatusCode::OK, text.into())
}

/// Writes the notes `0` to `999`, and gives the text that reads them.
async fn write_thousand(app: &App, user: i64) -> Result<String> {
    let session = app.keyring.open(&user, PURPOSE).await?;
    let mut transaction = app.pool().begin().await?;
    for i in 0..1000 {
        let insert = sqlx::query("INSERT INTO notes (user_id, text) VALUES ($1, $2)").bind(user);
        let text = note::text(i.to_string()).seal(&session)?;
        insert.bind(text).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok((0..1000).map(|i| format!("{i}\n")).collect())
}

// Under the layer.

#[tokio::test]
async fn a_handler_writes_and_reads() -> Result {
    let app = App::new().await?;
    let mut client = Client::connect(serve(app.routes()).await?).await?;

    assert_eq!(client.post("/notes", ADA, "slept badly").await?, ok(""));
    assert_eq!(client.post("/notes", BOB, "").await?, ok(""));
    assert_eq!(client.get("/notes", ADA).await?, ok("slept badly\n"));
    assert_eq!(client.get("/notes", BOB).await?, ok("\n"));

    let stored: Vec<Vec<u8>> = sqlx::query_scalar("SELECT text FROM notes ORDER BY id")
        .fetch_all(app.pool())
        .await?;
    let sizes: Vec<_> = stored.iter().map(Vec::len).collect();
    assert_eq!(sizes, [45 + "slept badly".len(), 45]);
    assert!(stored.iter().all(|bytes| bytes.first() == Some(&0xFA)));
    Ok(())
}

#[tokio::test]
async fn requests_of_one_connection_have_sessions_of_their_own() -> Result {
    let app = App::new().await?;
    let mut client = Client::connect(serve(app.routes()).await?).await?;
    for _ in 0..3 {
        assert_eq!(client.get("/who", ADA).await?, ok("1: true"));
        assert_eq!(client.get("/who", BOB).await?, ok("2: true"));
        let nobody = client.get("/who", None).await?;
        assert_eq!(nobody, ok("user false, carried false, current false"));
    }
    Ok(())
}

#[tokio::test]
async fn a_body_of_known_length_stays_one() -> Result {
    let app = App::new().await?;
    let mut client = Client::connect(serve(app.routes()).await?).await?;
    let response = client.send("GET", "/who", Some(ADA), Body::empty()).await?;
    assert_eq!(response.headers()[header::CONTENT_LENGTH], "7");
    Ok(())
}

#[tokio::test]
async fn a_streamed_body_runs_under_the_layer() -> Result {
    let app = App::new().await?;
    let rows = write_thousand(&app, ADA).await?;
    let mut client = Client::connect(serve(app.routes()).await?).await?;
    let response = client
        .send("GET", "/stream", Some(ADA), Body::empty())
        .await?;
    assert_eq!(response.headers().get(header::CONTENT_LENGTH), None);
    assert_eq!(text(response).await?, rows);
    assert_eq!(client.get("/stream", BOB).await?, ok(""));
    assert_eq!(app.take_errors(), [""; 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_interleaved_requests_of_two_users_see_their_own_rows() -> Result {
    /// Reads everybody's rows once all requests have written theirs.
    async fn all(app: App, all_wrote: Arc<Barrier>, user: i64) -> Result<String, Failed> {
        write(app.pool(), user, &format!("of {user}")).await?;
        all_wrote.wait().await;
        let rows = sqlx::query("SELECT text FROM notes")
            .fetch_all(app.pool())
            .await?;
        let (mut opened, mut refused) = (0, 0);
        for row in rows {
            match row.try_get::<Encrypted<String, note::text>, _>("text") {
                Ok(text) if text.expose_secret() == &format!("of {user}") => opened += 1,
                Ok(text) => return Err(format!("{user} saw {}", text.expose_secret()).into()),
                Err(error) if error.to_string().contains("another owner's row") => refused += 1,
                Err(error) => return Err(error.into()),
            }
            tokio::task::yield_now().await;
        }
        Ok(format!("{opened} opened, {refused} refused"))
    }

    let app = App::new().await?;
    let (state, all_wrote) = (app.clone(), Arc::new(Barrier::new(200)));
    let handler = async move |Extension(User(user))| all(state, all_wrote, user).await;
    let routes = Router::new()
        .route("/", get(handler))
        .layer(app.layer())
        .layer(from_fn(authenticate));
    let address = serve(routes).await?;
    let requests = (0..200).map(async |i| {
        let user = if i % 2 == 0 { ADA } else { BOB };
        Client::connect(address).await?.get("/", user).await
    });
    for answer in timeout(Duration::from_secs(60), join_all(requests)).await? {
        assert_eq!(answer?, ok("100 opened, 100 refused"));
    }
    assert_eq!(app.unwraps(), 2); // overlapping sessions of one owner share one unwrap
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_ends_the_session() -> Result {
    let app = App::new().await?;
    write_thousand(&app, ADA).await?;
    let before = app.unwraps();
    let mut client = Client::connect(serve(app.routes()).await?).await?;
    let response = client
        .send("GET", "/endless", Some(ADA), Body::empty())
        .await?;
    let mut body = Body::new(response.into_body()).into_data_stream();
    assert!(matches!(body.next().await, Some(Ok(_))));

    // As long as the body lives, its session lends its key to others.
    app.keyring.open(&ADA, PURPOSE).await?;
    app.keyring.open(&ADA, PURPOSE).await?;
    assert_eq!(app.unwraps(), before + 1);

    drop((body, client));
    timeout(Duration::from_secs(30), async {
        while app.unwraps() == before + 1 {
            app.keyring.open(&ADA, PURPOSE).await?;
            tokio::task::yield_now().await;
        }
        Ok::<_, SessionError>(())
    })
    .await??;
    Ok(())
}

// What must carry the session.

#[tokio::test]
async fn a_streamed_body_without_the_layer_carries_the_session() -> Result {
    async fn carried(app: App) -> Result<Body, Failed> {
        let session = app.keyring.open(&ADA, PURPOSE).await?;
        Ok(Body::from_stream(lines(&app, ADA).in_session(&session)))
    }
    async fn forgotten(app: App) -> Result<Body, Failed> {
        let session = app.keyring.open(&ADA, PURPOSE).await?;
        Ok(session
            .scope(async { Body::from_stream(lines(&app, ADA)) })
            .await)
    }

    let app = App::new().await?;
    let rows = write_thousand(&app, ADA).await?;
    let routes = Router::new()
        .route("/carried", get(async |State(app)| carried(app).await))
        .route("/forgotten", get(async |State(app)| forgotten(app).await))
        .with_state(app.clone());
    let address = serve(routes).await?;

    let answer = Client::connect(address)
        .await?
        .get("/carried", None)
        .await?;
    assert_eq!(answer, ok(rows));
    assert_eq!(app.take_errors(), [""; 0]);

    let mut client = Client::connect(address).await?;
    let response = client.send("GET", "/forgotten", None, Body::empty()).await;
    let received = match response {
        Ok(response) => text(response).await,
        Err(error) => Err(error),
    };
    assert!(received.is_err(), "the body broke off: {received:?}");
    let errors = app.take_errors();
    assert!(
        errors.first().is_some_and(|error| error.contains(ADVICE)),
        "{errors:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_websocket_carries_the_session() -> Result {
    /// What a socket answers to each message.
    async fn ask<const N: usize>(
        address: SocketAddr,
        path: &str,
        user: i64,
        messages: [&str; N],
    ) -> Result<Vec<String>> {
        let mut request = format!("ws://{address}{path}").into_client_request()?;
        request.headers_mut().insert("x-user", user.into());
        let (mut socket, _) = connect_async(request).await?;
        let mut answers = Vec::new();
        for message in messages {
            socket.send(Message::text(message)).await?;
            let answer = socket.next().await.ok_or("the socket was closed")??;
            answers.push(answer.into_text()?.to_string());
        }
        Ok(answers)
    }

    let app = App::new().await?;
    let address = serve(app.routes()).await?;
    let answers = ask(address, "/talk", ADA, ["write one", "write two", "read"]).await?;
    assert_eq!(answers, ["written", "written", "one\ntwo\n"]);
    assert_eq!(ask(address, "/talk", BOB, ["read"]).await?, [""]);

    let answers = ask(address, "/talk-forgotten", ADA, ["write three", "read"]).await?;
    assert_eq!(answers.len(), 2);
    assert!(
        answers.iter().all(|answer| answer.contains(ADVICE)),
        "{answers:?}"
    );
    assert_eq!(ask(address, "/talk", ADA, ["read"]).await?, ["one\ntwo\n"]); // no "three"
    Ok(())
}

// Where the layer may stand.

#[tokio::test]
async fn the_layer_works_wherever_axum_takes_one() -> Result {
    let app = App::new().await?;
    let who = || get(who);
    let places = [
        Router::new()
            .route("/", who())
            .layer(app.layer())
            .layer(from_fn(authenticate)),
        Router::new()
            .route("/", who())
            .route_layer(app.layer())
            .route_layer(from_fn(authenticate)),
        Router::new()
            .route("/", who().layer(app.layer()))
            .layer(from_fn(authenticate)),
        Router::new().route("/", who()).layer(
            ServiceBuilder::new()
                .layer(from_fn(authenticate))
                .layer(app.layer()),
        ),
        Router::new()
            .fallback_service(
                ServiceBuilder::new()
                    .layer(app.layer())
                    .service(Router::new().route("/", who())),
            )
            .layer(from_fn(authenticate)),
    ];
    let mut answers = BTreeSet::new();
    for routes in places {
        let mut client = Client::connect(serve(routes).await?).await?;
        answers.insert(client.get("/", BOB).await?);
    }
    assert_eq!(answers, BTreeSet::from([ok("2: true")]));
    Ok(())
}

/// Refuses to be called on an instance that was not polled ready, as `ConcurrencyLimit` does.
#[derive(Default)]
struct Picky {
    ready: bool,
    under_session: Arc<AtomicBool>,
}

impl Clone for Picky {
    fn clone(&self) -> Self {
        Self {
            ready: false,
            under_session: Arc::clone(&self.under_session),
        }
    }
}

impl Service<Request> for Picky {
    type Response = Response;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Ready<Result<Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request) -> Self::Future {
        assert!(self.ready, "called without being ready");
        self.ready = false;
        self.under_session
            .store(Session::current().is_some(), SeqCst);
        ready(Ok(Response::new(Body::empty())))
    }
}

#[tokio::test]
async fn the_instance_that_was_ready_is_called_under_the_session() -> Result {
    let keyring = Keyring::builder()
        .kms(LocalKms::ephemeral()?)
        .key_store(MemoryKeyStore::new())
        .build()?;
    keyring.provision(&ADA).await?;
    let layer = SessionLayer::new(keyring, PURPOSE, |_: &Parts| Some(ADA));
    let picky = Picky::default();
    let under_session = Arc::clone(&picky.under_session);
    let mut service = ServiceBuilder::new().layer(layer).service(picky);
    for _ in 0..3 {
        let request = Request::new(Body::empty());
        let response = service.ready().await?.call(request).await?;
        assert_eq!(response.status(), StatusCode::OK);
        assert!(under_session.swap(false, SeqCst));
        assert!(response.body().is_end_stream());
    }
    Ok(())
}
