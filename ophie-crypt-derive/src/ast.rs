//! The struct as the derive sees it: its table, its module, and what each field seems to be.
//!
//! Invariant: what a field is, is read off its type's name here and proved by its type in `expand`.
//! Absent: rules (`check`), syntax of attributes (`attr`).

use heck::{ToKebabCase, ToLowerCamelCase, ToShoutySnakeCase, ToSnakeCase, ToUpperCamelCase};
use proc_macro2::Span;
use syn::{
    DeriveInput, FieldsNamed, GenericArgument, Ident, LitStr, Path, PathArguments, PathSegment,
    Type, Visibility, ext::IdentExt, parse_quote, punctuated::Punctuated,
};

use crate::{
    Mistakes,
    attr::{FieldAttrs, StructAttrs},
};

/// A struct under `#[derive(EncryptedModel)]`.
pub(crate) struct Model<'a> {
    pub(crate) item: &'a DeriveInput,
    pub(crate) attrs: &'a StructAttrs,
    /// The core's path.
    pub(crate) krate: Path,
    /// The module of the markers, from beside the struct.
    pub(crate) module: Path,
    pub(crate) fields: Vec<Field<'a>>,
}

/// A named field.
pub(crate) struct Field<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) vis: &'a Visibility,
    pub(crate) ty: &'a Type,
    pub(crate) attrs: FieldAttrs,
    /// Its name without `r#`.
    pub(crate) name: String,
    /// The column's name in SQL.
    pub(crate) column: String,
    pub(crate) role: Role,
    /// Whether the type is an `Option`, by its name.
    pub(crate) nullable: bool,
}

/// What a field seems to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A column type under another name, as `#[crypt(alias)]` says.
    Alias,
    BlindIndex,
    Encrypted,
    Owner,
    Plain,
    Sealed,
    Soak,
    /// No column type, and not marked plain.
    Unclassified,
}

impl<'a> Model<'a> {
    pub(crate) fn read(
        item: &'a DeriveInput,
        attrs: &'a StructAttrs,
        fields: &'a FieldsNamed,
        mistakes: &mut Mistakes,
    ) -> Self {
        Self {
            item,
            attrs,
            krate: krate(attrs),
            module: module(item, attrs, mistakes),
            fields: fields
                .named
                .iter()
                .filter_map(|field| Field::read(field, attrs, mistakes))
                .collect(),
        }
    }

    /// Whether it declares columns, rather than being another view of a model that does.
    pub(crate) const fn declares(&self) -> bool {
        self.attrs.like.is_none()
    }

    /// The table's name in SQL.
    pub(crate) fn table(&self) -> String {
        self.attrs
            .table
            .as_ref()
            .map_or_else(String::new, LitStr::value)
    }

    /// The table's logical id.
    pub(crate) fn table_id(&self) -> String {
        self.attrs
            .table_id
            .as_ref()
            .map_or_else(|| self.table(), LitStr::value)
    }

    /// The fields that are columns of ours, or would be but for a mistake.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &Field<'a>> {
        self.fields.iter().filter(|field| field.role != Role::Plain)
    }

    pub(crate) fn field(&self, name: &str) -> Option<&Field<'a>> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// `module::field`, from beside the struct.
    pub(crate) fn marker(&self, field: &Field<'_>) -> Path {
        let mut path = self.module.clone();
        path.segments.push(ours(field.ident).into());
        path
    }
}

impl<'a> Field<'a> {
    fn read(field: &'a syn::Field, model: &StructAttrs, mistakes: &mut Mistakes) -> Option<Self> {
        let ident = field.ident.as_ref()?;
        let attrs = FieldAttrs::read(&field.attrs, mistakes);
        let name = ident.unraw().to_string();
        let role = match (&attrs.plain, role(&field.ty)) {
            (_, Some(role)) => role,
            (Some(_), None) => Role::Plain,
            (None, None) if attrs.alias.is_some() => Role::Alias,
            (None, None) => Role::Unclassified,
        };
        Some(Self {
            ident,
            vis: &field.vis,
            ty: &field.ty,
            column: attrs
                .column
                .as_ref()
                .map(LitStr::value)
                .or_else(|| sqlx_name(&attrs, model, &name))
                .or_else(|| attrs.diesel_name.as_ref().map(LitStr::value))
                .unwrap_or_else(|| name.clone()),
            attrs,
            name,
            role,
            nullable: is_option(&field.ty),
        })
    }

