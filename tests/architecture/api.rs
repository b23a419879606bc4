//! The public API of each published crate, read from its sources and written as text, so that a change of it stands
//! in a diff.
//!
//! Read by syn and not by the compiler: no toolchain is pinned, and each has another form of what it knows. So macros
//! are not expanded: a call that makes public items is shown, and the macro's definition without bodies.
//! Invariant: a public item, its signature, its features and what is implemented for it are in the text. Absent:
//! what is `#[doc(hidden)]`, but for macros that adapters call; auto traits; whether a change breaks anybody.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{Item, ItemMod, ItemUse, UseTree};

use crate::{
    checkers::{crates, read, root},
    items::{
        Module, add, attributes, bare, declared, idents, is_exported, is_hidden, is_public, load,
        made, name_of, print, visibility,
    },
};

const FOLDER: &str = "tests/api";

/// One item as text, sorted by what it belongs to, and not by where it stands in the sources.
type Shown = BTreeSet<(String, u8, String)>;

/// Types and traits that a macro declares where it is called, by the macro's name.
type Makes = BTreeMap<String, Vec<String>>;

/// Crates whose API is not as its file in `tests/api` says, with what differs. `write` writes the file.
pub(super) fn changed(write: bool) -> Vec<String> {
    let all: Vec<_> = crates()
        .into_iter()
        .filter(|name| root().join(name).join("src/lib.rs").exists()) // a program has no API
        .map(|name| (load(&root().join(&name).join("src/lib.rs")), name))
        .collect();
    let mut makes = Makes::new();
    for (module, _) in &all {
        for item in exported(module) {
            makes.insert(name_of(item), declared(&definition(item)));
        }
    }
    let of_one = all.into_iter().flat_map(|(module, name)| {
        let now = text(&module, &makes);
        let file = root().join(FOLDER).join(format!("{name}.txt"));
        if write {
            fs::write(&file, &now).expect("a writable file");
        }
        let before = if file.exists() {
            read(&file)
        } else {
            String::new()
        };
        difference(&name, &before, &now)
    });
    of_one.collect()
}

/// Lines of one that the other lacks.
fn difference(name: &str, before: &str, now: &str) -> Vec<String> {
    let lacking = |of: &str, other: &str, sign: char| -> Vec<String> {
        let there: BTreeSet<_> = other.lines().collect();
        let lines = of.lines().filter(|line| !there.contains(line));
        lines.map(|line| format!("{name}: {sign} {line}")).collect()
    };
    let mut all = lacking(before, now, '-');
    all.extend(lacking(now, before, '+'));
    if all.is_empty() && before != now {
        all.push(format!("{name}: the same lines in another order or number"));
    }
    all
}

fn text(root: &Module, makes: &Makes) -> String {
    let mut shown = Shown::new();
    public(root, root, "", &mut shown);
    for item in exported(root) {
        shown.insert((name_of(item), 0, definition(item)));
    }
    let mut names = BTreeSet::new();
    for (key, _, text) in &shown {
        let name = key.rsplit("::").next().unwrap_or(key);
        names.insert(name.to_owned());
        names.extend(declared(text));
        names.extend(makes.get(name).into_iter().flatten().cloned());
    }
    let everything = all_items(root);
    let traits = everything
        .iter()
        .filter(|item| matches!(item, Item::Trait(_)));
    let private: BTreeSet<_> = traits
        .map(|item| name_of(item))
        .filter(|name| !names.contains(name))
        .collect();
    // Macros of its own: what is named where they are defined is not named where they are called.
    let local = everything.iter().filter_map(|item| match item {
        Item::Macro(one) => Some((one.ident.as_ref()?.to_string(), one.mac.tokens.clone())),
        _ => None,
    });
    let local: BTreeMap<_, _> = local.collect();
    let mut called = BTreeSet::new();
    for item in &everything {
        if let Some((key, rank)) = belongs(item, &names, &private, &local) {
            if rank == CALL {
                called.insert(name_of(item));
            }
            shown.insert((key, rank, print(bare((*item).clone()))));
        }
    }
    for item in everything {
        if matches!(item, Item::Macro(one) if one.ident.is_some())
            && called.contains(&name_of(item))
        {
            shown.insert((name_of(item), 0, definition(item)));
        }
    }
    let texts: Vec<_> = shown.into_iter().map(|(_, _, text)| text).collect();
    texts.join("\n")
}

// What is public.

