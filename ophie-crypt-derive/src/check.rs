//! The rules that can be seen without types.
//!
//! Invariant: one message for each mistake, on the token that must change. Absent: what only types know
//! (`expand` asks the compiler), syntax (`attr`).

use std::collections::HashMap;

use quote::ToTokens;

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
        if model.declares() {
            index(model, field, mistakes);
            names(model, field, mistakes);
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
    if let (Some(id), Some(_)) = (&attrs.table_id, &attrs.like) {
        mistakes.push(id, "`table_id` belongs above the model that `like` names");
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
        Role::Encrypted | Role::Sealed | Role::Alias | Role::Unclassified
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

/// What the ORM's derive would do instead of calling the hook.
fn orm(field: &Field<'_>, mistakes: &mut Mistakes) {
    if matches!(field.role, Role::Plain | Role::Unclassified) {
        return;
    }
    for (attr, path) in &field.attrs.orm {
        let why = match attr {
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

/// Two attributes that name the column differently.
fn names(model: &Model<'_>, field: &Field<'_>, mistakes: &mut Mistakes) {
    let sqlx = sqlx_name(&field.attrs, model.attrs, &field.name);
    if let (Some(column), Some(sqlx)) = (&field.attrs.column, sqlx)
        && column.value() != sqlx
    {
        mistakes.push(column, format!("SQLx reads this field from the column `{sqlx}`; say the same name in both attributes"));
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
