//! From rows of the audit tables to what the core verifies.
//!
//! Invariant: a row that no release wrote becomes one that does not verify, not an error.
//! Absent: the statements (`sql`).

use ophie_crypt::{AuditRow, AuditWriter, WrappedDek, WriterId};

#[derive(sqlx::FromRow)]
pub(crate) struct Writer {
    writer: Vec<u8>,
    started_at: i64,
    app: Vec<u8>,
    kek: Vec<u8>,
    wrapped: Vec<u8>,
    mac: Vec<u8>,
}

#[derive(sqlx::FromRow)]
pub(crate) struct Row {
    seq: i64,
    at: i64,
    actor: Vec<u8>,
    owner: Vec<u8>,
    generation: i64,
    purpose: Vec<u8>,
    reason: Option<Vec<u8>>,
    step: Vec<u8>,
    call: Option<Vec<u8>>,
    attempt: Option<i64>,
    operation: Option<Vec<u8>>,
    result: Option<Vec<u8>>,
    request_id: Option<Vec<u8>>,
    took: Option<i64>,
    mac: Vec<u8>,
}

impl Writer {
    /// None if its id is not one of 16 bytes, which the statement leaves out.
    pub(super) fn read(self) -> Option<AuditWriter> {
        Some(AuditWriter {
            id: WriterId::from_bytes(self.writer.try_into().ok()?),
            app: text(self.app),
            started_at: self.started_at,
            wrapped: WrappedDek::new(text(self.kek), self.wrapped),
            mac: self.mac,
        })
    }
}

impl Row {
    pub(super) fn read(self, writer: WriterId) -> AuditRow {
        AuditRow {
            writer,
            seq: self.seq,
            at: self.at,
            actor: text(self.actor),
            owner: self.owner,
            generation: self.generation,
            purpose: text(self.purpose),
            reason: self.reason.map(text),
            step: text(self.step),
            call: self.call,
            attempt: self.attempt,
            operation: self.operation.map(text),
            result: self.result.map(text),
            request_id: self.request_id.map(text),
            took: self.took,
            mac: self.mac,
        }
    }
}

/// What is no UTF-8 becomes a text that was never written, as writers refuse a NUL.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|_| "\0".into())
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn what_is_no_utf8_is_no_replacement_character() {
        assert_eq!(text("\u{fffd}".into()), "\u{fffd}");
        assert_eq!(text(vec![0xff]), "\0");
    }
}
