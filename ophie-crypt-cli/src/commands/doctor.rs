//! `doctor`: looks for what is set up wrongly, and changes nothing.
//!
//! Invariant: a check that could not be made is a finding, never a silence.

use std::sync::Arc;

use ophie_crypt::{CanonicalId, EncryptionContext, Kms, KmsCall};
use ophie_crypt_sql::Migration;
use serde_json::json;

use super::rotate::chain;
use crate::{
    clock,
    database::Database,
    error::{Error, Exit},
    output::Report,
    world::World,
};

/// Between two clocks, in microseconds: half of what rotations and shreds allow for.
const SKEW: i64 = 15_000_000;

/// Not of any kind of owner, so that nobody's keys have this context.
const NOBODY: &[u8] = b"doctor";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Fine,
    Warning,
    Failed,
    /// Nothing was configured to be looked at.
    Absent,
}

impl State {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Absent => "absent",
        }
    }
}

#[derive(Default)]
pub(super) struct Checks(pub(super) Vec<(&'static str, State, String)>);

impl Checks {
    fn add(&mut self, check: &'static str, state: State, text: impl Into<String>) {
        self.0.push((check, state, text.into()));
    }

    fn failed(&mut self, check: &'static str, error: &(dyn core::error::Error + 'static)) {
        self.add(check, State::Failed, chain(error));
    }
}

pub(super) async fn doctor(world: &World) -> Result<Report, Error> {
    let checks = look(world).await?;
    let bad = |state: &State| matches!(state, State::Warning | State::Failed);
    let found = checks.0.iter().filter(|(_, state, _)| bad(state)).count();
    let lines = checks
        .0
        .iter()
        .map(|(check, state, text)| format!("{:<8} {check}: {text}", state.word()));
    let text: Vec<_> = lines.collect();
    let listed: Vec<_> = checks
        .0
        .iter()
        .map(|(check, state, text)| json!({"check": check, "state": state.word(), "text": text}))
        .collect();
    let exit = match found {
        0 => Exit::Fine,
        _ => Exit::Findings,
    };
    let json = json!({"checks": listed, "findings": super::count(found)});
    Ok(Report::fine(text.join("\n"), json).ends(exit))
}

/// Looks at everything.
///
/// # Errors
///
/// [`Error::Config`].
pub(super) async fn look(world: &World) -> Result<Checks, Error> {
    let mut checks = Checks::default();
    match world.keys_database(false).await {
        Ok(database) => keys(world, &database, &mut checks).await,
        Err(error @ Error::Config(_)) => return Err(error),
        Err(error) => checks.failed("database", &error),
    }
    rows(world, &mut checks).await;
    kms(world, &mut checks).await;
    match world.ledger().await {
        Ok(Some(ledger)) => match ledger.head().await {
            Ok(head) => checks.add(
                "ledger",
                State::Fine,
                format!("it ends at entry {}", head.position()),
            ),
            Err(error) => checks.failed("ledger", &error),
        },
        Ok(None) => checks.add(
            "ledger",
            State::Absent,
            "no ledger is configured: a restore would bring shredded owners' keys back",
        ),
        Err(error) => checks.failed("ledger", &error),
    }
    file(world, &mut checks);
    Ok(checks)
}

/// Who may read the passwords in the configuration.
#[cfg(unix)]
fn file(world: &World, checks: &mut Checks) {
    use std::os::unix::fs::MetadataExt;

    let Some(file) = world.config.file() else {
        return checks.add("file", State::Absent, "no configuration file was read");
    };
    let path = file.path.display();
    match std::fs::metadata(&file.path).map(|metadata| metadata.mode() & 0o7777) {
        Ok(mode) if file.has_password && mode & 0o077 != 0 => checks.add(
            "file",
            State::Warning,
            format!("{path} has a password in it, and its mode {mode:04o} lets others read it; run `chmod 600` on it"),
        ),
        Ok(mode) => checks.add("file", State::Fine, format!("{path} has the mode {mode:04o}")),
        Err(error) => checks.failed("file", &error),
    }
}

#[cfg(not(unix))]
fn file(_: &World, checks: &mut Checks) {
    checks.add(
        "file",
        State::Absent,
        "who may read files cannot be told here",
    );
}

async fn keys(world: &World, database: &Database, checks: &mut Checks) {
    checks.add(
        "database",
        State::Fine,
        format!("{} answers", database.name()),
    );
    let newest = Migration::all(database.dialect()).last();
    let newest = newest.map_or(0, Migration::number);
    match database.schema_version().await {
        Ok(version) if version == newest => {
            checks.add(
                "tables",
                State::Fine,
                format!("the library's are at {version}"),
            );
        }
        Ok(version) if version > newest => checks.add(
            "tables",
            State::Failed,
            format!(
                "the library's are at {version}, and this program knows {newest}; take a newer one"
            ),
        ),
        Ok(version) => checks.add(
            "tables",
            State::Failed,
            format!("the library's are at {version} of {newest}; run `ophie-crypt migrate`"),
        ),
        Err(error) => checks.failed("tables", &error),
    }
    let before = clock::now();
    match database.now().await {
        Ok(theirs) => {
            let ours = before.midpoint(clock::now());
            let off = theirs.saturating_sub(ours).saturating_abs();
            let text = format!(
                "the database's is {} ms off this machine's",
                off.checked_div(1000).unwrap_or(0)
            );
            let state = if off > SKEW {
                State::Failed
            } else {
                State::Fine
            };
            checks.add("clock", state, text);
        }
        Err(error) => checks.failed("clock", &error),
    }
    logs(database, "logs", checks).await;
    let same = world.config.setting("keys_url").is_none();
    if matches!(database, Database::Sqlite(_)) && same && world.application.has_models() {
        checks.add("sqlite", State::Failed, "the keys are in the application's file, whose transactions block them; give them a file of their own with `keys_url`");
    }
}

async fn logs(database: &Database, check: &'static str, checks: &mut Checks) {
    match database.leaks().await {
        Ok(leaks) if leaks.is_empty() => {
            checks.add(check, State::Fine, "no setting prints parameters")
        }
        Ok(leaks) => {
            for leak in leaks {
                let text = format!("{} = {} prints {}", leak.name, leak.value, leak.prints);
                checks.add(check, State::Warning, text);
            }
        }
        Err(error) => checks.failed(check, &error),
    }
}

async fn rows(world: &World, checks: &mut Checks) {
    if !world.application.has_models() {
        checks.add(
            "models",
            State::Absent,
            "this program knows no models, so no table was compared with them",
        );
        return;
    }
    let database = match world.rows_database().await {
        Ok(database) => database,
        Err(error) => return checks.failed("models", &error),
    };
    if world.config.setting("keys_url").is_some() {
        logs(&database, "app-logs", checks).await;
    }
    match database.mistakes(&world.application.models).await {
        Ok(mistakes) if mistakes.is_empty() => {
            let tables = world.application.models.iter().count();
            checks.add(
                "models",
                State::Fine,
                format!("the tables of {tables} models are as they say"),
            );
        }
        Ok(mistakes) => {
            for mistake in mistakes {
                let text = format!("{}: {}", mistake.column, mistake.what);
                checks.add("models", State::Failed, text);
            }
        }
        Err(error) => checks.failed("models", &error),
    }
    match database.unnamed(&world.application.models).await {
        Ok(unnamed) if unnamed.envelopes.is_empty() && unnamed.unread.is_empty() => checks.add(
            "unnamed",
            State::Fine,
            "no column that models do not name holds envelopes",
        ),
        Ok(unnamed) => {
            let envelopes = unnamed.envelopes.into_iter().map(|it| (State::Failed, it));
            let unread = unnamed.unread.into_iter().map(|it| (State::Warning, it));
            for (state, mistake) in envelopes.chain(unread) {
                let text = format!("{}: {}", mistake.column, mistake.what);
                checks.add("unnamed", state, text);
            }
        }
        Err(error) => checks.failed("unnamed", &error),
    }
    match database.index_mistakes(&world.application.models).await {
        Ok(mistakes) if mistakes.is_empty() => checks.add(
            "indexes",
            State::Fine,
            "look-ups of the models have theirs, and none is unique by plaintext",
        ),
        Ok(mistakes) => {
            for mistake in mistakes {
                let text = format!("{}: {}", mistake.column, mistake.what);
                checks.add("indexes", State::Warning, text);
            }
        }
        Err(error) => checks.failed("indexes", &error),
    }
}

/// A key that protects nothing is wrapped, unwrapped and thrown away.
async fn kms(world: &World, checks: &mut Checks) {
    if world.config.setting("kms").is_none() {
        checks.add("kms", State::Absent, "no KMS is configured");
        return;
    }
    let master = match world.master().await {
        Ok(master) => master,
        Err(error) => return checks.failed("kms", &error),
    };
    match permitted(&master.kms, world.app()).await {
        Ok(()) => checks.add(
            "kms",
            State::Fine,
            format!("{} wraps and unwraps", master.kek),
        ),
        Err(error) => checks.failed("kms", &error),
    }
}

async fn permitted(kms: &Arc<dyn Kms>, app: Arc<str>) -> Result<(), ophie_crypt::KmsError> {
    let nobody = CanonicalId::from_bytes(NOBODY);
    let call = || KmsCall::new(EncryptionContext::new(app.clone(), &nobody, 1));
    let made = kms.make_dek(&call()).await?;
    kms.unwrap_dek(&made.wrapped, &call()).await.map(drop)
}
