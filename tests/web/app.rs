//! An application with users, notes and sockets, and a KMS that can be watched.

use std::{
    error::Error,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use async_trait::async_trait;
use axum::{
    Extension, Router,
    body::Body,
    extract::{
        Request, State,
        ws::{WebSocket, WebSocketUpgrade},
    },
    http::{StatusCode, request::Parts},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use ophie_crypt::{
    Dek, EncryptedModel, InSession, Keyring, Kms, KmsCall, KmsError, LocalKms, Purpose, Session,
    SessionLayer, WrappedDek,
};
use ophie_crypt_sqlx::{Encrypted, Owner, SqliteKeyStore};
use ophie_crypt_tests::sqlite::{Database, Pool};
use sqlx::{Executor, FromRow};

use crate::{Result, passed_on::pass_on};

#[derive(EncryptedModel, sqlx::FromRow)]
#[crypt(table = "notes")]
pub(crate) struct Note {
    #[allow(dead_code, reason = "checked when it is read")]
    pub(crate) user_id: Owner<i64>,
    pub(crate) text: Encrypted<String, note::text>,
}

pub(crate) const ADA: i64 = 1;
pub(crate) const BOB: i64 = 2;
pub(crate) const PURPOSE: Purpose = Purpose::new("web");

/// A KMS that counts unwraps and fails when told to.
pub(crate) struct Switch {
    kms: LocalKms,
    unwraps: AtomicU64,
    pub(crate) failure: Mutex<Option<KmsError>>,
}

#[async_trait]
impl Kms for Switch {
    pass_on!(kms: make_dek, rewrap_dek, holds);

    async fn unwrap_dek(&self, wrapped: &WrappedDek, call: &KmsCall) -> Result<Dek, KmsError> {
        self.unwraps.fetch_add(1, SeqCst);
        let failure = lock(&self.failure).clone();
        match failure {
            Some(error) => Err(error),
            None => self.kms.unwrap_dek(wrapped, call).await,
        }
    }
}

/// What the handlers share, and what the tests look at.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) db: Arc<Database>,
    pub(crate) kms: Arc<Switch>,
    pub(crate) keyring: Keyring,
    pub(crate) errors: Arc<Mutex<Vec<String>>>,
    pub(crate) handled: Arc<AtomicU64>,
}

impl App {
    pub(crate) async fn new() -> Result<Self> {
        let db = Database::create().await;
        sqlx::query("CREATE TABLE notes (id INTEGER PRIMARY KEY, user_id INTEGER, text BLOB)")
            .execute(db.pool())
            .await?;
        let kms = Arc::new(Switch {
            kms: LocalKms::ephemeral()?,
            unwraps: AtomicU64::new(0),
            failure: Mutex::default(),
        });
        let store = SqliteKeyStore::open(db.folder().join("keys.db")).await?;
        let keyring = Keyring::builder()
            .kms(Arc::clone(&kms))
            .key_store(store)
            .build()?;
        keyring.provision(&ADA).await?;
        keyring.provision(&BOB).await?;
        Ok(Self {
            db: Arc::new(db),
            kms,
            keyring,
            errors: Arc::default(),
            handled: Arc::default(),
        })
    }

    pub(crate) fn pool(&self) -> &Pool {
        self.db.pool()
    }

    pub(crate) fn unwraps(&self) -> u64 {
        self.kms.unwraps.load(SeqCst)
    }

    pub(crate) fn take_errors(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.errors))
    }

    pub(crate) fn layer(
        &self,
    ) -> SessionLayer<impl Fn(&Parts) -> Option<i64> + Clone + Send + Sync + 'static> {
        SessionLayer::new(self.keyring.clone(), PURPOSE, |request| {
            request.extensions.get::<User>().map(|user| user.0)
        })
    }

    /// An application whose routes run under the layer, as most will be.
    pub(crate) fn routes(&self) -> Router {
        Router::new()
            .route("/notes", post(create).get(list))
            .route("/stream", get(streamed))
            .route("/endless", get(endless))
            .route("/talk", get(talk_carried))
            .route("/talk-forgotten", get(talk_forgotten))
            .route("/who", get(who))
            .route("/needs-session", get(async |_: Session| "reached"))
            .layer(self.layer())
            .layer(from_fn(authenticate))
            .with_state(self.clone())
    }
}

