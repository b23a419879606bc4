//! Reads `#[crypt(..)]`, and of `#[sqlx(..)]` and `#[diesel(..)]` what concerns a column.
//!
//! Invariant: nothing unknown inside `#[crypt(..)]` passes; a typo must never mean plaintext.
//! Absent: which attributes go together (`check`).

use proc_macro2::TokenTree;
use syn::{
    Attribute, Error, Ident, LitInt, LitStr, Path, Result, Token,
    ext::IdentExt,
    meta::ParseNestedMeta,
    parse::{ParseBuffer, ParseStream},
    token::Paren,
};

use crate::{Mistakes, ast::RenameAll};

/// What may stand above the struct, each with its correct format.
const ON_STRUCT: &[(&str, &str)] = &[
    ("table", "table = \"people_links\""),
    ("like", "like = PersonLink"),
    ("module", "module = \"columns\""),
    ("crate", "crate = \"crate::encryption\""),
    ("table_id", "table_id = \"people_links\""),
    ("tombstone", "tombstone = \"deleted_at\""),
];

/// What may stand above a field, each with its correct format.
const ON_FIELD: &[(&str, &str)] = &[
    ("plain", "plain"),
    ("alias", "alias"),
    ("index_of", "index_of = \"name\""),
    ("normalize", "normalize = \"name\""),
    ("column", "column = \"name_ct\""),
    ("id", "id = \"name\""),
    ("pad", "pad = 64"),
    ("soak", "soak(twin = \"name\")"),
];

/// What may stand in `soak(..)`.
const IN_SOAK: &[(&str, &str)] = &[
    ("twin", "soak(twin = \"name\")"),
    ("floor", "soak(twin = \"name\", floor = \"dual-write\")"),
];

/// Names of states that a release may hold as the lowest, and the core's names for them.
const FLOORS: &[(&str, &str)] = &[
    ("plain", "Plain"),
    ("expand", "Expand"),
    ("dual-write", "DualWrite"),
    ("backfill", "Backfill"),
    ("verify", "Verify"),
    ("soak", "Soak"),
    ("sealed", "Sealed"),
    ("retired", "Retired"),
];

/// Attributes of the struct.
#[derive(Default)]
pub(crate) struct StructAttrs {
    pub(crate) table: Option<LitStr>,
    pub(crate) like: Option<Path>,
    pub(crate) module: Option<LitStr>,
    pub(crate) krate: Option<Path>,
    pub(crate) table_id: Option<LitStr>,
    pub(crate) tombstone: Option<LitStr>,
    pub(crate) sqlx_default: Option<Path>,
    pub(crate) sqlx_rename_all: Option<RenameAll>,
    /// Whether a derive of Diesel's reads the struct.
    pub(crate) diesel: bool,
    /// `table_name`, where it says one.
    pub(crate) diesel_table: Option<Path>,
}

/// Attributes of a field. A [`Path`] is the attribute's name, where errors about it are shown.
#[derive(Default)]
pub(crate) struct FieldAttrs {
    pub(crate) plain: Option<Path>,
    pub(crate) alias: Option<Path>,
    pub(crate) index_of: Option<LitStr>,
    pub(crate) normalize: Option<(LitStr, Normalizer)>,
    pub(crate) column: Option<LitStr>,
    pub(crate) id: Option<LitStr>,
    pub(crate) pad: Option<(LitInt, u16)>,
    pub(crate) twin: Option<LitStr>,
    /// The lowest state of the soak, by the core's name.
    pub(crate) floor: Option<(LitStr, &'static str)>,
    pub(crate) sqlx_rename: Option<LitStr>,
    /// `column_name`: a path's last name, or text.
    pub(crate) diesel_name: Option<LitStr>,
    /// Attributes of the ORMs' derives that are not for every column type.
    pub(crate) orm: Vec<(OrmAttr, Path)>,
}

/// The normalisers, by the core's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Normalizer {
    Email,
    Exact,
    Name,
}

