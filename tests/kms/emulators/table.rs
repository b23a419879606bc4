//! What moto 5.2.5 and ministack 1.5.33 do otherwise than AWS documents.
//!
//! Invariant: complete and up to date for the calls of `script`; the test above checks both. What needs a
//! rule that stands here is tested on the strict KMS, or proves nothing.

use std::collections::BTreeSet;

use super::Deviation;

/// Who, the call, what AWS documents, what they answer. "Not possible": a call before it failed.
const TABLE: &str = "
ministack | Decrypt: dry run                         | DryRunOperationException   | done
ministack | Decrypt: first byte flipped              | InvalidCiphertextException | the same key
ministack | Decrypt: last byte flipped               | InvalidCiphertextException | another key
ministack | Decrypt: last byte missing               | InvalidCiphertextException | it is no key of 32 bytes
ministack | Decrypt: naming another key              | IncorrectKeyException      | another key
ministack | Decrypt: no such key                     | NotFoundException          | the answer names another key
ministack | Decrypt: one byte more                   | InvalidCiphertextException | it is no key of 32 bytes
ministack | Decrypt: re-encrypted                    | the same key               | not possible
ministack | Decrypt: re-encrypted after rotation     | the same key               | not possible
ministack | Decrypt: re-encrypted to another key     | the same key               | not possible
ministack | Decrypt: rotated since                   | the same key               | not possible
ministack | Decrypt: this owner is denied            | AccessDeniedException      | the same key
ministack | EnableKey: pending deletion              | KMSInvalidStateException   | done
ministack | Encrypt: 4097 bytes                      | ValidationException        | done
ministack | GenerateDataKey: 1025 bytes              | ValidationException        | done
ministack | GenerateDataKey: a context of 9000 bytes | ValidationException        | done
ministack | GenerateDataKey: dry run                 | DryRunOperationException   | done
ministack | ReEncrypt                                | done                       | InvalidAction
ministack | ReEncrypt: another app                   | InvalidCiphertextException | InvalidAction
ministack | ReEncrypt: another generation            | InvalidCiphertextException | InvalidAction
ministack | ReEncrypt: another owner                 | InvalidCiphertextException | InvalidAction
ministack | ReEncrypt: at the replica                | done                       | InvalidAction
ministack | ReEncrypt: disabled                      | DisabledException          | InvalidAction
ministack | ReEncrypt: pending deletion              | KMSInvalidStateException   | InvalidAction
ministack | ReEncrypt: rotated since                 | done                       | not possible
ministack | ReEncrypt: to another key                | done                       | InvalidAction
ministack | RotateKeyOnDemand                        | done                       | InvalidAction
moto      | Decrypt: at the replica                  | the same key               | AccessDeniedException
moto      | Decrypt: deletion cancelled              | DisabledException          | the same key
moto      | Decrypt: disabled                        | DisabledException          | the same key
moto      | Decrypt: dry run                         | DryRunOperationException   | done
moto      | Decrypt: first byte flipped              | InvalidCiphertextException | AccessDeniedException
moto      | Decrypt: made at the replica             | the same key               | AccessDeniedException
moto      | Decrypt: naming another key              | IncorrectKeyException      | AccessDeniedException
moto      | Decrypt: pending deletion                | KMSInvalidStateException   | the same key
moto      | Decrypt: sixty-four zeros                | InvalidCiphertextException | AccessDeniedException
moto      | Decrypt: this owner is denied            | AccessDeniedException      | the same key
moto      | EnableKey: by its ARN                    | done                       | an error without a code, HTTP status 500
moto      | EnableKey: pending deletion              | KMSInvalidStateException   | done
moto      | GenerateDataKey: a context of 9000 bytes | ValidationException        | done
moto      | GenerateDataKey: disabled                | DisabledException          | done
moto      | GenerateDataKey: dry run                 | DryRunOperationException   | done
moto      | GenerateDataKey: pending deletion        | KMSInvalidStateException   | done
moto      | ReEncrypt: at the replica                | done                       | AccessDeniedException
moto      | ReEncrypt: disabled                      | DisabledException          | done
moto      | ReEncrypt: pending deletion              | KMSInvalidStateException   | done
moto      | ScheduleKeyDeletion: in 31 days          | ValidationException        | done
moto      | ScheduleKeyDeletion: in 6 days           | ValidationException        | done
";

pub(super) fn deviations() -> BTreeSet<Deviation> {
    let lines = TABLE.lines().filter(|line| !line.is_empty());
    let deviations = lines.clone().map(|line| {
        let cells: Vec<_> = line.split('|').map(|cell| cell.trim().to_owned()).collect();
        cells.try_into().expect("four cells in a line")
    });
    let deviations: BTreeSet<Deviation> = deviations.collect();
    assert_eq!(deviations.len(), lines.count(), "a line is there twice");
    deviations
}
