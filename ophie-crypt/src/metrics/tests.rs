//! Every metric, through a recorder that can be looked into; and no owner in any of them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};

use crate::{
    BudgetStatus, CanonicalId, Dek, KeyStore, Keyring, Kms, KmsCall, KmsError, Lease, LeaseError,
    LeaseRequest, LocalKms, MAX_INVOCATIONS, MemoryKeyStore, Purpose, SessionError, WrappedDek,
    passed_on::pass_on,
};

const OWNER: &str = "owner-canary";
const PURPOSE: Purpose = Purpose::new("purpose-canary");

/// Metrics by name and labels, as `name{label=value}`.
type Seen = BTreeMap<String, DebugValue>;

fn seen(run: impl Future<Output = ()>) -> Seen {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(run);
    });
    let all = snapshotter.snapshot().into_vec().into_iter();
    let seen: Seen = all
        .map(|(key, _, _, value)| {
            let key = key.key();
            let labels: Vec<_> = key
                .labels()
                .map(|label| format!("{}={}", label.key(), label.value()))
                .collect();
            (format!("{}{{{}}}", key.name(), labels.join(",")), value)
        })
        .collect();
    let text = format!("{seen:?}");
    for secret in ["canary", &CanonicalId::text(OWNER).to_hex()] {
        assert!(!text.contains(secret), "{text}");
    }
    seen
}

#[track_caller]
fn is_counted(seen: &Seen, name: &str, times: u64) {
    assert_eq!(
        seen.get(name),
        Some(&DebugValue::Counter(times)),
        "{name}: {seen:?}"
    );
}

fn values(seen: &Seen, name: &str) -> Vec<f64> {
    match seen.get(name) {
        Some(DebugValue::Histogram(values)) => values.iter().map(|value| **value).collect(),
        other => panic!("{name}: {other:?} of {seen:?}"),
    }
}

fn keyring(kms: impl Kms, store: impl KeyStore, limit: u64) -> Keyring {
    Keyring::builder()
        .kms(kms)
        .key_store(store)
        .max_invocations(limit)
        .build()
        .unwrap()
}

/// Answers, is away, refuses or hangs.
struct Moody(LocalKms, AtomicU8);

impl Moody {
    fn new() -> Arc<Self> {
        Arc::new(Self(LocalKms::ephemeral().unwrap(), AtomicU8::new(0)))
    }
}

#[async_trait]
impl Kms for Moody {
    pass_on!(0: make_dek, rewrap_dek, holds);

    async fn unwrap_dek(&self, wrapped: &WrappedDek, call: &KmsCall) -> Result<Dek, KmsError> {
        match self.1.load(SeqCst) {
            0 => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                self.0.unwrap_dek(wrapped, call).await
            }
            1 => Err(KmsError::unavailable("away")),
            2 => Err(KmsError::refused("no")),
            _ => core::future::pending().await,
        }
    }
}

#[test]
fn attempts_and_sessions() {
    let seen = seen(async {
        let kms = Moody::new();
        let keyring = keyring(Arc::clone(&kms), MemoryKeyStore::new(), MAX_INVOCATIONS);
        keyring.provision(OWNER).await.unwrap();
        let session = keyring.open(OWNER, PURPOSE).await.unwrap();
        let shared = [
            keyring.open(OWNER, PURPOSE).await.unwrap(),
            keyring.open(OWNER, PURPOSE).await.unwrap(),
        ];
        session.close();
        for session in shared {
            session.close();
        }
        tokio::task::yield_now().await;
        for mood in 1..=3 {
            kms.1.store(mood, SeqCst);
            keyring.open(OWNER, PURPOSE).await.unwrap_err();
        }
    });
    let attempts = |operation, result| {
        format!("ophie_crypt_kms_attempts_total{{operation={operation},result={result}}}")
    };
    is_counted(&seen, &attempts("make", "done"), 1);
    is_counted(&seen, &attempts("unwrap", "done"), 1);
    is_counted(&seen, &attempts("unwrap", "unavailable"), 3);
    is_counted(&seen, &attempts("unwrap", "refused"), 1);
    assert!(
        seen.contains_key(&attempts("unwrap", "timed-out")),
        "{seen:?}"
    );
    is_counted(&seen, "ophie_crypt_sessions_total{keys=fetched}", 1);
    is_counted(&seen, "ophie_crypt_sessions_total{keys=cached}", 2);
    let unwraps = values(&seen, "ophie_crypt_kms_seconds{operation=unwrap}");
    assert!(unwraps.len() >= 6, "one for each attempt: {unwraps:?}");
    assert!(unwraps.iter().all(|seconds| (0.0..60.0).contains(seconds)));
    assert_eq!(
        values(&seen, "ophie_crypt_kms_seconds{operation=make}").len(),
        1
    );
}

