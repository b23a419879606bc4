//! The command line of `soak`.
//!
//! Absent: what the subcommands do (`commands::soak`).

use core::{fmt, str::FromStr};

use clap::{Args, Subcommand};

use super::Unwraps;

#[derive(Subcommand)]
pub(crate) enum Soaking {
    /// Add the encrypted column, its fingerprints, and the guard
    Expand {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        dry: Dry,
    },
    /// Have releases write both columns
    DualWrite {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        waits: Waits,
        #[command(flatten)]
        dry: Dry,
    },
    /// Seal the rows of before
    Backfill {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        waits: Waits,
        /// Pass over rows of owners who have no keys, instead of making some
        #[arg(long)]
        without_provisioning: bool,
        /// Batches that are sealed side by side; SQLite takes one
        #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4))]
        workers: u32,
        #[command(flatten)]
        batches: Batches,
        #[command(flatten)]
        unwraps: Unwraps,
    },
    /// Open and compare every row
    Verify {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        waits: Waits,
        #[command(flatten)]
        batches: Batches,
        #[command(flatten)]
        unwraps: Unwraps,
    },
    /// Have readers compare both columns, and serve the plaintext
    Soak {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        waits: Waits,
        #[command(flatten)]
        dry: Dry,
    },
    /// Have readers serve the ciphertext
    Seal {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        waits: Waits,
        #[command(flatten)]
        dry: Dry,
    },
    /// Refuse writes of binaries that know nothing of the soak; verify again
    RefuseOld {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        dry: Dry,
    },
    /// Admit binaries that know nothing of the soak again
    AdmitOld {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        dry: Dry,
    },
    /// Refuse plaintext, and set to NULL what there is
    Retire {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        waits: Waits,
        #[command(flatten)]
        batches: Batches,
        #[command(flatten)]
        dry: Dry,
    },
    /// Drop the plaintext column for good, and write the table anew
    Drop {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        waits: Waits,
        /// Ask nothing: the table and its plaintext column
        #[arg(long, value_name = "TABLE.COLUMN")]
        yes_drop: Option<String>,
        /// Write the table anew once more, after a drop whose rewrite failed
        #[arg(long)]
        rewrite: bool,
        #[command(flatten)]
        dry: Dry,
    },
    /// Step back: from `retired` and `sealed` with the plaintext of every row
    Back {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        waits: Waits,
        #[command(flatten)]
        batches: Batches,
        /// Why, for the audit; where plaintext comes back
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        dry: Dry,
    },
}

/// Which column.
#[derive(Args)]
pub(crate) struct At {
    /// The table and its column, encrypted or plaintext
    #[arg(value_name = "TABLE.COLUMN")]
    pub(crate) column: ColumnName,
}

#[derive(Args)]
pub(crate) struct Waits {
    /// Wait until every live process has acknowledged the present state: mostly 10 seconds
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(Args)]
pub(crate) struct Dry {
    /// Say what would be done, and what is in the way
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Args)]
pub(crate) struct Batches {
    /// Rows of a batch
    #[arg(long, value_name = "ROWS", default_value_t = 500)]
    pub(crate) batch: u32,
    /// Rest between two batches
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 5)]
    pub(crate) pause_ms: u64,
    /// Wait between two batches while a replica is further behind; PostgreSQL knows, to a role with pg_monitor
    #[arg(long, value_name = "MILLISECONDS")]
    pub(crate) max_lag_ms: Option<u64>,
}

/// A table and a column.
#[derive(Clone)]
pub(crate) struct ColumnName {
    pub(crate) table: String,
    pub(crate) column: String,
}

impl FromStr for ColumnName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.rsplit_once('.');
        let named = parts.filter(|(table, column)| !table.is_empty() && !column.is_empty());
        let (table, column) =
            named.ok_or("it is to be a table and a column, such as people.name")?;
        Ok(Self {
            table: table.to_owned(),
            column: column.to_owned(),
        })
    }
}

impl fmt::Display for ColumnName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.table, self.column)
    }
}
