//! The variants of the core's enums, by name: as its source declares them, and as an error has them.

use std::collections::BTreeSet;

use ophie_crypt::{Error, FingerprintError, NoSession, OpenError, OwnerError, SealError};

const SOURCE: &str = include_str!("../../ophie-crypt/src/error.rs");

/// `SealError::Codec` and so on, for every variant of every enum but `Error`, whose four are the others' names.
pub(crate) fn declared() -> BTreeSet<String> {
    let mut labels = BTreeSet::new();
    let mut name = None;
    for line in SOURCE.lines() {
        if let Some(rest) = line.strip_prefix("pub enum ") {
            name = rest.strip_suffix(" {");
        } else if line == "}" {
            name = None;
        } else if let (Some(name), Some(variant)) = (name, line.strip_prefix("    "))
            && variant.starts_with(|first: char| first.is_ascii_uppercase())
        {
            let _ = labels.insert(format!("{name}::{}", first_word(variant)));
        }
    }
    labels.retain(|label| !label.starts_with("Error::"));
    labels
}

/// The labels of one error; of one without a session, the reason too.
pub(crate) fn of(error: &Error) -> Vec<String> {
    let (name, shown, reason) = match error {
        Error::Fingerprint(error) => {
            let reason = match error {
                FingerprintError::NoSession { reason, .. } => Some(reason),
                _ => None,
            };
            ("FingerprintError", format!("{error:?}"), reason)
        }
        Error::Open(error) => {
            let reason = match error {
                OpenError::NoSession { reason, .. } => Some(reason),
                _ => None,
            };
            ("OpenError", format!("{error:?}"), reason)
        }
        Error::Owner(error) => {
            let reason = match error {
                OwnerError::NoSession(reason) => Some(reason),
                _ => None,
            };
            ("OwnerError", format!("{error:?}"), reason)
        }
        Error::Seal(error) => {
            let reason = match error {
                SealError::NoSession { reason, .. } => Some(reason),
                _ => None,
            };
            ("SealError", format!("{error:?}"), reason)
        }
        _ => panic!("a kind of error that no case knows: {error}"),
    };
    let mut labels = vec![format!("{name}::{}", first_word(&shown))];
    labels.extend(reason.map(reason_label));
    labels
}

pub(crate) fn reason_label(reason: &NoSession) -> String {
    format!("NoSession::{reason:?}")
}

fn first_word(text: &str) -> &str {
    text.split(|end: char| !end.is_ascii_alphanumeric())
        .next()
        .expect("a first part")
}

/// Fails unless the cases have found every variant that is declared, but for those named with a reason.
#[track_caller]
pub(crate) fn complete(found: BTreeSet<String>, no_query_makes: &[&str]) {
    let excused: BTreeSet<String> = no_query_makes.iter().copied().map(String::from).collect();
    assert!(
        found.is_disjoint(&excused),
        "found after all: {:?}",
        found.intersection(&excused)
    );
    let all: BTreeSet<String> = found.union(&excused).cloned().collect();
    assert_eq!(
        all,
        declared(),
        "a variant without a case, or a case too many"
    );
}

#[test]
fn the_source_is_read() {
    let declared = declared();
    for label in [
        "SealError::TooLong",
        "NoSession::Shredded",
        "OwnerError::OtherOwner",
    ] {
        assert!(declared.contains(label), "{declared:?}");
    }
    assert_eq!(declared.len(), 5 + 7 + 7 + 7 + 2, "{declared:?}");
}
