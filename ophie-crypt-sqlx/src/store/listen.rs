//! How SQLx listens to PostgreSQL.
//!
//! Absent: when it connects again, who is told (`ophie_crypt_sql`).

use async_trait::async_trait;
use ophie_crypt_sql::{CHANNEL, Listen};
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};

/// A pool of one connection, which only listens.
pub(super) struct Direct(PgPool);

impl Direct {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None);
        Self(pool.connect_lazy_with(options))
    }
}

#[async_trait]
impl Listen for Direct {
    type Connection = PgListener;

    async fn connect(&self) -> Option<PgListener> {
        let mut listener = PgListener::connect_with(&self.0).await.ok()?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await.ok()?;
        Some(listener)
    }

    async fn next(listener: &mut PgListener) -> bool {
        matches!(listener.try_recv().await, Ok(Some(_)))
    }
}
