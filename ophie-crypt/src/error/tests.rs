//! What the errors say: all of it once, and what to do.

use core::error::Error as StdError;

use super::*;
use crate::{
    AuditError, KmsError, LeaseError, LocalKmsError, ProvisionError, ReserveError, SessionError,
    StoreError,
};

const COLUMN: ColumnRef = ColumnRef::new("notes", "text");

fn nested() -> Vec<Box<dyn StdError>> {
    let column = COLUMN;
    let index = COLUMN;
    let why = CodecError::new("no such day");
    let not = crate::Envelope::parse(b"plain").unwrap_err();
    let ended = NoSession::Expired;
    let store = || StoreError::unavailable("connection refused");
    let kms = || KmsError::refused("access denied");
    let audit = || AuditError::unavailable("disk full");
    let path = || "/nowhere/master.key".into();
    let io = std::io::Error::other("input/output error");
    let hooks: [Error; 8] = [
        SealError::Codec {
            column,
            reason: why,
        }
        .into(),
        SealError::NoSession {
            column,
            reason: ended,
        }
        .into(),
        OpenError::Codec {
            column,
            reason: why,
        }
        .into(),
        OpenError::NotAnEnvelope {
            column,
            reason: not,
        }
        .into(),
        OpenError::NoSession {
            column,
            reason: ended,
        }
        .into(),
        FingerprintError::Codec { index, reason: why }.into(),
        FingerprintError::NoSession {
            index,
            reason: ended,
        }
        .into(),
        OwnerError::NoSession(ended).into(),
    ];
    let mut all: Vec<Box<dyn StdError>> = vec![
        Box::new(store()),
        Box::new(kms()),
        Box::new(KmsError::unavailable("timed out")),
        Box::new(audit()),
        Box::new(LeaseError::Store(store())),
        Box::new(ReserveError::Lease(LeaseError::Store(store()))),
        Box::new(ReserveError::Lease(LeaseError::Exhausted)),
        Box::new(ReserveError::NoSession(ended)),
        Box::new(ProvisionError::Audit(audit())),
        Box::new(ProvisionError::Kms(kms())),
        Box::new(ProvisionError::Session(SessionError::Kms(kms()))),
        Box::new(ProvisionError::Store(store())),
        Box::new(SessionError::Audit(audit())),
        Box::new(SessionError::Kms(kms())),
        Box::new(SessionError::Store(StoreError::NotMigrated)),
        Box::new(LocalKmsError::Io {
            path: path(),
            source: io,
        }),
    ];
    for hook in hooks {
        all.push(Box::new(hook));
    }
    all
}

/// `anyhow`, `eyre` and most loggers print the whole chain, and others only the first line of it.
#[test]
fn no_error_repeats_its_cause() {
    for error in nested() {
        let mut texts = vec![error.to_string()];
        let mut next = error.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            let repeats = texts.iter().any(|outer| outer.contains(&text));
            assert!(!repeats, "{texts:?} and then {text:?}");
            texts.push(text);
            next = cause.source();
        }
    }
}

#[test]
fn every_error_with_a_cause_of_ours_says_what_to_do() {
    let flat: [Box<dyn StdError>; 14] = [
        Box::new(SessionError::EmptyOwner),
        Box::new(SessionError::LongOwner),
        Box::new(SessionError::Ended),
        Box::new(SessionError::Interrupted),
        Box::new(SessionError::NoReason),
        Box::new(SessionError::Shredded),
        Box::new(SessionError::TooManyOwners),
        Box::new(SessionError::UnknownOwner),
        Box::new(SessionError::WrongKey),
        Box::new(ProvisionError::Shredded),
        Box::new(ReserveError::ReadOnly),
        Box::new(StoreError::Full),
        Box::new(StoreError::ReadOnly),
        Box::new(LeaseError::NotSealing),
    ];
    let nested = nested();
    // A codec's own words have no more to say.
    let nested = nested
        .iter()
        .filter(|error| !error.to_string().ends_with("no such day"));
    for error in flat.iter().chain(nested) {
        assert!(error.to_string().contains("; "), "{error}");
    }
}
