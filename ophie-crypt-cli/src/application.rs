//! What an application tells the command of itself, and the way into it.

use std::{process::ExitCode, sync::Arc, time::Duration};

use ophie_crypt::{Models, ShareStore, SidecarStore, VectorStore};

/// The command with an application's models: see [`main`](crate::main) for the short form.
///
/// ```no_run
/// use ophie_crypt::Models;
///
/// fn main() -> std::process::ExitCode {
///     ophie_crypt_cli::Application::new(Models::new()).run()
/// }
/// ```
///
/// # Security
///
/// Name every model, every vector store and the share store that the application's own
/// [`Shredder`](ophie_crypt::Shredder) and [`Rotation`](ophie_crypt::Rotation) have: what is not named is not sealed
/// anew, not deleted, and counted as done.
#[derive(Clone)]
pub struct Application {
    pub(crate) models: Models,
    pub(crate) vectors: Vec<(Arc<str>, Arc<dyn VectorStore>)>,
    pub(crate) shares: Option<(Arc<dyn ShareStore>, Duration)>,
    /// Where sidecars are, as far as that was said.
    pub(crate) sidecars: Option<Vec<Arc<dyn SidecarStore>>>,
}

impl Application {
    /// With these models.
    #[must_use]
    pub const fn new(models: Models) -> Self {
        Self {
            models,
            vectors: Vec::new(),
            shares: None,
            sidecars: None,
        }
    }

    /// And vectors outside the tables, under a name for errors: `sweep` deletes those of shredded owners.
    #[must_use]
    pub fn vectors(mut self, name: impl Into<Arc<str>>, vectors: impl VectorStore) -> Self {
        self.vectors.push((name.into(), Arc::new(vectors)));
        self
    }

    /// And the second shares of keys in two shares, with how long backups of their store are kept: `sweep` destroys those of
    /// shredded owners, `keys destroy` those of destroyed generations. The command makes and opens keys in two shares then,
    /// and none in one piece. Without it, it makes and opens none where keys are in two shares.
    #[must_use]
    pub fn shares(mut self, shares: impl ShareStore, backups_kept: Duration) -> Self {
        self.shares = Some((Arc::new(shares), backups_kept));
        self
    }

    /// And where sidecars stand, beside vectors say: `keys destroy` destroys no key while one is left under it. May be
    /// called again, for another place.
    #[must_use]
    pub fn sidecars(mut self, sidecars: impl SidecarStore) -> Self {
        self.sidecars
            .get_or_insert_default()
            .push(Arc::new(sidecars));
        self
    }

    /// And that there are no sidecars: unless that was said, or where they are, `keys destroy` destroys nothing.
    #[must_use]
    pub fn without_sidecars(mut self) -> Self {
        self.sidecars.get_or_insert_default();
        self
    }

    /// Reads arguments, environment and configuration, does what they say, and gives the process's exit code.
    ///
    /// It makes a tokio runtime of its own: call it from a `main` that has none.
    #[must_use = "it is the process's exit code"]
    pub fn run(self) -> ExitCode {
        ExitCode::from(crate::commands::run(self).code())
    }

    pub(crate) fn has_models(&self) -> bool {
        self.models.iter().next().is_some()
    }
}

impl core::fmt::Debug for Application {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Application")
            .field("models", &self.models)
            .finish_non_exhaustive()
    }
}
