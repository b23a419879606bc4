//! How diesel-async listens to PostgreSQL.
//!
//! Absent: when it connects again, who is told (`ophie_crypt_sql`).

use core::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
};

use async_trait::async_trait;
use diesel::ConnectionResult;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use futures_core::Stream;
use ophie_crypt_sql::{CHANNEL, Listen};

type Connecting = Pin<Box<dyn Future<Output = ConnectionResult<AsyncPgConnection>> + Send>>;

/// What makes a connection, which then only listens.
pub(super) struct Direct(Box<dyn Fn() -> Connecting + Send + Sync>);

impl Direct {
    pub(super) fn new<F>(connect: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ConnectionResult<AsyncPgConnection>> + Send + 'static,
    {
        Self(Box::new(move || Box::pin(connect())))
    }
}

#[async_trait]
impl Listen for Direct {
    type Connection = AsyncPgConnection;

    async fn connect(&self) -> Option<AsyncPgConnection> {
        let mut connection = (self.0)().await.ok()?;
        let listen = format!("LISTEN {CHANNEL}");
        connection.batch_execute(&listen).await.ok()?;
        Some(connection)
    }

    async fn next(connection: &mut AsyncPgConnection) -> bool {
        let mut notifications = pin!(connection.notifications_stream());
        matches!(
            poll_fn(|context| notifications.as_mut().poll_next(context)).await,
            Some(Ok(_))
        )
    }
}
