//! Puts together what a subcommand needs, from the configuration.
//!
//! Invariant: nothing is made that is not there: no master key, no ledger, no tables. Absent: what is done with it
//! (`commands`).

use core::time::Duration;
use std::sync::Arc;

use ophie_crypt::{
    AuditError, AuditEvent, AuditSink, AwsKms, ChainedAudit, DekBlob, DekRecord, FileLedger,
    Keyring, Kms, Ledger, LocalKms, MovingKms, OwnerRecord, RestoreGuard, TwoShareKms, Which,
};

use crate::{
    application::Application,
    config::{Config, Setting},
    database::{Database, Keys, is_url},
    error::Error,
    output::Output,
    stop::Stop,
};

/// The name in encryption contexts, unless another is given.
const APP: &str = "ophie-crypt";
const DAY: u64 = 24 * 3600;
const LONGEST_REASON: usize = 1024;

/// What a subcommand runs in.
pub(crate) struct World {
    pub(crate) application: Application,
    pub(crate) config: Config,
    pub(crate) output: Output,
    pub(crate) stop: Stop,
}

/// A KMS, and the name of the KEK that it wraps under.
#[derive(Clone)]
pub(crate) struct Master {
    pub(crate) kms: Arc<dyn Kms>,
    pub(crate) kek: String,
}

/// A keyring whose every unwrap is audited, and the audit to be closed behind it.
pub(crate) struct Unlocked {
    pub(crate) keyring: Keyring,
    audit: ChainedAudit,
    output: Output,
}

impl Unlocked {
    /// The last checkpoint. It is the command's own work that it vouches for, so its failure is said and no more.
    pub(crate) async fn close(self) {
        if let Err(error) = self.audit.checkpoint().await {
            self.output.note(&format!(
                "the audit's last checkpoint is not in the ledger; nothing vouches for this command's records: {error}"
            ));
        }
    }
}

impl World {
    /// The database of the keys.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub(crate) async fn keys_database(&self, create: bool) -> Result<Database, Error> {
        let setting = self.keys_url()?;
        let connected = Database::connect(setting.key, &setting.value, create);
        self.stop.or_left(connected).await
    }

    /// The setting that says where the keys are.
    ///
    /// # Errors
    ///
    /// [`Error::Config`].
    pub(crate) fn keys_url(&self) -> Result<&Setting, Error> {
        match self.config.setting("keys_url") {
            Some(setting) => Ok(setting),
            None => Ok(self.config.needed("database_url")?),
        }
    }

    /// The stores in it.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub(crate) async fn keys(&self) -> Result<Keys, Error> {
        Ok(self.keys_database(false).await?.keys())
    }

    /// The application's database.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub(crate) async fn rows_database(&self) -> Result<Database, Error> {
        let setting = self.config.rows_url()?;
        let connected = Database::connect(setting.key, &setting.value, false);
        self.stop.or_left(connected).await
    }

    /// Refuses a program that knows no models, and one that would not know where they are.
    ///
    /// # Errors
    ///
    /// [`Error::NoModels`], [`Error::Config`].
    pub(crate) fn needs_models(&self) -> Result<(), Error> {
        match self.application.has_models() {
            true => self.config.rows_url().map(drop).map_err(Error::from),
            false => Err(Error::NoModels),
        }
    }

    /// The name in encryption contexts.
    pub(crate) fn app(&self) -> Arc<str> {
        let said = self.config.setting("app");
        said.map_or(APP, |setting| setting.value.as_str()).into()
    }

    /// How long backups are kept.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub(crate) fn horizon(&self) -> Result<Duration, Error> {
        let Some(setting) = self.config.setting("horizon_days") else {
            return Ok(Duration::from_secs(DAY.saturating_mul(35)));
        };
        let days: u32 = setting
            .value
            .parse()
            .map_err(|_| setting.wrong("a number of days"))?;
        Ok(days_of(days))
    }

    /// The ledger, if one is named.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub(crate) async fn ledger(&self) -> Result<Option<Arc<dyn Ledger>>, Error> {
        match self.config.setting("ledger") {
            Some(setting) => self.stop.or_left(ledger(setting)).await.map(Some),
            None => Ok(None),
        }
    }

    /// The ledger.
    ///
    /// # Errors
    ///
    /// [`Error`], also if none is named.
    pub(crate) async fn needed_ledger(&self) -> Result<Arc<dyn Ledger>, Error> {
        let setting = self.config.needed("ledger")?;
        self.stop.or_left(ledger(setting)).await
    }

    /// Makes the ledger, if it is not there.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub(crate) async fn create_ledger(&self) -> Result<(), Error> {
        let setting = self.config.needed("ledger")?;
        match setting.value.strip_prefix("file:") {
            Some(path) => drop(FileLedger::open_or_create(path)?),
            None => {
                let database = Database::connect("ledger", url(setting)?, true).await?;
                database.create_ledger().await?;
            }
        }
        Ok(())
    }

    /// The KMS.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub(crate) async fn master(&self) -> Result<Master, Error> {
        let mut to = master(self.config.needed("kms")?).await?;
        if let Some(former) = self.config.setting("former_kms") {
            let from = master(former).await?;
            to.kms = Arc::new(MovingKms::new(from.kms, to.kms));
        }
        if let Some((shares, _)) = &self.application.shares {
            to.kms = Arc::new(TwoShareKms::new(to.kms, Arc::clone(shares)));
            to.kek = TwoShareKms::kek(&to.kek);
        }
        Ok(to)
    }

    /// Refuses a program that knows no share store, where keys are in two shares: it would make keys in one piece, and
    /// leave second shares behind. The first owners are looked at, whose keys move first.
    async fn knows_shares(&self, keys: &Keys) -> Result<(), Error> {
        const SOME: u32 = 20;
        if self.application.shares.is_some() {
            return Ok(());
        }
        // No KEK has an empty name.
        let which = Which::WrappedElsewhere { kek: String::new() };
        let owners = keys.rotation.owners(&which, None, SOME).await?;
        for owner in owners {
            let record = keys.rotation.load(&owner).await?;
            if record.as_ref().is_some_and(is_in_two_shares) {
                return Err(Error::TwoShares);
            }
        }
        Ok(())
    }

    /// Who does this.
    pub(crate) fn actor(&self) -> String {
        if let Some(setting) = self.config.setting("actor") {
            return setting.value.clone();
        }
        let user = ["USER", "LOGNAME"]
            .iter()
            .find_map(|name| std::env::var(name).ok());
        let user = user.unwrap_or_else(|| format!("uid-{}", rustix::process::getuid().as_raw()));
        let system = rustix::system::uname();
        format!("{user}@{}", system.nodename().to_string_lossy())
    }

    /// A keyring for somebody who says why.
    ///
    /// # Errors
    ///
    /// [`Error`]; [`Error::Reason`] before anything is connected.
    pub(crate) async fn unlock(
        &self,
        keys: &Keys,
        reason: Option<&str>,
    ) -> Result<Unlocked, Error> {
        let reason = reason.map(str::trim).unwrap_or_default();
        if reason.is_empty() || reason.len() > LONGEST_REASON {
            return Err(Error::Reason);
        }
        self.knows_shares(keys).await?;
        let master = self.master().await?;
        let ledger = self.ledger().await?;
        if ledger.is_none() && keys.shreds.installation().await?.ledger.position() > 0 {
            // Without it a restored database would wrap keys of owners who are shredded.
            self.config.needed("ledger")?;
        }
        let mut audit =
            ChainedAudit::builder(keys.audit.clone(), master.kms.clone()).app(self.app());
        let mut keyring = Keyring::builder()
            .kms(master.kms)
            .key_store(keys.rotation.clone())
            .app(self.app())
            .actor(self.actor());
        if let Some(ledger) = ledger {
            audit = audit.ledger(ledger.clone());
            keyring = keyring.restore_guard(RestoreGuard::new(keys.shreds.clone(), ledger));
        }
        self.stop.unless_stopped()?;
        let audit = audit.start().await?;
        let sink = Reasoned {
            audit: audit.clone(),
            reason: reason.into(),
        };
        Ok(Unlocked {
            keyring: keyring.audit(sink).build()?,
            audit,
            output: self.output.clone(),
        })
    }
}

