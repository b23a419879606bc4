//! An application has names in plaintext, 100,000 of them, and encrypts them while it runs: releases of before, during and
//! after the soak serve people all the time. It prints what they see, and ends with no plaintext in the database.
//!
//! `cargo run --release --example migrate_existing` needs no set-up; it takes SQLite. On a PostgreSQL of your own, in an
//! empty database: `DATABASE_URL=postgres://.. cargo run --release --features postgres --example migrate_existing`.
//! `ROWS=1000` is over sooner.

#[allow(dead_code, reason = "it is a program of its own, too")]
mod before;
mod database;
mod traffic;

use std::{
    error::Error,
    io::Write,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use ophie_crypt::{
    BoundColumn, EncryptedModel, Keyring, LocalKms, Models,
    memory::ZeroAlloc,
    soak::{SoakState, SoakWatch, Soaker},
};
use ophie_crypt_sqlx::{Encrypted, Owner, Soak};
use sqlx::FromRow;

use database::Database;
use traffic::{Release, Traffic};

#[global_allocator]
static ALLOCATOR: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

/// The release that is deployed for the soak: one field, two columns. Its statements are the same in every state.
#[derive(EncryptedModel, FromRow)]
#[crypt(table = "people")]
#[allow(dead_code, reason = "not all of it is looked at")]
struct Person {
    #[crypt(plain)]
    id: i64,
    user_id: Owner<i64>,
    #[sqlx(flatten)]
    #[crypt(column = "name_ct", soak(twin = "name", floor = "expand"))]
    name: Soak<String, person::name>,
}

/// The release after it: an encrypted column like any other.
#[derive(EncryptedModel, FromRow)]
#[crypt(table = "people", module = "encrypted")]
#[allow(dead_code, reason = "not all of it is looked at")]
struct EncryptedPerson {
    #[crypt(plain)]
    id: i64,
    user_id: Owner<i64>,
    #[sqlx(rename = "name_ct")]
    name: Encrypted<String, encrypted::name>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let rows: i64 = std::env::var("ROWS").map_or(Ok(100_000), |rows| rows.parse())?;
    let folder = Path::new("migrate_existing-data");
    let database = Database::open(folder).await?;
    database.fill(rows).await?;
    println!("{rows} names in plaintext; the release of before serves people.");
    let ids = Arc::new(AtomicI64::new(rows));
    let serve = |release| Traffic::begin(release, database.app.clone(), Arc::clone(&ids));
    let old = serve(Release::Before);

    // The tool: in your production it is the command `ophie-crypt soak ..`.
    let models = database.models(Models::new().with::<Person>()).await?;
    let kms = LocalKms::open_or_create(folder.join("master.key"))?; // production: a KMS
    let tool = Keyring::builder()
        .kms(kms)
        .key_store(database.keys().await?)
        .build()?;
    let rest = Duration::from_millis(20); // between two batches; on SQLite, others write then
    let soaker = Soaker::new(&tool, models.clone());
    let soaker = soaker.pause(rest).watch(|progress| {
        print!("\r  {} of {} rows   ", progress.done, progress.total);
        std::io::stdout().flush().ok();
    });
    soaker.expand("people", "name_ct").await?;
    println!("expand      there is an encrypted column, and a trigger that guards it");

    // A deploy. The watch reads the state of each column every ten seconds, and says so; `beat` does it now.
    let watch = SoakWatch::start(models).await?;
    let kms = LocalKms::open(folder.join("master.key"))?;
    let keyring = Keyring::builder()
        .kms(kms)
        .key_store(database.keys().await?);
    let keyring = keyring.soak_watch(watch.clone()).build()?;
    let new = serve(Release::Soaking(keyring, watch.clone()));

    let step = async |to, what: &str| {
        soaker.step("people", "name_ct", to).await?;
        watch.beat().await?;
        println!("\r{:<11} {what:<60}", to.as_str());
        Ok::<_, Box<dyn Error>>(())
    };
    step(SoakState::DualWrite, "the new release writes both columns").await?;
    step(
        SoakState::Backfill,
        "rows of before are sealed, 500 at a time",
    )
    .await?;
    let filled = soaker.backfill("people", "name_ct").await?;
    println!(
        "\r  {} rows sealed, {} pending      ",
        filled.written, filled.pending
    );
    // The release of before goes on to make pending rows. Its last ones are sealed once it is gone.
    println!("  the release of before {}", old.end().await?);
    soaker
        .admit_old_binaries("people", "name_ct", false)
        .await?;
    watch.beat().await?;
    soaker.backfill("people", "name_ct").await?;
    step(SoakState::Verify, "every row is opened and compared").await?;
    let verified = soaker.verify("people", "name_ct").await?;
    println!(
        "\r  {} rows, {} wrong      ",
        verified.rows, verified.wrong_rows
    );
    step(
        SoakState::Soak,
        "readers compare both columns; in production, for days",
    )
    .await?;
    let odd = watch.counts(&person::name::COLUMN);
    println!("  {} mismatches, {} failures", odd.mismatched, odd.failed);
    step(
        SoakState::Sealed,
        "readers take the ciphertext; both columns are written",
    )
    .await?;
    soaker.verify("people", "name_ct").await?;
    step(
        SoakState::Retired,
        "no plaintext gets in; what there is becomes NULL",
    )
    .await?;
    let emptied = soaker.null_out("people", "name_ct").await?;
    println!("\r  {emptied} rows emptied      ");

    // The next deploy: the release without the attribute. Its heartbeat says that it knows no plaintext column.
    println!("  the release with the attribute {}", new.end().await?);
    watch.stop().await?;
    let models = database
        .models(Models::new().with::<EncryptedPerson>())
        .await?;
    let watch = SoakWatch::start(models).await?;
    let kms = LocalKms::open(folder.join("master.key"))?;
    let keyring = Keyring::builder()
        .kms(kms)
        .key_store(database.keys().await?);
    let keyring = keyring.soak_watch(watch.clone()).build()?;
    let after = serve(Release::After(keyring.clone()));
    let residue = soaker.drop_twin("people", "name_ct", "people.name").await?;
    println!(
        "dropped     the plaintext column is gone, and the table written anew; plaintext may still lie in:"
    );
    for place in residue {
        println!("  {place}");
    }
    println!("  the release without it {}", after.end().await?);
    watch.stop().await?;
    let readable = database.readable(&keyring).await?;
    let all = ids.load(Relaxed);
    println!("{readable} of {all} names open in their owners' sessions.");
    database.close().await;
    match readable == all {
        true => Ok(()),
        false => Err("names are missing".into()),
    }
}
