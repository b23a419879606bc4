#![allow(clippy::all, missing_docs, clippy::indexing_slicing, clippy::unwrap_used, clippy::arithmetic_side_effects)]
//! `#[derive(EncryptedModel)]`: knows no adapter; everything about a field's type is asked through `ColumnType`.
use proc_macro2::{Span, TokenStream as TS};
use quote::{format_ident, quote, quote_spanned};
use syn::{ext::IdentExt, spanned::Spanned, *};

fn snake(s: &str) -> String {
    let c: Vec<char> = s.chars().collect(); let mut o = String::new();
    for (i, ch) in c.iter().enumerate() {
        if ch.is_uppercase() && i > 0 && (c[i - 1].is_lowercase() || c[i - 1].is_numeric() || c.get(i + 1).is_some_and(|n| n.is_lowercase())) && c[i - 1] != '_' { o.push('_') }
        o.extend(ch.to_lowercase())
    } o
}
/// The user's location (errors, go-to-definition), the macro's hygiene (the user's lints do not fire on it).
fn ours(id: &Ident) -> Ident { let mut i = id.clone(); i.set_span(id.span().resolved_at(Span::call_site())); i }
fn ident(s: &str, span: Span) -> Result<Ident> {
    let mut i = parse_str::<Ident>(s).or_else(|_| parse_str::<Ident>(&format!("r#{s}"))).map_err(|_| Error::new(span, format!("no module can be named `{s}`; add `#[crypt(module = \"..\")]`")))?;
    i.set_span(span.resolved_at(Span::call_site())); Ok(i)
}
#[derive(Default)] struct Head { table: Option<LitStr>, like: Option<Path>, module: Option<Ident>, krate: Option<Path>, diesel: Option<Path> }
#[derive(Default)] struct Row { pad: Option<LitInt>, plain: bool, alias: bool, index_of: Option<LitStr>, normalize: Option<LitStr>, column: Option<String>, twin: Option<LitStr> }
fn skip(m: &meta::ParseNestedMeta) -> Result<()> { if m.input.peek(Token![=]) { let _: Expr = m.value()?.parse()?; } else if m.input.peek(token::Paren) { let c; parenthesized!(c in m.input); let _: TS = c.parse()?; } Ok(()) }
fn head(s: &DeriveInput, errs: &mut Vec<Error>) -> Head { let mut h = Head::default(); for a in &s.attrs { let r = if a.path().is_ident("crypt") { a.parse_nested_meta(|m| {
        if m.path.is_ident("table") { h.table = Some(m.value()?.parse()?) } else if m.path.is_ident("like") { h.like = Some(m.value()?.parse()?) }
        else if m.path.is_ident("module") { h.module = Some(m.value()?.parse::<LitStr>()?.parse()?) } else if m.path.is_ident("crate") { h.krate = Some(m.value()?.parse::<LitStr>()?.parse()?) }
        else { return Err(m.error("unknown attribute, expected one of `table`, `like`, `module`, `crate`\nhelp: the correct format looks like `#[crypt(table = \"transcripts\")]`")) } Ok(()) }) }
    else if a.path().is_ident("diesel") { a.parse_nested_meta(|m| if m.path.is_ident("table_name") { h.diesel = Some(m.value()?.parse()?); Ok(()) } else { skip(&m) }) } else { Ok(()) };
    if let Err(e) = r { errs.push(e) } } h }
fn row(f: &Field, errs: &mut Vec<Error>) -> Row { let mut r = Row::default(); for a in &f.attrs { let x = if a.path().is_ident("crypt") { a.parse_nested_meta(|m| {
        if m.path.is_ident("plain") { r.plain = true } else if m.path.is_ident("pad") { r.pad = Some(m.value()?.parse()?) } else if m.path.is_ident("alias") { r.alias = true } else if m.path.is_ident("index_of") { r.index_of = Some(m.value()?.parse()?) } else if m.path.is_ident("normalize") { r.normalize = Some(m.value()?.parse()?) }
        else if m.path.is_ident("column") { r.column = Some(m.value()?.parse::<LitStr>()?.value()) } else if m.path.is_ident("soak") { m.parse_nested_meta(|n| if n.path.is_ident("twin") { r.twin = Some(n.value()?.parse()?); Ok(()) } else { Err(n.error("expected `twin`")) })? }
        else { return Err(m.error("unknown attribute")) } Ok(()) }) }
    else if a.path().is_ident("sqlx") { a.parse_nested_meta(|m| if m.path.is_ident("rename") { let v: LitStr = m.value()?.parse()?; r.column.get_or_insert(v.value()); Ok(()) } else { skip(&m) }) }
    else if a.path().is_ident("diesel") { a.parse_nested_meta(|m| if m.path.is_ident("column_name") { let v: Ident = m.value()?.parse()?; r.column.get_or_insert(v.unraw().to_string()); Ok(()) } else { skip(&m) }) } else { Ok(()) };
    if let Err(e) = x { errs.push(e) } } r }
