//! Why the command ended without doing what it was asked, and its exit codes.
//!
//! Invariant: each error has one code, and none holds a secret. Absent: how it is shown (`output`).

use ophie_crypt::{
    AuditStoreError, BuildError, LedgerError, LocalKmsError, ModelError, ProvisionError,
    RestoreError, RotationError, SessionError, StartAuditError, StoreError, VerifyError,
    soak::{SoakJobError, SoakState},
};

use crate::{config::ConfigError, database::DatabaseError};

/// How the command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It is done.
    Fine,
    /// A check found something.
    Findings,
    /// The command line or the configuration is wrong.
    Usage,
    /// A database, the KMS, the ledger or the audit failed.
    Failed,
    /// It needs models, or a confirmation.
    Refused,
    /// It did what can be done now; the same call again goes on.
    Waiting,
    /// Ctrl-C; the same call again goes on.
    Interrupted,
}

impl Exit {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Findings => 1,
            Self::Usage => 2,
            Self::Failed => 3,
            Self::Refused => 4,
            Self::Waiting => 5,
            Self::Interrupted => 130,
        }
    }
}

/// The command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the audit could not be read or written; see why, then try again")]
    Audit(#[from] AuditStoreError),
    #[error("the audit was not begun, so no key was used; see why, then try again")]
    AuditNotBegun(#[from] StartAuditError),
    #[error("the audit could not be verified; see why, then try again")]
    AuditNotVerified(#[from] VerifyError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("{} was not written; see why", .path.display())]
    File {
        path: std::path::PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("stopped; what was begun is done, and the same command goes on from there")]
    Interrupted,
    #[error("the keyring was not built; see why")]
    Keyring(#[from] BuildError),
    #[error("the KMS was not set up; see why")]
    Kms(#[source] Box<dyn core::error::Error + Send + Sync>),
    #[error("the ledger was not read or written; see why")]
    Ledger(#[from] LedgerError),
    #[error("the application's tables were not read or written; see why")]
    Models(#[from] ModelError),
    #[error(
        "this program knows no models, and without them it would leave rows behind; make one that does:\n\n{}",
        include_str!("five_lines.rs")
    )]
    NoModels,
    #[error(
        "no model that this program knows has an encrypted column with the plaintext column {0} beside it, or of that name \
         in a soak; `ophie-crypt plan` names those that there are"
    )]
    NoSoak(String),
    #[error("the application's database has no tables of soaks; run `ophie-crypt migrate`")]
    NoSoakTables,
    #[error(
        "{column} is in the state `{state}`, from which `soak {asked}` leads nowhere; see `ophie-crypt plan`"
    )]
    NoStep {
        column: String,
        state: SoakState,
        asked: &'static str,
    },
    #[error("in {at}, {what} cannot be undone; confirm it with `{flag} {name}`, or on a terminal")]
    NotConfirmed {
        at: String,
        what: String,
        flag: &'static str,
        name: String,
    },
    #[error("`{flag}` names another than `{name}`, so nothing was done")]
    OtherConfirmed { flag: &'static str, name: String },
    #[error("no keys were made; see why")]
    Provision(#[from] ProvisionError),
    #[error(
        "this unwraps keys, and the audit asks why; say it with `--reason`, in 1,024 bytes at most"
    )]
    Reason,
    #[error("the restore was not settled; see why")]
    Restore(#[from] RestoreError),
    #[error("the rotation did not go on; see why")]
    Rotation(#[from] RotationError),
    #[error("the owner's keys were not destroyed; see why")]
    Shred(#[from] ophie_crypt::ShredError),
    #[error("the soak did not go on; see why")]
    Soak(#[from] SoakJobError),
    #[error("the owner has no keys to work with; see why")]
    Session(#[from] SessionError),
    #[error("the process could not begin")]
    Start(#[source] std::io::Error),
    #[error("the key store failed; see why, then try again")]
    Store(#[from] StoreError),
    #[error(
        "keys are in two shares here, and this program knows no share store: it would make keys in one piece, and leave second \
         shares behind; use your application's own command, with `Application::shares`"
    )]
    TwoShares,
    #[error("`{value}` is no {what}; see `--help`")]
    Value { what: &'static str, value: String },
}

impl From<LocalKmsError> for Error {
    fn from(error: LocalKmsError) -> Self {
        Self::Kms(error.into())
    }
}

impl Error {
    /// The code that the process ends with.
    pub(crate) const fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Reason | Self::Value { .. } => Exit::Usage,
            Self::NoModels
            | Self::NoSoak(_)
            | Self::Rotation(RotationError::Sidecars)
            | Self::NoStep { .. }
            | Self::NotConfirmed { .. }
            | Self::OtherConfirmed { .. }
            | Self::TwoShares
            | Self::Soak(
                SoakJobError::Gates { .. } | SoakJobError::Model(ModelError::CannotSoak { .. }),
            ) => Exit::Refused,
            Self::Interrupted | Self::Soak(SoakJobError::Stopped) => Exit::Interrupted,
            Self::Soak(SoakJobError::DoesNotFit { .. }) => Exit::Findings,
            _ => Exit::Failed,
        }
    }

    /// A word for programs.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Audit(_) | Self::AuditNotBegun(_) | Self::AuditNotVerified(_) => "audit",
            Self::Config(_) => "config",
            Self::Database(_) => "database",
            Self::File { .. } => "file",
            Self::Interrupted => "interrupted",
            Self::Keyring(_)
            | Self::Provision(_)
            | Self::Rotation(_)
            | Self::Session(_)
            | Self::Shred(_)
            | Self::TwoShares => "keys",
            Self::Kms(_) => "kms",
            Self::Ledger(_) => "ledger",
            Self::Models(_) => "models",
            Self::NoModels => "no-models",
            Self::NotConfirmed { .. } | Self::OtherConfirmed { .. } => "not-confirmed",
            Self::NoSoak(_) | Self::NoSoakTables | Self::NoStep { .. } | Self::Soak(_) => "soak",
            Self::Reason => "reason",
            Self::Restore(_) => "restore",
            Self::Start(_) => "start",
            Self::Store(_) => "key-store",
            Self::Value { .. } => "value",
        }
    }
}
