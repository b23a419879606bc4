//! The row's owner, as part of the column types: a macro for the same reason.
//!
//! Invariant: `Debug` shows no id. Absent: the check itself (the hooks of the adapters, `adapter`).

/// Declares `Owner` in an adapter crate of this name; `column_types!` does it.
#[doc(hidden)]
#[macro_export]
macro_rules! __owner_type {
    ($krate:literal) => {
        /// The row's owner. Its hooks refuse, in both directions, a row whose owner is not the session's.
        ///
        /// ```
        #[doc = concat!("use ", $krate, "::Owner;")]
        ///
        /// assert_eq!(Owner(7_i64).0, 7);
        /// assert_eq!(format!("{:?}", Owner(7_i64)), "Owner(..)");
        /// ```
        ///
        /// `Option<Owner<T>>` is for outer joins. Results over several owners are read with `Sealed` and
        /// the plain id.
        /// `Debug` shows no id.
        ///
        /// # Security
        ///
        /// It sees what is bound and what is read, not which rows a statement touches: filter every UPDATE and DELETE by
        /// `Owner(user)`, or one by primary key changes another owner's row. The
        #[doc = concat!("[write fence](", "https://docs.rs/ophie-crypt/latest/ophie_crypt/trait.WriteFence.html", ")")]
        /// makes the database refuse such an UPDATE of encrypted columns.
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(
            clippy::exhaustive_structs,
            reason = "a wrapper to construct and match"
        )]
        pub struct Owner<T>(pub T);

        impl<T> ::core::fmt::Debug for Owner<T> {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str("Owner(..)")
            }
        }

        impl<T: $crate::OwnerId> $crate::ColumnType for Owner<T> {
            const KIND: $crate::Kind = $crate::Kind::Owner;
            const CODEC: Option<$crate::Codec> = None;
            const OWNER: Option<$crate::OwnerKind> = T::KIND;
            type Plain = T;
            type Made = Self;

            fn make(plain: T) -> Self {
                Self(plain)
            }
        }

        impl<T: $crate::OwnerId> $crate::OwnerId for Owner<T> {
            const KIND: Option<$crate::OwnerKind> = T::KIND;

            fn canonical(&self) -> $crate::CanonicalId {
                self.0.canonical()
            }
        }

        impl<T, C> $crate::BoundTo<C> for Owner<T> {}
    };
}