#[derive(Clone, Copy)]
pub(crate) struct User(pub(crate) i64);

/// Stands for real authentication.
pub(crate) async fn authenticate(mut request: Request, next: Next) -> Response {
    let user = request.headers().get("x-user");
    if let Some(user) = user.and_then(|user| user.to_str().ok()?.parse().ok()) {
        request.extensions_mut().insert(User(user));
    }
    next.run(request).await
}

pub(crate) struct Failed(Box<dyn Error + Send + Sync>);

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, self.0.to_string()).into_response()
    }
}

pub(crate) async fn write(pool: &Pool, user: i64, text: &str) -> Result<(), sqlx::Error> {
    let insert = sqlx::query("INSERT INTO notes (user_id, text) VALUES ($1, $2)");
    insert
        .bind(user)
        .bind(note::text(text))
        .execute(pool)
        .await?;
    Ok(())
}

/// A user's notes, one a line, opened as the stream is polled.
pub(crate) fn lines(
    app: &App,
    user: i64,
) -> impl Stream<Item = Result<String, sqlx::Error>> + use<> {
    let select = sqlx::query("SELECT user_id, text FROM notes WHERE user_id = $1 ORDER BY id");
    let errors = Arc::clone(&app.errors);
    app.pool()
        .fetch(select.bind(user))
        .map(|row| Ok(Note::from_row(&row?)?.text.expose_secret().to_owned() + "\n"))
        .inspect_err(move |error: &sqlx::Error| lock(&errors).push(error.to_string()))
}

async fn create(
    State(app): State<App>,
    Extension(User(user)): Extension<User>,
    text: String,
) -> Result<(), Failed> {
    Ok(write(app.pool(), user, &text).await?)
}

async fn list(
    State(app): State<App>,
    Extension(User(user)): Extension<User>,
) -> Result<String, Failed> {
    Ok(lines(&app, user).try_collect().await?)
}

async fn streamed(State(app): State<App>, Extension(User(user)): Extension<User>) -> Body {
    Body::from_stream(lines(&app, user))
}

/// Reads the notes again and again, until nobody takes them any more.
async fn endless(State(app): State<App>, Extension(User(user)): Extension<User>) -> Body {
    Body::from_stream(stream::repeat(()).flat_map(move |()| lines(&app, user)))
}

pub(crate) async fn who(user: Option<Extension<User>>, carried: Option<Session>) -> String {
    match (user, carried, Session::current()) {
        (Some(Extension(User(user))), Some(carried), Some(current)) => {
            let both = carried.check_owner(&user).is_ok() && current.check_owner(&user).is_ok();
            format!("{user}: {both}")
        }
        (user, carried, current) => {
            let (user, carried) = (user.is_some(), carried.is_some());
            format!(
                "user {user}, carried {carried}, current {}",
                current.is_some()
            )
        }
    }
}

async fn talk(mut socket: WebSocket, app: App, user: i64) {
    while let Some(Ok(message)) = socket.recv().await {
        let Ok(text) = message.into_text() else { break };
        let answer = match text.strip_prefix("write ") {
            Some(note) => write(app.pool(), user, note)
                .await
                .map(|()| "written".into()),
            None => lines(&app, user).try_collect().await,
        };
        let answer: String = answer.unwrap_or_else(|error| error.to_string());
        if socket.send(answer.into()).await.is_err() {
            break;
        }
    }
}

async fn talk_carried(
    State(app): State<App>,
    Extension(User(user)): Extension<User>,
    session: Session,
    ws: WebSocketUpgrade,
) -> Response {
    ws.on_upgrade(move |socket| talk(socket, app, user).in_session(&session))
}

async fn talk_forgotten(
    State(app): State<App>,
    Extension(User(user)): Extension<User>,
    ws: WebSocketUpgrade,
) -> Response {
    ws.on_upgrade(move |socket| talk(socket, app, user))
}

pub(crate) fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().expect("no holder panics")
}
