//! What the derive writes.
//!
//! Invariant: every field's type is proved to be what its name says, at the field; all paths are absolute;
//! where there are mistakes, markers and constructors are written all the same, so that one mistake does
//! not cause others elsewhere. Absent: rules (`check`).

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Ident, Path, Visibility, ext::IdentExt, spanned::Spanned};

use crate::{
    ast::{Field, Model, Role, ours},
    attr::Normalizer,
};

pub(crate) fn expand(model: &Model<'_>, sound: bool) -> TokenStream {
    let declaration = model.declares().then(|| declaration(model, sound));
    let proofs = sound.then(|| proofs(model));
    quote!(#declaration #proofs)
}

/// The module of markers and constructors, what they stand for, and the model.
fn declaration(model: &Model<'_>, sound: bool) -> TokenStream {
    let (krate, vis, name) = (&model.krate, &model.item.vis, &model.item.ident);
    let module = &model.module;
    let known = || {
        model
            .columns()
            .filter(|field| field.role != Role::Unclassified)
    };
    let inside = known().map(|field| inside(model, field));
    let outside = known().map(|field| outside(model, field));
    let doc = format!(
        "The columns of [`{name}`]: for each a marker, and a constructor of the same name."
    );
    let table = model.table();
    let infos = known().map(|field| info(model, field));
    let tombstone = model.attrs.tombstone.iter();
    // A trait's constant is not evaluated until it is used, and an alias may hide an owner.
    let evaluated = quote_spanned! {name.span()=>
        const _: #krate::ModelInfo = <#name as #krate::EncryptedModel>::MODEL;
    };
    let the_model = sound.then(|| {
        quote! {
            impl #krate::__private::Derived for #name {}
            impl #krate::EncryptedModel for #name {
                const MODEL: #krate::ModelInfo = #krate::ModelInfo::new(#table, &[#(#infos),*]) #(.with_tombstone(#tombstone))*;
            }
            #evaluated
        }
    });
    let inside = quote!(#(#inside)*);
    // At the struct's name, where the compiler then shows that a module of this name stands there already.
    let module = quote_spanned!(ours(name).span()=> #vis mod #module { #inside });
    quote! {
        #[doc = #doc]
        #[allow(dead_code, reason = "not every column is written by hand")]
        #module
        #(#outside)*
        #the_model
    }
}

fn inside(model: &Model<'_>, field: &Field<'_>) -> TokenStream {
    let (krate, marker, vis) = (&model.krate, ours(field.ident), deeper(field.vis));
    let place = format!("`{}.{}`", model.table(), field.column);
    let (type_doc, fn_doc) = (
        format!("The column {place}."),
        format!("A value for the column {place}."),
    );
    quote! {
        #[doc = #type_doc]
        #[derive(::core::fmt::Debug)]
        #vis enum #marker {}

        #[doc = #fn_doc]
        #[inline]
        #vis fn #marker<V>(value: V) -> #krate::__private::Made<self::#marker, V>
        where
            self::#marker: #krate::__private::Takes<V>,
        {
            <self::#marker as #krate::__private::Takes<V>>::make(value)
        }
    }
}

fn outside(model: &Model<'_>, field: &Field<'_>) -> TokenStream {
    let (krate, marker, ty, vis) = (&model.krate, model.marker(field), field.ty, field.vis);
    let (table, column) = (model.table(), &field.column);
    let (table_id, id) = (model.table_id(), field.id());
    let pad = field.attrs.pad.iter().map(|(_, bytes)| bytes);
    let field_impl =
        quote_spanned!(ty.span()=> impl #krate::__private::Field for #marker { type Ty = #ty; });
    let index = index(model, field).map(|(of, normalizer)| {
        quote! {
            impl #krate::IndexColumn for #marker {
                const OF: #krate::ColumnRef = <#of as #krate::BoundColumn>::COLUMN;
                const NORMALIZER: #krate::Normalizer = #normalizer;
            }
        }
    });
    let soak = soak(model, field);
    let null = field.nullable.then(|| {
        quote! {
            #[allow(dead_code, reason = "not every column is set to NULL by hand")]
            impl #marker {
                /// A typed NULL.
                #vis const NULL: #ty = ::core::option::Option::None;
            }
        }
    });
    quote! {
        impl #krate::BoundColumn for #marker {
            const COLUMN: #krate::ColumnRef =
                #krate::ColumnRef::new(#table, #column).with_ids(#table_id, #id) #(.with_padding(#pad))*;
        }
        #field_impl
        #index
        #soak
        #null
    }
}

