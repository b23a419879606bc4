//! The chain of one writer: the bytes of a record, and the MAC that ties it to all before it.
//!
//! Invariant: a record's MAC covers every column, the writer, the place and the MAC before; what would
//! let anyone make it again is gone by then. Absent: tables (`store`), when records are written (`writer`).

use core::fmt;
use std::time::{Duration, SystemTime};

use super::{AuditEvent, AuditStep};
use crate::{
    binding::{Pae, pae},
    hazmat::{
        chain::{ChainKey, Mac, same},
        data_key::Dek,
    },
    kms::WrappedDek,
};

/// Names one writer of the audit trail, which is one run of a process: 16 random bytes.
///
/// ```
/// let id = ophie_crypt::WriterId::from_bytes([0xab; 16]);
/// assert_eq!(id.to_string(), "ab".repeat(16));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WriterId([u8; 16]);

impl WriterId {
    /// From stored bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// As stored.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::hex::write_hex(f, &self.0)
    }
}

impl fmt::Debug for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriterId({self})")
    }
}

/// A writer as an [`AuditStore`](super::AuditStore) keeps it. Its key is wrapped by the KMS.
///
/// ```
/// use ophie_crypt::{AuditWriter, WrappedDek, WriterId};
///
/// let writer = AuditWriter {
///     id: WriterId::from_bytes([1; 16]),
///     app: "ophie".into(),
///     started_at: 1_764_000_000_000_000,
///     wrapped: WrappedDek::new("alias/ophie", [1, 2, 3]),
///     mac: vec![0; 32],
/// };
/// assert!(format!("{writer:?}").contains("0101"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a row, which stores build")]
pub struct AuditWriter {
    /// Its name.
    pub id: WriterId,
    /// The application, as in the key's encryption context.
    pub app: String,
    /// When it began, in microseconds since 1970.
    pub started_at: i64,
    /// Its first key.
    pub wrapped: WrappedDek,
    /// Of id, `app` and `started_at`, under its first key: the MAC before the first record.
    pub mac: Vec<u8>,
}

/// A record as an [`AuditStore`](super::AuditStore) keeps it: a row, column by column.
///
/// Numbers are as wide and bytes as long as a database may give them, because a changed row must not
/// stop whoever verifies.
#[derive(Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a row, which stores build")]
pub struct AuditRow {
    /// Which writer.
    pub writer: WriterId,
    /// Which of its records, from 1 without a gap.
    pub seq: i64,
    /// When, in microseconds since 1970.
    pub at: i64,
    /// [`AuditEvent::actor`].
    pub actor: String,
    /// Canonical bytes of [`AuditEvent::owner`].
    pub owner: Vec<u8>,
    /// [`AuditEvent::generation`].
    pub generation: i64,
    /// [`AuditEvent::purpose`].
    pub purpose: String,
    /// [`AuditEvent::reason`].
    pub reason: Option<String>,
    /// `intent`, `joined` or `outcome`.
    pub step: String,
    /// The call of the KMS.
    pub call: Option<Vec<u8>>,
    /// Which attempt, from 1.
    pub attempt: Option<i64>,
    /// What the KMS is asked for.
    pub operation: Option<String>,
    /// How it ended.
    pub result: Option<String>,
    /// The KMS's id of the attempt.
    pub request_id: Option<String>,
    /// How long it took, in microseconds.
    pub took: Option<i64>,
    /// HMAC-SHA-256.
    pub mac: Vec<u8>,
}

/// Prints no owner and no reason.
impl fmt::Debug for AuditRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditRow")
            .field("writer", &self.writer)
            .field("seq", &self.seq)
            .field("step", &self.step)
            .finish_non_exhaustive()
    }
}

/// The last record of a writer: what a checkpoint vouches for, and with it for all before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) writer: WriterId,
    /// 0 is the writer itself.
    pub(crate) seq: u64,
    pub(crate) mac: Mac,
}

/// What a process holds of its chain. It cannot go back.
#[derive(Debug)]
pub(crate) struct Chain {
    key: ChainKey,
    head: Head,
}

impl Chain {
    /// A new chain, and its writer's row.
    pub(crate) fn begin(
        id: WriterId,
        app: &str,
        at: SystemTime,
        key: &Dek,
        wrapped: WrappedDek,
    ) -> (Self, AuditWriter) {
        let mut writer = AuditWriter {
            id,
            app: app.to_owned(),
            started_at: micros(at),
            wrapped,
            mac: Vec::new(),
        };
        let mut key = ChainKey::first(key);
        let mac = key.seal(&start(&writer));
        writer.mac = mac.into();
        let head = Head {
            writer: id,
            seq: 0,
            mac,
        };
        (Self { key, head }, writer)
    }

