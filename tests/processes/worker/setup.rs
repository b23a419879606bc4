//! What a process is made of: its settings, its keyring, what it leaves behind in files.
//!
//! Invariant: what is written to a file is there after a SIGKILL, because each record is one append.
//! Absent: what the process does.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::Write,
    time::Duration,
};

use async_trait::async_trait;
use ophie_crypt::{
    AuditError, AuditEvent, AuditSink, AuditStep, AwsKms, CanonicalId, DekRecord, EncryptedModel,
    IndexKeyRecord, KeyStore, Keyring, KeyringBuilder, Lease, LeaseError, LeaseRequest, LocalKms,
    OwnerRecord, Purpose, StoreError, TwoShareKms,
};
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner, PostgresKeyStore, PostgresShares};
use sqlx::{PgPool, postgres::PgPoolOptions};

pub(crate) const PURPOSE: Purpose = Purpose::new("tests");

/// What the processes write for each other.
#[derive(EncryptedModel, sqlx::FromRow)]
#[crypt(table = "notes")]
pub(crate) struct Note {
    #[allow(
        dead_code,
        reason = "read by its hook, which refuses another owner's row"
    )]
    pub(crate) owner: Owner<i64>,
    #[crypt(plain)]
    pub(crate) writer: i64,
    pub(crate) text: Encrypted<String, note::text>,
    #[crypt(index_of = "text", normalize = "exact")]
    pub(crate) text_fp: BlindIndex<String, note::text_fp>,
}

/// The arguments `NAME=VALUE`.
pub(crate) struct Settings(HashMap<String, String>);

impl Settings {
    pub(crate) fn read() -> Self {
        let pairs = std::env::args().skip(2).map(|argument| {
            let (name, value) = argument.split_once('=').expect("NAME=VALUE");
            (name.to_owned(), value.to_owned())
        });
        Self(pairs.collect())
    }

    pub(crate) fn optional(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.optional(name)
            .unwrap_or_else(|| panic!("the setting {name}"))
    }

    pub(crate) fn number<N: std::str::FromStr>(&self, name: &str) -> N {
        let number = self.text(name).parse().ok();
        number.unwrap_or_else(|| panic!("{name} is no number"))
    }

    fn millis(&self, name: &str) -> Option<Duration> {
        self.optional(name)
            .map(|_| Duration::from_millis(self.number(name)))
    }

    /// A pool on PostgreSQL that waits for a connection no longer than the setting `acquire` says.
    pub(crate) fn pool(&self) -> PgPool {
        PgPoolOptions::new()
            .max_connections(4)
            .acquire_timeout(self.millis("acquire").unwrap_or(Duration::from_secs(60)))
            .connect_lazy(self.text("database"))
            .expect("a PostgreSQL URL")
    }

    /// With the key store on PostgreSQL.
    pub(crate) async fn keyring(&self) -> Keyring {
        let store = PostgresKeyStore::new(self.pool());
        self.keyring_on(match self.optional("notifications") {
            Some(direct) => store.with_notifications(direct.parse().expect("a PostgreSQL URL")),
            None => store,
        })
        .await
    }

    /// With AWS KMS where the setting `arn` names a key, else with a master key in a file.
    pub(crate) async fn keyring_on(&self, store: impl KeyStore) -> Keyring {
        let mut builder = Keyring::builder().actor(self.text("actor"));
        builder = builder.key_store(Settled {
            store,
            leases: self.optional("leases").map(append_to),
            unaware: self.optional("unaware").is_some(),
        });
        builder = match (self.optional("arn"), self.shares()) {
            (Some(arn), _) => builder.kms(AwsKms::from_env(arn).await.expect("the ARN of a key")),
            (None, Some(shares)) => builder.kms(TwoShareKms::new(self.local(), shares)),
            (None, None) => builder.kms(self.local()),
        };
        if let Some(path) = self.optional("journal") {
            builder = builder.audit(Journal(append_to(path)));
        }
        self.times(builder).build().expect("a whole keyring")
    }

