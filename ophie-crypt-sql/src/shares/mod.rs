//! Second shares of DEKs, in tables of a second database.
//!
//! Invariant: an owner who is noted as destroyed has no share, and a share that is there never changes; nobody reaches the
//! shares of a key store of another name. Absent: statements (`sql`), how two shares make a key (the core), the library's other tables.

mod sql;

use std::sync::Arc;

use ophie_crypt::{CanonicalId, Residue, Share, ShareId, ShareStoreError};
use zeroize::Zeroizing;

use crate::{
    Begin, Cells, Connection, Driver, Failure, FailureKind, Record, Statement, Transaction,
    driver::there,
    residue,
    run::{read, run},
};

/// The tables of shares over a driver. Its methods are those of [`ShareStore`](ophie_crypt::ShareStore), which
/// [`share_store!`](crate::share_store!) implements with them.
#[derive(Clone, Debug)]
pub struct ShareTables<D> {
    driver: D,
    key_store: Arc<str>,
}

impl<D: Driver> ShareTables<D> {
    /// Over this driver; the shares of the key store that is called so.
    #[must_use]
    pub fn new(driver: D, key_store: &str) -> Self {
        Self {
            driver,
            key_store: key_store.into(),
        }
    }

    /// Makes the tables, if they are not there.
    ///
    /// # Errors
    ///
    /// [`ShareStoreError`].
    pub async fn create(&self) -> Result<(), ShareStoreError> {
        let made = run(&self.driver, Begin::Migrate, |tx| {
            Box::pin(async move {
                let is_there = Statement::new(D::DIALECT, sql::is_there(D::DIALECT));
                let there: Vec<Number> = tx.fetch(is_there).await?;
                if there.first().is_some_and(|row| row.0 > 0) {
                    return Ok(());
                }
                tx.batch(sql::create(D::DIALECT).to_owned()).await
            })
        });
        made.await.map_err(error)
    }

    /// See [`ShareStore::put`](ophie_crypt::ShareStore::put).
    ///
    /// # Errors
    ///
    /// [`ShareStoreError`].
    pub async fn put(
        &self,
        owner: &CanonicalId,
        generation: u32,
        id: ShareId,
        share: &Share,
    ) -> Result<(), ShareStoreError> {
        let insert = self
            .of(owner, sql::INSERT)
            .bind(i64::from(generation))
            .bind(id.as_bytes().as_slice())
            .bind(share.expose_secret().as_slice());
        match self.write(vec![insert]).await? {
            0 => Err(ShareStoreError::Destroyed),
            _ => Ok(()),
        }
    }

    /// See [`ShareStore::get`](ophie_crypt::ShareStore::get).
    ///
    /// # Errors
    ///
    /// [`ShareStoreError`].
    pub async fn get(
        &self,
        owner: &CanonicalId,
        generation: u32,
        id: ShareId,
    ) -> Result<Option<Share>, ShareStoreError> {
        let get = self
            .of(owner, sql::GET)
            .bind(i64::from(generation))
            .bind(id.as_bytes().as_slice());
        let rows: Vec<Row> = read(&self.driver, get).await.map_err(error)?;
        let share = rows.first().map(|row| Share::from_slice(&row.0));
        Ok(share.transpose()?)
    }

    /// See [`ShareStore::destroy_all_but`](ophie_crypt::ShareStore::destroy_all_but).
    ///
    /// # Errors
    ///
    /// [`ShareStoreError`].
    pub async fn destroy_all_but(
        &self,
        owner: &CanonicalId,
        generations: &[u32],
    ) -> Result<(), ShareStoreError> {
        let (mut generations, mut after) = (generations.to_vec(), 0);
        generations.sort_unstable();
        let between = generations.into_iter().map(|before| {
            let delete = self.of(owner, sql::DELETE_BETWEEN).bind(i64::from(after));
            after = before;
            delete.bind(i64::from(before))
        });
        self.write(between.collect()).await.map(drop)
    }

    /// See [`ShareStore::destroy_all`](ophie_crypt::ShareStore::destroy_all).
    ///
    /// # Errors
    ///
    /// [`ShareStoreError`].
    pub async fn destroy_all(&self, owner: &CanonicalId) -> Result<(), ShareStoreError> {
        let note = self.of(owner, sql::note(D::DIALECT));
        let delete = self.of(owner, sql::DELETE);
        self.write(vec![note, delete]).await.map(drop)
    }

