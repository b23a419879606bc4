//! The rules that can be seen without types.
//!
//! Invariant: one message for each mistake, on the token that must change. Absent: what only types know
//! (`expand` asks the compiler), syntax (`attr`).

use std::collections::HashMap;

use quote::ToTokens;
use syn::LitStr;

use crate::{
    Mistakes,
    ast::{Field, Model, Role, sqlx_name},
    attr::OrmAttr,
};

pub(crate) fn check(model: &Model<'_>, mistakes: &mut Mistakes) {
    container(model, mistakes);
    for field in &model.fields {
        classified(model, field, mistakes);
        attributes(field, mistakes);
        orm(field, mistakes);
        soak(model, field, mistakes);
        names(model, field, mistakes);
        if model.declares() {
            index(model, field, mistakes);
        } else {
            declared_elsewhere(field, mistakes);
        }
    }
    if model.declares() {
        owner(model, mistakes);
        distinct(model, |field| field.column.clone(), "column", mistakes);
        distinct(model, |field| field.id(), "logical id", mistakes);
    }
}

fn container(model: &Model<'_>, mistakes: &mut Mistakes) {
    let attrs = model.attrs;
    match (&attrs.table, &attrs.like) {
        (None, None) => mistakes.push(
            &model.item.ident,
            "which table?\nhelp: add `#[crypt(table = \"transcripts\")]`, or `#[crypt(like = Model)]` for a second struct on a table",
        ),
        (Some(table), Some(_)) => mistakes.push(table, "`table` and `like` exclude each other: the model that `like` names has the table"),
        _ => {}
    }
    if let (Some(column), Some(_)) = (&attrs.tombstone, &attrs.like) {
        mistakes.push(
            column,
            "`tombstone` belongs above the model that `like` names",
        );
    }
    if let (Some(id), Some(_)) = (&attrs.table_id, &attrs.like) {
        mistakes.push(id, "`table_id` belongs above the model that `like` names");
    }
    if let (Some(default), Some(_)) = (&attrs.sqlx_default, model.columns().next()) {
        mistakes.push(default, "`default` is refused on a model: a column that a query left out has no default here; write it above fields marked plain");
    }
    if model.declares() && !model.item.generics.params.is_empty() {
        mistakes.push(
            &model.item.generics,
            "a model that declares columns has no generics; declare them on a plain struct, and say `#[crypt(like = Model)]` here",
        );
    }
}

fn classified(model: &Model<'_>, field: &Field<'_>, mistakes: &mut Mistakes) {
    let name = &field.name;
    if field.role == Role::Unclassified {
        let marker = model
            .marker(field)
            .to_token_stream()
            .to_string()
            .replace(' ', "");
        mistakes.push(
            field.ty,
            format!(
                "the field `{name}` is not classified; write `Encrypted<.., {marker}>`, or `#[crypt(plain)]` if it is meant to \
                 be stored in the clear (`#[crypt(alias)]` if its type is an alias of a column type)"
            ),
        );
    }
    if let Some(plain) = &field.attrs.plain
        && field.role != Role::Plain
    {
        mistakes.push(plain, format!("the field `{name}` is marked plain, but its type is a column type; take one of the two away"));
    }
    if model.declares() && field.role == Role::Owner && field.nullable {
        mistakes.push(
            field.ty,
            "a row without an owner cannot be sealed for one; write `Owner<..>` without `Option`",
        );
    }
}

