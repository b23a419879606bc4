//! A field in a soak, as part of the column types: a macro for the same reason.
//!
//! Invariant: a value of a field that is no `Option` is there. Absent: what is served and written in which state (`soak`).

/// Declares `Soak`, `Twin` and `SoakSealed` in an adapter crate of this name; `column_types!` does it.
#[doc(hidden)]
#[macro_export]
macro_rules! __soak_type {
    ($krate:literal) => {
        /// A value that stands in two columns while it moves from plaintext to ciphertext: one field, two columns.
        ///
        /// `V` is `T`, or `Option<T>` where the column takes NULL. What is read, and which of the two columns is written, the
        /// state of the soak says: see [`ophie_crypt::soak`]($crate::soak). Statements stay the same in every state.
        ///
        /// ```
        /// use ophie_crypt::EncryptedModel;
        #[doc = concat!("use ", $krate, "::{Owner, Soak};")]
        ///
        /// #[derive(EncryptedModel)]
        /// #[crypt(table = "people")]
        /// struct Person {
        ///     user_id: Owner<i64>,
        ///     #[crypt(column = "name_ct", soak(twin = "name", floor = "dual-write"))]
        ///     name: Soak<String, person::name>,
        /// }
        ///
        /// let name = person::name("Mom");
        /// assert_eq!(name.expose_secret(), "Mom");
        /// let (twin, sealed) = (name.twin(), name.sealed()); // bind both, each in its column's place
        /// assert_eq!(format!("{twin:?} {sealed:?}"), "[REDACTED] [REDACTED]");
        /// ```
        ///
        /// # Security
        ///
        /// Plaintext is in the database until the soak is at its end. Whoever writes the database can move the state back;
        /// `floor` holds the lowest that this release accepts.
        pub struct Soak<V: $crate::soak::Soakable, C> {
            value: Option<Encrypted<V::Plain, C>>,
        }

        impl<V: $crate::soak::Soakable, C> Soak<V, C> {
            /// A value for column `C`; nothing is sealed yet.
            pub fn new(value: impl Into<V::Plain>) -> Self {
                Self {
                    value: Some(Encrypted::new(value)),
                }
            }

            /// The plaintext.
            #[must_use]
            #[allow(clippy::missing_panics_doc, reason = "it does not")]
            pub fn expose_secret(&self) -> V::Exposed<'_> {
                let value = self.value.as_ref().map(Encrypted::expose_secret);
                V::expose(value)
                    .expect("a NULL is refused before it gets into a field that takes none")
            }

            /// What is bound in the place of the plaintext column: from `Retired` on, it is NULL.
            #[must_use]
            pub fn twin(&self) -> Twin<V::Plain, C>
            where
                V::Plain: Clone,
            {
                Twin(self.value.clone())
            }

            /// What is bound in the place of the encrypted column: before `DualWrite`, it is NULL.
            #[must_use]
            pub fn sealed(&self) -> SoakSealed<V::Plain, C>
            where
                V::Plain: Clone,
            {
                SoakSealed(self.value.clone())
            }
        }

        impl<V: $crate::soak::Soakable, C: $crate::soak::SoakMarker> Soak<V, C> {
            /// Out of what stands in the two columns, in the current session and by the state of the soak: for queries
            /// whose rows are put together by hand, such as those of `query_as!`.
            ///
            /// # Errors
            ///
            /// `SoakError` or `OpenError`, in [`Error`].
            pub fn join(twin: Option<V::Plain>, sealed: Option<Vec<u8>>) -> Result<Self, Error> {
                let twin = twin.map(Encrypted::<V::Plain, C>::new);
                let value = $crate::adapter::soak_join::<V::Plain, C, _>(
                    twin,
                    sealed,
                    Encrypted::new,
                    Encrypted::expose_secret,
                )?;
                if value.is_none() && !V::NULLABLE {
                    return Err($crate::adapter::soak_null(C::COLUMN).into());
                }
                Ok(Self { value })
            }
        }

        impl<T: $crate::Plaintext, C> Soak<Option<T>, C> {
            /// A NULL.
            #[must_use]
            pub const fn null() -> Self {
                Self { value: None }
            }
        }

        impl<V: $crate::soak::Soakable, C> ::core::fmt::Debug for Soak<V, C> {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str("[REDACTED]")
            }
        }

        impl<V: $crate::soak::Soakable<Plain: Clone>, C> Clone for Soak<V, C> {
            fn clone(&self) -> Self {
                Self {
                    value: self.value.clone(),
                }
            }
        }

        impl<V: $crate::soak::Soakable, C> $crate::ColumnType for Soak<V, C> {
            const KIND: $crate::Kind = $crate::Kind::Encrypted;
            const CODEC: Option<$crate::Codec> = Some(<V::Plain as $crate::Plaintext>::CODEC);
            const NULLABLE: bool = V::NULLABLE;
            type Plain = V::Plain;
            type Made = Self;

            fn make(plain: V::Plain) -> Self {
                Self::new(plain)
            }
        }

        impl<V: $crate::soak::Soakable, C> $crate::BoundTo<C> for Soak<V, C> {}
        impl<V: $crate::soak::Soakable, C> $crate::__private::IsEncrypted for Soak<V, C> {}
        impl<V: $crate::soak::Soakable, C> $crate::__private::Holds for Soak<V, C> {
            type What = $crate::__private::ValueOf<V::Plain>;
        }

        /// The plaintext of a [`Soak`], for the plaintext column: its hook writes it, or NULL, as the state says.
        ///
        /// ```
        #[doc = concat!("use ", $krate, "::{Soak, Twin};")]
        /// use ophie_crypt::Unbound;
        ///
        /// let twin: Twin<String, Unbound> = Soak::<String, Unbound>::new("Mom").twin();
        /// assert_eq!(format!("{twin:?}"), "[REDACTED]");
        /// ```
        pub struct Twin<T: $crate::Plaintext, C>(Option<Encrypted<T, C>>);

        impl<T: $crate::Plaintext, C: $crate::soak::SoakMarker> Twin<T, C> {
            /// What is written now. A NULL is one in every state.
            fn out(&self) -> Result<Option<&T>, Error> {
                let Some(value) = &self.0 else {
                    return Ok(None);
                };
                let state = $crate::adapter::soak_state::<C>()?;
                Ok(state.writes_twin().then(|| value.expose_secret()))
            }
        }

        impl<T: $crate::Plaintext, C> ::core::fmt::Debug for Twin<T, C> {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str("[REDACTED]")
            }
        }

        /// The value of a [`Soak`], for the encrypted column: its hook seals it, or writes NULL, as the state says.
        ///
        /// ```
        #[doc = concat!("use ", $krate, "::{Soak, SoakSealed};")]
        /// use ophie_crypt::Unbound;
        ///
        /// let sealed: SoakSealed<String, Unbound> = Soak::<String, Unbound>::new("Mom").sealed();
        /// assert_eq!(format!("{sealed:?}"), "[REDACTED]");
        /// ```
        pub struct SoakSealed<T: $crate::Plaintext, C>(Option<Encrypted<T, C>>);

        impl<T: $crate::Plaintext, C: $crate::soak::SoakMarker> SoakSealed<T, C> {
            /// What is written now. A NULL is one in every state.
            fn out(&self) -> Result<Option<Vec<u8>>, Error> {
                match &self.0 {
                    Some(value) => Ok($crate::adapter::soak_seal::<T, C>(value.expose_secret())?),
                    None => Ok(None),
                }
            }
        }

        impl<T: $crate::Plaintext, C> ::core::fmt::Debug for SoakSealed<T, C> {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str("[REDACTED]")
            }
        }
    };
}
