//! Opens sessions, and seals and reads under them, as it is told.
//!
//! Absent: whether an answer is the right one.

use std::{collections::HashMap, time::Duration};

use ophie_crypt::{Keyring, KmsError, ProvisionError, Session, SessionError, StoreError};
use ophie_crypt_sqlx::Sealed;
use tokio::time::Instant;

use super::{
    Orders, say,
    setup::{PURPOSE, Settings, note},
};

/// An owner's open session, and a value that was sealed in it.
struct Held {
    session: Session,
    sealed: Sealed<String, note::text>,
}

impl Held {
    fn new(session: Session) -> Self {
        let sealed = note::text("text").seal(&session);
        Self {
            sealed: sealed.expect("a new session seals"),
            session,
        }
    }

    /// Why it cannot be read; the word is the debug form of `NoSession`.
    fn read(&self) -> Result<(), String> {
        match self.sealed.open(&self.session) {
            Ok(text) => {
                assert_eq!(text.expose_secret(), "text");
                Ok(())
            }
            Err(error) => Err(self
                .session
                .ended()
                .map_or(format!("{error:?}"), |reason| format!("{reason:?}"))),
        }
    }
}

pub(crate) async fn run(settings: &Settings) {
    let keyring = settings.keyring().await;
    let mut held = HashMap::new();
    let mut orders = Orders::new();
    say("ready");
    while let Some(order) = orders.next().await {
        let mut words = order.split(' ');
        let verb = words.next().unwrap_or_default();
        let mut number = || {
            let word = words.next().expect("a number");
            word.parse::<i64>().expect("a number")
        };
        match verb {
            "provision" => {
                let provisioned = keyring.provision(&number()).await;
                say(provisioned.map_or_else(|error| why_not_made(&error), |()| "ok"));
            }
            "open" => {
                let (owner, begun) = (number(), Instant::now());
                match keyring.open(&owner, PURPOSE).await {
                    Ok(session) => {
                        held.insert(owner, Held::new(session));
                        say("ok");
                    }
                    Err(error) => {
                        say(format_args!(
                            "{} after {} ms",
                            why_not_open(&error),
                            begun.elapsed().as_millis()
                        ));
                    }
                }
            }
            "open-all" => {
                let (owners, tasks) = (number(), number());
                say(open_all(&keyring, owners, tasks).await);
            }
            "read" => {
                let read = held.get(&number()).map(Held::read).expect("it is open");
                say(read.map_or_else(|reason| reason, |()| "ok".into()));
            }
            "read-until-refused" => {
                let held = held.get(&number()).expect("it is open");
                say(read_until(held, |read| read.is_err()).await);
            }
            "read-after-a-stop" => {
                let held = held.remove(&number()).expect("it is open");
                let first = tokio::task::spawn_blocking(move || read_after_a_stop(&held));
                say(first.await.expect("no panic"));
            }
            "read-until-open" => {
                let held = held.get(&number()).expect("it is open");
                say(read_until(held, Result::is_ok).await);
            }
            other => panic!("no order {other}"),
        }
    }
}

/// Reads again and again; how the last reading went, and how many there were.
async fn read_until(held: &Held, end: impl Fn(&Result<(), String>) -> bool) -> String {
    let mut reads = 0_u64;
    loop {
        let read = held.read();
        reads = reads.saturating_add(1);
        if end(&read) {
            let word = read.map_or_else(|reason| reason, |()| "ok".into());
            return format!("{word} {reads}");
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Reads without a pause until the process was stopped for a second; how the first reading after that went.
/// Nothing else in the process has run by then.
fn read_after_a_stop(held: &Held) -> String {
    say("reading");
    let mut last = Instant::now();
    loop {
        let now = Instant::now();
        let stopped = now.duration_since(last) > Duration::from_secs(1);
        last = now;
        let read = held.read();
        if stopped {
            return read.map_or_else(|reason| reason, |()| "ok".into());
        }
    }
}

/// So many tasks at once for each of so many owners; all hold their sessions until the last has one.
async fn open_all(keyring: &Keyring, owners: i64, tasks: i64) -> String {
    let all: Vec<_> = (0..owners.saturating_mul(tasks))
        .map(|n| {
            let keyring = keyring.clone();
            let owner = n.checked_rem(owners).expect("at least one owner");
            tokio::spawn(async move {
                loop {
                    match keyring.open(&owner, PURPOSE).await {
                        // It did not get its turn at the KMS in time, and asked it nothing.
                        Err(SessionError::Kms(KmsError::Unavailable { .. })) => {}
                        opened => return opened.expect("the owner is there"),
                    }
                }
            })
        })
        .collect();
    let mut sessions = Vec::new();
    for task in all {
        sessions.push(task.await.expect("no task panics"));
    }
    format!("open {}", sessions.len())
}

fn why_not_made(error: &ProvisionError) -> &'static str {
    match error {
        ProvisionError::Kms(KmsError::Unavailable { .. }) => "kms-unavailable",
        ProvisionError::Store(StoreError::Unavailable { .. }) => "store-unavailable",
        other => panic!("{other:?}"),
    }
}

fn why_not_open(error: &SessionError) -> &'static str {
    match error {
        SessionError::Kms(KmsError::Unavailable { .. }) => "kms-unavailable",
        SessionError::Kms(KmsError::Refused { .. }) => "kms-refused",
        SessionError::Store(StoreError::Unavailable { .. }) => "store-unavailable",
        SessionError::Shredded => "shredded",
        other => panic!("{other:?}"),
    }
}