fn public(module: &Module, root: &Module, path: &str, shown: &mut Shown) {
    let mut show = |item: Item| {
        let key = format!("{path}{}", name_of(&item));
        let place = if path.is_empty() {
            String::new()
        } else {
            format!("// {path}\n")
        };
        shown.insert((key, 0, place + &print(bare(item))));
    };
    for item in &module.items {
        if is_hidden(attributes(item)) {
            continue;
        }
        match item {
            Item::Use(item) if is_public(&item.vis) => {
                for item in reexported(item, module, root) {
                    show(item);
                }
            }
            // Those of other crates; its own are looked for by what they name.
            Item::Macro(call) if call.ident.is_none() && call.mac.path.segments.len() > 1 => {
                show(item.clone());
            }
            Item::Mod(_) => {}
            item if visibility(item).is_some_and(is_public) => show(item.clone()),
            _ => {}
        }
    }
    for item in &module.items {
        if let Item::Mod(ItemMod {
            vis, ident, attrs, ..
        }) = item
            && is_public(vis)
            && !is_hidden(attrs)
            && let Some(child) = module.children.get(&ident.to_string())
        {
            public(child, root, &format!("{path}{ident}::"), shown);
        }
    }
}

/// Each name of a `pub use`: the item itself, or a `use` of what another crate or a macro makes.
fn reexported(item: &ItemUse, module: &Module, root: &Module) -> Vec<Item> {
    let mut leaves = Vec::new();
    flatten(&item.tree, &mut Vec::new(), &mut leaves);
    let all = leaves.into_iter().map(|(path, name)| {
        let mut found = find(&path, module, root).unwrap_or_else(|| {
            let path = path.join("::");
            let using = if path.ends_with(&format!("::{name}")) || path == name {
                format!("pub use {path};")
            } else {
                format!("pub use {path} as {name};")
            };
            syn::parse_str(&using).expect("a use that was one")
        });
        add(&mut found, &item.attrs);
        found
    });
    all.collect()
}

fn flatten(tree: &UseTree, path: &mut Vec<String>, leaves: &mut Vec<(Vec<String>, String)>) {
    let mut leaf = |path: &[String], name: String, shown: String| {
        leaves.push(([path, &[name]].concat(), shown));
    };
    match tree {
        UseTree::Path(tree) => {
            path.push(tree.ident.to_string());
            flatten(&tree.tree, path, leaves);
            path.pop();
        }
        UseTree::Group(group) => group
            .items
            .iter()
            .for_each(|tree| flatten(tree, path, leaves)),
        UseTree::Name(name) => leaf(path, name.ident.to_string(), name.ident.to_string()),
        UseTree::Rename(name) => leaf(path, name.ident.to_string(), name.rename.to_string()),
        UseTree::Glob(_) => panic!("name what {} exports", path.join("::")),
    }
}

/// The item at a path within the crate, through private modules and their own re-exports.
fn find(path: &[String], module: &Module, root: &Module) -> Option<Item> {
    let (first, rest) = path.split_first()?;
    match first.as_str() {
        "self" => return find(rest, module, root),
        "crate" => return find(rest, root, root),
        _ => {}
    }
    if let Some(child) = module.children.get(first) {
        return find(rest, child, root);
    }
    if !rest.is_empty() {
        return None;
    }
    let defined =
        |item: &&Item| !matches!(item, Item::Use(_) | Item::Impl(_)) && name_of(item) == *first;
    let here = module.items.iter().find(defined).cloned();
    here.or_else(|| {
        module.items.iter().find_map(|item| match item {
            Item::Use(item) => {
                let all = reexported(item, module, root);
                all.into_iter()
                    .find(|item| !matches!(item, Item::Use(_)) && name_of(item) == *first)
            }
            _ => None,
        })
    })
}

fn all_items(module: &Module) -> Vec<&Item> {
    let below = module.children.values().flat_map(all_items);
    module.items.iter().chain(below).collect()
}

/// Macros that other crates can call, wherever they stand; hidden ones too, as adapters call them.
fn exported(module: &Module) -> Vec<&Item> {
    let mut all = all_items(module);
    all.retain(|item| is_exported(item));
    all
}

const INHERENT: u8 = 1;
const OF_TRAIT: u8 = 2;
const CALL: u8 = 3;

