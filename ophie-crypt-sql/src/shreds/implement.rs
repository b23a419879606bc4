//! The trait of shreds for the adapters' stores, method by method.
//!
//! Absent: what the methods do (the parent).

/// Implements [`ShredStore`](ophie_crypt::ShredStore) for a type with a field `keys`, a [`KeyTables`](crate::KeyTables).
#[macro_export]
macro_rules! shred_store {
    ($store:ident $(<$param:ident: $bound:path>)?) => {
        #[$crate::private::async_trait]
        impl $(<$param: $bound>)? $crate::private::ophie_crypt::ShredStore for $store $(<$param>)? {
            async fn shreds_of(
                &self,
                owners: &[$crate::private::ophie_crypt::CanonicalId],
            ) -> Result<
                Vec<$crate::private::ophie_crypt::Shred>,
                $crate::private::ophie_crypt::StoreError,
            > {
                self.keys.shreds_of(owners).await
            }

            async fn shreds(
                &self,
                which: $crate::private::ophie_crypt::Shreds,
                after: Option<&$crate::private::ophie_crypt::CanonicalId>,
                limit: u32,
            ) -> Result<
                Vec<$crate::private::ophie_crypt::Shred>,
                $crate::private::ophie_crypt::StoreError,
            > {
                self.keys.shreds(which, after, limit).await
            }

            async fn claim(
                &self,
                shred: &$crate::private::ophie_crypt::Shred,
                life: ::core::time::Duration,
            ) -> Result<bool, $crate::private::ophie_crypt::StoreError> {
                self.keys.claim(shred, life).await
            }

            async fn note(
                &self,
                owner: &$crate::private::ophie_crypt::CanonicalId,
                step: $crate::private::ophie_crypt::ShredStep,
            ) -> Result<(), $crate::private::ophie_crypt::StoreError> {
                self.keys.note(owner, step).await
            }

            async fn postpone(
                &self,
                owner: &$crate::private::ophie_crypt::CanonicalId,
                pause: ::core::time::Duration,
                why: &str,
            ) -> Result<(), $crate::private::ophie_crypt::StoreError> {
                self.keys.postpone(owner, pause, why).await
            }

            async fn remember(
                &self,
                shreds: &[$crate::private::ophie_crypt::Shred],
            ) -> Result<(), $crate::private::ophie_crypt::StoreError> {
                self.keys.remember(shreds).await
            }

            async fn installation(
                &self,
            ) -> Result<
                $crate::private::ophie_crypt::Installation,
                $crate::private::ophie_crypt::StoreError,
            > {
                self.keys.installation().await
            }

            async fn raise_epoch(
                &self,
                epoch: u64,
                head: &$crate::private::ophie_crypt::LedgerHead,
            ) -> Result<(), $crate::private::ophie_crypt::StoreError> {
                self.keys.raise_epoch(epoch, head).await
            }

            async fn count_shreds(
                &self,
            ) -> Result<u64, $crate::private::ophie_crypt::StoreError> {
                self.keys.count_shreds().await
            }

            async fn adopt(
                &self,
                installation: &$crate::private::ophie_crypt::Installation,
            ) -> Result<(), $crate::private::ophie_crypt::StoreError> {
                self.keys.adopt(installation).await
            }

            async fn vacuum(
                &self,
            ) -> Result<$crate::private::ophie_crypt::Residue, $crate::private::ophie_crypt::StoreError> {
                self.keys.vacuum().await
            }
        }
    };
}
