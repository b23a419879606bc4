//! What makes the adapters' types [`SoakStore`](ophie_crypt::soak::SoakStore)s.
//!
//! Absent: what the methods do (`states`, `rows`, `jobs`).

/// Implements [`SoakStore`](ophie_crypt::soak::SoakStore) for a type with a field `tables`, a
/// [`ModelTables`](crate::ModelTables).
#[macro_export]
macro_rules! soak_store {
    ($store:ident $(<$param:ident: $bound:path>)?) => {
        #[$crate::private::async_trait]
        impl $(<$param: $bound>)? $crate::private::ophie_crypt::soak::SoakStore for $store $(<$param>)? {
            async fn soaks(
                &self,
            ) -> Result<Vec<$crate::private::ophie_crypt::soak::SoakRow>, $crate::private::ophie_crypt::ModelError> {
                self.tables.soaks().await
            }

            async fn beat(
                &self,
                process: $crate::private::ophie_crypt::soak::SoakProcess,
                beats: &[$crate::private::ophie_crypt::soak::Beat],
            ) -> Result<(), $crate::private::ophie_crypt::ModelError> {
                self.tables.beat(process, beats).await
            }

            async fn leave(
                &self,
                process: $crate::private::ophie_crypt::soak::SoakProcess,
            ) -> Result<(), $crate::private::ophie_crypt::ModelError> {
                self.tables.leave(process).await
            }

            async fn heartbeats(
                &self,
                column: &$crate::private::ophie_crypt::ColumnRef,
            ) -> Result<Vec<$crate::private::ophie_crypt::soak::Heartbeat>, $crate::private::ophie_crypt::ModelError> {
                self.tables.heartbeats(column).await
            }

            async fn expand(
                &self,
                soak: &$crate::private::ophie_crypt::soak::SoakColumn,
            ) -> Result<bool, $crate::private::ophie_crypt::ModelError> {
                self.tables.expand(soak).await
            }

            async fn expansion(
                &self,
                soak: &$crate::private::ophie_crypt::soak::SoakColumn,
            ) -> Result<$crate::private::ophie_crypt::soak::SoakMigration, $crate::private::ophie_crypt::ModelError> {
                self.tables.expansion(soak).await
            }

            async fn step(
                &self,
                soak: &$crate::private::ophie_crypt::soak::SoakColumn,
                from: &$crate::private::ophie_crypt::soak::SoakRow,
                to: $crate::private::ophie_crypt::soak::SoakState,
            ) -> Result<bool, $crate::private::ophie_crypt::ModelError> {
                self.tables.step(soak, from, to).await
            }

            async fn close(
                &self,
                soak: &$crate::private::ophie_crypt::soak::SoakColumn,
                from: &$crate::private::ophie_crypt::soak::SoakRow,
            ) -> Result<bool, $crate::private::ophie_crypt::ModelError> {
                self.tables.close(soak, from).await
            }

            async fn admit_old(
                &self,
                soak: &$crate::private::ophie_crypt::soak::SoakColumn,
                from: &$crate::private::ophie_crypt::soak::SoakRow,
                admit: bool,
            ) -> Result<bool, $crate::private::ophie_crypt::ModelError> {
                self.tables.admit_old(soak, from, admit).await
            }

            async fn pass(
                &self,
                soak: &$crate::private::ophie_crypt::soak::SoakColumn,
            ) -> Result<Box<dyn $crate::private::ophie_crypt::soak::SoakPass>, $crate::private::ophie_crypt::ModelError> {
                self.tables.pass(soak).await
            }

            async fn empty_buried(
                &self,
                soak: &$crate::private::ophie_crypt::soak::SoakColumn,
                limit: u32,
            ) -> Result<u64, $crate::private::ophie_crypt::ModelError> {
                self.tables.empty_buried(soak, limit).await
            }

            async fn empty_sealed(
                &self,
                soak: &$crate::private::ophie_crypt::soak::SoakColumn,
                after: Option<&str>,
                limit: u32,
            ) -> Result<Vec<String>, $crate::private::ophie_crypt::ModelError> {
                self.tables.empty_sealed(soak, after, limit).await
            }

            async fn rewind(
                &self,
                soak: &$crate::private::ophie_crypt::soak::SoakColumn,
            ) -> Result<(), $crate::private::ophie_crypt::ModelError> {
                self.tables.rewind(soak).await
            }

            async fn count(
                &self,
                soak: &$crate::private::ophie_crypt::soak::SoakColumn,
                rows: $crate::private::ophie_crypt::soak::Rows,
            ) -> Result<u64, $crate::private::ophie_crypt::ModelError> {
                self.tables.count_rows(soak, rows).await
            }

            async fn page(
                &self,
                soak: &$crate::private::ophie_crypt::soak::SoakColumn,
                after: Option<&str>,
                limit: u32,
            ) -> Result<Vec<$crate::private::ophie_crypt::soak::SoakedRow>, $crate::private::ophie_crypt::ModelError> {
                self.tables.page(soak, after, limit).await
            }

            async fn reread(
                &self,
                soak: &$crate::private::ophie_crypt::soak::SoakColumn,
                key: &str,
            ) -> Result<Option<$crate::private::ophie_crypt::soak::SoakedRow>, $crate::private::ophie_crypt::ModelError> {
                self.tables.reread(soak, key).await
            }

            async fn verified(
                &self,
                soak: &$crate::private::ophie_crypt::soak::SoakColumn,
                version: i64,
                clean: bool,
            ) -> Result<(), $crate::private::ophie_crypt::ModelError> {
                self.tables.verified(soak, version, clean).await
            }

            async fn empty(
                &self,
                soak: &$crate::private::ophie_crypt::soak::SoakColumn,
                limit: u32,
            ) -> Result<Option<u64>, $crate::private::ophie_crypt::ModelError> {
                self.tables.empty(soak, limit).await
            }

            async fn decrypted(
                &self,
                soak: &$crate::private::ophie_crypt::soak::SoakColumn,
                rows: Vec<$crate::private::ophie_crypt::soak::Decrypted>,
            ) -> Result<u64, $crate::private::ophie_crypt::ModelError> {
                self.tables.decrypted(soak, rows).await
            }

            async fn drop_twin(
                &self,
                soak: &$crate::private::ophie_crypt::soak::SoakColumn,
                from: &$crate::private::ophie_crypt::soak::SoakRow,
            ) -> Result<bool, $crate::private::ophie_crypt::ModelError> {
                self.tables.drop_twin(soak, from).await
            }

            async fn rewrite(
                &self,
                soak: &$crate::private::ophie_crypt::soak::SoakColumn,
            ) -> Result<(), $crate::private::ophie_crypt::ModelError> {
                self.tables.rewrite(soak).await
            }

            async fn lag(
                &self,
            ) -> Result<Option<core::time::Duration>, $crate::private::ophie_crypt::ModelError> {
                self.tables.lag().await
            }

            fn residue(&self) -> &'static [&'static str] {
                self.tables.residue()
            }
        }
    };
}
