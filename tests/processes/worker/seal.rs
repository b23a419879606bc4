//! Seals for one owner until it is killed or nothing more is granted, and counts what it sealed.
//!
//! Invariant: the length of the file that the setting `sealed` names is never more than was sealed, and that
//! of the file `leases` never less than was granted to the keyring.

use std::fs::File;

use ophie_crypt::{Error, LeaseError, ReserveError, SealError, Session};
use ophie_crypt_sqlx::Encrypted;

use super::{
    Orders, say,
    setup::{PURPOSE, Settings, append_to, count_in, note},
};

const BATCH: usize = 64;
/// After the hard stop.
const FURTHER: usize = 1_000;

pub(crate) async fn run(settings: &Settings) {
    let keyring = settings.keyring().await;
    let (sealed, leases) = (
        append_to(settings.text("sealed")),
        append_to(settings.text("leases")),
    );
    let session = loop {
        let opened = keyring
            .open(&settings.number::<i64>("owner"), PURPOSE)
            .await;
        match opened {
            Ok(session) => break session,
            Err(error) => say(format_args!("again {error:?}")),
        }
    };
    let first = length(&leases).try_into().expect("a usize has 32 bits");
    // Nothing was sealed yet, so that no further lease is on its way.
    let beyond = Many(usize::saturating_add(first, 1)).seal(&session);
    assert!(beyond.is_err(), "sealed without a lease");
    let count = |how: How| {
        count_in(&sealed, how.count());
        assert!(length(&sealed) <= length(&leases), "sealed without a lease");
    };
    let mut ask = 4096;
    for how in [Many(BATCH), One].into_iter().cycle() {
        match how.seal(&session) {
            Ok(()) => {
                count(how);
                tokio::task::yield_now().await;
            }
            // Few are left, or none. Those few first; then ever smaller leases, until there are none.
            Err(SealError::NoBudget { .. } | SealError::HardStop { .. }) => {
                while One.seal(&session).is_ok() {
                    count(One);
                }
                match session.reserve(ask).await {
                    Ok(()) => {}
                    Err(ReserveError::Lease(LeaseError::Exhausted)) if ask > 1 => ask /= 2,
                    Err(ReserveError::Lease(LeaseError::Exhausted)) => break,
                    Err(error) => panic!("{error:?}"),
                }
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    let succeeded = (0..FURTHER).filter(|_| One.seal(&session).is_ok()).count();
    count_in(&sealed, succeeded);
    say(format_args!("stopped {succeeded}"));
    let _ = Orders::new().next().await;
}

fn length(file: &File) -> u64 {
    file.metadata().expect("an open file").len()
}

/// One value, or many in one call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Many(usize),
    One,
}

use How::{Many, One};

impl How {
    fn count(self) -> usize {
        match self {
            Many(count) => count,
            One => 1,
        }
    }

    fn seal(self, session: &Session) -> Result<(), SealError> {
        let value = || note::text("sixteen letters.");
        let result = match self {
            Many(count) => {
                let values: Vec<_> = std::iter::repeat_with(value).take(count).collect();
                Encrypted::seal_many(&values, session).map(drop)
            }
            One => value().seal(session).map(drop),
        };
        result.map_err(|error| match error.get() {
            Error::Seal(error) => error.clone(),
            other => panic!("{other:?}"),
        })
    }
}
