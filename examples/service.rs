//! A small axum service to start from: sign-up, notes, and people found by name.
//!
//! ```console
//! $ cargo run --example service # or: -- ADDRESS
//! $ user=$(curl -s -X POST localhost:3000/sign-up)
//! $ curl -H "x-user: $user" -d 'slept badly, called Mom' localhost:3000/notes
//! $ curl -H "x-user: $user" -X PUT -d 'mother' localhost:3000/people/Mom
//! $ curl -H "x-user: $user" localhost:3000/people/mom
//! $ curl -H "x-user: $user" localhost:3000/notes
//! ```

use std::{error::Error, fs, path::Path, time::Duration};

use axum::{
    Extension, Router,
    extract::{self, Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use ophie_crypt::{
    EncryptedModel, InSession, Keyring, LocalKms, Purpose, Session, SessionLayer, memory::ZeroAlloc,
};
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner, SqliteKeyStore};
use sqlx::{FromRow, SqlitePool, sqlite::SqliteConnectOptions};
use uuid::Uuid;

/// What is freed is zeroed: plaintexts that the program takes out, and what drivers leave behind.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

#[derive(EncryptedModel, FromRow)]
#[crypt(table = "notes")]
struct Note {
    #[expect(dead_code, reason = "checked against the session as the row is read")]
    user_id: Owner<Uuid>,
    text: Encrypted<String, note::text>,
}

#[derive(EncryptedModel, FromRow)]
#[crypt(table = "people")]
struct Person {
    #[expect(dead_code, reason = "checked against the session as the row is read")]
    user_id: Owner<Uuid>,
    name: Encrypted<String, person::name>,
    #[crypt(index_of = "name", normalize = "name")]
    #[expect(dead_code, reason = "there to be searched by")]
    name_fp: BlindIndex<String, person::name_fp>,
    relation: Encrypted<String, person::relation>,
}

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS notes (user_id BLOB NOT NULL, text BLOB NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS people (user_id BLOB NOT NULL, name BLOB NOT NULL, name_fp BLOB NOT NULL,
                                       relation BLOB NOT NULL, UNIQUE (user_id, name_fp)) STRICT;";

/// What authentication proved.
#[derive(Clone, Copy)]
struct User(Uuid);

#[derive(Clone)]
struct App {
    db: SqlitePool,
    keyring: Keyring,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new("service-data");
    fs::create_dir_all(folder)?;
    let keyring = Keyring::builder()
        .kms(LocalKms::open_or_create(folder.join("master.key"))?) // production: `AwsKms`
        .key_store(SqliteKeyStore::open(folder.join("keys.db")).await?)
        .linger(Duration::from_secs(60)) // a user's next request finds the key
        .build()?;
    let options = SqliteConnectOptions::new()
        .filename(folder.join("app.db"))
        .create_if_missing(true);
    let db = SqlitePool::connect_with(options).await?;
    sqlx::raw_sql(SCHEMA).execute(&db).await?;

    let sessions = SessionLayer::new(keyring.clone(), Purpose::new("api"), |request| {
        request.extensions.get::<User>().map(|user| user.0)
    });
    let app = Router::new()
        .route("/notes", get(notes).post(add_note))
        .route("/people/{name}", get(person).put(put_person))
        .route("/letters", get(letters))
        .route_layer(sessions) // around routes with encrypted columns,
        .route_layer(middleware::from_fn(authenticate)) // and within authentication
        .route("/sign-up", post(sign_up))
        .with_state(App { db, keyring });
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:3000");
    let listener = tokio::net::TcpListener::bind(address).await?;
    axum::serve(listener, app).await?;
    Ok(())
}

/// A stand-in that believes the client: put yours here.
async fn authenticate(mut request: Request, next: Next) -> Response {
    let claimed = request.headers().get("x-user").map(|id| id.as_bytes());
    match claimed.and_then(|id| Uuid::try_parse_ascii(id).ok()) {
        Some(id) => {
            request.extensions_mut().insert(User(id));
            next.run(request).await
        }
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}

/// The one place that makes a key.
async fn sign_up(State(app): State<App>) -> Result<String, Failure> {
    let user = Uuid::new_v4();
    app.keyring.provision(&user).await?;
    Ok(user.to_string())
}

async fn add_note(
    State(app): State<App>,
    Extension(User(user)): Extension<User>,
    text: String,
) -> Result<StatusCode, Failure> {
    sqlx::query("INSERT INTO notes (user_id, text) VALUES ($1, $2)")
        .bind(Owner(user))
        .bind(note::text(text))
        .execute(&app.db)
        .await?;
    Ok(StatusCode::CREATED)
}

async fn notes(
    State(app): State<App>,
    Extension(User(user)): Extension<User>,
) -> Result<String, Failure> {
    let notes: Vec<Note> = sqlx::query_as("SELECT * FROM notes WHERE user_id = $1")
        .bind(Owner(user))
        .fetch_all(&app.db)
        .await?;
    let lines = notes.iter().map(|note| note.text.expose_secret().as_str());
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

async fn put_person(
    State(app): State<App>,
    Extension(User(user)): Extension<User>,
    extract::Path(name): extract::Path<String>,
    relation: String,
) -> Result<StatusCode, Failure> {
    sqlx::query(
        "INSERT INTO people (user_id, name, name_fp, relation) VALUES ($1, $2, $3, $4)
         ON CONFLICT (user_id, name_fp) DO UPDATE SET name = excluded.name, relation = excluded.relation",
    )
    .bind(Owner(user))
    .bind(person::name(name.as_str()))
    .bind(person::name_fp(name)?)
    .bind(person::relation(relation))
    .execute(&app.db)
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn person(
    State(app): State<App>,
    Extension(User(user)): Extension<User>,
    extract::Path(name): extract::Path<String>,
) -> Result<Response, Failure> {
    let found: Option<Person> =
        sqlx::query_as("SELECT * FROM people WHERE user_id = $1 AND name_fp = $2")
            .bind(Owner(user))
            .bind(person::name_fp(name)?)
            .fetch_optional(&app.db)
            .await?;
    Ok(match found {
        Some(person) => format!(
            "{}: {}",
            person.name.expose_secret(),
            person.relation.expose_secret()
        )
        .into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    })
}

/// Work in a task of its own takes the session along.
async fn letters(
    State(app): State<App>,
    Extension(User(user)): Extension<User>,
    session: Session,
) -> Result<String, Failure> {
    let count = async move {
        let notes: Vec<Note> = sqlx::query_as("SELECT * FROM notes WHERE user_id = $1")
            .bind(Owner(user))
            .fetch_all(&app.db)
            .await?;
        let letters = notes.iter().map(|note| note.text.expose_secret().len());
        Ok::<usize, sqlx::Error>(letters.sum())
    };
    let count = tokio::spawn(count.in_session(&session)).await??;
    Ok(count.to_string())
}

/// Logged whole; the client learns nothing of it.
struct Failure(Box<dyn Error + Send + Sync>);

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        eprintln!("{}", self.0);
        let mut cause = self.0.source();
        while let Some(error) = cause {
            eprintln!("  because {error}");
            cause = error.source();
        }
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}