#[test]
fn grants_and_what_is_left() {
    let seen = seen(async {
        let kms = LocalKms::ephemeral().unwrap();
        let keyring = keyring(kms, MemoryKeyStore::new(), MAX_INVOCATIONS);
        let session = keyring.open_or_provision(OWNER, PURPOSE).await.unwrap();
        session.reserve(100_000).await.unwrap();
    });
    let Some(DebugValue::Counter(granted)) = seen.get("ophie_crypt_invocations_granted_total{}")
    else {
        panic!("{seen:?}")
    };
    assert!(*granted >= 100_000);
    let left = values(&seen, "ophie_crypt_invocations_left{}");
    let least = left.iter().copied().fold(f64::INFINITY, f64::min);
    // The index key is granted when the owner is provisioned, which no lease is for.
    let expected = f64::from(u32::try_from(MAX_INVOCATIONS - granted - 1).unwrap());
    assert_eq!(least, expected, "{left:?}");
    assert!(!seen.contains_key("ophie_crypt_rotations_due_total{}"));
}

#[test]
fn refusals() {
    let seen = seen(async {
        let kms = LocalKms::ephemeral().unwrap();
        let stopped = keyring(kms, MemoryKeyStore::new(), 1);
        stopped.open_or_provision(OWNER, PURPOSE).await.unwrap();
        let full = Keyring::builder()
            .kms(LocalKms::ephemeral().unwrap())
            .key_store(MemoryKeyStore::new())
            .max_owners(0)
            .build()
            .unwrap();
        let opened = full.open(OWNER, PURPOSE).await;
        assert!(
            matches!(opened, Err(SessionError::TooManyOwners)),
            "{opened:?}"
        );
    });
    is_counted(&seen, "ophie_crypt_refusals_total{reason=hard-stop}", 1);
    is_counted(&seen, "ophie_crypt_refusals_total{reason=max-owners}", 1);
}

/// Says that half of the budget is used up.
#[derive(Default)]
struct Worn(MemoryKeyStore);

#[async_trait]
impl KeyStore for Worn {
    pass_on!(0: load, insert_if_absent, version, changes, shred);

    async fn lease(&self, request: &LeaseRequest) -> Result<Lease, LeaseError> {
        let lease = self.0.lease(request).await?;
        let granted = BudgetStatus::ROTATE_AT + lease.granted();
        Ok(Lease::new(lease.count(), granted, lease.version()))
    }
}

#[test]
fn a_rotation_that_is_due_is_counted_once() {
    let seen = seen(async {
        let kms = LocalKms::ephemeral().unwrap();
        let keyring = keyring(kms, Worn::default(), MAX_INVOCATIONS);
        let session = keyring.open_or_provision(OWNER, PURPOSE).await.unwrap();
        session.reserve(10_000).await.unwrap();
        session.reserve(20_000).await.unwrap();
    });
    is_counted(&seen, "ophie_crypt_rotations_due_total{}", 1);
}
