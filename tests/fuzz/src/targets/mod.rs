//! One module for each target, and what several need.

pub(crate) mod codecs;
pub(crate) mod configuration;
pub(crate) mod differential;
pub(crate) mod envelope;
pub(crate) mod kms;
pub(crate) mod ledger;
pub(crate) mod local_key;
pub(crate) mod normalisers;
pub(crate) mod pae;
pub(crate) mod pinecone;
pub(crate) mod sidecar;

use core::future::Future;
use std::path::Path;

use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_all().build().unwrap();
}

pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// In memory where there is such a place: some targets write a file for each input, and sync it.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        TempDir::new_in(memory).unwrap()
    } else {
        TempDir::new().unwrap()
    }
}

/// An error and all that caused it, in both forms.
fn told(error: &(dyn core::error::Error + 'static)) -> String {
    let mut all = format!("{error:?}");
    let mut next = Some(error);
    while let Some(error) = next {
        all.push_str(&format!("\n{error}\n{error:?}"));
        next = error.source();
    }
    all
}
