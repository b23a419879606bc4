//! Encrypted columns in PostgreSQL beside the same statements on plain columns that hold the same bytes.
//!
//! `OPHIE_CRYPT_TEST_POSTGRES=postgres://… cargo bench -p ophie-crypt-tests --features servers --bench database`: the URL
//! of a server on which the role may make a database; the bench makes one, and drops it. A ratio is that of two medians
//! of one run, whose samples alternate. `OPHIE_CRYPT_BENCH_ROWS` is the size of the table for look-ups, 1,000,000 unless
//! it says otherwise; `OPHIE_CRYPT_BENCH_BACKFILL` how many rows are backfilled (more than 100,000 once each, by one worker),
//! and `OPHIE_CRYPT_BENCH_BATCH` how many at a time. Behind `--` may stand which of `select`, `insert`, `unnest`, `look-up` and
//! `backfill` are to run. The server must not log statements, as that of `tests/run` does: it would be its log that is measured.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench: what goes wrong here is seen"
)]

use std::time::Duration;

use ophie_crypt::{
    EncryptedModel, Keyring, LocalKms, Models, Purpose, Session, WriteFence,
    soak::{SoakState, SoakWatch, Soaker},
};
use ophie_crypt_sqlx::{
    BlindIndex, Encrypted, Owner, PostgresKeyStore, PostgresModels, Sealed, Soak,
};
use ophie_crypt_tests::variable;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, postgres::PgPoolOptions};
use tokio::time::Instant;
use uuid::Uuid;

const OWNER: i64 = 1;
const ROUNDS: usize = 400;

#[derive(EncryptedModel, sqlx::FromRow)]
#[crypt(table = "notes")]
#[allow(dead_code, reason = "read by its hooks")]
struct Note {
    owner: Owner<i64>,
    #[crypt(plain)]
    id: i64,
    text: Encrypted<String, note::text>,
}

#[derive(EncryptedModel, sqlx::FromRow)]
#[crypt(table = "fenced")]
#[allow(dead_code, reason = "read by its hooks")]
struct Fenced {
    owner: Owner<i64>,
    #[crypt(plain)]
    id: i64,
    text: Encrypted<String, fenced::text>,
}

#[derive(EncryptedModel, sqlx::FromRow)]
#[crypt(table = "people")]
#[allow(dead_code, reason = "its markers are used")]
struct Person {
    owner: Owner<i64>,
    #[crypt(plain)]
    id: i64,
    name: Encrypted<String, person::name>,
    #[crypt(index_of = "name", normalize = "exact")]
    name_fp: BlindIndex<String, person::name_fp>,
}

#[derive(EncryptedModel)]
#[crypt(table = "soaking")]
#[allow(dead_code, reason = "its fields are columns, which nothing here reads")]
struct Soaking {
    owner: Owner<i64>,
    #[crypt(column = "name_ct", soak(twin = "name"))]
    name: Soak<String, soaking::name>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let server = variable("OPHIE_CRYPT_TEST_POSTGRES");
    let name = format!("bench_{}", Uuid::new_v4().simple());
    let run = async |sql: String| {
        let mut connection = PgConnection::connect(&server).await.unwrap();
        let statement = sqlx::raw_sql(AssertSqlSafe(sql));
        statement.execute(&mut connection).await.unwrap();
    };
    run(format!("CREATE DATABASE {name}")).await;
    let (base, _) = server.rsplit_once('/').unwrap();
    let pool = PgPoolOptions::new()
        .max_connections(8)
        .connect(&format!("{base}/{name}"))
        .await
        .unwrap();
    let bench = Bench::new(pool).await;
    println!("{:<44}{:>12}{:>12}{:>9}", "", "plain", "encrypted", "ratio");
    let only: Vec<String> = std::env::args().skip(1).collect();
    let only: Vec<&str> = only.iter().map(String::as_str).collect();
    let runs = |what| only.iter().all(|arg| arg.starts_with('-')) || only.contains(&what);
    if runs("select") {
        bench.select().await;
    }
    if runs("insert") {
        bench.insert().await;
    }
    if runs("unnest") {
        for length in [1 << 10, 16] {
            bench.unnest(length).await;
        }
    }
    if runs("look-up") {
        bench.look_up().await;
    }
    if runs("backfill") {
        bench.backfill().await;
    }
    bench.pool.close().await;
    run(format!("DROP DATABASE {name} WITH (FORCE)")).await;
}

