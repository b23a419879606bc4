//! Deletes an owner's vectors from [Pinecone](https://www.pinecone.io), and proves by listing that none is left.
//!
//! An embedding says much of the text that it was made of and cannot be encrypted where it is to be searched, so what
//! destroys an owner's key does not make it unreadable: it has to be deleted. [`Pinecone`] is the
//! [`VectorStore`](ophie_crypt::VectorStore) for that. It writes and searches nothing: for this, use the client that you
//! have, with the names that [`Pinecone::namespace`] and [`Pinecone::vector_id`] give, and put what belongs to the
//! vector beside it as a `Sidecar` of `ophie_crypt`.
//!
//! ```no_run
//! use ophie_crypt::{CanonicalId, OwnerId, VectorStore};
//! use ophie_crypt_pinecone::{ApiKey, Pinecone};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let key = ApiKey::new(std::env::var("PINECONE_API_KEY")?);
//! let pinecone = Pinecone::builder(key, "https://memories-abc123.svc.aped-4627-b74a.pinecone.io").build()?;
//!
//! let owner = CanonicalId::text("ada");
//! let (namespace, id) = (pinecone.namespace(&owner)?, pinecone.vector_id(&owner, "memory-1")?);
//! // upsert and query with these two, in your own client; when the owner is shredded:
//! while !pinecone.delete_owner(&owner).await?.verified_empty() {}
//! # Ok(()) }
//! ```
//!
//! # Sidecars, when an owner's key is rotated
//!
//! [`Pinecone`] is a [`SidecarStore`](ophie_crypt::SidecarStore), for `Rotation::sidecars`: no key is destroyed while metadata of
//! the owner's vectors has a sidecar under it, or while a vector was listed whose metadata was not shown. Sealing them
//! anew is the application's, with its client: for each vector of the owner, `Sidecar::reseal`, and an update of that field of
//! the metadata alone. Pinecone compares nothing on an update, and shows for a while what stood there before. So:
//!
//! - Whoever changes a sidecar's field at the same time may undo your update, or you theirs. Let one process write an owner's
//!   sidecars, or write a memory that changes under a new id, and delete the old one.
//! - Never write back what a query or a fetch showed without opening it: with `reseal` an old text becomes a new one
//!   under the newest key; copied, it may come back after the count. `Rotation::destroy` comes long after the key
//!   was retired, and counts last.
//! - Fetch once more afterwards, until each sidecar is under the newest key.
//!
//! # A namespace for each owner, or one for all
//!
//! By default each owner has a namespace, which one call deletes as a whole. In an index that owners share, choose
//! [`shared_namespace`](PineconeBuilder::shared_namespace): an owner's vectors then have ids with a prefix, are listed
//! by it and deleted in batches. Both names come from the owner's canonical bytes in hexadecimal; a `#`, which is no
//! digit, ends a prefix, so that no owner's is a prefix of another's. Vectors under other names are not found.
//!
//! # Limits
//!
//! - Serverless indexes only: Pinecone lists nothing in others.
//! - Owners whose canonical bytes are longer than 255 have no name here: Pinecone's have at most 512 characters.
//! - The names show the owner's id to Pinecone, as the encryption context shows it to the KMS: use opaque ids.
//! - Pinecone's backups and collections are not reached: have none, or let them expire within the horizon.
//! - It was tried against a server of ours that behaves as Pinecone's documentation says, and worse. API 2025-10.
//!
//! # Security
//!
//! TLS with the system's root certificates. Plain HTTP is taken only for a literal loopback address. Redirects are
//! not followed, and no proxy is used. Errors hold nothing that the server said but its status.

#![forbid(unsafe_code)]

mod answer;
mod builder;
mod delete;
mod failure;
mod http;
mod key;
mod names;
mod sidecars;

pub use self::{
    builder::{BuildPineconeError, PineconeBuilder},
    delete::Pinecone,
    key::ApiKey,
};
