//! The type of fingerprints, as a macro: a part of `column_types!`.
//!
//! Invariant: while an owner has two index keys, it goes to the database only for a look-up that asks for both, or for a
//! row that is written. Absent: ORMs (the adapters), keys (`blind_index`).

/// Declares `BlindIndex`, where there is an `Error`.
#[doc(hidden)]
#[macro_export]
macro_rules! __blind_index_type {
    ($krate:literal) => {
        /// A keyed fingerprint of a plaintext, for equality look-up in an indexed column.
        ///
        /// It is computed when it is made, in the owner's session, and is not written in another's.
        ///
        /// ```
        /// use ophie_crypt::{EncryptedModel, Keyring, LocalKms, MemoryKeyStore, Purpose};
        #[doc = concat!("use ", $krate, "::{BlindIndex, Encrypted, Owner};")]
        ///
        /// #[derive(EncryptedModel)]
        /// #[crypt(table = "people")]
        /// struct Person {
        ///     user_id: Owner<i64>,
        ///     name: Encrypted<String, person::name>,
        ///     #[crypt(index_of = "name", normalize = "name")]
        ///     name_fp: BlindIndex<String, person::name_fp>,
        /// }
        ///
        /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
        /// # let keyring = Keyring::builder().kms(LocalKms::ephemeral()?).key_store(MemoryKeyStore::new()).build()?;
        /// # let session = keyring.open_or_provision(&7_i64, Purpose::new("docs")).await?;
        /// session.scope(async {
        ///     assert_eq!(person::name_fp("Mom")?, person::name_fp("  mom ")?);
        #[doc = concat!("    Ok::<_, ", $krate, "::Error>(())")]
        /// }).await?;
        /// assert!(person::name_fp("Mom").is_err()); // no session
        /// # Ok(()) }
        /// ```
        ///
        /// # While the owner's index key is being rotated
        ///
        /// Rows then stand under two keys, and a value has a fingerprint under each. Look up by both of
        /// [`candidates`](Self::candidates), and write by [`for_write`](Self::for_write): statements written so find and
        /// write the same with one key as with two. Others work while there is one key, and are refused while there are
        /// two, as they would miss rows.
        ///
        /// # Security
        ///
        /// Whoever reads the column sees which rows of one owner have equal values, and how often.
        pub struct BlindIndex<T, C = $crate::Unbound> {
            fingerprint: $crate::Fingerprint,
            column: ::core::marker::PhantomData<fn() -> (T, C)>,
        }

        impl<T: $crate::Plaintext, C: $crate::IndexColumn> BlindIndex<T, C> {
            /// The fingerprint of a value, in the current session.
            ///
            /// # Errors
            ///
            /// `FingerprintError`, in [`Error`].
            pub fn of(value: impl Into<T>) -> Result<Self, Error> {
                Ok(Self::from($crate::adapter::fingerprint::<T, C>(
                    value.into(),
                )?))
            }

            /// The fingerprint of a value, in a session that need not be current.
            ///
            /// # Errors
            ///
            /// `FingerprintError`, in [`Error`].
            pub fn of_in(session: &$crate::Session, value: impl Into<T>) -> Result<Self, Error> {
                Ok(Self::from($crate::adapter::fingerprint_in::<T, C>(
                    session,
                    value.into(),
                )?))
            }
        }

        impl<T, C> BlindIndex<T, C> {
            fn from(fingerprint: $crate::Fingerprint) -> Self {
                Self {
                    fingerprint,
                    column: ::core::marker::PhantomData,
                }
            }

            /// The fingerprints that a row with this value may have: one, twice, or two while the owner's index key is
            /// being rotated. Make them where they are used: what lies about for minutes may be out of date, and is
            /// refused where that shows.
            ///
            /// ```
            /// # use ophie_crypt::{EncryptedModel, Keyring, LocalKms, MemoryKeyStore, Purpose};
            #[doc = concat!("# use ", $krate, "::{BlindIndex, Encrypted, Owner};")]
            /// # #[derive(EncryptedModel)]
            /// # #[crypt(table = "people")]
            /// # struct Person {
            /// #     user_id: Owner<i64>,
            /// #     name: Encrypted<String, person::name>,
            /// #     #[crypt(index_of = "name", normalize = "name")]
            /// #     name_fp: BlindIndex<String, person::name_fp>,
            /// # }
            /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
            /// # let keyring = Keyring::builder().kms(LocalKms::ephemeral()?).key_store(MemoryKeyStore::new()).build()?;
            /// # let session = keyring.open_or_provision(&7_i64, Purpose::new("docs")).await?;
            /// session.scope(async {
            ///     let [one, other] = person::name_fp("Mom")?.candidates();
            ///     // SQL, on every database: `WHERE name_fp IN ($1, $2)`. PostgreSQL: `= ANY($1)`, bound as an array.
            ///     // Diesel: `people::name_fp.eq_any(person::name_fp("Mom")?.candidates())`.
            ///     assert_eq!(one, other); // no rotation is under way
            #[doc = concat!("    Ok::<_, ", $krate, "::Error>(())")]
            /// }).await?;
            /// # Ok(()) }
            /// ```
            #[must_use]
            pub fn candidates(&self) -> [Self; 2] {
                self.fingerprint.candidates().map(Self::from)
            }

            /// For a row that is written: INSERT, UPDATE .. SET.
            ///
            /// A unique index knows nothing of the other key: while the owner's index key is being rotated, it admits a
            /// value that another row has under that. Where uniqueness matters, leave this out, and such a write is
            /// refused in that time; or look for the [`candidates`](Self::candidates) first, in the same transaction
            /// and behind a lock that all who write the value take.
            ///
            /// ```
            /// # use ophie_crypt::{EncryptedModel, Keyring, LocalKms, MemoryKeyStore, Purpose};
            #[doc = concat!("# use ", $krate, "::{BlindIndex, Encrypted, Owner};")]
            /// # #[derive(EncryptedModel)]
            /// # #[crypt(table = "people")]
            /// # struct Person {
            /// #     user_id: Owner<i64>,
            /// #     name: Encrypted<String, person::name>,
            /// #     #[crypt(index_of = "name", normalize = "name")]
            /// #     name_fp: BlindIndex<String, person::name_fp>,
            /// # }
            /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
            /// # let keyring = Keyring::builder().kms(LocalKms::ephemeral()?).key_store(MemoryKeyStore::new()).build()?;
            /// # let session = keyring.open_or_provision(&7_i64, Purpose::new("docs")).await?;
            /// session.scope(async {
            ///     let _mom = Person {
            ///         user_id: Owner(7),
            ///         name: person::name("Mom"),
            ///         name_fp: person::name_fp("Mom")?.for_write(),
            ///     };
            #[doc = concat!("    Ok::<_, ", $krate, "::Error>(())")]
            /// }).await?;
            /// # Ok(()) }
            /// ```
            #[must_use]
            pub fn for_write(self) -> Self {
                Self::from(self.fingerprint.for_write())
            }

            /// Whether `stored`, of a row that was read, is the fingerprint of the value that this one was made of, under
            /// either key. `==` knows only one.
            #[must_use]
            pub fn matches(&self, stored: &Self) -> bool {
                self.fingerprint.matches(&stored.fingerprint)
            }

            /// As stored: 17 bytes.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                self.fingerprint.as_bytes()
            }
        }

        impl<T, C> Clone for BlindIndex<T, C> {
            fn clone(&self) -> Self {
                Self::from(self.fingerprint.clone())
            }
        }

        /// Equal fingerprints: equal values of one owner, to the normaliser.
        impl<T, C> PartialEq for BlindIndex<T, C> {
            fn eq(&self, other: &Self) -> bool {
                self.fingerprint == other.fingerprint
            }
        }

        impl<T, C> Eq for BlindIndex<T, C> {}

        impl<T, C> ::core::hash::Hash for BlindIndex<T, C> {
            fn hash<H: ::core::hash::Hasher>(&self, state: &mut H) {
                self.fingerprint.hash(state);
            }
        }

        impl<T, C> ::core::fmt::Debug for BlindIndex<T, C> {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str("BlindIndex(..)")
            }
        }

        impl<T: $crate::Plaintext, C: $crate::IndexColumn> $crate::ColumnType for BlindIndex<T, C> {
            const KIND: $crate::Kind = $crate::Kind::BlindIndex;
            const CODEC: Option<$crate::Codec> = Some(T::CODEC);
            type Plain = T;
            type Made = Result<Self, Error>;

            fn make(plain: T) -> Result<Self, Error> {
                Self::of(plain)
            }
        }

        impl<T, C> $crate::BoundTo<C> for BlindIndex<T, C> {}
    };
}
