//! Rust sources as items, and items without what users cannot see.
//!
//! Absent: which items are public (`api`).

use std::{collections::BTreeMap, path::Path};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{
    Attribute, Block, Expr, Field, Fields, File, ImplItem, Item, Lit, Meta, TraitItem, Type,
    Visibility, parse::Parser, parse_quote,
};

use crate::checkers::read;

/// Attributes that users can tell.
const KEPT: [&str; 6] = [
    "cfg",
    "deprecated",
    "derive",
    "macro_export",
    "non_exhaustive",
    "proc_macro_derive",
];
/// Constants whose value is longer are shown without it.
const LONGEST_VALUE: usize = 60;

#[derive(Default)]
pub(super) struct Module {
    pub(super) items: Vec<Item>,
    pub(super) children: BTreeMap<String, Self>,
}

/// The module of a `lib.rs`, with all below it but tests.
pub(super) fn load(lib: &Path) -> Module {
    let folder = lib.parent().expect("a file in a folder");
    build(parse(lib).items, lib, folder, &[])
}

/// The module of a text, for samples.
pub(super) fn parse_text(text: &str) -> Module {
    let items = syn::parse_str::<File>(text)
        .expect("a sample that parses")
        .items;
    build(items, Path::new("sample.rs"), Path::new("sample"), &[])
}

fn parse(file: &Path) -> File {
    syn::parse_str(&read(file)).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// `folder` is where its children lie; each item also has the `cfg` of the modules around it.
fn build(mut items: Vec<Item>, file: &Path, folder: &Path, around: &[Attribute]) -> Module {
    items.retain(|item| !is_test(attributes(item)));
    let mut children = BTreeMap::new();
    for item in &mut items {
        add(item, around);
        let Item::Mod(module) = item else { continue };
        let name = module.ident.to_string();
        let cfg = module.attrs.iter().filter(|one| one.path().is_ident("cfg"));
        let cfg: Vec<_> = cfg.cloned().collect();
        let below = folder.join(&name);
        let child = if let Some((_, items)) = module.content.take() {
            build(items, file, &below, &cfg)
        } else {
            let beside = below.with_extension("rs");
            let found = match path_attribute(&module.attrs) {
                Some(path) => file.with_file_name(path),
                None if beside.exists() => beside,
                None => below.join("mod.rs"),
            };
            build(parse(&found).items, &found, &below, &cfg)
        };
        children.insert(name, child);
    }
    Module { items, children }
}

/// Attributes from around it.
pub(super) fn add(item: &mut Item, around: &[Attribute]) {
    let Some(attributes) = attributes_mut(item) else {
        return;
    };
    let said = |one: &Attribute| one.to_token_stream().to_string();
    for one in around {
        if !attributes.iter().any(|other| said(other) == said(one)) {
            attributes.push(one.clone());
        }
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    let cfg = attributes.iter().filter(|one| one.path().is_ident("cfg"));
    let mut words = cfg.map(|one| idents(one.meta.to_token_stream()));
    words.any(|words| words == ["cfg", "test"])
}

fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    let path = attributes.iter().find(|one| one.path().is_ident("path"))?;
    let Meta::NameValue(pair) = &path.meta else {
        return None;
    };
    match &pair.value {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

// Questions to items.

pub(super) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(one) => &one.attrs,
        Item::Enum(one) => &one.attrs,
        Item::Fn(one) => &one.attrs,
        Item::Impl(one) => &one.attrs,
        Item::Macro(one) => &one.attrs,
        Item::Mod(one) => &one.attrs,
        Item::Static(one) => &one.attrs,
        Item::Struct(one) => &one.attrs,
        Item::Trait(one) => &one.attrs,
        Item::Type(one) => &one.attrs,
        Item::Use(one) => &one.attrs,
        _ => &[],
    }
}

fn attributes_mut(item: &mut Item) -> Option<&mut Vec<Attribute>> {
    match item {
        Item::Const(one) => Some(&mut one.attrs),
        Item::Enum(one) => Some(&mut one.attrs),
        Item::Fn(one) => Some(&mut one.attrs),
        Item::Impl(one) => Some(&mut one.attrs),
        Item::Macro(one) => Some(&mut one.attrs),
        Item::Mod(one) => Some(&mut one.attrs),
        Item::Static(one) => Some(&mut one.attrs),
        Item::Struct(one) => Some(&mut one.attrs),
        Item::Trait(one) => Some(&mut one.attrs),
        Item::Type(one) => Some(&mut one.attrs),
        Item::Use(one) => Some(&mut one.attrs),
        _ => None,
    }
}

pub(super) fn visibility(item: &Item) -> Option<&Visibility> {
    match item {
        Item::Const(one) => Some(&one.vis),
        Item::Enum(one) => Some(&one.vis),
        Item::Fn(one) => Some(&one.vis),
        Item::Mod(one) => Some(&one.vis),
        Item::Static(one) => Some(&one.vis),
        Item::Struct(one) => Some(&one.vis),
        Item::Trait(one) => Some(&one.vis),
        Item::Type(one) => Some(&one.vis),
        Item::Use(one) => Some(&one.vis),
        _ => None,
    }
}

/// The name that it declares; of a `use` the last, of a macro's call the macro's.
pub(super) fn name_of(item: &Item) -> String {
    match item {
        Item::Const(one) => one.ident.to_string(),
        Item::Enum(one) => one.ident.to_string(),
        Item::Fn(one) => one.sig.ident.to_string(),
        Item::Macro(one) => one.ident.as_ref().map_or_else(
            || {
                idents(one.mac.path.to_token_stream())
                    .pop()
                    .unwrap_or_default()
            },
            ToString::to_string,
        ),
        Item::Mod(one) => one.ident.to_string(),
        Item::Static(one) => one.ident.to_string(),
        Item::Struct(one) => one.ident.to_string(),
        Item::Trait(one) => one.ident.to_string(),
        Item::Type(one) => one.ident.to_string(),
        Item::Use(one) => idents(one.tree.to_token_stream()).pop().unwrap_or_default(),
        _ => String::new(),
    }
}

pub(super) const fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

pub(super) fn is_hidden(attributes: &[Attribute]) -> bool {
    let docs = attributes.iter().filter(|one| one.path().is_ident("doc"));
    let mut words = docs.map(|one| idents(one.meta.to_token_stream()));
    words.any(|words| words == ["doc", "hidden"])
}

pub(super) fn is_exported(item: &Item) -> bool {
    let mut attributes = attributes(item).iter();
    attributes.any(|one| one.path().is_ident("macro_export"))
}

/// All words in it, at any depth.
pub(super) fn idents(tokens: TokenStream) -> Vec<String> {
    let mut all = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Ident(word) => all.push(word.to_string()),
            TokenTree::Group(group) => all.extend(idents(group.stream())),
            _ => {}
        }
    }
    all
}

