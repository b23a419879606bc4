//! Counting the sidecars of an owner that are under a key.
//!
//! Invariant: "none" is said only after several complete looks in a row, each at the metadata of every vector that was
//! listed; what was listed and is not shown is no none. Absent: HTTP (`http`), how answers read (`answer`), sealing anew: by
//! the application, which has the session.

use async_trait::async_trait;
use http::Method;
use ophie_crypt::{CanonicalId, KeyId, SidecarStore, SidecarStoreError, sidecar_beginnings};
use tokio::time::sleep;

use crate::{
    Pinecone,
    answer::Shown,
    delete::{Inner, LOOKS, encoded},
    failure::{Failure, What},
    http::Call,
    names::Place,
};

/// Looks at sidecars under old keys in the metadata of an owner's vectors, whichever field they are in: at all vectors that
/// [`Pinecone::namespace`] and [`Pinecone::vector_id`] name, three times, with the pause in between.
#[async_trait]
impl SidecarStore for Pinecone {
    async fn count_under(
        &self,
        owner: &CanonicalId,
        key_id: KeyId,
    ) -> Result<u64, SidecarStoreError> {
        let place = self.0.layout.place(owner).map_err(SidecarStoreError::new)?;
        let beginnings = sidecar_beginnings(key_id);
        let counted = self.0.count(&place, &beginnings).await;
        counted.map_err(SidecarStoreError::new)
    }
}

/// What one look at all vectors showed.
#[derive(Default)]
struct Look {
    under: u64,
    /// Listed, and not shown: deleted since, or not yet there where the question came to.
    unseen: bool,
}

impl Inner {
    async fn count(&self, place: &Place, beginnings: &[String]) -> Result<u64, Failure> {
        let mut none = 0;
        for _ in 0..MOST_LOOKS {
            match self.look(place, beginnings).await? {
                Look { under: 0, unseen } => {
                    none = if unseen {
                        0
                    } else {
                        u32::saturating_add(none, 1)
                    }
                }
                Look { under, .. } => return Ok(under),
            }
            if none >= LOOKS {
                return Ok(0);
            }
            sleep(self.pause).await;
        }
        Err(Failure {
            call: FETCHING,
            what: What::Unseen,
        })
    }

    async fn look(&self, place: &Place, beginnings: &[String]) -> Result<Look, Failure> {
        let (mut look, mut token) = (Look::default(), None);
        loop {
            let page = self.list(place, token.as_deref()).await?;
            for ids in page.ids.chunks(AT_A_TIME) {
                let mut ids = ids.to_vec();
                for _ in 0..LOOKS {
                    let shown = self.fetch(place, &ids, beginnings).await?;
                    look.under = look.under.saturating_add(shown.beginning);
                    ids.retain(|id| !shown.has(id));
                    if ids.is_empty() {
                        break;
                    }
                    sleep(self.pause).await;
                }
                look.unseen |= !ids.is_empty();
            }
            token = page.next;
            if token.is_none() {
                return Ok(look);
            }
        }
    }

    async fn fetch(
        &self,
        place: &Place,
        ids: &[String],
        beginnings: &[String],
    ) -> Result<Shown, Failure> {
        let mut path = format!("/vectors/fetch?namespace={}", encoded(&place.namespace));
        for id in ids {
            path.extend(["&ids=", &encoded(id)]);
        }
        let call = Call {
            name: FETCHING,
            method: Method::GET,
            path,
            body: None,
        };
        let shown = self
            .client
            .ask(&call, |answer| Shown::read(answer, place, ids, beginnings));
        Ok(shown.await?.unwrap_or_default()) // of a namespace that is gone
    }
}

const FETCHING: &str = "fetching vectors";
/// Vectors in one request: their ids stand in its address, at up to 1,536 characters each, and the answer has their values.
const AT_A_TIME: usize = 20;
/// Then the index does not settle.
const MOST_LOOKS: u32 = 10;