/// What an ORM's derive would do to a field instead of calling its hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrmAttr {
    /// `sqlx(default)`: take a default where the column is missing.
    Default,
    /// `diesel(deserialize_as)`: read another type.
    DeserializeAs,
    /// `diesel(embed)`: several columns.
    Embed,
    /// `sqlx(flatten)`: several columns.
    Flatten,
    /// `sqlx(json)`: read JSON.
    Json,
    /// `diesel(serialize_as)`: write another type.
    SerializeAs,
    /// `sqlx(skip)`: read nothing.
    Skip,
    /// `sqlx(try_from)`: read another type.
    TryFrom,
}

impl OrmAttr {
    fn of_sqlx(path: &Path) -> Option<Self> {
        let known = [
            ("default", Self::Default),
            ("flatten", Self::Flatten),
            ("json", Self::Json),
            ("skip", Self::Skip),
            ("try_from", Self::TryFrom),
        ];
        find(path, known)
    }

    fn of_diesel(path: &Path) -> Option<Self> {
        let known = [
            ("deserialize_as", Self::DeserializeAs),
            ("embed", Self::Embed),
            ("serialize_as", Self::SerializeAs),
        ];
        find(path, known)
    }
}

fn find<T, const N: usize>(path: &Path, known: [(&str, T); N]) -> Option<T> {
    known
        .into_iter()
        .find_map(|(name, value)| path.is_ident(name).then_some(value))
}

impl StructAttrs {
    pub(crate) fn read(attrs: &[Attribute], mistakes: &mut Mistakes) -> Self {
        let mut found = Self::default();
        for attr in attrs {
            if is_crypt(attr) {
                each(attr, ON_STRUCT, mistakes, |meta, mistakes| {
                    found.crypt(meta, mistakes)
                });
            } else if attr.path().is_ident("sqlx") {
                foreign(attr, |path, input| {
                    if path.is_ident("rename_all") {
                        found.sqlx_rename_all = RenameAll::of(&value::<LitStr>(input)?.value());
                    } else if path.is_ident("default") {
                        found.sqlx_default = Some(path.clone());
                    }
                    Ok(())
                });
            } else if attr.path().is_ident("diesel") {
                found.diesel = true;
                foreign(attr, |path, input| {
                    if path.is_ident("table_name") {
                        input.parse::<Token![=]>()?;
                        found.diesel_table = Some(input.call(Path::parse_mod_style)?);
                    }
                    Ok(())
                });
            }
        }
        found
    }

    fn crypt(&mut self, meta: &ParseNestedMeta<'_>, mistakes: &mut Mistakes) -> Result<()> {
        let path = &meta.path;
        if path.is_ident("table") {
            set(&mut self.table, text(meta)?, path, mistakes);
        } else if path.is_ident("like") {
            set(
                &mut self.like,
                meta.value()?.call(Path::parse_mod_style)?,
                path,
                mistakes,
            );
        } else if path.is_ident("module") {
            set(&mut self.module, text(meta)?, path, mistakes);
        } else if path.is_ident("crate") {
            let krate = text(meta)?.parse_with(Path::parse_mod_style)?;
            set(&mut self.krate, krate, path, mistakes);
        } else if path.is_ident("table_id") {
            set(&mut self.table_id, text(meta)?, path, mistakes);
        } else if path.is_ident("tombstone") {
            set(&mut self.tombstone, text(meta)?, path, mistakes);
        } else {
            return Err(unknown(path, ON_STRUCT, ON_FIELD, "a field"));
        }
        Ok(())
    }
}

impl FieldAttrs {
    pub(crate) fn read(attrs: &[Attribute], mistakes: &mut Mistakes) -> Self {
        let mut found = Self::default();
        for attr in attrs {
            if is_crypt(attr) {
                each(attr, ON_FIELD, mistakes, |meta, mistakes| {
                    found.crypt(meta, mistakes)
                });
            } else if attr.path().is_ident("sqlx") {
                foreign(attr, |path, input| {
                    if path.is_ident("rename") {
                        found.sqlx_rename = Some(value(input)?);
                    }
                    found
                        .orm
                        .extend(OrmAttr::of_sqlx(path).map(|known| (known, path.clone())));
                    Ok(())
                });
            } else if attr.path().is_ident("diesel") {
                foreign(attr, |path, input| {
                    if path.is_ident("column_name") {
                        found.diesel_name = Some(diesel_name(input)?);
                    }
                    found
                        .orm
                        .extend(OrmAttr::of_diesel(path).map(|known| (known, path.clone())));
                    Ok(())
                });
            }
        }
        found
    }

