//! The command line.
//!
//! Invariant: no flag takes its value from the environment here, as the help would show it (`config` does). Absent: what the subcommands do (`commands`).

mod soak;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use self::soak::{At, Batches, ColumnName, Soaking};
use crate::owner::OwnerName;

/// Keys, shreds, audit, restores and checks of encrypted columns.
#[derive(Parser)]
#[command(name = "ophie-crypt", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) shared: Shared,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every subcommand takes.
#[derive(Args, Default)]
#[command(next_help_heading = "Configuration")]
pub(crate) struct Shared {
    /// The configuration file [default: ophie-crypt.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The application's database; others see flags, so say one with a password in the environment or the file
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) database_url: Option<String>,
    /// The database of the keys, if it is another [default: the application's]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) keys_url: Option<String>,
    /// The ledger: `file:PATH`, or the URL of another database
    #[arg(long, global = true, value_name = "WHERE")]
    pub(crate) ledger: Option<String>,
    /// The KMS: `local:PATH` of a master key file, or the ARN of a key in AWS KMS
    #[arg(long, global = true, value_name = "KEK")]
    pub(crate) kms: Option<String>,
    /// The KMS that keys move away from, while they do
    #[arg(long, global = true, value_name = "KEK")]
    pub(crate) former_kms: Option<String>,
    /// The application's name in encryption contexts [default: ophie-crypt]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) app: Option<String>,
    /// Who is named in the audit (user@host if nothing is said)
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) actor: Option<String>,
    /// How many days backups are kept [default: 35]
    #[arg(long, global = true, value_name = "DAYS")]
    pub(crate) horizon_days: Option<String>,
    /// Print one JSON object
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

