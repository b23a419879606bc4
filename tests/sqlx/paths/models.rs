//! The models of the tests: two people's links, transcripts and memories.

use ophie_crypt::{ColumnRef, EncryptedModel, Json};
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Debug, EncryptedModel, sqlx::FromRow)]
#[crypt(table = "people_links")]
pub(crate) struct PersonLink {
    #[crypt(plain)]
    pub(crate) id: i64,
    pub(crate) user_id: Owner<Uuid>,
    #[crypt(plain)]
    pub(crate) session_id: Uuid,
    pub(crate) name: Encrypted<String, person_link::name>,
    #[crypt(index_of = "name", normalize = "name")]
    pub(crate) name_fp: BlindIndex<String, person_link::name_fp>,
    pub(crate) relation: Option<Encrypted<String, person_link::relation>>,
}

#[derive(Debug, EncryptedModel, sqlx::FromRow)]
#[crypt(table = "transcripts")]
pub(crate) struct Transcript {
    #[crypt(plain)]
    pub(crate) id: Uuid,
    pub(crate) user_id: Owner<Uuid>,
    pub(crate) text: Encrypted<String, transcript::text>,
    pub(crate) words: Option<Encrypted<Json<Vec<Word>>, transcript::words>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) start_ms: u32,
}

/// Its database columns are nullable, its fields are not.
#[derive(Debug, EncryptedModel, sqlx::FromRow)]
#[crypt(table = "memories")]
pub(crate) struct Memory {
    #[crypt(plain)]
    pub(crate) id: i64,
    pub(crate) user_id: Owner<Uuid>,
    #[crypt(pad = 64)]
    pub(crate) text: Encrypted<String, memory::text>,
    #[crypt(index_of = "text", normalize = "exact")]
    pub(crate) text_fp: BlindIndex<String, memory::text_fp>,
    pub(crate) weight: Encrypted<i16, memory::weight>,
}

pub(crate) const NAME: ColumnRef = ColumnRef::new("people_links", "name");
pub(crate) const NAME_FP: ColumnRef = ColumnRef::new("people_links", "name_fp");
pub(crate) const RELATION: ColumnRef = ColumnRef::new("people_links", "relation");
pub(crate) const TRANSCRIPT: ColumnRef = ColumnRef::new("transcripts", "text");
pub(crate) const MEMORY: ColumnRef = ColumnRef::new("memories", "text").with_padding(64);
pub(crate) const MEMORY_FP: ColumnRef = ColumnRef::new("memories", "text_fp");
