//! Moving an existing plaintext column to an encrypted one while the application runs.
//!
//! Plaintext and ciphertext stand side by side for a while, the **soak**, in one row: the plaintext column is the
//! **twin** of the encrypted one. The database holds how far each column is ([`SoakState`]); processes say by heartbeat
//! which state they have seen ([`SoakWatch`]); and a tool goes from state to state, each time after what must hold was seen
//! to hold ([`Soaker`]). From every state but the last there is a way back.
//!
//! 1. [`Soaker::expand`] adds the encrypted column, its fingerprints, and a trigger, the **guard**: whoever changes plaintext
//!    alone, such as a binary that knows nothing of all this, empties the ciphertext beside it.
//! 2. Deploy a release whose field is a `Soak<T, C>` with `#[crypt(soak(twin = ".."))]` and whose keyring has a
//!    [`SoakWatch`]. Its statements stay the same in every state.
//! 3. [`Soaker::step`] to `DualWrite` and `Backfill`; [`Soaker::backfill`]; step to `Verify`; [`Soaker::verify`]; step to
//!    `Soak`, where readers compare, for days; step to `Sealed`.
//! 4. [`Soaker::admit_old_binaries`]`(.., false)`, `verify` again, step to `Retired`; [`Soaker::null_out`].
//! 5. Deploy a release without the attribute: the field is `Encrypted<T, C>`. Then [`Soaker::drop_twin`], which nothing
//!    undoes.
//!
//! A column in a soak, of whatever database, holds in SQL what the table's owner allows: whoever may drop triggers or write
//! the table of states can undo this. `floor` in the attribute holds the lowest state that a release accepts.
//!
//! Invariant: a value is in the column that every live process reads; of two adjacent states, never three.
//! Absent: SQL (the adapters).

mod column;
mod error;
pub(crate) mod hooks;
mod jobs;
mod join;
mod seal;
mod state;
mod store;
mod verify;
pub(crate) mod watch;
mod worker;

pub use self::{
    column::{SoakColumn, SoakIndex, Soakable, lookup},
    error::{SoakError, SoakJobError},
    hooks::{SoakColumns, SoakMarker},
    join::Finding,
    state::{Gate, SoakState},
    store::{
        Beat, Decrypted, Filled, Heartbeat, PlainRow, Rows, SealRows, SealedRow, Sealing,
        SoakProcess, SoakRow, SoakStore, SoakedRow,
    },
    verify::{VerifyReport, Wrong, WrongRow},
    watch::{SoakCounts, SoakWatch},
    worker::{Backfilled, SoakProgress, SoakStatus, SoakStop, Soaker},
};
