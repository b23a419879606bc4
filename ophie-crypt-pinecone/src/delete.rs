//! Deleting an owner's vectors.
//!
//! Invariant: nothing is deleted but what stands at the owner's place, and "empty" is said only after several complete
//! listings in a row that showed nothing. Absent: HTTP (`http`), names (`names`).

use core::{fmt::Debug, hash::BuildHasher, time::Duration};
use std::{
    collections::{HashSet, hash_map::RandomState},
    sync::Arc,
};

use async_trait::async_trait;
use http::Method;
use ophie_crypt::{CanonicalId, OwnerId, VectorStore, VectorStoreError, VectorsDeleted};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::{
    ApiKey, PineconeBuilder,
    answer::{Page, counted},
    failure::{Failure, What},
    http::{Call, Client},
    names::{Layout, Place},
};

/// A Pinecone index, for [`VectorStore::delete_owner`]. Clones share its connections.
///
/// ```
/// use ophie_crypt_pinecone::{ApiKey, Pinecone};
///
/// let pinecone = Pinecone::builder(ApiKey::new("pcsk_x"), "http://127.0.0.1:5080").build()?; // testing only
/// assert!(!format!("{pinecone:?}").contains("pcsk_x"));
/// # Ok::<(), ophie_crypt_pinecone::BuildPineconeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Pinecone(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) client: Client,
    pub(crate) layout: Layout,
    pub(crate) pause: Duration,
    limit: Duration,
}

impl Pinecone {
    /// With a key, and the host of the index as Pinecone's console shows it.
    pub fn builder(key: ApiKey, host: impl Into<String>) -> PineconeBuilder {
        PineconeBuilder::new(key, host.into())
    }

    pub(crate) fn new(client: Client, layout: Layout, pause: Duration, limit: Duration) -> Self {
        Self(Arc::new(Inner {
            client,
            layout,
            pause,
            limit,
        }))
    }

    /// The namespace of an owner's vectors: in it they are written and searched.
    ///
    /// ```
    /// # use ophie_crypt_pinecone::{ApiKey, Pinecone};
    /// let each = Pinecone::builder(ApiKey::new("pcsk_x"), "http://127.0.0.1:5080").build()?;
    /// assert_eq!(each.namespace("ada")?, "74616461");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`VectorStoreError::Refused`] if the owner's id is too long.
    pub fn namespace(&self, owner: &(impl OwnerId + ?Sized)) -> Result<String, VectorStoreError> {
        Ok(self.place(&owner.canonical())?.namespace)
    }

    /// The id under which a vector of an owner is written: in a shared namespace it begins with the owner.
    ///
    /// ```
    /// # use ophie_crypt_pinecone::{ApiKey, Pinecone};
    /// let shared = Pinecone::builder(ApiKey::new("pcsk_x"), "http://127.0.0.1:5080").shared_namespace("memories").build()?;
    /// assert_eq!(shared.vector_id("ada", "memory-1")?, "74616461#memory-1");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`VectorStoreError::Refused`] if it is too long.
    pub fn vector_id(
        &self,
        owner: &(impl OwnerId + ?Sized),
        id: &str,
    ) -> Result<String, VectorStoreError> {
        let place = self.place(&owner.canonical())?;
        place.vector_id(id).map_err(Failure::into_error)
    }

    fn place(&self, owner: &CanonicalId) -> Result<Place, VectorStoreError> {
        self.0.layout.place(owner).map_err(Failure::into_error)
    }
}

#[async_trait]
impl VectorStore for Pinecone {
    async fn delete_owner(&self, owner: &CanonicalId) -> Result<VectorsDeleted, VectorStoreError> {
        let place = self.place(owner)?;
        let counts = place.prefix.is_some();
        let mut deleted = Deleted::default();
        let emptied = timeout(self.0.limit, self.0.empty(&place, &mut deleted)).await;
        let verified_empty = match emptied {
            Ok(done) => done.map(|()| true).map_err(Failure::into_error)?,
            Err(_) => false,
        };
        let count = counts.then(|| deleted.count());
        Ok(VectorsDeleted::new(count, verified_empty))
    }
}

/// The ids that were deleted, as hashes: one that is listed again, because it goes late, counts once.
#[derive(Default)]
struct Deleted {
    ids: HashSet<u64>,
    hasher: RandomState,
}

impl Deleted {
    fn add(&mut self, ids: &[String]) {
        let hashes = ids.iter().map(|id| self.hasher.hash_one(id));
        self.ids.extend(hashes);
    }