/// Attributes that do not fit the field.
fn attributes(field: &Field<'_>, mistakes: &mut Mistakes) {
    let attrs = &field.attrs;
    let encrypted = matches!(
        field.role,
        Role::Encrypted | Role::Sealed | Role::Soak | Role::Alias | Role::Unclassified
    );
    if let Some((bucket, _)) = attrs.pad.as_ref().filter(|_| !encrypted) {
        mistakes.push(bucket, "`pad` is for encrypted fields");
    }
    if let Some(twin) = attrs.twin.as_ref().filter(|_| !encrypted) {
        mistakes.push(twin, "`soak` is for encrypted fields");
    }
    let indexes = matches!(
        field.role,
        Role::BlindIndex | Role::Alias | Role::Unclassified
    );
    if let Some(of) = attrs.index_of.as_ref().filter(|_| !indexes) {
        mistakes.push(of, "`index_of` stands on a field that is no `BlindIndex`");
    } else if let (Some((normalizer, _)), None) = (&attrs.normalize, &attrs.index_of) {
        mistakes.push(
            normalizer,
            "`normalize` needs `index_of = \"..\"` beside it",
        );
    }
    if let (Some(alias), Some(_)) = (&attrs.alias, &attrs.plain) {
        mistakes.push(alias, "`alias` and `plain` exclude each other");
    }
    if field.role == Role::Plain {
        for (name, value) in [("column", &attrs.column), ("id", &attrs.id)] {
            if let Some(value) = value {
                mistakes.push(value, format!("`{name}` would do nothing on a field marked plain; take it away, and rename the column by the attribute of your ORM"));
            }
        }
    }
}

/// What only the model that `like` names can say: here it would do nothing, whatever its author expects.
fn declared_elsewhere(field: &Field<'_>, mistakes: &mut Mistakes) {
    let attrs = &field.attrs;
    let normalize = attrs.normalize.as_ref().map(|(name, _)| name);
    let pad = attrs.pad.as_ref().map(|(bucket, _)| bucket);
    let said: [(&str, &dyn ToTokens); 5] = [
        ("id", &attrs.id),
        ("index_of", &attrs.index_of),
        ("normalize", &normalize),
        ("pad", &pad),
        ("soak", &attrs.twin),
    ];
    for (name, value) in said {
        let value = value.to_token_stream();
        if !value.is_empty() {
            let message = format!("`{name}` belongs in the model that `like` names");
            mistakes.push(value, message);
        }
    }
}

/// A field in a soak is two columns, and the model that declares it says which.
fn soak(model: &Model<'_>, field: &Field<'_>, mistakes: &mut Mistakes) {
    if field.role != Role::Soak || !model.declares() {
        return;
    }
    match &field.attrs.twin {
        None => mistakes.push(
            field.ty,
            "which column holds the plaintext?\nhelp: add `#[crypt(column = \"name_ct\", soak(twin = \"name\"))]`",
        ),
        Some(twin) if twin.value() == field.column => mistakes.push(
            twin,
            "the encrypted column and its plaintext column have one name; say the encrypted one's by `column = \"..\"`",
        ),
        Some(_) => {}
    }
}

/// What the ORM's derive would do instead of calling the hook.
fn orm(field: &Field<'_>, mistakes: &mut Mistakes) {
    if matches!(field.role, Role::Plain | Role::Unclassified) {
        return;
    }
    for (attr, path) in &field.attrs.orm {
        let why = match attr {
            OrmAttr::Embed | OrmAttr::Flatten if field.role == Role::Soak => continue,
            OrmAttr::Default if field.nullable => continue,
            OrmAttr::Default => "a missing column has no default here; make the field an `Option`",
            OrmAttr::Embed | OrmAttr::Flatten => {
                "a column type is one column; take the attribute away"
            }
            OrmAttr::Json => "it would read plaintext JSON; write `Encrypted<Json<T>, ..>`",
            OrmAttr::Skip => {
                "the field would hold what nobody sealed; take the field or the attribute away"
            }
            OrmAttr::DeserializeAs | OrmAttr::SerializeAs | OrmAttr::TryFrom => {
                "it would go past the hook that seals and opens; convert after `expose_secret()`, or implement `Plaintext` for the type"
            }
        };
        let name = path.to_token_stream();
        mistakes.push(path, format!("`{name}` is refused on a column type: {why}"));
    }
}

