//! The column types, as a macro: each adapter makes them its own, because only the crate that owns a
//! type may implement an ORM's traits for it (E0117, E0210).
//!
//! Invariant: no `Deref`, `AsRef`, `From<T>`, `Serialize` or `PartialEq` on plaintext, so that nothing
//! takes ciphertext for plaintext or prints a value. Absent: ORMs (the adapters), bytes (`adapter`).

/// Declares `Encrypted`, `Sealed`, `BlindIndex`, `Owner`, `Soak` and `Error` in an adapter crate of this name.
#[doc(hidden)]
#[macro_export]
macro_rules! column_types {
    ($krate:literal) => {
        /// A hook's error, as it travels inside the ORM's own error.
        ///
        /// The variants are in [`ophie_crypt::Error`].
        ///
        /// ```
        #[doc = concat!("use ", $krate, "::Error;")]
        /// use ophie_crypt::{NoSession, OwnerError};
        ///
        /// let error = Error::from(ophie_crypt::Error::from(OwnerError::NoSession(NoSession::Absent)));
        /// assert!(matches!(error.get(), ophie_crypt::Error::Owner(_)));
        /// ```
        ///
        /// [`ophie_crypt::Error`]: $crate::Error
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Error($crate::Error);

        impl Error {
            /// What went wrong.
            #[must_use]
            pub const fn get(&self) -> &$crate::Error {
                &self.0
            }
        }

        impl From<$crate::Error> for Error {
            fn from(error: $crate::Error) -> Self {
                Self(error)
            }
        }

        impl ::core::fmt::Display for Error {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl ::core::error::Error for Error {
            fn source(&self) -> Option<&(dyn ::core::error::Error + 'static)> {
                self.0.source() // its text is in ours
            }
        }

        /// Plaintext in memory, ciphertext in the database.
        ///
        /// Its hooks seal and open through the current session; without one they fail. A nullable column
        /// is `Option<Encrypted<T, C>>`. `C` is the column's marker, which the derive makes.
        ///
        /// ```
        /// use ophie_crypt::{EncryptedModel, Keyring, LocalKms, MemoryKeyStore, Purpose};
        #[doc = concat!("use ", $krate, "::{Encrypted, Owner};")]
        ///
        /// #[derive(EncryptedModel)]
        /// #[crypt(table = "notes")]
        /// struct Note {
        ///     user_id: Owner<i64>,
        ///     text: Encrypted<String, note::text>,
        /// }
        ///
        /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
        /// # let keyring = Keyring::builder().kms(LocalKms::ephemeral()?).key_store(MemoryKeyStore::new()).build()?;
        /// # let session = keyring.open_or_provision(&7_i64, Purpose::new("docs")).await?;
        /// let text = note::text("slept badly");
        /// assert_eq!(format!("{text:?}"), "[REDACTED]");
        /// assert_eq!(text.expose_secret(), "slept badly");
        ///
        /// let sealed = text.seal(&session)?; // what a bind does by itself
        /// assert_eq!(sealed.open(&session)?.expose_secret(), "slept badly");
        /// # Ok(()) }
        /// ```
        ///
        /// # Security
        ///
        /// The plaintext is wiped on drop, as far as its type allows.
        pub struct Encrypted<T: $crate::Plaintext, C = $crate::Unbound> {
            value: T,
            column: ::core::marker::PhantomData<fn() -> C>,
        }

        impl<T: $crate::Plaintext, C> Encrypted<T, C> {
            /// A value for column `C`; nothing is sealed yet.
            pub fn new(value: impl Into<T>) -> Self {
                Self {
                    value: value.into(),
                    column: ::core::marker::PhantomData,
                }
            }

            /// The plaintext.
            #[must_use]
            pub fn expose_secret(&self) -> &T {
                &self.value
            }

            /// Takes the plaintext out (a default stays behind); wiping it is the caller's then.
            #[must_use]
            pub fn into_secret(mut self) -> T
            where
                T: Default,
            {
                ::core::mem::take(&mut self.value)
            }
        }

        impl<T: $crate::Plaintext, C: $crate::BoundColumn> Encrypted<T, C> {
            /// Seals under a session that need not be current.
            ///
            /// # Errors
            ///
            /// `SealError`, in [`Error`].
            pub fn seal(&self, session: &$crate::Session) -> Result<Sealed<T, C>, Error> {
                let bytes = $crate::adapter::seal_in(session, C::COLUMN, None, &self.value)?;
                Ok(Sealed::from_bytes(bytes))
            }

            /// Seals, bound to its row as well: it opens by [`Sealed::open_row`] with the same id only.
            ///
            /// # Errors
            ///
            /// `SealError`, in [`Error`].
            pub fn seal_row(
                &self,
                session: &$crate::Session,
                row: &(impl $crate::OwnerId + ?Sized),
            ) -> Result<Sealed<T, C>, Error> {
                let row = row.canonical();
                let bytes = $crate::adapter::seal_in(session, C::COLUMN, Some(&row), &self.value)?;
                Ok(Sealed::from_bytes(bytes))
            }

            /// Seals many values; faster than one by one, as nonces are drawn in blocks.
            ///
            /// # Errors
            ///
            /// `SealError`, in [`Error`], of the first value that cannot be sealed.
            pub fn seal_many(
                values: &[Self],
                session: &$crate::Session,
            ) -> Result<Vec<Sealed<T, C>>, Error> {
                let values = values.iter().map(|value| &value.value);
                let sealed = $crate::adapter::seal_many(session, C::COLUMN, values)?;
                Ok(sealed.into_iter().map(Sealed::from_bytes).collect())
            }
        }

        impl<T: $crate::Plaintext, C> Drop for Encrypted<T, C> {
            fn drop(&mut self) {
                self.value.wipe();
            }
        }

        impl<T: $crate::Plaintext + Clone, C> Clone for Encrypted<T, C> {
            fn clone(&self) -> Self {
                Self::new(self.value.clone())
            }
        }

        impl<T: $crate::Plaintext, C> ::core::fmt::Debug for Encrypted<T, C> {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str("[REDACTED]")
            }
        }

        impl<T: $crate::Plaintext, C> $crate::ColumnType for Encrypted<T, C> {
            const KIND: $crate::Kind = $crate::Kind::Encrypted;
            const CODEC: Option<$crate::Codec> = Some(T::CODEC);
            type Plain = T;
            type Made = Self;

            fn make(plain: T) -> Self {
                Self::new(plain)
            }
        }

        impl<T: $crate::Plaintext, C> $crate::BoundTo<C> for Encrypted<T, C> {}

        /// Ciphertext in memory and in the database: loads, stores and moves without a session.
        ///
        /// For jobs, results over several owners, and everything that need not read the value.
        ///
        /// ```
        #[doc = concat!("use ", $krate, "::Sealed;")]
        ///
        /// let sealed = Sealed::<String>::from_bytes([0xFA; 45]);
        /// assert_eq!(sealed.as_bytes().len(), 45);
        /// assert_eq!(format!("{sealed:?}"), "Sealed(45 bytes)");
        /// ```
        pub struct Sealed<T, C = $crate::Unbound> {
            bytes: Vec<u8>,
            column: ::core::marker::PhantomData<fn() -> (T, C)>,
        }

        impl<T, C> Sealed<T, C> {
            /// From stored bytes; they are checked when they are opened.
            #[must_use]
            pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Self {
                Self {
                    bytes: bytes.into(),
                    column: ::core::marker::PhantomData,
                }
            }

            /// The envelope.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                &self.bytes
            }

            /// The envelope.
            #[must_use]
            pub fn into_bytes(self) -> Vec<u8> {
                self.bytes
            }
        }

        impl<T: $crate::Plaintext, C: $crate::BoundColumn> Sealed<T, C> {
            /// Opens under a session that need not be current.
            ///
            /// # Errors
            ///
            /// `OpenError`, in [`Error`].
            pub fn open(&self, session: &$crate::Session) -> Result<Encrypted<T, C>, Error> {
                let value = $crate::adapter::open_in::<T>(session, C::COLUMN, None, &self.bytes)?;
                Ok(Encrypted::new(value))
            }

            /// Opens a value that [`Encrypted::seal_row`] bound to this row.
            ///
            /// # Errors
            ///
            /// `OpenError`, in [`Error`].
            pub fn open_row(
                &self,
                session: &$crate::Session,
                row: &(impl $crate::OwnerId + ?Sized),
            ) -> Result<Encrypted<T, C>, Error> {
                let row = row.canonical();
                let value =
                    $crate::adapter::open_in::<T>(session, C::COLUMN, Some(&row), &self.bytes)?;
                Ok(Encrypted::new(value))
            }
        }

        impl<T, C> Clone for Sealed<T, C> {
            fn clone(&self) -> Self {
                Self::from_bytes(self.bytes.clone())
            }
        }

        /// Equal bytes. Two seals of one value differ.
        impl<T, C> PartialEq for Sealed<T, C> {
            fn eq(&self, other: &Self) -> bool {
                self.bytes == other.bytes
            }
        }

        impl<T, C> Eq for Sealed<T, C> {}

        impl<T, C> ::core::fmt::Debug for Sealed<T, C> {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                write!(f, "Sealed({} bytes)", self.bytes.len())
            }
        }

        impl<T: $crate::Plaintext, C> $crate::ColumnType for Sealed<T, C> {
            const KIND: $crate::Kind = $crate::Kind::Sealed;
            const CODEC: Option<$crate::Codec> = Some(T::CODEC);
            type Plain = T;
            type Made = Encrypted<T, C>;

            fn make(plain: T) -> Encrypted<T, C> {
                Encrypted::new(plain)
            }
        }

        impl<T, C> $crate::BoundTo<C> for Sealed<T, C> {}

        $crate::__blind_index_type!($krate);
        $crate::__owner_type!($krate);
        $crate::__soak_type!($krate);
        $crate::__column_proofs!();
    };
}
