//! The same of null-outs.

use super::*;

/// How many rows were emptied; all calls are made, and no other.
async fn emptied(calls: Vec<Call>) -> u64 {
    let (soaker, calls) = soaker(SoakState::Retired, calls);
    let emptied = soaker.null_out("people", "name_ct").await.unwrap();
    let left = calls.lock().unwrap();
    assert!(left.is_empty(), "too early: {left:?} were to follow");
    emptied
}

/// Or once a whole pass emptied nothing more.
#[tokio::test(start_paused = true)]
async fn a_null_out_ends_with_the_last_plaintext() {
    let calls = vec![Count(2), Empty(Ok(Some(2))), Empty(Ok(Some(0))), Count(0)];
    assert_eq!(emptied(calls).await, 2);
    let began = paused();
    let calls = vec![
        Count(4),
        Empty(Err(ModelError::Busy)),
        Empty(Ok(Some(2))),
        Empty(Ok(Some(0))),
        Count(2), // others held them
        Empty(Ok(Some(1))),
        Empty(Ok(Some(0))),
        Count(1),
        Empty(Ok(Some(0))),
        Count(1),
    ];
    assert_eq!(emptied(calls).await, 3);
    assert_eq!(began.elapsed(), RETRY);
    let (soaker, _) = soaker(
        SoakState::Retired,
        vec![Count(1), Empty(Err(ModelError::unavailable("down")))],
    );
    soaker.null_out("people", "name_ct").await.unwrap_err();
}