    fn count(&self) -> u64 {
        self.ids.len().try_into().unwrap_or(u64::MAX)
    }
}

impl Inner {
    /// Deletes until nothing was there to delete, look after look.
    async fn empty(&self, place: &Place, deleted: &mut Deleted) -> Result<(), Failure> {
        if place.prefix.is_none() {
            self.delete_namespace(place).await?;
        }
        let mut empty_looks = 0;
        loop {
            let found = match place.prefix {
                None => self.delete_if_any(place).await?,
                Some(_) => self.delete_listed(place, deleted).await?,
            };
            empty_looks = if found {
                0
            } else {
                u32::saturating_add(empty_looks, 1)
            };
            if empty_looks >= LOOKS {
                return Ok(());
            }
            sleep(self.pause).await;
        }
    }

    /// Whether the namespace held anything, which then goes with it.
    async fn delete_if_any(&self, place: &Place) -> Result<bool, Failure> {
        let mut token = None;
        loop {
            let page = self.list(place, token.as_deref()).await?;
            if !page.ids.is_empty() {
                self.delete_namespace(place).await?;
                return Ok(true);
            }
            token = page.next;
            if token.is_none() {
                return Ok(false);
            }
        }
    }

    /// Whether the prefix held anything; all of it was asked to be deleted.
    async fn delete_listed(&self, place: &Place, deleted: &mut Deleted) -> Result<bool, Failure> {
        let (mut found, mut batch, mut token) = (false, Vec::new(), None);
        loop {
            let page = self.list(place, token.as_deref()).await?;
            found |= !page.ids.is_empty();
            batch.extend(page.ids);
            token = page.next;
            while batch.len() >= BATCH || (token.is_none() && !batch.is_empty()) {
                let rest = batch.split_off(batch.len().min(BATCH));
                self.delete_ids(place, &batch).await?;
                deleted.add(&batch);
                batch = rest;
            }
            if token.is_none() {
                return Ok(found);
            }
        }
    }

    async fn delete_namespace(&self, place: &Place) -> Result<(), Failure> {
        let call = Call {
            name: "deleting a namespace",
            method: Method::DELETE,
            path: format!("/namespaces/{}", encoded(&place.namespace)),
            body: None,
        };
        // One that is not there is what is wanted; the listing says whether it is so.
        self.client.ask(&call, |_| Ok(())).await.map(|_| ())
    }

    async fn delete_ids(&self, place: &Place, ids: &[String]) -> Result<(), Failure> {
        let call = Call {
            name: "deleting vectors",
            method: Method::POST,
            path: "/vectors/delete".to_owned(),
            body: Some(json!({ "ids": ids, "namespace": place.namespace })),
        };
        self.client.ask(&call, |_| Ok(())).await.map(|_| ())
    }

    pub(crate) async fn list(&self, place: &Place, token: Option<&str>) -> Result<Page, Failure> {
        let mut path = format!(
            "/vectors/list?limit={PAGE}&namespace={}",
            encoded(&place.namespace)
        );
        if let Some(prefix) = &place.prefix {
            path.extend(["&prefix=", &encoded(prefix)]);
        }
        if let Some(token) = token {
            path.extend(["&paginationToken=", &encoded(token)]);
        }
        let call = Call {
            name: "listing vectors",
            method: Method::GET,
            path,
            body: None,
        };
        let page = self.client.ask(&call, |answer| Page::read(answer, place));
        match page.await? {
            Some(page) => Ok(page),
            None => self.no_namespace(place).await,
        }
    }

    /// "Not found" may mean the namespace or be another server's word: the index must be there and count nothing in it.
    async fn no_namespace(&self, place: &Place) -> Result<Page, Failure> {
        let call = Call {
            name: "counting vectors",
            method: Method::POST,
            path: "/describe_index_stats".to_owned(),
            body: Some(json!({})),
        };
        let counted = self.client.ask(&call, |answer| counted(answer, place));
        match counted.await? {
            Some(0) => Ok(Page {
                ids: Vec::new(),
                next: None,
            }),
            Some(_) | None => Err(Failure {
                call: "listing vectors",
                what: What::Status(404),
            }),
        }
    }
}

pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// All but the characters that RFC 3986, section 2.3, calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Complete listings in a row that must show nothing: one alone may come before a deletion or a write has settled.
pub(crate) const LOOKS: u32 = 3;
/// Ids in one request: the most that Pinecone takes.
const BATCH: usize = 1_000;
/// Ids on a page: the most that Pinecone gives.
const PAGE: u32 = 100;
