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

use futures_core::Stream;

use crate::{
    error::NoSession,
    session::{Pinned, Session},
};

/// The current session, and the task that it was entered in.
struct Ambient {
    session: Session,
    /// Pinned for one poll; `None` in a closure, which may run for as long as it likes.
    keys: Option<Result<Pinned, NoSession>>,
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

fn enter(session: &Session, keys: Option<Result<Pinned, NoSession>>) -> Restore {
    let ambient = Ambient {
        session: session.clone(),
        keys,
        task: tokio::task::try_id(),
    };
    // As in `Restore`; hooks find none then.
    let before = CURRENT.try_with(|current| current.replace(Some(ambient)));
    Restore(before.ok().flatten())
}

/// For one poll: expiry is judged here, so no statement is cut in the middle.
fn enter_poll(session: &Session) -> Restore {
    enter(session, Some(session.pin()))
}

/// For one poll under no session.
fn leave() -> Restore {
    let before = CURRENT.try_with(RefCell::take);
    Restore(before.ok().flatten())
}

/// Looks at the current session; the look must not run foreign code.
fn look<R>(of: impl FnOnce(&Ambient) -> R) -> Option<R> {
    let found = CURRENT.try_with(|current| {
        let current = current.borrow();
        let ambient = current.as_ref()?;
        // Another task polled on this thread (`block_on` in `scope_sync`, `LocalSet`) must not see it.
        (ambient.task == tokio::task::try_id()).then(|| of(ambient))
    });
    found.ok().flatten() // none while the thread's locals are destroyed
}

/// The keys of the current session, for one hook.
pub(crate) fn current() -> Result<Pinned, NoSession> {
    let keys = look(|ambient| match &ambient.keys {
        Some(pinned) => pinned.clone(),
        None => ambient.session.pin(),
    });
    keys.unwrap_or(Err(NoSession::Absent))
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
    /// pools' `interact`. The session can end while it runs; hooks fail from then on.
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
        let _restore = enter(self, None);
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

    /// Polls this future or stream under the session that is current now. If none is, none will be, also
    /// where it is polled within another's scope, and hooks inside fail closed.
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
    /// Under `session`; without one, under none.
    #[cfg(feature = "tower")]
    pub(crate) const fn new(inner: T, session: Option<Session>) -> Self {
        Self { session, inner }
    }

    /// Enters the session, or leaves all, and gives what is to be polled so.
    pub(crate) fn enter(self: Pin<&mut Self>) -> (Pin<&mut T>, Restore) {
        let this = self.project();
        (
            this.inner,
            this.session.as_ref().map_or_else(leave, enter_poll),
        )
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

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;
    use crate::{Keyring, LocalKms, MemoryKeyStore, Purpose, clock::Clock};

    async fn session(clock: &Clock) -> Session {
        let keyring = Keyring::builder()
            .kms(LocalKms::ephemeral().unwrap())
            .key_store(MemoryKeyStore::new())
            .clock(clock.clone())
            .build()
            .unwrap();
        let opened = keyring.open_or_provision("ada", Purpose::new("tests"));
        opened.await.unwrap()
    }

    fn ended() -> Option<NoSession> {
        current().err()
    }

    /// Three numbers, where a session is current.
    struct Three;

    impl Stream for Three {
        type Item = u8;

        fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u8>> {
            Poll::Ready(current().is_ok().then_some(7))
        }

        fn size_hint(&self) -> (usize, Option<usize>) {
            (3, Some(4))
        }
    }

    #[tokio::test]
    async fn scopes_nest_and_end() {
        let clock = Clock::default();
        let (outer, inner) = (session(&clock).await, session(&clock).await);
        let outside = async { ended() }.in_current_session();
        outer.scope_sync(|| {
            inner.scope_sync(|| {
                inner.close();
                assert_eq!(ended(), Some(NoSession::Closed));
            });
            assert_eq!(ended(), None, "the outer one is current again");
            assert!(Session::current().is_some());
        });
        assert_eq!(ended(), Some(NoSession::Absent));
        assert!(Session::current().is_none());

        let found = outer.scope(outside).await;
        assert_eq!(found, Some(NoSession::Absent), "none was current there");
        let carried = outer.scope_sync(|| async { ended() }.in_current_session());
        assert_eq!(carried.await, None);
    }

    /// It runs on the same thread, while the session is current in another task there, or in none.
    #[test]
    fn another_task_finds_no_session() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let session = runtime.block_on(session(&Clock::default()));
        let found = session.scope_sync(|| {
            runtime.block_on(async {
                let another = tokio::spawn(async { ended() }).await.unwrap();
                (ended(), another)
            })
        });
        assert_eq!(found, (None, Some(NoSession::Absent)));
        let found = runtime.block_on(async {
            let scoped = async move { session.scope(async { ended() }).await };
            tokio::spawn(scoped).await.unwrap()
        });
        assert_eq!(found, None);
    }

    #[tokio::test]
    async fn a_stream_is_as_long_as_what_it_scopes() {
        let session = session(&Clock::default()).await;
        assert_eq!(Three.in_session(&session).size_hint(), (3, Some(4)));
    }

    /// And gives what that gives, which is polled in the session.
    #[tokio::test]
    async fn a_stream_is_polled_in_its_session() {
        let session = session(&Clock::default()).await;
        let mut stream = Three.in_session(&session);
        let next = core::future::poll_fn(|cx| Pin::new(&mut stream).poll_next(cx));
        assert_eq!(next.await, Some(7));
        assert_eq!(ended(), Some(NoSession::Absent), "its session ended");
    }

    #[tokio::test]
    async fn a_closure_does_not_outlive_its_session() {
        let clock = Clock::default();
        let (closed, expired) = (session(&clock).await, session(&clock).await);
        closed.scope_sync(|| {
            assert_eq!(ended(), None);
            closed.close();
            assert_eq!(ended(), Some(NoSession::Closed));
        });
        expired.scope_sync(|| {
            assert_eq!(ended(), None);
            clock.pass(Keyring::MAX_TTL);
            assert_eq!(ended(), Some(NoSession::Expired));
        });
    }

    #[tokio::test]
    async fn a_poll_ends_with_the_keys_that_it_began_with() {
        let clock = Clock::default();
        let session = session(&clock).await;
        let polls = async {
            clock.pass(Keyring::MAX_TTL);
            session.close();
            let within = ended();
            tokio::task::yield_now().await;
            (within, ended())
        };
        assert_eq!(session.scope(polls).await, (None, Some(NoSession::Closed)));
    }

    #[tokio::test]
    async fn a_hook_in_a_dying_thread_finds_no_session() {
        type Found = (Option<NoSession>, Option<NoSession>);
        struct Last(Session, mpsc::Sender<Found>);
        impl Drop for Last {
            fn drop(&mut self) {
                let _ = self.1.send((ended(), self.0.scope_sync(ended)));
            }
        }
        thread_local! {
            static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
        }
        let session = session(&Clock::default()).await;
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            LAST.set(Some(Last(session.clone(), sender))); // made first, destroyed last
            session.scope_sync(|| assert_eq!(ended(), None));
        });
        thread.join().unwrap();
        let absent = Some(NoSession::Absent);
        let found = receiver.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(found, (absent, absent));
    }
}
