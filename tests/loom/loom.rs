//! Runs each model; with `--nocapture` it says how many interleavings there were.
//!
//! Absent: the models (`src/models`).

use ophie_crypt_loom_tests::{
    check,
    models::{budgets, fetches, sessions, soaks},
};

macro_rules! models {
    ($($room:ident::$model:ident: $preemptions:literal,)*) => {$(
        #[test]
        fn $model() {
            check(stringify!($model), $preemptions, $room::$model);
        }
    )*};
}

// As many preemptions as take seconds.
models! {
    sessions::close_against_seal: 5,
    sessions::close_against_poll: 5,
    sessions::close_twice_beside_another_session: 5,
    sessions::revoke_against_seal: 5,
    sessions::expire_against_renewal_and_seal: 5,
    fetches::one_fetch_for_all: 5,
    fetches::last_clone_against_open: 5,
    fetches::lingering_keys_against_open: 5,
    fetches::fill_against_close: 5,
    fetches::fill_against_revocation: 5,
    fetches::failed_fetch_against_open: 5,
    fetches::open_against_forgetting: 3,
    budgets::takes_against_takes: 4,
    budgets::takes_against_refill: 4,
    budgets::takes_against_stop: 4,
    soaks::counts_against_a_step: 4,
    soaks::heartbeat_against_stop: 4,
    soaks::hooks_against_stop: 4,
}