impl Shared {
    /// The flag of this key.
    pub(crate) fn flag(&self, key: &str) -> Option<String> {
        match key {
            "actor" => self.actor.clone(),
            "app" => self.app.clone(),
            "database_url" => self.database_url.clone(),
            "former_kms" => self.former_kms.clone(),
            "horizon_days" => self.horizon_days.clone(),
            "keys_url" => self.keys_url.clone(),
            "kms" => self.kms.clone(),
            "ledger" => self.ledger.clone(),
            _ => None,
        }
    }
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Bring the library's own tables up to date
    #[command(args_conflicts_with_subcommands = true)]
    Migrate {
        #[command(subcommand)]
        command: Option<Migrate>,
        /// Print the statements that are missing, and run nothing
        #[arg(long, conflicts_with = "create_ledger")]
        print: bool,
        /// Say what would be done
        #[arg(long)]
        dry_run: bool,
        /// Make the ledger too: once, as a ledger that is lost must not become an empty one
        #[arg(long)]
        create_ledger: bool,
    },
    /// Say how far tables, keys, shreds, ledger and soaks are
    Status,
    /// Owners and their keys
    #[command(subcommand)]
    Keys(Keys),
    /// Finish what shreds began, and delete rows whose horizon has passed
    Sweep {
        /// Say how many shreds are due, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// The audit trail
    #[command(subcommand)]
    Audit(Audit),
    /// After a database was put back
    #[command(subcommand)]
    Restore(Restore),
    /// Blind indexes
    #[command(subcommand)]
    Index(Index),
    /// A column that moves from plaintext to ciphertext, from state to state
    #[command(subcommand)]
    Soak(Soaking),
    /// Say how far each column in a soak is, and what is to be done next
    Plan,
    /// Look for what is set up wrongly
    Doctor,
    /// Print an evidence pack for an auditor: one page of HTML that needs nothing else
    Report(crate::commands::ReportFlags),
    /// Print completions for a shell
    Completions {
        /// bash, elvish, fish, powershell or zsh
        #[arg(value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

#[derive(Subcommand)]
pub(crate) enum Migrate {
    /// Write a migration of your own tables: what they lack for the models, up and down
    Add(Add),
}

#[derive(Args)]
pub(crate) struct Add {
    /// The folder of your migrations
    #[arg(long, value_name = "PATH", default_value = "migrations")]
    pub(crate) folder: PathBuf,
    /// As Diesel names files: NUMBER_NAME/up.sql [default: as SQLx does, NUMBER_NAME.up.sql]
    #[arg(long)]
    pub(crate) diesel: bool,
    /// The migration's name
    #[arg(long, value_name = "NAME", default_value = "encrypted_columns", value_parser = migration_name)]
    pub(crate) name: String,
    /// Its number [default: the time, as in 20261130101500]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) number: Option<u64>,
    /// Leave out the write fence
    #[arg(long)]
    pub(crate) without_fence: bool,
    /// Print it, and write no file
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Part of a file's name, on any system.
fn migration_name(text: &str) -> Result<String, &'static str> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    match !text.is_empty() && text.chars().all(plain) {
        true => Ok(text.to_owned()),
        false => Err("it is to be of lower-case letters, digits and `_`"),
    }
}

#[derive(Subcommand)]
pub(crate) enum Keys {
    /// List owners and the generations of their keys
    List {
        /// This owner only
        #[arg(long, value_name = "OWNER")]
        owner: Option<OwnerName>,
        /// At most so many
        #[arg(long, value_name = "COUNT", default_value_t = 100)]
        limit: u32,
        /// Behind this owner, in the order of their bytes
        #[arg(long, value_name = "OWNER", conflicts_with = "owner")]
        after: Option<OwnerName>,
    },
    /// Make the keys of an owner who has none
    Provision {
        /// Whose
        #[arg(long, value_name = "OWNER")]
        owner: OwnerName,
        #[command(flatten)]
        unwraps: Unwraps,
    },
    /// Give owners new keys, and seal their rows anew
    Rotate {
        /// This owner
        #[arg(long, value_name = "OWNER", required_unless_present = "due")]
        owner: Option<OwnerName>,
        /// All owners who are due, and all whose rotation is under way
        #[arg(long, conflicts_with = "owner")]
        due: bool,
        /// Who is due: whose key has sealed for so many days
        #[arg(long, value_name = "DAYS", default_value_t = 365)]
        older_than_days: u32,
        /// Go on until nothing is waited for: at least 2 minutes, up to 13
        #[arg(long)]
        wait: bool,
        /// Rows of a batch
        #[arg(long, value_name = "ROWS", default_value_t = 200)]
        batch: u32,
        #[command(flatten)]
        unwraps: Unwraps,
    },
    /// Wrap keys anew under the present master key
    Rewrap {
        /// This owner
        #[arg(long, value_name = "OWNER", required_unless_present = "all")]
        owner: Option<OwnerName>,
        /// All owners whose keys are wrapped under another
        #[arg(long, conflicts_with = "owner")]
        all: bool,
        #[command(flatten)]
        unwraps: Unwraps,
    },
    /// Destroy an owner's keys: nothing that was sealed under them opens again
    Shred {
        /// Whose
        #[arg(long, value_name = "OWNER")]
        owner: OwnerName,
        /// Ask nothing: the same owner again
        #[arg(long, value_name = "OWNER")]
        yes_shred: Option<OwnerName>,
        /// Say what would be destroyed
        #[arg(long)]
        dry_run: bool,
    },
    /// Destroy the keys of generations that were retired long ago
    Destroy {
        /// Whose
        #[arg(long, value_name = "OWNER")]
        owner: OwnerName,
        /// Retired for at least so long [default: the horizon]
        #[arg(long, value_name = "DAYS")]
        retired_days: Option<u32>,
        /// Ask nothing: the same owner again
        #[arg(long, value_name = "OWNER")]
        yes_destroy: Option<OwnerName>,
        #[command(flatten)]
        unwraps: Unwraps,
    },
}

/// What a subcommand takes that unwraps keys.
#[derive(Args, Clone)]
pub(crate) struct Unwraps {
    /// Why, for the audit
    #[arg(long, value_name = "TEXT", required_unless_present = "dry_run")]
    pub(crate) reason: Option<String>,
    /// Say what would be done, and unwrap nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Subcommand)]
pub(crate) enum Audit {
    /// Show the last records
    Tail {
        /// How many
        #[arg(long, value_name = "COUNT", default_value_t = 20)]
        lines: u32,
        /// Of this owner only
        #[arg(long, value_name = "OWNER")]
        owner: Option<OwnerName>,
    },
    /// Verify all records, by their keys and the ledger
    Verify {
        /// A head that the ledger had once, as an earlier verification printed it
        #[arg(long, value_name = "HEAD")]
        known: Vec<String>,
    },
}

#[derive(Subcommand)]
pub(crate) enum Restore {
    /// Destroy again what a restore brought back, and raise the epoch
    Replay(Settle),
    /// Begin a new history with this ledger: of a clone, or after a ledger was lost
    Adopt(Settle),
}

#[derive(Args)]
pub(crate) struct Settle {
    /// Ask nothing: the installation, as `status` prints it
    #[arg(long, value_name = "INSTALLATION")]
    pub(crate) yes_restore: Option<String>,
    /// Say what is there, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Subcommand)]
pub(crate) enum Index {
    /// Count what a blind index would show of a plaintext column
    Plan {
        /// The table; `schema.table` where it is in another
        table: String,
        /// The plaintext column
        column: String,
        /// The column of the rows' owners
        #[arg(long, value_name = "COLUMN")]
        owner_column: String,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn clap_finds_no_mistake() {
        super::Arguments::command().debug_assert();
    }
}
