//! Shreds in transactions of the application's own.
//!
//! Absent: what is destroyed (`ophie_crypt_sql`), transactions.

use async_trait::async_trait;
use ophie_crypt::{OwnerId, ShredError, ShredId};
use ophie_crypt_sql::{Connection, Failure, Record, Statement};

use super::backend::{KeyBackend, failure};

/// Destroys the owner's keys in a transaction of the application's own, with its account say: see
/// [`Keyring::shred`](ophie_crypt::Keyring::shred). It blocks, as Diesel does.
///
/// The connection must be to the database of the keys: on SQLite, where they have a file of their own, to that file, so
/// that there the application deletes the account afterwards, in a transaction of its own file's. Processes learn of it once you commit; if you roll back, nothing
/// was destroyed. This process's sessions end when it is notified, or at its next re-check.
///
/// ```no_run
/// use diesel::{Connection, PgConnection, RunQueryDsl};
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let mut connection = PgConnection::establish("postgres://localhost/app")?;
/// connection.transaction::<_, Box<dyn std::error::Error>, _>(|connection| {
///     ophie_crypt_diesel::shred_in(connection, &7)?;
///     diesel::sql_query("DELETE FROM users WHERE id = 7").execute(connection)?;
///     Ok(())
/// })?;
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// [`ShredError`].
#[cfg(feature = "r2d2")]
pub fn shred_in<C>(
    connection: &mut C,
    owner: &(impl OwnerId + ?Sized),
) -> Result<ShredId, ShredError>
where
    C: diesel::connection::LoadConnection<Backend: KeyBackend> + Send,
{
    use core::{
        pin::pin,
        task::{Context, Poll, Waker},
    };

    let (mut now, owner) = (Now(connection), owner.canonical());
    let shredding = pin!(ophie_crypt_sql::shred_in(
        &mut now,
        C::Backend::DIALECT,
        &owner
    ));
    // Nothing in it waits: each statement blocks.
    match Future::poll(shredding, &mut Context::from_waker(Waker::noop())) {
        Poll::Ready(shredded) => shredded,
        Poll::Pending => Err(ShredError::Interrupted),
    }
}

/// [`shred_in`] on a connection of diesel-async.
///
/// ```no_run
/// use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let mut connection = AsyncPgConnection::establish("postgres://localhost/app").await?;
/// connection.transaction::<_, Box<dyn std::error::Error + Send + Sync>, _>(async |connection| {
///     ophie_crypt_diesel::shred_in_async(connection, &7).await?;
///     diesel::sql_query("DELETE FROM users WHERE id = 7").execute(connection).await?;
///     Ok(())
/// }).await.map_err(|error| error.to_string())?;
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// [`ShredError`].
#[cfg(feature = "_async")]
pub async fn shred_in_async<C>(
    connection: &mut C,
    owner: &(impl OwnerId + ?Sized),
) -> Result<ShredId, ShredError>
where
    C: diesel_async::AsyncConnection<Backend: KeyBackend>,
{
    let owner = owner.canonical();
    ophie_crypt_sql::shred_in(&mut Awaited(connection), C::Backend::DIALECT, &owner).await
}

#[cfg(feature = "r2d2")]
struct Now<'c, C>(&'c mut C);

#[cfg(feature = "r2d2")]
#[async_trait]
impl<C> Connection for Now<'_, C>
where
    C: diesel::connection::LoadConnection<Backend: KeyBackend> + Send,
{
    async fn execute(&mut self, statement: Statement) -> Result<u64, Failure> {
        let done = C::Backend::execute(self.0, statement);
        let done = done.map_err(|error| failure(error, C::Backend::DIALECT))?;
        Ok(u64::try_from(done).unwrap_or(u64::MAX))
    }

    async fn fetch<R: Record>(&mut self, statement: Statement) -> Result<Vec<R>, Failure> {
        let rows = C::Backend::fetch(self.0, statement);
        rows.map_err(|error| failure(error, C::Backend::DIALECT))
    }
}

#[cfg(feature = "_async")]
struct Awaited<'c, C>(&'c mut C);

#[cfg(feature = "_async")]
#[async_trait]
impl<C> Connection for Awaited<'_, C>
where
    C: diesel_async::AsyncConnection<Backend: KeyBackend>,
{
    async fn execute(&mut self, statement: Statement) -> Result<u64, Failure> {
        let done = C::Backend::execute_async(self.0, statement).await;
        let done = done.map_err(|error| failure(error, C::Backend::DIALECT))?;
        Ok(u64::try_from(done).unwrap_or(u64::MAX))
    }

    async fn fetch<R: Record>(&mut self, statement: Statement) -> Result<Vec<R>, Failure> {
        let rows = C::Backend::fetch_async(self.0, statement).await;
        rows.map_err(|error| failure(error, C::Backend::DIALECT))
    }
}