    /// The columns in which the ORMs may store it.
    pub(crate) fn stored_as(&self, model: &StructAttrs) -> Vec<String> {
        let sqlx = sqlx_name(&self.attrs, model, &self.name);
        let diesel = self.attrs.diesel_name.as_ref().map(LitStr::value);
        // Diesel does not read what SQLx is told.
        let diesel = diesel.or_else(|| (sqlx.is_none() || model.diesel).then(|| self.name.clone()));
        sqlx.into_iter().chain(diesel).collect()
    }

    /// The column's logical id.
    pub(crate) fn id(&self) -> String {
        self.attrs
            .id
            .as_ref()
            .map_or_else(|| self.name.clone(), LitStr::value)
    }
}

/// The name by which SQLx's derive reads a field, if an attribute says it.
pub(crate) fn sqlx_name(attrs: &FieldAttrs, model: &StructAttrs, name: &str) -> Option<String> {
    let renamed = attrs.sqlx_rename.as_ref().map(LitStr::value);
    renamed.or_else(|| model.sqlx_rename_all.map(|case| case.apply(name)))
}

/// The cases of `#[sqlx(rename_all)]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RenameAll {
    Camel,
    Kebab,
    Lower,
    Pascal,
    ScreamingSnake,
    Snake,
    Upper,
}

impl RenameAll {
    pub(crate) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "camelCase" => Self::Camel,
            "kebab-case" => Self::Kebab,
            "lowercase" => Self::Lower,
            "PascalCase" => Self::Pascal,
            "SCREAMING_SNAKE_CASE" => Self::ScreamingSnake,
            "snake_case" => Self::Snake,
            "UPPERCASE" => Self::Upper,
            _ => return None,
        })
    }

    /// As SQLx does it.
    pub(crate) fn apply(self, name: &str) -> String {
        match self {
            Self::Camel => name.to_lower_camel_case(),
            Self::Kebab => name.to_kebab_case(),
            Self::Lower => name.to_lowercase(),
            Self::Pascal => name.to_upper_camel_case(),
            Self::ScreamingSnake => name.to_shouty_snake_case(),
            Self::Snake => name.to_snake_case(),
            Self::Upper => name.to_uppercase(),
        }
    }
}

/// What a field is, by the last name in its type, through `Option` and references.
pub(crate) fn role(ty: &Type) -> Option<Role> {
    let last = last(ty)?;
    Some(match last.ident.unraw().to_string().as_str() {
        "BlindIndex" => Role::BlindIndex,
        "Encrypted" => Role::Encrypted,
        "Owner" => Role::Owner,
        "Sealed" => Role::Sealed,
        "Soak" => Role::Soak,
        _ => return None,
    })
}

/// The last segment of a type's path, through `Option` and references.
pub(crate) fn last(ty: &Type) -> Option<&PathSegment> {
    match ty {
        Type::Group(group) => last(&group.elem),
        Type::Paren(paren) => last(&paren.elem),
        Type::Reference(reference) => last(&reference.elem),
        Type::Path(path) => {
            let segment = path.path.segments.last()?;
            if segment.ident != "Option" {
                return Some(segment);
            }
            types(segment).find_map(last)
        }
        _ => None,
    }
}

/// The type arguments of a segment.
pub(crate) fn types(segment: &PathSegment) -> impl Iterator<Item = &Type> {
    let arguments = match &segment.arguments {
        PathArguments::AngleBracketed(arguments) => Some(&arguments.args),
        _ => None,
    };
    arguments
        .into_iter()
        .flatten()
        .filter_map(|argument| match argument {
            GenericArgument::Type(ty) => Some(ty),
            _ => None,
        })
}

fn is_option(ty: &Type) -> bool {
    match ty {
        Type::Group(group) => is_option(&group.elem),
        Type::Paren(paren) => is_option(&paren.elem),
        Type::Path(path) => path
            .path
            .segments
            .last()
            .is_some_and(|segment| segment.ident == "Option"),
        _ => false,
    }
}

