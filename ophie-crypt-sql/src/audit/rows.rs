//! From rows of the audit tables to what the core verifies.
//!
//! Invariant: a row that no release wrote becomes one that does not verify, not an error.
//! Absent: the statements (`sql`).

use ophie_crypt::{AuditRow, AuditWriter, WrappedDek, WriterId};

use crate::{Cells, Failure, Record, driver::there};

/// None if its id is not one of 16 bytes, which the statement leaves out.
pub(super) struct Writer(pub(super) Option<AuditWriter>);

impl Record for Writer {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        let id = bytes(cells, "writer")?.try_into().map(WriterId::from_bytes);
        let writer = AuditWriter {
            id: match id {
                Ok(id) => id,
                Err(_) => return Ok(Self(None)),
            },
            app: text(bytes(cells, "app")?),
            started_at: int(cells, "started_at")?,
            wrapped: WrappedDek::new(text(bytes(cells, "kek")?), bytes(cells, "wrapped")?),
            mac: bytes(cells, "mac")?,
        };
        Ok(Self(Some(writer)))
    }
}

/// A record, but for the writer's id, which whoever asked knows.
pub(super) struct Row(AuditRow);

impl Record for Row {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self(AuditRow {
            writer: WriterId::from_bytes([0; 16]),
            seq: int(cells, "seq")?,
            at: int(cells, "at")?,
            actor: text(bytes(cells, "actor")?),
            owner: bytes(cells, "owner")?,
            generation: int(cells, "generation")?,
            purpose: text(bytes(cells, "purpose")?),
            reason: cells.bytes("reason")?.map(text),
            step: text(bytes(cells, "step")?),
            call: cells.bytes("call_id")?,
            attempt: cells.int("attempt")?,
            operation: cells.bytes("operation")?.map(text),
            result: cells.bytes("result")?.map(text),
            request_id: cells.bytes("request_id")?.map(text),
            took: cells.int("took")?,
            mac: bytes(cells, "mac")?,
        }))
    }
}

impl Row {
    pub(super) fn of(self, writer: WriterId) -> AuditRow {
        AuditRow { writer, ..self.0 }
    }
}

/// An id in the records or among the writers, of any length.
pub(super) struct Unknown(pub(super) Vec<u8>);

impl Record for Unknown {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self(bytes(cells, "writer")?))
    }
}

/// A record's place and MAC; None if its writer's id is not one of 16 bytes.
pub(super) struct Mac(pub(super) Option<(WriterId, i64, Vec<u8>)>);

impl Record for Mac {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        let id = bytes(cells, "writer")?.try_into().map(WriterId::from_bytes);
        let (seq, mac) = (int(cells, "seq")?, bytes(cells, "mac")?);
        Ok(Self(id.ok().map(|id| (id, seq, mac))))
    }
}

fn bytes(cells: &dyn Cells, column: &'static str) -> Result<Vec<u8>, Failure> {
    there(cells.bytes(column)?)
}

fn int(cells: &dyn Cells, column: &'static str) -> Result<i64, Failure> {
    there(cells.int(column)?)
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
