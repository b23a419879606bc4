//! What each subcommand does.
//!
//! Invariant: a subcommand gives a `Report` or an `Error`, and prints nothing itself.

mod add;
mod audit;
mod doctor;
mod index;
mod keys;
mod migrate;
mod plan;
mod report;
mod restore;
mod rewrap;
mod rotate;
mod shell;
mod soak;
mod status;
mod sweep;
mod watched;

pub(crate) use self::report::Flags as ReportFlags;

use clap::Parser;
use ophie_crypt::{CanonicalId, RotationStore, StoreError, Which};

use crate::{
    application::Application,
    arguments::{Arguments, Command, Index, Keys, Migrate},
    config::Config,
    error::{Error, Exit},
    output::{Output, Report},
    stop::Stop,
    world::World,
};

/// Owners that are read at a time.
const PAGE: u32 = 500;

/// From the process's arguments to its end.
pub(crate) fn run(application: Application) -> Exit {
    let mut output = Output::default();
    for argument in std::env::args_os() {
        output.hide_url(&argument.to_string_lossy());
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            output.usage(&error);
            return match error.use_stderr() {
                true => Exit::Usage,
                false => Exit::Fine,
            };
        }
    };
    output.is_for_programs(arguments.shared.json);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let ended = runtime.map_err(Error::Start).and_then(|runtime| {
        runtime.block_on(async { begin(application, arguments, &mut output).await })
    });
    match ended {
        Ok(Some(report)) => {
            output.report(&report);
            report.exit
        }
        Ok(None) => Exit::Fine,
        Err(error) => {
            output.error(&error);
            error.exit()
        }
    }
}

async fn begin(
    application: Application,
    arguments: Arguments,
    output: &mut Output,
) -> Result<Option<Report>, Error> {
    match arguments.command {
        Command::Completions { shell } => {
            shell::completions(shell);
            return Ok(None);
        }
        Command::Man => {
            shell::man();
            return Ok(None);
        }
        _ => {}
    }
    let config = Config::read(&arguments.shared, |name| std::env::var(name).ok())?;
    for key in ["database_url", "keys_url", "ledger"] {
        let setting = config.setting(key);
        output.hide_url(setting.map_or("", |setting| &setting.value));
    }
    let world = World {
        application,
        config,
        output: output.clone(),
        stop: Stop::listen(),
    };
    let command = arguments.command;
    match only_reads(&command) {
        true => world.stop.or_left(report_of(&world, command)).await,
        false => report_of(&world, command).await,
    }
}

/// Whether it changes nothing, so that it may be left anywhere.
const fn only_reads(command: &Command) -> bool {
    matches!(
        command,
        Command::Audit(_)
            | Command::Doctor
            | Command::Index(_)
            | Command::Keys(Keys::List { .. })
            | Command::Migrate { print: true, .. }
            | Command::Plan
            | Command::Report(_)
            | Command::Status
    )
}

/// What a subcommand did; nothing of one that has printed it already.
async fn report_of(world: &World, command: Command) -> Result<Option<Report>, Error> {
    let report = match command {
        Command::Migrate {
            command: Some(Migrate::Add(add)),
            ..
        } => add::add(world, &add).await,
        Command::Migrate { print: true, .. } => return migrate::print(world).await,
        Command::Migrate {
            dry_run,
            create_ledger,
            ..
        } => migrate::migrate(world, dry_run, create_ledger).await,
        Command::Status => status::status(world).await,
        Command::Keys(command) => keys::run(world, command).await,
        Command::Sweep { dry_run } => sweep::sweep(world, dry_run).await,
        Command::Audit(command) => audit::run(world, command).await,
        Command::Restore(command) => restore::run(world, command).await,
        Command::Index(Index::Plan {
            table,
            column,
            owner_column,
        }) => index::plan(world, &table, &column, &owner_column).await,
        Command::Soak(command) => soak::run(world, command).await,
        Command::Plan => plan::plan(world).await,
        Command::Doctor => doctor::doctor(world).await,
        Command::Report(flags) => report::report(world, &flags).await,
        Command::Completions { .. } | Command::Man => return Ok(None), // printed before
    };
    report.map(Some)
}

/// All of these owners.
async fn all_owners(
    store: &dyn RotationStore,
    which: &Which,
) -> Result<Vec<CanonicalId>, StoreError> {
    let mut all: Vec<CanonicalId> = Vec::new();
    loop {
        let page = store.owners(which, all.last(), PAGE).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

/// Every living owner: no KEK has an empty name.
fn everyone() -> Which {
    Which::WrappedElsewhere { kek: String::new() }
}

/// A count of rows or owners as JSON has it.
fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// Lower-case hex.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