    /// See [`ShareStore::destroyed_at`](ophie_crypt::ShareStore::destroyed_at).
    ///
    /// # Errors
    ///
    /// [`ShareStoreError`].
    pub async fn destroyed_at(&self, owner: &CanonicalId) -> Result<Option<i64>, ShareStoreError> {
        let asked = self.of(owner, sql::DESTROYED_AT);
        let rows: Vec<Number> = read(&self.driver, asked).await.map_err(error)?;
        Ok(rows.first().map(|row| row.0))
    }

    /// See [`ShareStore::vacuum`](ophie_crypt::ShareStore::vacuum).
    ///
    /// # Errors
    ///
    /// [`ShareStoreError`].
    pub async fn vacuum(&self) -> Result<Residue, ShareStoreError> {
        let vacuumed = residue::vacuum(&self.driver, &sql::OF_SHARES).await;
        vacuumed.map_err(error)
    }

    /// A statement whose `$1` is the key store and `$2` its owner.
    fn of(&self, owner: &CanonicalId, sql: &'static str) -> Statement {
        let statement = Statement::new(D::DIALECT, sql).bind(self.key_store.as_bytes());
        statement.bind(owner.as_bytes())
    }

    /// How many rows the last changed. A row that is there already is no error.
    async fn write(&self, statements: Vec<Statement>) -> Result<u64, ShareStoreError> {
        let written = run(&self.driver, Begin::Write, move |tx| {
            let statements = statements.clone();
            Box::pin(async move {
                let mut last = 0;
                for statement in statements {
                    last = match tx.execute(statement).await {
                        Err(failure) if failure.kind() == FailureKind::Duplicate => 0,
                        done => done?,
                    };
                }
                Ok(last)
            })
        });
        written.await.map_err(error)
    }
}

struct Number(i64);

impl Record for Number {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self(there(cells.int("number")?)?))
    }
}

/// A share's bytes, wiped.
struct Row(Zeroizing<Vec<u8>>);

impl Record for Row {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self(Zeroizing::new(there(cells.bytes("share")?)?)))
    }
}

fn error(failure: Failure) -> ShareStoreError {
    ShareStoreError::unavailable(failure.into_source())
}

/// Implements [`ShareStore`](ophie_crypt::ShareStore) and `Debug` for a type with a field `tables`, a [`ShareTables`].
#[macro_export]
macro_rules! share_store {
    ($store:ident $(<$param:ident: $bound:path>)?) => {
        #[$crate::private::async_trait]
        impl $(<$param: $bound>)? $crate::private::ophie_crypt::ShareStore for $store $(<$param>)? {
            async fn put(
                &self,
                owner: &$crate::private::ophie_crypt::CanonicalId,
                generation: u32,
                id: $crate::private::ophie_crypt::ShareId,
                share: &$crate::private::ophie_crypt::Share,
            ) -> Result<(), $crate::private::ophie_crypt::ShareStoreError> {
                self.tables.put(owner, generation, id, share).await
            }

            async fn get(
                &self,
                owner: &$crate::private::ophie_crypt::CanonicalId,
                generation: u32,
                id: $crate::private::ophie_crypt::ShareId,
            ) -> Result<
                Option<$crate::private::ophie_crypt::Share>,
                $crate::private::ophie_crypt::ShareStoreError,
            > {
                self.tables.get(owner, generation, id).await
            }

            async fn destroy_all_but(
                &self,
                owner: &$crate::private::ophie_crypt::CanonicalId,
                generations: &[u32],
            ) -> Result<(), $crate::private::ophie_crypt::ShareStoreError> {
                self.tables.destroy_all_but(owner, generations).await
            }

            async fn destroy_all(
                &self,
                owner: &$crate::private::ophie_crypt::CanonicalId,
            ) -> Result<(), $crate::private::ophie_crypt::ShareStoreError> {
                self.tables.destroy_all(owner).await
            }

            async fn destroyed_at(
                &self,
                owner: &$crate::private::ophie_crypt::CanonicalId,
            ) -> Result<Option<i64>, $crate::private::ophie_crypt::ShareStoreError> {
                self.tables.destroyed_at(owner).await
            }

            async fn vacuum(
                &self,
            ) -> Result<$crate::private::ophie_crypt::Residue, $crate::private::ophie_crypt::ShareStoreError> {
                self.tables.vacuum().await
            }
        }

        impl $(<$param: $bound>)? ::core::fmt::Debug for $store $(<$param>)? {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_struct(stringify!($store)).finish_non_exhaustive()
            }
        }
    };
}