    pub(crate) const fn head(&self) -> &Head {
        &self.head
    }

    /// The next record.
    pub(crate) fn append(&mut self, event: &AuditEvent) -> AuditRow {
        self.head.seq = self.head.seq.saturating_add(1);
        let seq = i64::try_from(self.head.seq).unwrap_or(i64::MAX);
        let mut row = row(self.head.writer, seq, event);
        self.head.mac = self.key.seal(&message(&row, &self.head.mac));
        row.mac = self.head.mac.into();
        row
    }
}

/// Follows a stored chain.
#[derive(Debug)]
pub(crate) struct Walk {
    key: ChainKey,
    previous: Vec<u8>,
}

impl Walk {
    /// From a writer's row and its unwrapped key; and whether they belong together.
    pub(crate) fn begin(writer: &AuditWriter, key: &Dek) -> (Self, bool) {
        let mut key = ChainKey::first(key);
        let fits = same(&key.seal(&start(writer)), &writer.mac);
        let previous = writer.mac.clone();
        (Self { key, previous }, fits)
    }

    /// Whether this row stands behind the one before as it was written.
    pub(crate) fn step(&mut self, row: &AuditRow) -> bool {
        let mac = self.key.seal(&message(row, &self.previous));
        self.previous.clone_from(&row.mac);
        same(&mac, &row.mac)
    }

    /// Goes on at this row, past as many records that are missing. It proves nothing of the row: the MAC
    /// before it is lost with them.
    pub(crate) fn resume(&mut self, missing: u64, row: &AuditRow) {
        for _ in 0..=missing {
            self.key.seal(&[]);
        }
        self.previous.clone_from(&row.mac);
    }
}

fn start(writer: &AuditWriter) -> Pae {
    pae([
        b"ophie-crypt/v1/audit/writer",
        writer.id.as_bytes(),
        writer.app.as_bytes(),
        &writer.started_at.to_be_bytes(),
    ])
}

fn message(row: &AuditRow, previous: &[u8]) -> Pae {
    let number = |number: Option<i64>| given(number.map(i64::to_be_bytes));
    pae([
        b"ophie-crypt/v1/audit/record",
        row.writer.as_bytes(),
        &row.seq.to_be_bytes(),
        previous,
        &row.at.to_be_bytes(),
        row.actor.as_bytes(),
        &row.owner,
        &row.generation.to_be_bytes(),
        row.purpose.as_bytes(),
        &given(row.reason.as_ref()),
        row.step.as_bytes(),
        &given(row.call.as_ref()),
        &number(row.attempt),
        &given(row.operation.as_ref()),
        &given(row.result.as_ref()),
        &given(row.request_id.as_ref()),
        &number(row.took),
    ])
}

/// NULL is no bytes; anything else has a byte before it, the empty text too.
fn given(value: Option<impl AsRef<[u8]>>) -> Vec<u8> {
    value.map_or_else(Vec::new, |bytes| [&[1], bytes.as_ref()].concat())
}

/// The columns of an event, without a MAC.
fn row(writer: WriterId, seq: i64, event: &AuditEvent) -> AuditRow {
    let mut row = AuditRow {
        writer,
        seq,
        at: micros(event.at),
        actor: event.actor.as_ref().into(),
        owner: event.owner.as_bytes().into(),
        generation: event.generation.into(),
        purpose: event.purpose.as_str().into(),
        reason: event.reason.as_deref().map(Into::into),
        step: event.step.as_str().into(),
        call: None,
        attempt: None,
        operation: None,
        result: None,
        request_id: None,
        took: None,
        mac: Vec::new(),
    };
    match &event.step {
        AuditStep::Joined => {}
        AuditStep::Intent {
            call,
            attempt,
            operation,
        } => {
            row.call = Some(call.as_bytes().into());
            row.attempt = Some((*attempt).into());
            row.operation = Some(operation.as_str().into());
        }
        AuditStep::Outcome {
            call,
            attempt,
            operation,
            result,
            request_id,
            took,
        } => {
            row.call = Some(call.as_bytes().into());
            row.attempt = Some((*attempt).into());
            row.operation = Some(operation.as_str().into());
            row.result = Some(result.as_str().into());
            row.request_id.clone_from(request_id);
            row.took = Some(i64::try_from(took.as_micros()).unwrap_or(i64::MAX));
        }
    }
    row
}

/// Microseconds since 1970, rounded down: databases keep no more.
fn micros(at: SystemTime) -> i64 {
    let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    match at.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => micros(since),
        Err(before) => micros(before.duration()).saturating_neg(),
    }
}