/// Of a variable, or this.
fn number(name: &str, otherwise: i64) -> i64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

struct Bench {
    pool: PgPool,
    keyring: Keyring,
    session: Session,
}

impl Bench {
    async fn new(pool: PgPool) -> Self {
        let store = PostgresKeyStore::new(pool.clone());
        store.migrate().await.unwrap();
        let tables = "CREATE TABLE plain (owner bigint, id bigint, text bytea);
            CREATE TABLE notes (owner bigint, id bigint, text bytea);
            CREATE TABLE fenced (owner bigint, id bigint, text bytea);";
        sqlx::raw_sql(tables).execute(&pool).await.unwrap();
        let models = PostgresModels::new(pool.clone(), Models::new().with::<Fenced>());
        models.raise_fence().await.unwrap();
        let keyring = Keyring::builder()
            .kms(LocalKms::ephemeral().unwrap())
            .key_store(store)
            .build()
            .unwrap();
        let purpose = Purpose::new("bench");
        let session = keyring.open_or_provision(&OWNER, purpose).await.unwrap();
        session.reserve(1 << 24).await.unwrap();
        Self {
            pool,
            keyring,
            session,
        }
    }

    async fn execute(&self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&self.pool).await.unwrap();
    }

    fn sealed(&self, count: usize, length: usize) -> Vec<Vec<u8>> {
        let values: Vec<_> = (0..count).map(|_| note::text("x".repeat(length))).collect();
        let sealed = Encrypted::seal_many(&values, &self.session).unwrap();
        sealed.into_iter().map(Sealed::into_bytes).collect()
    }

    /// 1,000 rows of 1 KiB.
    async fn select(&self) {
        let rows = self.sealed(1_000, 1 << 10);
        for table in ["plain", "notes"] {
            let insert = format!(
                "INSERT INTO {table} SELECT $1, n, bytes FROM UNNEST($2) WITH ORDINALITY AS row (bytes, n)"
            );
            sqlx::query(AssertSqlSafe(insert))
                .bind(OWNER)
                .bind(&rows)
                .execute(&self.pool)
                .await
                .unwrap();
        }
        self.execute("VACUUM ANALYZE").await;
        let plain = async || {
            let rows: Vec<(i64, i64, Vec<u8>)> =
                sqlx::query_as("SELECT owner, id, text FROM plain")
                    .fetch_all(&self.pool)
                    .await
                    .unwrap();
            assert_eq!(rows.len(), 1_000);
        };
        let encrypted = async || {
            let rows: Vec<Note> = sqlx::query_as("SELECT owner, id, text FROM notes")
                .fetch_all(&self.pool)
                .await
                .unwrap();
            assert_eq!(rows[0].text.expose_secret().len(), 1 << 10);
        };
        self.beside("SELECT of 1,000 rows of 1 KiB", plain, encrypted)
            .await;
    }

    /// One row of 1 KiB in a transaction, without and with the write fence.
    async fn insert(&self) {
        let bytes = self.sealed(1, 1 << 10).remove(0);
        let text = "x".repeat(1 << 10);
        let plain = async || {
            let mut tx = self.pool.begin().await.unwrap();
            sqlx::query("INSERT INTO plain (owner, id, text) VALUES ($1, $2, $3)")
                .bind(OWNER)
                .bind(1_i64)
                .bind(bytes.clone())
                .execute(&mut *tx)
                .await
                .unwrap();
            tx.commit().await.unwrap();
        };
        let without = async || {
            let mut tx = self.pool.begin().await.unwrap();
            sqlx::query("INSERT INTO notes (owner, id, text) VALUES ($1, $2, $3)")
                .bind(Owner(OWNER))
                .bind(1_i64)
                .bind(note::text(text.clone()))
                .execute(&mut *tx)
                .await
                .unwrap();
            tx.commit().await.unwrap();
        };
        let fenced = async || {
            let mut tx = self.pool.begin().await.unwrap();
            sqlx::query("INSERT INTO fenced (owner, id, text) VALUES ($1, $2, $3)")
                .bind(Owner(OWNER))
                .bind(1_i64)
                .bind(fenced::text(text.clone()))
                .execute(&mut *tx)
                .await
                .unwrap();
            tx.commit().await.unwrap();
        };
        self.beside("INSERT of 1 KiB in a transaction", plain, without)
            .await;
        self.beside("the same with the write fence", plain, fenced)
            .await;
    }

    /// 100 rows in one statement.
    async fn unnest(&self, length: usize) {
        let bytes = self.sealed(100, length);
        let ids: Vec<i64> = (0..100).collect();
        let text = "x".repeat(length);
        let plain = async || {
            sqlx::query("INSERT INTO plain SELECT $1, * FROM UNNEST($2, $3)")
                .bind(OWNER)
                .bind(&ids)
                .bind(bytes.clone())
                .execute(&self.pool)
                .await
                .unwrap();
        };
        let encrypted = async || {
            let values: Vec<_> = (0..100).map(|_| note::text(text.clone())).collect();
            let sealed = Encrypted::seal_many(&values, &self.session).unwrap();
            let sealed: Vec<_> = sealed.into_iter().map(Sealed::into_bytes).collect();
            sqlx::query("INSERT INTO notes SELECT $1, * FROM UNNEST($2, $3)")
                .bind(Owner(OWNER))
                .bind(&ids)
                .bind(sealed)
                .execute(&self.pool)
                .await
                .unwrap();
        };
        let name = format!("UNNEST of 100 rows of {length} bytes");
        self.beside(&name, plain, encrypted).await;
    }

    /// Rows sealed by a backfill of one worker and of several, beside a plain UPDATE of the same rows by one, as many at a
    /// time, with as many random bytes.
    async fn backfill(&self) {
        let rows = number("OPHIE_CRYPT_BENCH_BACKFILL", 20_000);
        let batch = number("OPHIE_CRYPT_BENCH_BATCH", 500);
        let batch_size = usize::try_from(batch).unwrap();
        let (times, workers): (usize, &[u32]) = match rows > 100_000 {
            true => (1, &[1]),
            false => (5, &[1, 2, 4]),
        };
        self.execute(
            "CREATE TABLE soaking (id bigint PRIMARY KEY, owner bigint NOT NULL, name text)",
        )
        .await;
        let models = PostgresModels::new(self.pool.clone(), Models::new().with::<Soaking>());
        let (soaker, watch) = (
            Soaker::new(&self.keyring, models.clone())
                .batch(u32::try_from(batch).unwrap())
                .pause(Duration::ZERO),
            SoakWatch::new(models).unwrap(),
        );
        soaker.expand("soaking", "name_ct").await.unwrap();
        for to in [SoakState::DualWrite, SoakState::Backfill] {
            watch.beat().await.unwrap();
            soaker.step("soaking", "name_ct", to).await.unwrap();
        }
        let rows_anew = format!(
            "TRUNCATE soaking; INSERT INTO soaking SELECT n, {OWNER}, repeat('x', 100) FROM generate_series(1, {rows}) AS n"
        );
        self.execute("CREATE TABLE updated (id bigint PRIMARY KEY, owner bigint NOT NULL, name text, name_ct bytea)")
            .await;
        let plain_anew = rows_anew.replace("soaking", "updated");
        let (mut plain, mut encrypted) = (Vec::new(), vec![Vec::new(); workers.len()]);
        let anew = async |sql: &str| {
            sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
                .execute(&self.pool)
                .await
                .unwrap();
            self.execute("VACUUM ANALYZE").await;
            self.execute("CHECKPOINT").await;
        };
        for _ in 0..times {
            anew(&plain_anew).await;
            let sealed = self.sealed(batch_size, 100);
            let began = Instant::now();
            for first in (1..=rows).step_by(batch_size) {
                let ids: Vec<i64> = (first..first + batch).collect();
                sqlx::query(
                    "UPDATE updated SET name_ct = new.c FROM UNNEST($1, $2) AS new (id, c) WHERE updated.id = new.id",
                )
                .bind(&ids)
                .bind(&sealed)
                .execute(&self.pool)
                .await
                .unwrap();
            }
            plain.push(began.elapsed());
            for (workers, times) in workers.iter().zip(&mut encrypted) {
                anew(&rows_anew).await;
                let soaker = soaker.clone().workers(*workers);
                let began = Instant::now();
                let done = soaker.backfill("soaking", "name_ct").await.unwrap();
                times.push(began.elapsed());
                assert_eq!(i64::try_from(done.written).unwrap(), rows);
            }
        }
        let median = |times: &mut Vec<Duration>| {
            times.sort_unstable();
            times[times.len() / 2]
        };
        let plain = median(&mut plain);
        for (workers, times) in workers.iter().zip(&mut encrypted) {
            let encrypted = median(times);
            println!(
                "{:<44}{:>12.1?}{:>12.1?}{:>9.2}",
                format!("backfill of {rows} rows, workers: {workers}"),
                plain,
                encrypted,
                encrypted.as_secs_f64() / plain.as_secs_f64()
            );
        }
    }

    /// One row among many, each owner with a hundred.
    async fn look_up(&self) {
        let rows = number("OPHIE_CRYPT_BENCH_ROWS", 1_000_000);
        let owners: i64 = rows / 100;
        self.execute("CREATE TABLE people (owner bigint, id bigint, name bytea, name_fp bytea)")
            .await;
        let fingerprints: Vec<Vec<u8>> = (0..100)
            .map(|n| {
                let name = format!("person {n}");
                let fp = BlindIndex::<String, person::name_fp>::of_in(&self.session, name);
                fp.unwrap().as_bytes().to_vec()
            })
            .collect();
        sqlx::query("INSERT INTO people SELECT $1, n, NULL, fp FROM UNNEST($2) WITH ORDINALITY AS row (fp, n)")
            .bind(OWNER)
            .bind(&fingerprints)
            .execute(&self.pool)
            .await
            .unwrap();
        let others = "INSERT INTO people SELECT owner, n, NULL, '\\x01' || decode(md5(owner || '/' || n), 'hex') \
                      FROM generate_series(2, $1) AS owner, generate_series(1, 100) AS n";
        sqlx::query(others)
            .bind(owners)
            .execute(&self.pool)
            .await
            .unwrap();
        self.execute("CREATE INDEX ON people (owner, name_fp)")
            .await;
        self.execute("VACUUM ANALYZE people").await;
        let (mut one, mut other) = (0, 0);
        let plain = async || {
            one = (one + 37) % 100;
            let found: Vec<i64> =
                sqlx::query_scalar("SELECT id FROM people WHERE owner = $1 AND name_fp = $2")
                    .bind(OWNER)
                    .bind(fingerprints[one].clone())
                    .fetch_all(&self.pool)
                    .await
                    .unwrap();
            assert_eq!(found.len(), 1);
        };
        let encrypted = async || {
            other = (other + 37) % 100;
            let found: Vec<i64> =
                sqlx::query_scalar("SELECT id FROM people WHERE owner = $1 AND name_fp = $2")
                    .bind(Owner(OWNER))
                    .bind(person::name_fp(format!("person {other}")).unwrap())
                    .fetch_all(&self.pool)
                    .await
                    .unwrap();
            assert_eq!(found.len(), 1);
        };
        let name = format!("look-up among {rows} rows of {owners} owners");
        self.beside(&name, plain, encrypted).await;
    }

    /// Runs both in turns, and prints their medians and the ratio.
    async fn beside(
        &self,
        name: &str,
        mut plain: impl AsyncFnMut(),
        mut encrypted: impl AsyncFnMut(),
    ) {
        let (mut one, mut other) = (Vec::new(), Vec::new());
        self.session
            .scope(async {
                for round in 0..ROUNDS + 20 {
                    let begun = Instant::now();
                    plain().await;
                    let between = Instant::now();
                    encrypted().await;
                    let ended = Instant::now();
                    if round >= 20 {
                        one.push(between - begun);
                        other.push(ended - between);
                    }
                }
            })
            .await;
        let (one, other) = (median(one), median(other));
        let ratio = other.as_secs_f64() / one.as_secs_f64();
        let shown = [one, other].map(|time| format!("{:.0} µs", time.as_secs_f64() * 1e6));
        println!("{name:<44}{:>12}{:>12}{ratio:>9.2}", shown[0], shown[1]);
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