fn index(model: &Model<'_>, field: &Field<'_>, mistakes: &mut Mistakes) {
    let Some(of) = &field.attrs.index_of else {
        if field.role == Role::BlindIndex {
            mistakes.push(field.ty, "this blind index does not say which field it indexes\nhelp: add `#[crypt(index_of = \"..\")]`");
        }
        return;
    };
    let name = of.value();
    match model.field(&name).map(|found| (found, found.role)) {
        None => mistakes.push(of, format!("no field `{name}` in this model")),
        Some((found, _)) if found.name == field.name => {
            mistakes.push(of, "a blind index cannot index itself")
        }
        Some((_, Role::BlindIndex | Role::Owner | Role::Plain)) => {
            mistakes.push(
                of,
                format!("`{name}` is not encrypted; only encrypted fields need a blind index"),
            );
        }
        Some(_) => {}
    }
}

/// Attributes that name the column differently.
fn names(model: &Model<'_>, field: &Field<'_>, mistakes: &mut Mistakes) {
    let sqlx = sqlx_name(&field.attrs, model.attrs, &field.name);
    let diesel = field.attrs.diesel_name.as_ref();
    let column = field.attrs.column.as_ref();
    let of_diesel = diesel.map(LitStr::value);
    let others = [("SQLx", &sqlx), ("Diesel", &of_diesel)];
    for (orm, name) in others {
        if let (Some(column), Some(name)) = (column, name)
            && column.value() != *name
        {
            mistakes.push(column, format!("{orm} reads this field from the column `{name}`; say the same name in both attributes"));
        }
    }
    if let (None, Some(sqlx), Some(at)) = (column, &sqlx, diesel)
        && at.value() != *sqlx
    {
        mistakes.push(at, format!("SQLx reads this field from the column `{sqlx}`; say the same name in both attributes"));
    }
}

fn owner(model: &Model<'_>, mistakes: &mut Mistakes) {
    let mut owners = model
        .fields
        .iter()
        .filter(|field| field.role == Role::Owner);
    if owners.next().is_none() && model.fields.iter().all(|field| field.role != Role::Alias) {
        mistakes.push(
            &model.item.ident,
            "whose row is it? a model has exactly one field of type `Owner<..>`",
        );
    }
    for second in owners {
        mistakes.push(
            second.ty,
            "a model has exactly one field of type `Owner<..>`: one row has one owner",
        );
    }
}