    fn crypt(&mut self, meta: &ParseNestedMeta<'_>, mistakes: &mut Mistakes) -> Result<()> {
        let path = &meta.path;
        if path.is_ident("plain") {
            set(&mut self.plain, path.clone(), path, mistakes);
        } else if path.is_ident("alias") {
            set(&mut self.alias, path.clone(), path, mistakes);
        } else if path.is_ident("index_of") {
            set(&mut self.index_of, text(meta)?, path, mistakes);
        } else if path.is_ident("normalize") {
            let name = text(meta)?;
            let normalizer = match name.value().as_str() {
                "email" => Normalizer::Email,
                "exact" => Normalizer::Exact,
                "name" => Normalizer::Name,
                _ => {
                    let message = "unknown normaliser, expected one of `exact`, `name`, `email`";
                    mistakes.push(&name, message);
                    Normalizer::Exact
                }
            };
            set(&mut self.normalize, (name, normalizer), path, mistakes);
        } else if path.is_ident("column") {
            set(&mut self.column, text(meta)?, path, mistakes);
        } else if path.is_ident("id") {
            set(&mut self.id, text(meta)?, path, mistakes);
        } else if path.is_ident("pad") {
            let bucket: LitInt = meta.value()?.parse()?;
            match bucket.base10_parse::<u16>() {
                Ok(bytes) if bytes > 0 => set(&mut self.pad, (bucket, bytes), path, mistakes),
                _ => mistakes.push(&bucket, "`pad` takes a number of bytes from 1 to 65535"),
            }
        } else if path.is_ident("soak") {
            let (mut twin, mut floor) = (None, None);
            meta.parse_nested_meta(|inner| {
                if inner.path.is_ident("twin") {
                    set(&mut twin, text(&inner)?, &inner.path, mistakes);
                } else if inner.path.is_ident("floor") {
                    set(&mut floor, lowest(&inner, mistakes)?, &inner.path, mistakes);
                } else {
                    let error = unknown(&inner.path, IN_SOAK, &[], "");
                    let format = "the correct format looks like `#[crypt(soak(twin = \"name\"))]`";
                    mistakes.add(with_help(&error, format));
                    // Read as what must be there, so that one mistake is one message.
                    twin.get_or_insert(text(&inner)?);
                }
                Ok(())
            })?;
            self.floor = floor;
            let twin = twin.ok_or_else(|| {
                Error::new_spanned(path, "`soak` does not say which column holds the plaintext")
            })?;
            set(&mut self.twin, twin, path, mistakes);
        } else {
            return Err(unknown(path, ON_FIELD, ON_STRUCT, "the struct"));
        }
        Ok(())
    }
}

/// The state in `floor = ".."`.
fn lowest(meta: &ParseNestedMeta<'_>, mistakes: &mut Mistakes) -> Result<(LitStr, &'static str)> {
    let name = text(meta)?;
    let known = FLOORS.iter().find(|(floor, _)| *floor == name.value());
    let Some((_, variant)) = known else {
        let message = format!("unknown state, expected one of {}", list(FLOORS));
        mistakes.push(&name, message);
        return Ok((name, "Retired"));
    };
    Ok((name, variant))
}