fn info(model: &Model<'_>, field: &Field<'_>) -> TokenStream {
    let (krate, marker, ty) = (&model.krate, model.marker(field), field.ty);
    let indexing = index(model, field).map(|_| quote!(.indexing::<#marker>()));
    let twin = field
        .attrs
        .twin
        .as_ref()
        .map(|twin| quote!(.with_twin(#twin)));
    let floor = floor(field).map(|floor| quote!(.with_floor(#krate::soak::SoakState::#floor)));
    let info = quote_spanned!(ty.span()=> #krate::__private::column::<#ty, #marker>());
    quote!(#info #indexing #twin #floor)
}

/// The lowest state of a soak that the field says.
fn floor(field: &Field<'_>) -> Option<Ident> {
    let (name, variant) = field.attrs.floor.as_ref()?;
    let span = name.span().resolved_at(Span::call_site());
    Some(Ident::new(variant, span))
}

/// What a field in a soak adds to its marker: the other column, and both in Diesel's `table!`.
fn soak(model: &Model<'_>, field: &Field<'_>) -> Option<TokenStream> {
    let (krate, marker) = (&model.krate, model.marker(field));
    let twin = field.attrs.twin.as_ref()?;
    if field.role != Role::Soak {
        return None;
    }
    let floor = floor(field).unwrap_or_else(|| Ident::new("Expand", Span::call_site()));
    let in_diesel = model.attrs.diesel_table.as_ref().and_then(|table| {
        let column = |name: &str| {
            let name = syn::parse_str::<Ident>(name).ok()?;
            let mut path = table.clone();
            path.segments.push(name.into());
            Some(path)
        };
        let (twin, sealed) = (column(&twin.value())?, column(&field.column)?);
        Some(quote! {
            impl #krate::soak::SoakColumns for #marker {
                type Twin = #twin;
                type Sealed = #sealed;
            }
        })
    });
    Some(quote! {
        impl #krate::soak::SoakMarker for #marker {
            const TWIN: &'static str = #twin;
            const FLOOR: #krate::soak::SoakState = #krate::soak::SoakState::#floor;
        }
        #in_diesel
    })
}

/// The marker that an index is over, and its normaliser; only if that field is there.
fn index(model: &Model<'_>, field: &Field<'_>) -> Option<(Path, TokenStream)> {
    let krate = &model.krate;
    let of = model.field(&field.attrs.index_of.as_ref()?.value())?;
    if !matches!(
        of.role,
        Role::Alias | Role::Encrypted | Role::Sealed | Role::Soak
    ) {
        return None;
    }
    let normalizer = match field
        .attrs
        .normalize
        .as_ref()
        .map(|(_, normalizer)| normalizer)
    {
        Some(Normalizer::Email) => quote!(#krate::Normalizer::Email),
        None | Some(Normalizer::Exact) => quote!(#krate::Normalizer::Exact),
        Some(Normalizer::Name) => quote!(#krate::Normalizer::Name),
    };
    Some((model.marker(of), normalizer))
}

/// Checks of the compiler's that fail at the field.
fn proofs(model: &Model<'_>) -> TokenStream {
    let krate = &model.krate;
    let (generics, _, bounds) = model.item.generics.split_for_impl();
    // Of a model that declares its columns, `MODEL` proves the same.
    let views = model.columns().filter(|_| !model.declares());
    let bound = views.map(|field| {
        let (ty, marker) = (field.ty, model.marker(field));
        quote_spanned!(ty.span()=> #krate::__private::view::<#ty, #marker>();)
    });
    let indexes = model.fields.iter().filter(|_| model.declares()).filter_map(|field| {
        let (_, normalizer) = index(model, field)?;
        let (ty, name) = (field.ty, field.attrs.index_of.as_ref()?);
        let of = model.field(&name.value())?.ty;
        let at = field.attrs.normalize.as_ref().map_or(name.span(), |(name, _)| name.span());
        let same = quote_spanned!(ty.span()=> #krate::__private::index::<#ty, #of>());
        let fits = quote_spanned! {at=>
            ::core::assert!(
                #krate::__private::normalizer_fits::<#ty>(#normalizer),
                "`name` and `email` normalise text; this field's plaintext is no text, so use `exact`"
            )
        };
        let one = quote_spanned! {ty.span()=>
            ::core::assert!(
                #krate::__private::has_one_encoding::<#ty>(),
                "equal values of JSON may be written differently, so a blind index would miss them; index a part of it that is text"
            )
        };
        Some(quote! {
            const _: fn() = || #same;
            const _: () = #fits;
            const _: () = #one;
        })
    });
    let aliases = model.fields.iter().filter_map(|field| hidden(model, field));
    let plain = model
        .fields
        .iter()
        .filter(|field| field.role == Role::Plain);
    let plain = plain.map(|field| plainly(model, field));
    quote! {
        const _: () = {
            #[allow(dead_code, reason = "it compiles, and that is the proof")]
            fn proofs #generics () #bounds { #(#bound)* }
            #(#indexes)*
            #(#aliases)*
            #(#plain)*
        };
    }
}

/// Checks that an alias with an attribute for encrypted fields is one. Of other types `check` sees it.
fn hidden(model: &Model<'_>, field: &Field<'_>) -> Option<TokenStream> {
    let (krate, ty) = (&model.krate, field.ty);
    let pad = field.attrs.pad.as_ref().map(|(bucket, _)| bucket.span());
    let at = pad.or_else(|| field.attrs.twin.as_ref().map(Spanned::span))?;
    let is_encrypted = quote_spanned! {at=>
        const _: () = ::core::assert!(
            #krate::__private::is_encrypted::<#ty>(),
            "`pad` and `soak` are for encrypted fields; this alias is of another column type, so take the attribute away"
        );
    };
    (field.role == Role::Alias && model.declares()).then_some(is_encrypted)
}

/// Checks that a field marked plain hides no column of ours.
fn plainly(model: &Model<'_>, field: &Field<'_>) -> TokenStream {
    let (krate, ty, columns) = (&model.krate, field.ty, field.stored_as(model.attrs));
    // A type with parameters is no constant.
    let no_column_type = model.item.generics.params.is_empty().then(|| {
        quote_spanned! {ty.span()=>
            const _: () = ::core::assert!(
                !{
                    use #krate::__private::NotAColumnType as _;
                    #krate::__private::Probe::<#ty>::IS
                },
                "this field is marked plain, but its type is a column type of ophie-crypt; take one of the two away"
            );
        }
    });
    let not_declared = model.attrs.like.as_ref().map(|like| {
        let at = field.attrs.plain.as_ref().map_or(ty.span(), Spanned::span);
        quote_spanned! {at=>
            const _: () = ::core::assert!(
                true #(&& #krate::__private::may_be_plain(&<#like as #krate::EncryptedModel>::MODEL, #columns))*,
                "this field is marked plain, but the model that `like` names encrypts its column; write its column type"
            );
        }
    });
    quote!(#no_column_type #not_declared)
}

/// A field's visibility, seen from one module deeper.
fn deeper(vis: &Visibility) -> TokenStream {
    let Visibility::Restricted(restricted) = vis else {
        return match vis {
            Visibility::Inherited => quote!(pub(super)),
            _ => quote!(#vis),
        };
    };
    let path = &restricted.path;
    let Some(first) = path.segments.first() else {
        return quote!(#vis);
    };
    match first.ident.unraw().to_string().as_str() {
        "crate" => quote!(#vis),
        "self" if path.segments.len() == 1 => quote!(pub(super)),
        "self" => {
            let rest = path.segments.iter().skip(1);
            quote!(pub(in super #(::#rest)*))
        }
        _ => quote!(pub(in super::#path)),
    }
}
