//! The axum service of `service.rs` under diesel-async: sign-up, notes, and people found by name.
//!
//! ```console
//! $ cargo run --example diesel_async_axum # or: -- ADDRESS
//! $ DATABASE_URL=postgres://localhost/app cargo run --example diesel_async_axum --features postgres
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
use diesel::{prelude::*, upsert::excluded};
use diesel_async::{
    RunQueryDsl, SimpleAsyncConnection,
    pooled_connection::{AsyncDieselConnectionManager, bb8::Pool},
};
use ophie_crypt::{
    EncryptedModel, InSession, Keyring, LocalKms, Purpose, Session, SessionLayer, memory::ZeroAlloc,
};
use ophie_crypt_diesel::{BlindIndex, DieselKeyStore, Encrypted, Owner};
use uuid::Uuid;

/// What is freed is zeroed: plaintexts that the program takes out, and what drivers leave behind.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

#[derive(EncryptedModel, Insertable, Queryable, Selectable)]
#[crypt(table = "notes")]
#[diesel(table_name = notes)]
pub struct Note {
    pub user_id: Owner<String>,
    pub text: Encrypted<String, note::text>,
}

#[derive(EncryptedModel, Insertable, Queryable, Selectable)]
#[crypt(table = "people")]
#[diesel(table_name = people)]
pub struct Person {
    pub user_id: Owner<String>,
    pub name: Encrypted<String, person::name>,
    #[crypt(index_of = "name", normalize = "name")]
    pub name_fp: BlindIndex<String, person::name_fp>,
    pub relation: Encrypted<String, person::relation>,
}

/// A column under its marker takes no other column's value, no bytes and no text: that does not compile.
mod schema {
    diesel::table! {
        use diesel::sql_types::Text;
        use ophie_crypt_diesel::Ciphertext;
        use crate::note;

        notes (user_id) {
            user_id -> Text,
            text -> Ciphertext<note::text>,
        }
    }

    diesel::table! {
        use diesel::sql_types::Text;
        use ophie_crypt_diesel::Ciphertext;
        use crate::person;

        people (user_id, name_fp) {
            user_id -> Text,
            name -> Ciphertext<person::name>,
            name_fp -> Ciphertext<person::name_fp>,
            relation -> Ciphertext<person::relation>,
        }
    }
}
use schema::{notes, people};

/// Where the rows are: PostgreSQL, whose database keeps the wrapped keys too.
#[cfg(feature = "postgres")]
mod database {
    pub type Connection = diesel_async::AsyncPgConnection;
    pub type KeyPool = diesel_async::pooled_connection::bb8::Pool<Connection>;

    pub const BYTES: &str = "BYTEA";

    pub fn url(_folder: &std::path::Path) -> Result<String, std::env::VarError> {
        std::env::var("DATABASE_URL")
    }

    pub fn key_pool(
        rows: &diesel_async::pooled_connection::bb8::Pool<Connection>,
        _folder: &std::path::Path,
    ) -> Result<KeyPool, Box<dyn std::error::Error>> {
        Ok(rows.clone())
    }
}

/// Where the rows are: a file of SQLite's; the wrapped keys have one of their own.
#[cfg(not(feature = "postgres"))]
mod database {
    use diesel::{SqliteConnection, r2d2};
    use diesel_async::{
        pooled_connection::bb8::Pool, sync_connection_wrapper::SyncConnectionWrapper,
    };

    pub type Connection = SyncConnectionWrapper<SqliteConnection>;
    pub type KeyPool = r2d2::Pool<r2d2::ConnectionManager<SqliteConnection>>;

    pub const BYTES: &str = "BLOB";

    pub fn url(folder: &std::path::Path) -> Result<String, std::env::VarError> {
        Ok(folder.join("diesel.db").display().to_string())
    }

    pub fn key_pool(
        _rows: &Pool<Connection>,
        folder: &std::path::Path,
    ) -> Result<KeyPool, Box<dyn std::error::Error>> {
        let file = folder.join("diesel-keys.db").display().to_string();
        Ok(r2d2::Pool::builder()
            .max_size(2)
            .build(r2d2::ConnectionManager::new(file))?)
    }
}

