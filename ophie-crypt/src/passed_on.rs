//! Calls that a test's own key store passes on to the one that it has.
//!
//! Absent: what it does otherwise, which its `impl` says beside them.

/// In an `impl` of `KeyStore` under `async_trait`: these calls, each of which asks the same of the field.
///
/// A call that has a default has it here too where it is not named.
macro_rules! pass_on {
    ($field:tt: $($call:ident),+ $(,)?) => {
        $($crate::passed_on::pass_on!(@$call $field);)+
    };
    (@load $field:tt) => {
        $crate::passed_on::pass_on!(@async $field load <'b>(owner: &'b $crate::CanonicalId)
            -> Result<Option<$crate::OwnerRecord>, $crate::StoreError>);
    };
    (@insert_if_absent $field:tt) => {
        $crate::passed_on::pass_on!(@async $field insert_if_absent <'b, 'c, 'd>(
            owner: &'b $crate::CanonicalId,
            dek: &'c $crate::DekRecord,
            index_key: &'d $crate::IndexKeyRecord
        ) -> Result<(), $crate::StoreError>);
    };
    (@version $field:tt) => {
        $crate::passed_on::pass_on!(@async $field version <'b>(owner: &'b $crate::CanonicalId)
            -> Result<Option<u64>, $crate::StoreError>);
    };
    (@lease $field:tt) => {
        $crate::passed_on::pass_on!(@async $field lease <'b>(request: &'b $crate::LeaseRequest)
            -> Result<$crate::Lease, $crate::LeaseError>);
    };
    (@changes $field:tt) => {
        $crate::passed_on::pass_on!(@async $field changes <>(within: core::time::Duration)
            -> Result<Vec<($crate::CanonicalId, u64)>, $crate::StoreError>);
    };
    (@shred $field:tt) => {
        $crate::passed_on::pass_on!(@async $field shred <'b>(owner: &'b $crate::CanonicalId)
            -> Result<Option<$crate::ShredId>, $crate::StoreError>);
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