/// Records each event with the reason that its caller gave.
struct Reasoned {
    audit: ChainedAudit,
    reason: Arc<str>,
}

#[async_trait::async_trait]
impl AuditSink for Reasoned {
    async fn record(&self, event: &AuditEvent) -> Result<(), AuditError> {
        let mut event = event.clone();
        event.reason = Some(self.reason.clone());
        self.audit.record(&event).await
    }
}

/// Whether the newest key is; what the KEK of such a key is called, no other's is.
pub(crate) fn is_in_two_shares(record: &OwnerRecord) -> bool {
    let blob = record.newest().map(DekRecord::blob);
    matches!(blob, Some(DekBlob::Wrapped(wrapped)) if wrapped.kek().starts_with(&TwoShareKms::kek("")))
}

/// So many days.
pub(crate) fn days_of(days: u32) -> Duration {
    Duration::from_secs(DAY.saturating_mul(days.into()))
}

async fn ledger(setting: &Setting) -> Result<Arc<dyn Ledger>, Error> {
    Ok(match setting.value.strip_prefix("file:") {
        Some(path) => Arc::new(FileLedger::open(path)?),
        None => Database::connect("ledger", url(setting)?, false)
            .await?
            .ledger(),
    })
}

fn url(setting: &Setting) -> Result<&str, Error> {
    match is_url(&setting.value) {
        true => Ok(&setting.value),
        false => Err(setting
            .wrong("`file:` and a path, or the URL of a database")
            .into()),
    }
}

async fn master(setting: &Setting) -> Result<Master, Error> {
    if let Some(path) = setting.value.strip_prefix("local:") {
        let kms = LocalKms::open(path)?;
        let kek = kms.kek();
        return Ok(Master {
            kms: Arc::new(kms),
            kek,
        });
    }
    if !setting.value.starts_with("arn:") {
        let what = "`local:` and the path of a master key file, or the ARN of a key";
        return Err(setting.wrong(what).into());
    }
    let kms = AwsKms::from_env(setting.value.clone()).await;
    Ok(Master {
        kms: Arc::new(kms.map_err(|error| Error::Kms(error.into()))?),
        kek: setting.value.clone(),
    })
}
