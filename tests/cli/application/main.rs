//! The command of an application that has notes: what the tests in `cli/` run beside the stock command. Of its releases,
//! one has people whose names soak, and the next one people whose names did.

use std::{process::ExitCode, time::Duration};

use ophie_crypt::{EncryptedModel, Models};
use ophie_crypt_cli::Application;
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner, SqliteShares};
use sqlx::sqlite::SqlitePoolOptions;

#[derive(EncryptedModel)]
#[crypt(table = "notes")]
#[expect(dead_code, reason = "the command needs no more than its model")]
struct Note {
    owner: Owner<i64>,
    text: Encrypted<String, note::text>,
    #[crypt(index_of = "text", normalize = "name")]
    text_fp: Option<BlindIndex<String, note::text_fp>>,
}

mod soaking {
    use super::{BlindIndex, EncryptedModel, Owner};
    use ophie_crypt_sqlx::Soak;

    #[derive(EncryptedModel)]
    #[crypt(table = "people")]
    #[expect(dead_code, reason = "the command needs no more than its model")]
    pub(super) struct Person {
        owner: Owner<i64>,
        #[crypt(column = "name_ct", soak(twin = "name", floor = "expand"))]
        name: Soak<Option<String>, person::name>,
        #[crypt(index_of = "name", normalize = "name")]
        name_fp: Option<BlindIndex<String, person::name_fp>>,
    }
}

mod after {
    use super::{BlindIndex, Encrypted, EncryptedModel, Owner};

    #[derive(EncryptedModel)]
    #[crypt(table = "people")]
    #[expect(dead_code, reason = "the command needs no more than its model")]
    pub(super) struct Person {
        owner: Owner<i64>,
        #[crypt(column = "name_ct")]
        name: Option<Encrypted<String, person::name>>,
        #[crypt(index_of = "name", normalize = "name")]
        name_fp: Option<BlindIndex<String, person::name_fp>>,
    }
}

mod elsewhere {
    use super::{BlindIndex, Encrypted, EncryptedModel, Owner};

    /// In another schema, which is another database on MariaDB.
    #[derive(EncryptedModel)]
    #[crypt(table = "elsewhere.notes")]
    #[expect(dead_code, reason = "the command needs no more than its model")]
    pub(super) struct Note {
        owner: Owner<i64>,
        text: Encrypted<String, note::text>,
        #[crypt(index_of = "text", normalize = "name")]
        text_fp: Option<BlindIndex<String, note::text_fp>>,
    }
}

fn main() -> ExitCode {
    let models = Models::new().with::<Note>();
    let release = std::env::var("TEST_RELEASE");
    let models = match release.as_deref() {
        Ok("soaking") => models.with::<soaking::Person>(),
        Ok("after") => models.with::<after::Person>(),
        Ok("elsewhere") => models.with::<elsewhere::Note>(),
        _ => models,
    };
    match std::env::var("TEST_SIDECARS") {
        Ok(_) => ophie_crypt_cli::main(models), // which says nothing of them
        Err(_) => with_shares(Application::new(models).without_sidecars()).run(),
    }
}

/// With the second shares in the database that a variable names.
fn with_shares(application: Application) -> Application {
    let Ok(url) = std::env::var("TEST_SHARES") else {
        return application;
    };
    // Without these no task is begun, for which there is no runtime yet.
    let pool = SqlitePoolOptions::new()
        .max_lifetime(None)
        .idle_timeout(None);
    let pool = pool.connect_lazy(&url).expect("the URL of a database");
    application.shares(SqliteShares::new(pool, "tests"), Duration::ZERO)
}
