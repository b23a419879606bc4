//! `#[derive(EncryptedModel)]`: markers, constructors and proofs for the columns of a model.
//!
//! Invariant: every field is classified, or the struct does not compile; all mistakes are shown at once.
//! Absent: the adapters. What a field's type is, is asked through the core's traits.

#![forbid(unsafe_code)]

mod ast;
mod attr;
mod check;
mod expand;

use std::fmt::Display;

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{Data, DataStruct, DeriveInput, Error, Fields, parse_macro_input};

use crate::{ast::Model, attr::StructAttrs};

/// Makes the columns of a table known: a module beside the struct, in snake case, with a marker type and a
/// constructor for each column, and [`EncryptedModel`] for tools.
///
/// Its examples stand where it is used from: [`ophie_crypt::EncryptedModel`].
///
/// [`ophie_crypt::EncryptedModel`]: https://docs.rs/ophie-crypt/latest/ophie_crypt/derive.EncryptedModel.html
/// [`EncryptedModel`]: https://docs.rs/ophie-crypt/latest/ophie_crypt/trait.EncryptedModel.html
///
/// # Attributes
///
/// ## Required container attributes
///
/// One of:
///
/// - `#[crypt(table = "people_links")]`: the table, by its SQL name. This struct declares its columns; it
///   has exactly one field of type `Owner<..>` and no generics.
/// - `#[crypt(like = PersonLink)]`: another view of the table that `PersonLink` declares. A column that is
///   encrypted there cannot be marked plain here, and holds the same plaintext type (open, or as `Sealed`).
///
/// ## Optional container attributes
///
/// - `#[crypt(table_id = "people_links")]`: the table's logical id in the AAD. Default: the table's name.
///   Freeze it before you rename the table.
/// - `#[crypt(tombstone = "deleted_at")]`: a nullable column of a time, which a shred sets in the owner's rows until
///   they are swept. It needs no field.
/// - `#[crypt(module = "columns")]`: the module's name. Default: the struct's, in snake case.
/// - `#[crypt(crate = "crate::encryption")]`: where `ophie_crypt` is re-exported. Default: `::ophie_crypt`.
///
/// ## Required field attributes
///
/// - `#[crypt(plain)]` on every field that is stored in the clear.
/// - `#[crypt(index_of = "name")]` on every `BlindIndex` of a struct that declares its columns: the field that
///   it indexes, of the same plaintext type.
///
/// ## Optional field attributes
///
/// Under `like`, only `alias` and `column`; the rest is said in the model that declares the column.
///
/// - `#[crypt(normalize = "name")]` on a `BlindIndex`: `exact` (default), `name` or `email`.
/// - `#[crypt(column = "name_ct")]`: the column's SQL name. Default: what `#[sqlx(rename)]`,
///   `#[sqlx(rename_all)]` or `#[diesel(column_name)]` say, else the field's name.
/// - `#[crypt(id = "name")]`: the column's logical id in the AAD. Default: the field's name. Freeze it
///   before you rename the field; renaming the SQL column needs nothing.
/// - `#[crypt(pad = 64)]` on an encrypted field: new values are padded to multiples of so many bytes.
/// - `#[crypt(column = "name_ct", soak(twin = "name", floor = "dual-write"))]` on a field of type `Soak`: the encrypted
///   column, the plaintext column beside it, and the lowest state of the soak that this release accepts (`expand` by
///   default). SQLx reads such a field under `#[sqlx(flatten)]`, Diesel under `#[diesel(embed)]`, where `table!` has both
///   columns as `Nullable`.
/// - `#[crypt(alias)]`: the field's type is an alias of a column type.
///
/// # Values bound to their row
///
/// There is no attribute for it: a hook of an ORM sees a value, not the row that it stands in. Declare the field as
/// `Sealed`, and call `seal_row` and `open_row`; the front page of the adapter's docs has an example.
#[proc_macro_derive(EncryptedModel, attributes(crypt))]
pub fn encrypted_model(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    derive(&parse_macro_input!(input as DeriveInput)).into()
}

fn derive(item: &DeriveInput) -> TokenStream {
    let mut mistakes = Mistakes::default();
    let Data::Struct(DataStruct {
        fields: Fields::Named(fields),
        ..
    }) = &item.data
    else {
        mistakes.push(
            &item.ident,
            "`EncryptedModel` is for structs with named fields, one for each column",
        );
        return mistakes.into_token_stream();
    };
    let attrs = StructAttrs::read(&item.attrs, &mut mistakes);
    let model = Model::read(item, &attrs, fields, &mut mistakes);
    check::check(&model, &mut mistakes);
    let expanded = expand::expand(&model, mistakes.is_empty());
    let mistakes = mistakes.into_token_stream();
    quote::quote!(#mistakes #expanded)
}

/// Everything that is wrong with a struct, each at the user's token.
#[derive(Default)]
struct Mistakes(Vec<Error>);

impl Mistakes {
    fn push(&mut self, at: impl ToTokens, message: impl Display) {
        self.add(Error::new_spanned(at, message));
    }

    fn add(&mut self, error: Error) {
        self.0.push(error);
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn into_token_stream(self) -> TokenStream {
        self.0.iter().map(Error::to_compile_error).collect()
    }
}
