//! What each adapter has under a name of its own, under one.

use std::sync::Arc;

use async_trait::async_trait;
use ophie_crypt::{
    AuditStore, FileLedger, Ledger, LedgerError, MemoryKeyStore, MemoryShares, RotationStore,
    RowStore, ShareStore, ShareStoreError, ShredStore, StoreError, WriteFence, soak::SoakStore,
};
use ophie_crypt_diesel::{DieselKeyStore, DieselLedger, DieselShares, KeyPool};
use ophie_crypt_sqlx::{
    MySqlKeyStore, MySqlLedger, MySqlShares, PostgresKeyStore, PostgresLedger, PostgresShares,
    SqliteKeyStore, SqliteLedger, SqliteShares,
};

/// The application's tables, for every job.
pub(crate) trait Tables: RowStore + SoakStore + WriteFence {}

impl<T: RowStore + SoakStore + WriteFence> Tables for T {}

/// A key store of any kind, with what the trait of the core does not have.
#[async_trait]
pub(crate) trait Store: RotationStore + ShredStore {
    async fn migrate(&self) -> Result<(), StoreError>;

    fn audit(&self) -> Arc<dyn AuditStore>;
}

macro_rules! stores {
    ($($store:ident)*) => {$(
        #[async_trait]
        impl Store for $store {
            async fn migrate(&self) -> Result<(), StoreError> {
                Self::migrate(self).await
            }

            fn audit(&self) -> Arc<dyn AuditStore> {
                Arc::new(Self::audit(self))
            }
        }
    )*};
}

stores!(MySqlKeyStore PostgresKeyStore SqliteKeyStore);

#[async_trait]
impl<P: KeyPool> Store for DieselKeyStore<P> {
    async fn migrate(&self) -> Result<(), StoreError> {
        Self::migrate(self).await
    }

    fn audit(&self) -> Arc<dyn AuditStore> {
        Arc::new(Self::audit(self))
    }
}

/// A ledger, with what the trait of the core does not have.
#[async_trait]
pub(crate) trait Table: Ledger {
    async fn create(&self) -> Result<(), LedgerError>;
}

macro_rules! ledgers {
    ($($ledger:ident)*) => {$(
        #[async_trait]
        impl Table for $ledger {
            async fn create(&self) -> Result<(), LedgerError> {
                Self::create(self).await
            }
        }
    )*};
}

ledgers!(MySqlLedger PostgresLedger SqliteLedger);

#[async_trait]
impl<P: KeyPool> Table for DieselLedger<P> {
    async fn create(&self) -> Result<(), LedgerError> {
        Self::create(self).await
    }
}

#[async_trait]
impl Table for FileLedger {
    async fn create(&self) -> Result<(), LedgerError> {
        Ok(())
    }
}

/// A share store, with what the trait of the core does not have.
#[async_trait]
pub(crate) trait Shares: ShareStore {
    async fn create(&self) -> Result<(), ShareStoreError>;
}

macro_rules! shares {
    ($($shares:ident)*) => {$(
        #[async_trait]
        impl Shares for $shares {
            async fn create(&self) -> Result<(), ShareStoreError> {
                Self::create(self).await
            }
        }
    )*};
}

shares!(MySqlShares PostgresShares SqliteShares);

#[async_trait]
impl<P: KeyPool> Shares for DieselShares<P> {
    async fn create(&self) -> Result<(), ShareStoreError> {
        Self::create(self).await
    }
}

#[async_trait]
impl Shares for MemoryShares {
    async fn create(&self) -> Result<(), ShareStoreError> {
        Ok(())
    }
}

#[async_trait]
impl Store for MemoryKeyStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn audit(&self) -> Arc<dyn AuditStore> {
        unreachable!("there is no audit in memory")
    }
}
