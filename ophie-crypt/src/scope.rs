//! Which session is current: the only ambient state.
//!
//! Invariant: a session is current only within a poll (or call) of what was put under it, on that
//! thread and in that task; every other place finds none and fails closed. There is no guard to hold
//! across an await. Absent: keys (`session`).

use core::{
    cell::RefCell,
    pin::Pin,
    task::{Context, Poll},
};
use std::sync::Arc;

use futures_core::Stream;

use crate::{
    error::NoSession,
    session::{Session, Unwrapped},
};

/// The current session, its keys pinned for this poll, and the task that it was entered in.
struct Ambient {
    session: Session,
    keys: Result<Arc<Unwrapped>, NoSession>,
    task: Option<tokio::task::Id>,
}

thread_local! {
    static CURRENT: RefCell<Option<Ambient>> = const { RefCell::new(None) };
}

/// Puts back what was current before, also on unwinding.
pub(crate) struct Restore(Option<Ambient>);

impl Drop for Restore {
    fn drop(&mut self) {
        // Fails only while the thread's locals are destroyed; nothing is current then.
        let left = CURRENT.try_with(|current| current.replace(self.0.take()));
        drop(left); // outside the borrow: this may wipe a key
    }
}

fn enter(session: &Session) -> Restore {
    let ambient = Ambient {
        session: session.clone(),
        keys: session.pin(), // expiry is judged here, so no statement is cut in the middle
        task: tokio::task::try_id(),
    };
    Restore(CURRENT.replace(Some(ambient)))
}

/// Looks at the current session; the look must not run foreign code.
fn look<R>(of: impl FnOnce(&Ambient) -> R) -> Option<R> {
    CURRENT.with_borrow(|current| {
        let ambient = current.as_ref()?;
        // Another task polled on this thread (`block_on` in `scope_sync`, `LocalSet`) must not see it.
        (ambient.task == tokio::task::try_id()).then(|| of(ambient))
    })
}

/// The keys of the current session, for one hook.
pub(crate) fn current() -> Result<Arc<Unwrapped>, NoSession> {
    look(|ambient| ambient.keys.clone()).unwrap_or(Err(NoSession::Absent))
}

impl Session {
    /// Runs a future with this session as the current one: during its polls, and nowhere else.
    ///
    /// Scopes nest; the innermost counts. `join!` and `select!` inside are under it as well. Tasks
    /// spawned inside are not: give them [`InSession::in_session`].
    ///
    /// ```
    /// # use ophie_crypt::{InSession, Keyring, LocalKms, MemoryKeyStore, Purpose, Session};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let keyring = Keyring::builder().kms(LocalKms::ephemeral()?).key_store(MemoryKeyStore::new()).build()?;
    /// # let session = keyring.open_or_provision("ada", Purpose::new("docs")).await?;
    /// let seen = session.scope(async {
    ///     let lost = tokio::spawn(async { Session::current().is_some() }).await;
    ///     let kept = tokio::spawn(async { Session::current().is_some() }.in_current_session()).await;
    ///     (lost.ok(), kept.ok())
    /// }).await;
    /// assert_eq!(seen, (Some(false), Some(true)));
    /// # Ok(()) }
    /// ```
    pub fn scope<F: Future>(&self, future: F) -> Scoped<F> {
        future.in_session(self)
    }

    /// Runs a closure with this session as the current one: for synchronous code, `spawn_blocking` and
    /// pools' `interact`.
    ///
    /// ```
    /// # use ophie_crypt::{Keyring, LocalKms, MemoryKeyStore, Purpose, Session};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let keyring = Keyring::builder().kms(LocalKms::ephemeral()?).key_store(MemoryKeyStore::new()).build()?;
    /// # let session = keyring.open_or_provision("ada", Purpose::new("docs")).await?;
    /// let seen = tokio::task::spawn_blocking(move || {
    ///     session.scope_sync(|| Session::current().is_some())
    /// }).await?;
    /// assert!(seen);
    /// # Ok(()) }
    /// ```
    pub fn scope_sync<R>(&self, run: impl FnOnce() -> R) -> R {
        let _restore = enter(self);
        run()
    }

    /// The current session, to carry it elsewhere.
    #[must_use]
    pub fn current() -> Option<Self> {
        look(|ambient| ambient.session.clone())
    }
}

/// Carries a session into futures and streams, as `tracing::Instrument` carries a span.
///
/// ```
/// # use ophie_crypt::{InSession, Keyring, LocalKms, MemoryKeyStore, Purpose, Session};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let keyring = Keyring::builder().kms(LocalKms::ephemeral()?).key_store(MemoryKeyStore::new()).build()?;
/// # let session = keyring.open_or_provision("ada", Purpose::new("docs")).await?;
/// let task = tokio::spawn(async { Session::current().is_some() }.in_session(&session));
/// assert!(task.await?);
/// # Ok(()) }
/// ```
///
/// A streamed body is polled after its handler returned: `Body::from_stream(rows.in_session(&session))`.
/// A WebSocket runs in a task of its own: `on_upgrade(move |socket| talk(socket).in_session(&session))`.
pub trait InSession: Sized {
    /// Polls this future or stream under `session`.
    fn in_session(self, session: &Session) -> Scoped<Self> {
        Scoped {
            session: Some(session.clone()),
            inner: self,
        }
    }

    /// Polls this future or stream under the session that is current now. If none is, none will be,
    /// and hooks inside fail closed.
    fn in_current_session(self) -> Scoped<Self> {
        Scoped {
            session: Session::current(),
            inner: self,
        }
    }
}

impl<T> InSession for T {}

pin_project_lite::pin_project! {
    /// A future or stream under a session: of [`Session::scope`] and [`InSession`].
    #[derive(Debug)]
    #[must_use = "futures and streams do nothing unless polled"]
    pub struct Scoped<T> {
        session: Option<Session>,
        #[pin]
        inner: T,
    }
}

impl<T> Scoped<T> {
    /// Under `session`; without one, `inner` as it is.
    #[cfg(feature = "tower")]
    pub(crate) const fn new(inner: T, session: Option<Session>) -> Self {
        Self { session, inner }
    }

    /// Enters the session, if there is one, and gives what is to be polled under it.
    pub(crate) fn enter(self: Pin<&mut Self>) -> (Pin<&mut T>, Option<Restore>) {
        let this = self.project();
        (this.inner, this.session.as_ref().map(enter))
    }

    #[cfg(feature = "tower")]
    pub(crate) fn get_ref(&self) -> &T {
        &self.inner
    }
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let (future, _restore) = self.enter();
        future.poll(cx)
    }
}

impl<S: Stream> Stream for Scoped<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let (stream, _restore) = self.enter();
        stream.poll_next(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.size_hint()
    }
}
