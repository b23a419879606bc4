//! Calls that a test's own key store or KMS passes on to the one that it has: here, and in `tests/`, which takes this file.
//!
//! Absent: what it does otherwise, which its `impl` says beside them.

/// In an `impl` of `KeyStore` or `Kms` under `async_trait`: these calls, each of which asks the same of the field.
///
/// A call that has a default has it here too where it is not named.
macro_rules! pass_on {
    ($field:tt: $($call:ident),+ $(,)?) => {
        $($crate::passed_on::pass_on!(@$call $field);)+
    };
    (@load $field:tt) => {
        $crate::passed_on::pass_on!(@async $field load <'b>(owner: &'b ophie_crypt::CanonicalId)
            -> Result<Option<ophie_crypt::OwnerRecord>, ophie_crypt::StoreError>);
    };
    (@insert_if_absent $field:tt) => {
        $crate::passed_on::pass_on!(@async $field insert_if_absent <'b, 'c, 'd>(
            owner: &'b ophie_crypt::CanonicalId,
            dek: &'c ophie_crypt::DekRecord,
            index_key: &'d ophie_crypt::IndexKeyRecord
        ) -> Result<(), ophie_crypt::StoreError>);
    };
    (@version $field:tt) => {
        $crate::passed_on::pass_on!(@async $field version <'b>(owner: &'b ophie_crypt::CanonicalId)
            -> Result<Option<u64>, ophie_crypt::StoreError>);
    };
    (@lease $field:tt) => {
        $crate::passed_on::pass_on!(@async $field lease <'b>(request: &'b ophie_crypt::LeaseRequest)
            -> Result<ophie_crypt::Lease, ophie_crypt::LeaseError>);
    };
    (@changes $field:tt) => {
        $crate::passed_on::pass_on!(@async $field changes <>(within: core::time::Duration)
            -> Result<Vec<(ophie_crypt::CanonicalId, u64)>, ophie_crypt::StoreError>);
    };
    (@shred $field:tt) => {
        $crate::passed_on::pass_on!(@async $field shred <'b>(owner: &'b ophie_crypt::CanonicalId)
            -> Result<Option<ophie_crypt::ShredId>, ophie_crypt::StoreError>);
    };
    (@make_dek $field:tt) => {
        $crate::passed_on::pass_on!(@async $field make_dek <'b>(call: &'b ophie_crypt::KmsCall)
            -> Result<ophie_crypt::GeneratedDek, ophie_crypt::KmsError>);
    };
    (@unwrap_dek $field:tt) => {
        $crate::passed_on::pass_on!(@async $field unwrap_dek <'b, 'c>(
            wrapped: &'b ophie_crypt::WrappedDek,
            call: &'c ophie_crypt::KmsCall
        ) -> Result<ophie_crypt::Dek, ophie_crypt::KmsError>);
    };
    (@rewrap_dek $field:tt) => {
        $crate::passed_on::pass_on!(@async $field rewrap_dek <'b, 'c>(
            wrapped: &'b ophie_crypt::WrappedDek,
            call: &'c ophie_crypt::KmsCall
        ) -> Result<ophie_crypt::WrappedDek, ophie_crypt::KmsError>);
    };
    (@forget_all_but $field:tt) => {
        $crate::passed_on::pass_on!(@async $field forget_all_but <'b, 'c>(
            generations: &'b [u32],
            call: &'c ophie_crypt::KmsCall
        ) -> Result<(), ophie_crypt::KmsError>);
    };
    (@holds $field:tt) => {
        fn holds(&self, kek: &str) -> bool {
            self.$field.holds(kek)
        }
    };
    // `async_trait` leaves what a macro makes as it is, so this is made as it would be.
    (@async $field:tt $call:ident <$($life:lifetime),*>($($name:ident: $type:ty),*) -> $answer:ty) => {
        fn $call<'a, $($life,)* 'z>(
            &'a self,
            $($name: $type),*
        ) -> core::pin::Pin<Box<dyn Future<Output = $answer> + Send + 'z>>
        where
            'a: 'z,
            $($life: 'z,)*
            Self: 'z,
        {
            self.$field.$call($($name),*)
        }
    };
}
pub(crate) use pass_on;
