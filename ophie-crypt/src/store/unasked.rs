//! Tables in memory, for tests of what asks them for no envelopes.
//!
//! Absent: the tables.

/// Implements `ModelStore` for a type with the field `models`, by nothing but these.
macro_rules! only_models {
    ($tables:ty) => {
        #[async_trait::async_trait]
        impl $crate::store::ModelStore for $tables {
            fn models(&self) -> &$crate::model::Models {
                &self.models
            }

            async fn sealed_under(
                &self,
                _: &$crate::CanonicalId,
                _: &$crate::ColumnRef,
                _: $crate::KeyId,
                _: Option<&[u8]>,
                _: u32,
            ) -> Result<Vec<Vec<u8>>, $crate::ModelError> {
                unreachable!()
            }

            async fn replace(
                &self,
                _: &$crate::CanonicalId,
                _: &$crate::ColumnRef,
                _: &[$crate::Reseal],
            ) -> Result<u64, $crate::ModelError> {
                unreachable!()
            }

            async fn moment(&self) -> Result<u64, $crate::ModelError> {
                unreachable!()
            }

            async fn count_under(
                &self,
                _: Option<&$crate::CanonicalId>,
                _: &$crate::ColumnRef,
                _: $crate::KeyId,
                _: u64,
            ) -> Result<Option<u64>, $crate::ModelError> {
                unreachable!()
            }

            async fn indexed_under(
                &self,
                _: &$crate::CanonicalId,
                _: &$crate::IndexedColumn,
                _: u8,
                _: Option<&$crate::IndexedRow>,
                _: u32,
            ) -> Result<Vec<$crate::IndexedRow>, $crate::ModelError> {
                unreachable!()
            }

            async fn reindex(
                &self,
                _: &$crate::CanonicalId,
                _: &$crate::IndexedColumn,
                _: &[$crate::Reindex],
            ) -> Result<u64, $crate::ModelError> {
                unreachable!()
            }

            async fn count_indexed(
                &self,
                _: &$crate::CanonicalId,
                _: &$crate::ColumnRef,
                _: u8,
                _: u64,
            ) -> Result<Option<u64>, $crate::ModelError> {
                unreachable!()
            }
        }
    };
}
pub(crate) use only_models;