    fn local(&self) -> LocalKms {
        LocalKms::open(self.text("master")).expect("a master key")
    }

    /// Second shares in the database that the setting `shares` names.
    pub(crate) fn shares(&self) -> Option<PostgresShares> {
        let url = self.optional("shares")?;
        let pool = PgPoolOptions::new().max_connections(2).connect_lazy(url);
        Some(PostgresShares::new(
            pool.expect("a PostgreSQL URL"),
            "tests",
        ))
    }

    fn times(&self, mut builder: KeyringBuilder) -> KeyringBuilder {
        if let Some(ttl) = self.millis("ttl") {
            builder = builder.ttl(ttl);
        }
        if let Some(period) = self.millis("recheck") {
            builder = builder.recheck(period);
        }
        if self.optional("limit").is_some() {
            builder = builder.max_invocations(self.number("limit"));
        }
        builder
    }
}

/// A file that each write appends to.
pub(crate) fn append_to(path: &str) -> File {
    let mut options = OpenOptions::new();
    let file = options.create(true).append(true).open(path);
    file.expect("a file that can be appended to")
}

/// Appends as many bytes: the length of the file is a count.
pub(crate) fn count_in(mut file: &File, count: usize) {
    file.write_all(&vec![b'.'; count])
        .expect("room on the disk");
}

/// Writes each event as a line: `intent` or `outcome`, who, which call and attempt, what for, whose key; of an
/// outcome also how it ended and the KMS's request id, or `-`.
struct Journal(File);

#[async_trait]
impl AuditSink for Journal {
    async fn record(&self, event: &AuditEvent) -> Result<(), AuditError> {
        let (actor, owner, generation) = (&event.actor, event.owner.to_hex(), event.generation);
        let line = match &event.step {
            AuditStep::Intent {
                call,
                attempt,
                operation,
            } => format!(
                "intent {actor} {call} {attempt} {} {owner} {generation}\n",
                operation.as_str()
            ),
            AuditStep::Outcome {
                call,
                attempt,
                operation,
                result,
                request_id,
                ..
            } => format!(
                "outcome {actor} {call} {attempt} {} {owner} {generation} {} {}\n",
                operation.as_str(),
                result.as_str(),
                request_id.as_deref().unwrap_or("-")
            ),
            _ => return Ok(()),
        };
        (&self.0)
            .write_all(line.as_bytes())
            .map_err(AuditError::unavailable)
    }
}

/// A key store as the settings have it.
struct Settled<S> {
    store: S,
    /// Counts what the store granted to this process.
    leases: Option<File>,
    /// This process hears of no change, however often it asks.
    unaware: bool,
}

#[async_trait]
impl<S: KeyStore> KeyStore for Settled<S> {
    async fn load(&self, owner: &CanonicalId) -> Result<Option<OwnerRecord>, StoreError> {
        self.store.load(owner).await
    }

    async fn insert_if_absent(
        &self,
        owner: &CanonicalId,
        dek: &DekRecord,
        index_key: &IndexKeyRecord,
    ) -> Result<(), StoreError> {
        self.store.insert_if_absent(owner, dek, index_key).await
    }

    async fn version(&self, owner: &CanonicalId) -> Result<Option<u64>, StoreError> {
        self.store.version(owner).await
    }

    async fn lease(&self, request: &LeaseRequest) -> Result<Lease, LeaseError> {
        let lease = self.store.lease(request).await?;
        if let Some(leases) = &self.leases {
            let count = lease.count().try_into().expect("a usize has 32 bits");
            count_in(leases, count);
        }
        Ok(lease)
    }

    async fn shred(&self, owner: &CanonicalId) -> Result<Option<ophie_crypt::ShredId>, StoreError> {
        self.store.shred(owner).await
    }

    async fn changes(&self, within: Duration) -> Result<Vec<(CanonicalId, u64)>, StoreError> {
        let changes = self.store.changes(within).await?;
        Ok(if self.unaware { Vec::new() } else { changes })
    }

    async fn notified(&self) {
        self.store.notified().await;
    }
}