/// The core's path.
pub(crate) fn krate(attrs: &StructAttrs) -> Path {
    attrs
        .krate
        .clone()
        .unwrap_or_else(|| parse_quote!(::ophie_crypt))
}

/// The path of the markers' module, from beside the struct.
pub(crate) fn module(item: &DeriveInput, attrs: &StructAttrs, mistakes: &mut Mistakes) -> Path {
    let mut path = match &attrs.like {
        Some(like) => like.clone(),
        None => Path {
            leading_colon: None,
            segments: Punctuated::from_iter([PathSegment::from(item.ident.clone())]),
        },
    };
    let Some(last) = path.segments.last_mut() else {
        return path;
    };
    last.arguments = PathArguments::None;
    last.ident = match &attrs.module {
        Some(module) => identifier(&module.value(), module.span()).unwrap_or_else(|| {
            mistakes.push(
                module,
                format!("`{}` is no name for a module", module.value()),
            );
            fallback_name(module.span())
        }),
        None => {
            let snake = last.ident.unraw().to_string().to_snake_case();
            identifier(&snake, last.ident.span()).unwrap_or_else(|| {
                let message = format!(
                    "no module can be named `{snake}`; name it with `#[crypt(module = \"..\")]`"
                );
                mistakes.push(&last.ident, message);
                fallback_name(last.ident.span())
            })
        }
    };
    path
}

/// An identifier of this name, raw where it must be.
fn identifier(name: &str, span: Span) -> Option<Ident> {
    // Later editions have more keywords than `syn` counts.
    let ident = match name {
        "gen" => None,
        _ => syn::parse_str::<Ident>(name).ok(),
    };
    let mut ident = ident.or_else(|| syn::parse_str(&format!("r#{name}")).ok())?;
    ident.set_span(span.resolved_at(Span::call_site()));
    Some(ident)
}

fn fallback_name(span: Span) -> Ident {
    Ident::new("columns", span.resolved_at(Span::call_site()))
}

/// At the user's place, so that errors are shown there, but with the macro's hygiene, so that the
/// user's lints are not about code that the user did not write.
pub(crate) fn ours(ident: &Ident) -> Ident {
    let mut ident = ident.clone();
    ident.set_span(ident.span().resolved_at(Span::call_site()));
    ident
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_snake_case_and_raw_where_they_must_be() {
        let module = |item: DeriveInput| {
            let mut mistakes = Mistakes::default();
            let path = module(&item, &StructAttrs::default(), &mut mistakes);
            (path.segments[0].ident.to_string(), mistakes.is_empty())
        };
        assert_eq!(
            module(parse_quote!(
                struct PersonLink {}
            )),
            ("person_link".into(), true)
        );
        assert_eq!(
            module(parse_quote!(
                struct URLInfo {}
            )),
            ("url_info".into(), true)
        );
        assert_eq!(
            module(parse_quote!(
                struct Type {}
            )),
            ("r#type".into(), true)
        );
        assert_eq!(
            module(parse_quote!(
                struct Gen {}
            )),
            ("r#gen".into(), true)
        );
        assert!(
            !module(parse_quote!(
                struct Super {}
            ))
            .1
        );
    }

    #[test]
    fn roles_are_read_through_options_references_and_paths() {
        assert_eq!(
            role(&parse_quote!(Option<&'a orm::Encrypted<String, a::b>>)),
            Some(Role::Encrypted)
        );
        assert_eq!(
            role(&parse_quote!(std::option::Option<BlindIndex<T, C>>)),
            Some(Role::BlindIndex)
        );
        assert_eq!(role(&parse_quote!(Vec<Encrypted<String>>)), None);
        assert_eq!(role(&parse_quote!(String)), None);
    }

    #[test]
    fn renames_are_those_of_sqlx() {
        let cases = [
            ("camelCase", "sessionId2"),
            ("kebab-case", "session-id2"),
            ("lowercase", "session_id2"),
            ("PascalCase", "SessionId2"),
            ("SCREAMING_SNAKE_CASE", "SESSION_ID2"),
            ("snake_case", "session_id2"),
            ("UPPERCASE", "SESSION_ID2"),
        ];
        for (case, renamed) in cases {
            assert_eq!(RenameAll::of(case).unwrap().apply("session_id2"), renamed);
        }
    }
}
