//! What went wrong at Pinecone, and whether trying again can mend it.
//!
//! Invariant: it holds the call and the HTTP status, and no text by others: an answer can repeat ids, an error of the
//! HTTP client an address. Absent: how often to try again (`http`).

use core::fmt;

use ophie_crypt::VectorStoreError;

/// The source of a [`VectorStoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) call: &'static str,
    pub(crate) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// No complete answer within the attempt's time.
    Timeout,
    /// No connection, no TLS, or it broke before or within the answer.
    Unanswered,
    /// The answer is none of Pinecone's.
    Unreadable,
    /// Another status than success.
    Status(u16),
    /// It lists what is not the owner's: nothing of it was deleted.
    Foreign,
    /// What was listed is not shown.
    Unseen,
    /// A name beyond what Pinecone takes.
    TooLong,
}

impl Failure {
    /// May the next attempt fare better?
    pub(crate) const fn passes(&self) -> bool {
        match self.what {
            What::Timeout | What::Unanswered | What::Unreadable | What::Unseen => true,
            What::Status(status) => matches!(status, 408 | 429 | 500..),
            What::Foreign | What::TooLong => false,
        }
    }

    pub(crate) fn into_error(self) -> VectorStoreError {
        if self.passes() {
            VectorStoreError::unavailable(self)
        } else {
            VectorStoreError::refused(self)
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pinecone, {}: ", self.call)?;
        match self.what {
            What::Timeout => f.write_str("no answer in time; check the network"),
            What::Unanswered => {
                f.write_str("no complete answer; check the network, the index's host and TLS")
            }
            What::Unreadable => f.write_str(
                "an answer that Pinecone does not give; check the index's host, and what stands in between",
            ),
            What::Foreign => f.write_str(
                "it listed vectors of another namespace or owner, and none of those was deleted; check the index's host",
            ),
            What::Unseen => f.write_str(
                "vectors that it listed were not shown, look after look; try again once the index has settled",
            ),
            What::TooLong => f.write_str(
                "the owner's id or the vector's is too long for a name of 512 characters; give them shorter ids",
            ),
            What::Status(status) => {
                write!(f, "HTTP status {status}; ")?;
                f.write_str(match status {
                    401 | 403 => "check the API key, and that it may list and delete in this index",
                    404 => "check the index's host",
                    429 => "too many requests: try again with fewer at a time",
                    500.. => "try again; see Pinecone's status page",
                    _ => "check that the index is serverless, and that its host takes API version 2025-10",
                })
            }
        }
    }
}

impl core::error::Error for Failure {}