/// Names of types and traits that the text of a macro declares.
pub(super) fn declared(text: &str) -> Vec<String> {
    let words: Vec<_> = text.split_whitespace().collect();
    let after = words.windows(3).filter_map(|three| match three {
        ["pub", "struct" | "enum" | "trait" | "type", name] => Some(*name),
        _ => None,
    });
    after
        .map(|name| {
            name.chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect()
        })
        .collect()
}

pub(super) fn print(item: Item) -> String {
    prettyplease::unparse(&File {
        shebang: None,
        attrs: Vec::new(),
        items: vec![item],
    })
}

// Items without what users cannot see.

pub(super) fn bare(mut item: Item) -> Item {
    if let Some(attributes) = attributes_mut(&mut item) {
        keep(attributes);
    }
    match &mut item {
        Item::Fn(one) => *one.block = empty(),
        Item::Const(one) if one.expr.to_token_stream().to_string().len() > LONGEST_VALUE => {
            *one.expr = parse_quote!(_);
        }
        Item::Struct(one) => bare_fields(&mut one.fields),
        Item::Enum(one) => {
            for variant in &mut one.variants {
                keep(&mut variant.attrs);
                variant
                    .fields
                    .iter_mut()
                    .for_each(|field| keep(&mut field.attrs));
            }
        }
        Item::Trait(one) => one.items.iter_mut().for_each(bare_in_trait),
        Item::Impl(one) => {
            let of_trait = one.trait_.is_some();
            one.items.retain(|item| match item {
                ImplItem::Type(_) => true,
                ImplItem::Fn(f) => !of_trait && is_public(&f.vis) && !is_hidden(&f.attrs),
                ImplItem::Const(c) => !of_trait && is_public(&c.vis) && !is_hidden(&c.attrs),
                _ => false,
            });
            one.items.iter_mut().for_each(bare_in_impl);
        }
        Item::Macro(one) => one.mac.tokens = bare_tokens(one.mac.tokens.clone()),
        _ => {}
    }
    item
}

