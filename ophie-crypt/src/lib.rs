#![doc = include_str!("../README.md")]
//!
//! In these docs the manual is the module [`manual`].
#![forbid(unsafe_code)]

// As `passed_on` names it, which other crates' tests take too.
#[cfg(test)]
extern crate self as ophie_crypt;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
#[doc(hidden)]
pub mod adapter;
mod audit;
mod binding;
mod blind_index;
mod blind_index_type;
mod budget;
mod clock;
mod column;
mod column_types;
mod envelope;
mod error;
mod hazmat;
mod held;
mod hex;
mod keyring;
mod kms;
mod ledger;
#[cfg(test)]
mod logged;
pub mod manual;
#[cfg(feature = "memory")]
pub mod memory;
mod metrics;
mod model;
mod owner;
mod owner_type;
#[cfg(test)]
mod passed_on;
mod plaintext;
#[cfg(test)]
mod printed;
mod rotation;
mod scope;
mod session;
mod shares;
mod shred;
#[cfg(feature = "sidecar")]
mod sidecar;
pub mod soak;
mod soak_type;
mod store;
mod sync;
mod value;
mod vectors;
#[cfg(feature = "tower")]
mod web;

/// ```
/// use ophie_crypt::EncryptedModel;
/// use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner};
///
/// #[derive(EncryptedModel)]
/// #[crypt(table = "people_links")]
/// struct PersonLink {
///     #[crypt(plain)]
///     id: i64,
///     user_id: Owner<i64>,
///     name: Encrypted<String, person_link::name>,
///     note: Option<Encrypted<String, person_link::note>>,
///     #[crypt(index_of = "name", normalize = "name")]
///     name_fp: BlindIndex<String, person_link::name_fp>,
/// }
///
/// let name = person_link::name("Mom"); // an `Encrypted<String, person_link::name>`
/// let none = person_link::note::NULL;
/// assert_eq!(PersonLink::MODEL.owner().name(), "user_id");
/// # let _ = (name, none);
/// ```
///
/// A second struct on the same table takes the markers of the first, and may have generics:
///
/// ```
/// # use ophie_crypt::EncryptedModel;
/// # use ophie_crypt_sqlx::{Encrypted, Owner, Sealed};
/// # #[derive(EncryptedModel)]
/// # #[crypt(table = "people_links")]
/// # struct PersonLink { user_id: Owner<i64>, name: Encrypted<String, person_link::name> }
/// #[derive(EncryptedModel)]
/// #[crypt(like = PersonLink)]
/// struct NewLink<'a> {
///     name: &'a Encrypted<String, person_link::name>,
/// }
/// ```
///
/// ---
pub use ophie_crypt_derive::EncryptedModel;

#[cfg(feature = "aws-kms")]
pub use self::kms::{AwsKms, AwsKmsBuilder, AwsKmsError};
#[cfg(feature = "json")]
pub use self::plaintext::Json;
#[cfg(feature = "sidecar")]
pub use self::sidecar::{Opened, Sidecar};
#[cfg(feature = "axum")]
pub use self::web::SessionRejection;
#[cfg(feature = "tower")]
pub use self::web::{SessionLayer, SessionService};
pub use self::{
    audit::{
        AuditError, AuditEvent, AuditFinding, AuditReport, AuditRow, AuditSink, AuditStep,
        AuditStore, AuditStoreError, AuditVerifier, AuditWriter, CallId, ChainedAudit,
        ChainedAuditBuilder, KmsOperation, KmsResult, OpenIntent, StartAuditError, TracingAudit,
        VerifyError, WriterId, WriterReport,
    },
    blind_index::{Fingerprint, Normalizer},
    column::{BoundColumn, BoundTo, ColumnRef, ColumnType, IndexColumn, Kind, Unbound},
    envelope::{Envelope, NotAnEnvelope},
    error::{Error, FingerprintError, NoSession, OpenError, OwnerError, SealError},
    hazmat::{
        data_key::{Dek, InvalidDek, KeyId},
        share::{InvalidShare, Share},
    },
    keyring::{
        BuildError, Keyring, KeyringBuilder, ProvisionError, ReserveError, SessionError, ShredError,
    },
    kms::{
        EncryptionContext, GeneratedDek, Kms, KmsCall, KmsError, LocalKms, LocalKmsError,
        MovingKms, TwoShareKms, WrappedDek,
    },
    ledger::{FileLedger, Ledger, LedgerEntry, LedgerError, LedgerHead, NotALedgerHead},
    model::{ColumnInfo, EncryptedModel, IndexedColumn, ModelInfo, Models},
    owner::{CanonicalId, OwnerId, OwnerKind},
    plaintext::{Codec, CodecError, PlainBuf, Plaintext},
    rotation::{
        Progress, Rotation, RotationError, SidecarStore, SidecarStoreError, Tally, WaitsFor,
        sidecar_beginnings,
    },
    scope::{InSession, Scoped},
    session::{BudgetStatus, Purpose, Session},
    shares::{MemoryShares, ShareId, ShareStore, ShareStoreError},
    shred::{
        Installation, Receipt, ReceiptError, Residue, RestoreError, RestoreGuard, RowStore, Shred,
        ShredId, ShredStep, ShredStore, Shredder, ShredderBuilder, ShredderError, ShredderTask,
        Shreds, SignedReceipt, Worked, restore_adopt, restore_replay,
    },
    store::{
        ANNOUNCED_FOR, Announcement, DekBlob, DekRecord, DekState, IndexAnnouncement,
        IndexKeyRecord, IndexKeyState, IndexStep, IndexStepTo, IndexedRow, KeyStore,
        LEASES_OVER_FOR, Lease, LeaseError, LeaseRequest, MAX_INVOCATIONS, MemoryKeyStore,
        ModelError, ModelStore, OwnerRecord, Reindex, Reseal, RotationPolicy, RotationStore, Step,
        StepError, StepTo, StoreError, WRITERS_OVER_FOR, Which, WriteFence,
    },
    value::MAX_PLAINTEXT_LEN,
    vectors::{VectorStore, VectorStoreError, VectorsDeleted},
};