/// Hands over each attribute in a list, and goes on after a mistake.
fn each(
    attr: &Attribute,
    formats: &[(&str, &str)],
    mistakes: &mut Mistakes,
    mut read: impl FnMut(&ParseNestedMeta<'_>, &mut Mistakes) -> Result<()>,
) {
    let outcome = attr.parse_nested_meta(|meta| {
        let outcome = read(&meta, mistakes).and_then(|()| {
            if meta.input.is_empty() || meta.input.peek(Token![,]) {
                Ok(())
            } else {
                Err(meta.input.error("expected `,`"))
            }
        });
        if let Err(error) = outcome {
            let format = formats.iter().find(|(name, _)| meta.path.is_ident(name));
            mistakes.add(match format {
                Some((_, format)) => with_help(
                    &error,
                    &format!("the correct format looks like `#[crypt({format})]`"),
                ),
                None => error,
            });
            rest(meta.input)?;
        }
        Ok(())
    });
    if let Err(error) = outcome {
        mistakes.add(with_help(
            &error,
            &format!("`#[crypt(..)]` takes {}", list(formats)),
        ));
    }
}

/// Whether it is ours. A raw name is the same name to the compiler, which hands it over without a word.
fn is_crypt(attr: &Attribute) -> bool {
    attr.path()
        .get_ident()
        .is_some_and(|ident| ident.unraw() == "crypt")
}

/// Reads an attribute of another derive, and goes on after a mistake: that derive reports it, or knows
/// a form that this one does not.
fn foreign(attr: &Attribute, mut read: impl FnMut(&Path, ParseStream<'_>) -> Result<()>) {
    let _reported_there = attr.parse_nested_meta(|meta| {
        let _reported_there = read(&meta.path, meta.input);
        rest(meta.input)
    });
}

/// The column in `column_name = name` or `column_name = "name"`.
fn diesel_name(input: ParseStream<'_>) -> Result<LitStr> {
    input.parse::<Token![=]>()?;
    if input.peek(LitStr) {
        return input.parse();
    }
    let name = input.call(Ident::parse_any)?;
    Ok(LitStr::new(&name.unraw().to_string(), name.span()))
}

/// Steps over what is left of one attribute in a list.
fn rest(input: &ParseBuffer<'_>) -> Result<()> {
    let mut angles = 0_usize;
    while !(input.is_empty() || angles == 0 && input.peek(Token![,])) {
        match input.parse()? {
            TokenTree::Punct(punct) if punct.as_char() == '<' => angles = angles.saturating_add(1),
            TokenTree::Punct(punct) if punct.as_char() == '>' => angles = angles.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

fn set<T>(slot: &mut Option<T>, value: T, path: &Path, mistakes: &mut Mistakes) {
    if slot.is_some() {
        mistakes.push(path, format!("duplicate attribute `{}`", name(path)));
    } else {
        *slot = Some(value);
    }
}

/// The text in `name = "text"`.
fn text(meta: &ParseNestedMeta<'_>) -> Result<LitStr> {
    if meta.input.is_empty() || meta.input.peek(Token![,]) || meta.input.peek(Paren) {
        return Err(Error::new_spanned(
            &meta.path,
            format!("`{}` needs a value", name(&meta.path)),
        ));
    }
    let text: LitStr = meta.value()?.parse()?;
    if text.value().trim().is_empty() {
        return Err(Error::new_spanned(
            text,
            format!("`{}` is empty", name(&meta.path)),
        ));
    }
    Ok(text)
}

fn value<T: syn::parse::Parse>(input: ParseStream<'_>) -> Result<T> {
    input.parse::<Token![=]>()?;
    input.parse()
}

fn name(path: &Path) -> String {
    path.get_ident()
        .map_or_else(String::new, |ident| ident.unraw().to_string())
}

fn unknown(path: &Path, here: &[(&str, &str)], there: &[(&str, &str)], place: &str) -> Error {
    if there.iter().any(|(name, _)| path.is_ident(name)) {
        return Error::new_spanned(path, format!("`{}` belongs above {place}", name(path)));
    }
    Error::new_spanned(
        path,
        format!("unknown attribute, expected one of {}", list(here)),
    )
}

fn list(formats: &[(&str, &str)]) -> String {
    let names: Vec<_> = formats
        .iter()
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    names.join(", ")
}

fn with_help(error: &Error, help: &str) -> Error {
    Error::new(error.span(), format!("{error}\nhelp: {help}"))
}