/// How many private fields there are is nobody's business.
fn bare_fields(fields: &mut Fields) {
    let private = fields.iter().any(|field| !is_public(&field.vis));
    for field in fields.iter_mut() {
        keep(&mut field.attrs);
        if !is_public(&field.vis) {
            field.vis = Visibility::Inherited;
            field.ty = Type::Infer(parse_quote!(_));
        }
    }
    match fields {
        Fields::Named(fields) if private => {
            let public = std::mem::take(&mut fields.named).into_iter();
            fields.named = public.filter(|field| is_public(&field.vis)).collect();
            fields.named.push(
                Field::parse_named
                    .parse2(quote!(private: _))
                    .expect("a field"),
            );
        }
        _ => {}
    }
}

fn bare_in_trait(item: &mut TraitItem) {
    match item {
        TraitItem::Fn(f) => {
            keep(&mut f.attrs);
            f.default = f.default.take().map(|_| empty());
        }
        TraitItem::Const(c) => keep(&mut c.attrs),
        TraitItem::Type(t) => keep(&mut t.attrs),
        _ => {}
    }
}

fn bare_in_impl(item: &mut ImplItem) {
    match item {
        ImplItem::Fn(f) => {
            keep(&mut f.attrs);
            f.block = empty();
        }
        ImplItem::Const(c) => {
            keep(&mut c.attrs);
            c.expr = parse_quote!(_);
        }
        ImplItem::Type(t) => keep(&mut t.attrs),
        _ => {}
    }
}

/// The items in a macro's only arm, its parameters taken for names. None if they repeat.
pub(super) fn made(item: &Item) -> Option<Vec<Item>> {
    let Item::Macro(one) = item else { return None };
    let groups = one
        .mac
        .tokens
        .clone()
        .into_iter()
        .filter_map(|token| match token {
            TokenTree::Group(group) => Some(group.stream()),
            _ => None,
        });
    let [_, body] = <[TokenStream; 2]>::try_from(groups.collect::<Vec<_>>()).ok()?;
    let file = syn::parse2::<File>(named(bare_tokens(body))).ok()?;
    Some(file.items).filter(|items| !items.is_empty())
}

/// `$crate` and `$name` without the sign.
fn named(tokens: TokenStream) -> TokenStream {
    let all = tokens.into_iter().filter_map(|token| match token {
        TokenTree::Punct(sign) if sign.as_char() == '$' => None,
        TokenTree::Group(group) => {
            Some(Group::new(group.delimiter(), named(group.stream())).into())
        }
        token => Some(token),
    });
    all.collect()
}

/// Tokens of a macro without documentation and the bodies of functions.
fn bare_tokens(tokens: TokenStream) -> TokenStream {
    let mut out = Vec::new();
    let mut in_function = false;
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(sign) if sign.as_char() == '#' => match tokens.peek() {
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Bracket => {
                    let first = idents(group.stream())
                        .into_iter()
                        .next()
                        .unwrap_or_default();
                    if KEPT.contains(&first.as_str()) {
                        out.push(TokenTree::Punct(sign));
                    } else {
                        tokens.next();
                    }
                }
                _ => out.push(TokenTree::Punct(sign)),
            },
            TokenTree::Group(group) => {
                let body = in_function && group.delimiter() == Delimiter::Brace;
                in_function &= !body;
                let inner = if body {
                    TokenStream::new()
                } else {
                    bare_tokens(group.stream())
                };
                out.push(Group::new(group.delimiter(), inner).into());
            }
            token => {
                match &token {
                    TokenTree::Ident(word) if word == "fn" => in_function = true,
                    TokenTree::Punct(sign) if sign.as_char() == ';' => in_function = false,
                    _ => {}
                }
                out.push(token);
            }
        }
    }
    out.into_iter().collect()
}

fn keep(attributes: &mut Vec<Attribute>) {
    attributes.retain(|one| KEPT.iter().any(|name| one.path().is_ident(name)));
}

fn empty() -> Block {
    parse_quote!({})
}
