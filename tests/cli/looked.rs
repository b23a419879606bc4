//! What every call of the command is looked through for.

use std::process::Output;

use crate::place::{CANARY, Kind, PASSWORD, Place, hex};

/// What a call printed or left is looked through, or all other tests here would show less than they say.
#[tokio::test]
async fn a_secret_that_is_printed_or_left_is_found() {
    use std::os::unix::process::ExitStatusExt;

    let place = Place::empty(Kind::Sqlite).await;
    let key = hex(&std::fs::read(place.path("master.key")).unwrap());
    let printed = |out: &str, err: &str| {
        let output = Output {
            status: std::process::ExitStatus::from_raw(0),
            stdout: out.into(),
            stderr: err.into(),
        };
        let looked = std::panic::AssertUnwindSafe(|| place.looked_through(&output));
        std::panic::catch_unwind(looked).is_ok()
    };
    assert!(printed("fine", "fine"));
    for secret in [CANARY, PASSWORD, key.as_str()] {
        assert!(!printed(&format!("<{secret}>"), "") && !printed("", &format!("a {secret}")));
    }
    std::fs::write(place.path("left"), format!("x{CANARY}")).unwrap();
    assert!(!printed("fine", "fine"));
}