/// What authentication proved.
#[derive(Clone)]
struct User(String);

#[derive(Clone)]
struct App {
    db: Pool<database::Connection>,
    keyring: Keyring,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new("service-data");
    fs::create_dir_all(folder)?;
    let manager = AsyncDieselConnectionManager::new(database::url(folder)?);
    let db = Pool::<database::Connection>::builder()
        .max_size(4)
        .build(manager)
        .await?;
    let store = DieselKeyStore::new(database::key_pool(&db, folder)?);
    store.migrate().await?;
    let keyring = Keyring::builder()
        .kms(LocalKms::open_or_create(folder.join("master.key"))?) // production: `AwsKms`
        .key_store(store)
        .linger(Duration::from_secs(60)) // a user's next request finds the key
        .build()?;
    let schema = format!(
        "CREATE TABLE IF NOT EXISTS notes (user_id TEXT NOT NULL, text {0} NOT NULL);
         CREATE TABLE IF NOT EXISTS people (user_id TEXT NOT NULL, name {0} NOT NULL, name_fp {0} NOT NULL,
                                            relation {0} NOT NULL, PRIMARY KEY (user_id, name_fp));",
        database::BYTES
    );
    db.get().await?.batch_execute(&schema).await?;

    let sessions = SessionLayer::new(keyring.clone(), Purpose::new("api"), |request| {
        request.extensions.get::<User>().map(|user| user.0.clone())
    });
    let app = Router::new()
        .route("/notes", get(notes_of).post(add_note))
        .route("/people/{name}", get(person_named).put(put_person))
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
            request.extensions_mut().insert(User(id.to_string()));
            next.run(request).await
        }
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}

/// The one place that makes a key.
async fn sign_up(State(app): State<App>) -> Result<String, Failure> {
    let user = Uuid::new_v4().to_string();
    app.keyring.provision(&user).await?;
    Ok(user)
}

async fn add_note(
    State(app): State<App>,
    Extension(User(user)): Extension<User>,
    text: String,
) -> Result<StatusCode, Failure> {
    let note = Note {
        user_id: Owner(user),
        text: note::text(text),
    };
    let insert = diesel::insert_into(notes::table).values(&note);
    insert.execute(&mut *app.db.get().await?).await?;
    Ok(StatusCode::CREATED)
}

async fn all_notes(app: &App, user: String) -> Result<Vec<Note>, Failure> {
    let theirs = notes::table.filter(notes::user_id.eq(Owner(user)));
    Ok(theirs.load(&mut *app.db.get().await?).await?)
}

async fn notes_of(
    State(app): State<App>,
    Extension(User(user)): Extension<User>,
) -> Result<String, Failure> {
    let notes = all_notes(&app, user).await?;
    let lines = notes.iter().map(|note| note.text.expose_secret().as_str());
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

async fn put_person(
    State(app): State<App>,
    Extension(User(user)): Extension<User>,
    extract::Path(name): extract::Path<String>,
    relation: String,
) -> Result<StatusCode, Failure> {
    let person = Person {
        user_id: Owner(user),
        name: person::name(name.as_str()),
        name_fp: person::name_fp(name)?,
        relation: person::relation(relation),
    };
    diesel::insert_into(people::table)
        .values(&person)
        .on_conflict((people::user_id, people::name_fp))
        .do_update()
        .set((
            people::name.eq(excluded(people::name)),
            people::relation.eq(excluded(people::relation)),
        ))
        .execute(&mut *app.db.get().await?)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn person_named(
    State(app): State<App>,
    Extension(User(user)): Extension<User>,
    extract::Path(name): extract::Path<String>,
) -> Result<Response, Failure> {
    let found: Option<Person> = people::table
        .filter(people::user_id.eq(Owner(user)))
        .filter(people::name_fp.eq(person::name_fp(name)?))
        .first(&mut *app.db.get().await?)
        .await
        .optional()?;
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
        let notes = all_notes(&app, user).await?;
        let letters = notes.iter().map(|note| note.text.expose_secret().len());
        Ok::<usize, Failure>(letters.sum())
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