fn distinct(
    model: &Model<'_>,
    of: impl Fn(&Field<'_>) -> String,
    what: &str,
    mistakes: &mut Mistakes,
) {
    let mut seen = HashMap::new();
    for field in model.columns() {
        let name = of(field);
        if let Some(first) = seen.insert(name.clone(), &field.name) {
            let at = match (&field.attrs.column, &field.attrs.id) {
                (Some(column), _) if what == "column" => column.to_token_stream(),
                (_, Some(id)) if what != "column" => id.to_token_stream(),
                _ => field.ident.to_token_stream(),
            };
            mistakes.push(
                at,
                format!("the {what} `{name}` is that of the field `{first}` already"),
            );
        }
    }
}

/// What Diesel's attributes lead to. Diesel is no dependency, so no program of trybuild can show it.
#[cfg(test)]
mod tests {
    use syn::{Data, DataStruct, DeriveInput, Fields, parse_quote};

    use super::*;
    use crate::attr::StructAttrs;

    fn read<T>(item: &DeriveInput, see: impl FnOnce(&Model<'_>, &mut Mistakes) -> T) -> T {
        let Data::Struct(DataStruct {
            fields: Fields::Named(fields),
            ..
        }) = &item.data
        else {
            panic!("a struct with named fields")
        };
        let mut mistakes = Mistakes::default();
        let attrs = StructAttrs::read(&item.attrs, &mut mistakes);
        let model = Model::read(item, &attrs, fields, &mut mistakes);
        see(&model, &mut mistakes)
    }

    fn mistakes(item: &DeriveInput) -> Vec<String> {
        read(item, |model, mistakes| {
            check(model, mistakes);
            mistakes.0.iter().map(ToString::to_string).collect()
        })
    }

    #[test]
    fn names_that_disagree_are_refused() {
        let crypt_and_diesel = mistakes(&parse_quote! {
            #[crypt(table = "notes")]
            struct Note {
                user_id: Owner<i64>,
                #[crypt(column = "text_ct")]
                #[diesel(column_name = body)]
                text: Encrypted<String, note::text>,
            }
        });
        let both = "reads this field from the column `body`; say the same name in both attributes";
        assert_eq!(crypt_and_diesel, [format!("Diesel {both}")]);
        let sqlx_and_diesel = mistakes(&parse_quote! {
            #[crypt(table = "notes")]
            struct Note {
                user_id: Owner<i64>,
                #[sqlx(rename = "body")]
                #[diesel(column_name = "text_ct")]
                text: Encrypted<String, note::text>,
            }
        });
        assert_eq!(sqlx_and_diesel, [format!("SQLx {both}")]);
        let agreed = mistakes(&parse_quote! {
            #[crypt(table = "notes")]
            struct Note {
                user_id: Owner<i64>,
                #[crypt(column = "body")]
                #[sqlx(rename = "body")]
                #[diesel(column_name = "body")]
                text: Encrypted<String, note::text>,
            }
        });
        assert_eq!(agreed, [""; 0]);
    }

    #[test]
    fn what_follows_a_column_name_is_read_too() {
        for name in [
            quote::quote!(body),
            quote::quote!("body"),
            quote::quote!(r#type),
            quote::quote!(5),
        ] {
            let said = mistakes(&parse_quote! {
                #[crypt(table = "notes")]
                struct Note {
                    user_id: Owner<i64>,
                    #[diesel(column_name = #name, deserialize_as = Vec<u8>)]
                    text: Encrypted<String, note::text>,
                }
            });
            let [refused] = said.as_slice() else {
                panic!("{name}: {said:?}")
            };
            assert!(
                refused.starts_with("`deserialize_as` is refused"),
                "{refused}"
            );
        }
    }

    #[test]
    fn a_field_in_a_soak_says_both_columns() {
        let said = |attrs: &[syn::Attribute]| {
            mistakes(&parse_quote! {
                #[crypt(table = "people")]
                struct Person {
                    user_id: Owner<i64>,
                    #(#attrs)*
                    name: Soak<String, person::name>,
                }
            })
        };
        let none = said(&[]);
        assert!(
            matches!(none.as_slice(), [one] if one.starts_with("which column holds the plaintext?"))
        );
        let one = said(&[parse_quote!(#[crypt(soak(twin = "name"))])]);
        assert!(matches!(one.as_slice(), [one] if one.contains("have one name")));
        let state = said(&[
            parse_quote!(#[crypt(column = "name_ct", soak(twin = "name", floor = "dropped"))]),
        ]);
        assert!(
            matches!(state.as_slice(), [one] if one.contains("expected one of `plain`, `expand`"))
        );
        let typo = said(&[parse_quote!(#[crypt(column = "name_ct", soak(twn = "name"))])]);
        assert!(
            matches!(typo.as_slice(), [one] if one.contains("expected one of `twin`, `floor`"))
        );
        let both = said(&[
            parse_quote!(#[sqlx(flatten)]),
            parse_quote!(#[diesel(embed)]),
            parse_quote!(#[crypt(column = "name_ct", soak(twin = "name", floor = "dual-write"))]),
        ]);
        assert_eq!(both, [""; 0]);
    }

    #[test]
    fn a_plain_field_is_stored_where_each_orm_says() {
        let stored =
            |item: &DeriveInput| read(item, |model, _| model.fields[0].stored_as(model.attrs));
        let renamed: DeriveInput = parse_quote! {
            #[crypt(like = Note)]
            struct View { #[crypt(plain)] #[sqlx(rename = "a")] #[diesel(column_name = "b")] c: String }
        };
        assert_eq!(stored(&renamed), ["a", "b"]);
        let of_sqlx: DeriveInput = parse_quote! {
            #[crypt(like = Note)]
            struct View { #[crypt(plain)] #[sqlx(rename = "a")] c: String }
        };
        assert_eq!(stored(&of_sqlx), ["a"]);
        let of_both: DeriveInput = parse_quote! {
            #[crypt(like = Note)]
            #[diesel(table_name = notes)]
            struct View { #[crypt(plain)] #[sqlx(rename = "a")] c: String }
        };
        assert_eq!(stored(&of_both), ["a", "c"]);
    }
}