/// What the field's type is by its last name, through `Option<..>` and `&..`. The proofs below hold it to that.
fn seen(t: &Type) -> Option<&'static str> { match t { Type::Reference(r) => seen(&r.elem), Type::Group(g) => seen(&g.elem), Type::Paren(g) => seen(&g.elem), Type::Path(p) => { let l = p.path.segments.last()?; if l.ident == "Option" { let PathArguments::AngleBracketed(a) = &l.arguments else { return None }; return a.args.iter().find_map(|x| if let GenericArgument::Type(t) = x { seen(t) } else { None }) } ["Encrypted", "Sealed", "BlindIndex", "Owner"].into_iter().find(|k| l.ident == k) } _ => None } }
/// A field's visibility, seen from one module deeper.
fn deeper(v: &Visibility) -> TS { match v { Visibility::Inherited => quote!(pub(super)), Visibility::Public(_) => quote!(pub), Visibility::Restricted(r) => { let p = &r.path; if p.is_ident("crate") || r.path.segments[0].ident == "crate" { quote!(#v) } else if p.is_ident("self") { quote!(pub(super)) } else if p.segments[0].ident == "self" { let t = p.segments.iter().skip(1); quote!(pub(in super #(::#t)*)) } else { quote!(pub(in super::#p)) } } } }

#[proc_macro_derive(EncryptedModel, attributes(crypt))]
pub fn model(i: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let s = parse_macro_input!(i as DeriveInput); let mut errs = vec![]; let out = expand(&s, &mut errs);
    let e = errs.iter().map(Error::to_compile_error); quote!(#(#e)* #out).into()
}
fn expand(s: &DeriveInput, errs: &mut Vec<Error>) -> TS {
    let Data::Struct(DataStruct { fields: Fields::Named(fields), .. }) = &s.data else { errs.push(Error::new(s.ident.span(), "EncryptedModel needs a struct with named fields")); return quote!() };
    let h = head(s, errs); let k: Path = h.krate.clone().unwrap_or_else(|| parse_quote!(::ophie_crypt)); let (name, vis) = (&s.ident, &s.vis);
    let module: Path = match (&h.like, &h.module) {
        (Some(p), m) => { let mut p = p.clone(); let l = p.segments.last_mut().expect("a path has a segment"); match m { Some(m) => l.ident = m.clone(), None => match ident(&snake(&l.ident.unraw().to_string()), l.ident.span()) { Ok(i) => l.ident = i, Err(e) => { errs.push(e); return quote!() } } } p }
        (None, Some(m)) => ours(m).into(), (None, None) => match ident(&snake(&name.unraw().to_string()), name.span()) { Ok(i) => i.into(), Err(e) => { errs.push(e); return quote!() } } };
    if h.like.is_none() && h.table.is_none() { errs.push(Error::new(name.span(), "which table? add `#[crypt(table = \"..\")]`, or `#[crypt(like = Model)]`")) }
    let table = h.table.clone().unwrap_or_else(|| LitStr::new("?", name.span()));
    if h.like.is_none() && s.generics.type_params().next().is_some() { errs.push(Error::new(s.generics.span(), "a model that declares columns cannot have type parameters; declare them on a plain struct and say `#[crypt(like = Model)]` here")); return quote!() }
    let names: Vec<String> = fields.named.iter().filter_map(|f| f.ident.as_ref()).map(|i| i.unraw().to_string()).collect();
    let (mut inside, mut outside, mut checks, mut plains, mut infos) = (vec![], vec![], vec![], vec![], vec![]);
    for f in &fields.named { let r = row(f, errs); let (id, ty) = (f.ident.as_ref().expect("named"), &f.ty); let m = ours(id); let col = r.column.clone().unwrap_or_else(|| id.unraw().to_string()); let sp = ty.span();
        if r.plain { if r.index_of.is_some() || r.twin.is_some() { errs.push(Error::new(id.span(), "`plain` and another role exclude each other")) } if s.generics.params.is_empty() { plains.push(quote_spanned! { sp => assert!(!{ use #k::__private::NotAColumnType as _; #k::__private::Probe::<#ty>::IS }, "this field is marked plain, but its type is a column type of ophie-crypt"); }) } continue }
        match (seen(ty), r.alias) {
            (None, false) => { errs.push(Error::new(sp, format!("the field `{id}` is not classified; write `Encrypted<.., {0}::{id}>`, or `#[crypt(plain)]` if it is meant to be stored in the clear (for a type alias of a column type: `#[crypt(alias)]`)", quote!(#module)))); continue }
            (Some("BlindIndex"), _) if r.index_of.is_none() => { errs.push(Error::new(sp, "this blind index does not say which field it indexes; add `#[crypt(index_of = \"..\")]`")); continue }
            (Some(x), _) if x != "BlindIndex" && r.index_of.is_some() => { errs.push(Error::new(r.index_of.span(), "`index_of` stands on a field that is no `BlindIndex`")); continue }
            _ => {} }
        if let Some(o) = &r.index_of { if !names.contains(&o.value()) { errs.push(Error::new(o.span(), format!("no field `{}` in this model", o.value()))) } }
        checks.push(quote_spanned! { sp => #k::__private::bound::<#ty, #module::#m>(); });
        if h.like.is_some() { continue }
        let v = deeper(&f.vis); let v2 = &f.vis; let doc = format!("The column `{}.{col}`.", table.value());
        inside.push(quote! { #[doc = #doc] #v enum #m {} #[doc = #doc] #[inline] #v fn #m(value: impl ::core::convert::Into<#k::__private::Plain<#m>>) -> #k::__private::Made<#m> { #k::__private::make::<#m>(value.into()) } });
        let fid = id.unraw().to_string(); let pad = r.pad.iter(); outside.push(quote! { impl #k::BoundColumn for #module::#m { const COLUMN: #k::ColumnRef = #k::ColumnRef::new(#table, #col).with_ids(#table, #fid)#(.with_padding(#pad))*; } }); if quote!(#ty).to_string().starts_with("Option") { outside.push(quote!{ impl #module::#m { #[allow(dead_code)] #v2 const NULL: #ty = ::core::option::Option::None; } }); }
        outside.push(quote_spanned! { sp => impl #k::__private::Field for #module::#m { type Ty = #ty; } });
        if let Some(o) = &r.index_of { let oi = ours(&ident(&o.value(), o.span()).unwrap()); let n = match r.normalize.as_ref().map(|n| n.value()).as_deref() { None | Some("exact") => quote!(Exact), Some("name") => quote!(Name), Some("email") => quote!(Email), Some(_) => { errs.push(Error::new(r.normalize.span(), "unknown normaliser, expected one of `exact`, `name`, `email`")); quote!(Exact) } };
            outside.push(quote! { impl #k::IndexColumn for #module::#m { const OF: #k::ColumnRef = <#module::#oi as #k::BoundColumn>::COLUMN; const NORMALIZER: #k::Normalizer = #k::Normalizer::#n; } }) }
        infos.push(quote!(#k::ColumnInfo::of::<#ty>(<#module::#m as #k::BoundColumn>::COLUMN))); }
    let decl = h.like.is_none().then(|| { let doc = format!("Columns of [`{name}`]: for each a marker type, and a function of the same name that makes its value.");
        quote! { #[doc = #doc] #[allow(dead_code, unreachable_pub)] #vis mod #module { #(#inside)* } #(#outside)*
          impl #k::EncryptedModel for #name { const MODEL: #k::ModelInfo = #k::ModelInfo::new(#table, &[#(#infos),*]); } } });
    let (ig, _, wc) = s.generics.split_for_impl();
    quote! { #decl #[allow(dead_code)] const _: () = { fn check #ig () #wc { #(#checks)* } #(const _: () = { #plains };)* }; }
}