/// Which of `names` something is implemented for, by an `impl` or a call of a macro.
fn belongs(
    item: &Item,
    names: &BTreeSet<String>,
    private: &BTreeSet<String>,
    local: &BTreeMap<String, TokenStream>,
) -> Option<(String, u8)> {
    let named = |tokens: TokenStream| idents(tokens).into_iter().find(|name| names.contains(name));
    match item {
        Item::Impl(one) => {
            let for_type = named(one.self_ty.to_token_stream());
            let Some((_, path, _)) = &one.trait_ else {
                let Item::Impl(bare) = bare(item.clone()) else {
                    return None;
                };
                return Some((for_type?, INHERENT)).filter(|_| !bare.items.is_empty());
            };
            let of_trait = path.segments.last()?.ident.to_string();
            if private.contains(&of_trait) {
                return None;
            }
            let of_trait = Some(of_trait).filter(|name| names.contains(name));
            Some((for_type.or(of_trait)?, OF_TRAIT))
        }
        Item::Macro(one) if one.ident.is_none() => {
            let own = local.get(&name_of(item)).cloned();
            let key = named(one.mac.tokens.clone()).or_else(|| named(own?));
            Some((key?, CALL))
        }
        _ => None,
    }
}

/// A macro as the items that it makes, if it makes them without repetition; else its tokens.
fn definition(item: &Item) -> String {
    match made(item) {
        Some(items) => {
            let items = items.into_iter().map(bare);
            let visible = items.filter(|item| match item {
                Item::Impl(one) => one.trait_.is_some() || !one.items.is_empty(),
                Item::Macro(_) => true,
                item => visibility(item).is_some_and(is_public),
            });
            let texts: Vec<_> = visible.map(print).collect();
            format!(
                "// {}! makes:\n{}// end of {}!\n",
                name_of(item),
                texts.join(""),
                name_of(item)
            )
        }
        None => print(bare(item.clone())),
    }
}

mod bad_samples {
    use super::*;
    use crate::items::parse_text;

    fn api(source: &str) -> String {
        text(&parse_text(source), &Makes::new())
    }

    #[test]
    fn a_difference() {
        assert!(difference("a", "x\ny\n", "x\ny\n").is_empty());
        assert_eq!(difference("a", "x\n", "y\n"), ["a: - x", "a: + y"]);
        assert_eq!(difference("a", "x\nx\n", "x\n").len(), 1);
    }

    #[test]
    fn what_users_see() {
        let before = api(
            "mod inner { pub struct Key { pub id: u8, secret: u8, more: u8 } impl Key { pub fn id(&self) -> u8 { 1 } }
             impl Clone for Key { fn clone(&self) -> Self { todo() } } pub struct Private; }
             pub use self::inner::Key; pub mod open { pub fn stand() {} }",
        );
        for seen in [
            "pub struct Key {\n    pub id: u8,\n    private: _,\n}",
            "pub fn id(&self) -> u8 {}",
            "impl Clone for Key {}",
            "// open::\npub fn stand() {}",
        ] {
            assert!(before.contains(seen), "{seen} is missing from:\n{before}");
        }
        for unseen in ["Private", "secret", "todo"] {
            assert!(!before.contains(unseen), "{unseen} is in:\n{before}");
        }
    }

    #[test]
    fn each_change_that_users_see() {
        let source = "#[derive(Clone)] #[non_exhaustive] pub enum Kind { A, B(u8) } pub trait Open { type Out;
            fn open(&self) -> Self::Out; fn shut(&self) {} } impl Open for Kind { type Out = u8; fn open(&self) -> u8 { 1 } }
            impl Kind { pub const fn code(self, a: u8) -> u8 { a } } pub const MOST: u32 = 7; #[cfg(feature = \"x\")] pub fn x() {}
            #[macro_export] macro_rules! make { ($n:ident) => { pub struct $n(u8); impl $n { pub fn get(&self) -> u8 { 2 } } }; }";
        let before = api(source);
        for (from, to) in [
            ("#[derive(Clone)] ", ""),
            ("#[non_exhaustive] ", ""),
            ("B(u8)", "B(u16)"),
            ("A, B", "B"),
            ("fn shut(&self) {}", "fn shut(&self);"),
            ("type Out = u8", "type Out = u16"),
            ("impl Open for Kind", "impl Open for Other"),
            ("pub const fn code", "pub fn code"),
            ("a: u8) -> u8", "a: u16) -> u8"),
            ("pub const fn code", "pub(crate) const fn code"),
            ("MOST: u32 = 7", "MOST: u32 = 8"),
            ("#[cfg(feature = \"x\")] ", ""),
            ("pub fn get", "pub fn take"),
        ] {
            assert!(source.contains(from), "{from}");
            assert_ne!(before, api(&source.replacen(from, to, 1)), "{from} -> {to}");
        }
        for (from, to) in [
            ("{ 1 }", "{ 3 }"),
            ("{ 2 }", "{ 3 }"),
            ("pub enum", "/// Said.\n pub enum"),
        ] {
            assert_eq!(before, api(&source.replacen(from, to, 1)), "{from} -> {to}");
        }
    }
}
