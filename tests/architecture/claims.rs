//! Whether the tests that README and manual name exist.
//!
//! A claim names what holds it as `target::function` in italics: *`web::a_handler_writes_and_reads`*. The target is
//! one of the `[[test]]` tables, or a crate for its unit tests; modules may stand between the two; `ui::` is a program
//! that must not compile, and `tests/run NAME` a whole suite. Absent: which pages are read (`architecture`), and whether a test shows what is
//! claimed of it, which is for people.

use std::path::{Path, PathBuf};

use super::checkers::{crates, read, root};

/// Packages of tests, each in its folder.
const PACKAGES: [&str; 5] = [
    "tests",
    "tests/fuzz",
    "tests/loom",
    "tests/memory",
    "tests/ui",
];

/// What a page names between an opening and a closing mark.
pub(super) fn cited(page: &str) -> Vec<&str> {
    let marked = page.split("*`").skip(1);
    marked
        .filter_map(|rest| rest.split_once("`*"))
        .map(|(name, _)| name)
        .collect()
}

/// Names in the page that are no test's and no suite's.
pub(super) fn unknown(page: &str, tests: &Tests) -> Vec<String> {
    let names = cited(page).into_iter();
    names
        .filter(|name| !tests.has(name))
        .map(str::to_owned)
        .collect()
}

/// Every test of the repository, as far as its sources say.
pub(super) struct Tests {
    targets: Vec<Target>,
    suites: Vec<String>,
}

struct Target {
    name: String,
    sources: Vec<Module>,
}

struct Module {
    file: PathBuf,
    text: String,
}

impl Tests {
    pub(super) fn read() -> Self {
        let mut targets = Vec::new();
        for package in PACKAGES {
            let folder = root().join(package);
            let manifest = read(&folder.join("Cargo.toml"));
            for (name, path) in test_tables(&manifest) {
                let sources = tree(&folder.join(path));
                targets.push(Target { name, sources });
            }
        }
        for name in crates() {
            let sources = tree(&root().join(&name).join("src/lib.rs"));
            targets.push(Target { name, sources });
        }
        let suites = suites(&read(&root().join("tests/run")));
        assert!(
            targets.len() > 20 && suites.len() > 5,
            "found only {} targets and {suites:?}",
            targets.len()
        );
        Self { targets, suites }
    }

    fn has(&self, name: &str) -> bool {
        if let Some(suite) = name.strip_prefix("tests/run ") {
            return self.suites.iter().any(|known| known == suite);
        }
        let Some((target, path)) = name.split_once("::") else {
            return false;
        };
        let (within, function) = path.rsplit_once("::").unwrap_or(("", path));
        if target == "ui" {
            let program = format!("tests/ui/fail/{path}.rs");
            return root().join(program).is_file();
        }
        let named = self.targets.iter().filter(|known| known.name == target);
        let sources: Vec<&Module> = named.flat_map(|target| &target.sources).collect();
        let makers: Vec<&str> = sources
            .iter()
            .flat_map(|module| makers(&module.text))
            .collect();
        let made = |text| {
            makers
                .iter()
                .any(|maker| given(text, maker).contains(&function))
        };
        sources
            .iter()
            .filter(|module| module.is_within(within))
            .any(|module| is_test(&module.text, function) || made(&module.text))
    }
}

impl Module {
    /// Whether it lies in the modules of this path, going by its file.
    fn is_within(&self, path: &str) -> bool {
        let names = self.file.with_extension("");
        let wanted = path.split("::").filter(|name| !name.is_empty());
        wanted
            .into_iter()
            .all(|name| names.iter().any(|part| part == name))
    }
}

/// Name and path of each `[[test]]`.
fn test_tables(manifest: &str) -> Vec<(String, String)> {
    let value = |table: &str, key: &str| {
        let (_, rest) = table.split_once(&format!("\n{key} = \""))?;
        rest.split_once('"').map(|(value, _)| value.to_owned())
    };
    let tables = manifest.split("[[test]]").skip(1);
    tables
        .filter_map(|table| Some((value(table, "name")?, value(table, "path")?)))
        .collect()
}

/// The first word of each line of the table.
fn suites(script: &str) -> Vec<String> {
    let table = script
        .split_once("\nSUITES='\n")
        .and_then(|(_, rest)| rest.split_once("\n'\n"));
    let (table, _) = table.expect("a table SUITES='..' in tests/run");
    let lines = table.lines();
    lines
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// A file and, down the tree, the modules that it declares.
fn tree(file: &Path) -> Vec<Module> {
    branch(file, true)
}

fn branch(file: &Path, is_root: bool) -> Vec<Module> {
    let text = read(file);
    let below = modules(file, &text, is_root);
    let mut found: Vec<_> = below
        .iter()
        .flat_map(|file| branch(file, file.ends_with("mod.rs")))
        .collect();
    found.push(Module {
        file: file.to_owned(),
        text,
    });
    found
}

/// The files of `mod name;`, which lie beside a root and in a folder of its name under another file.
fn modules(file: &Path, text: &str, is_root: bool) -> Vec<PathBuf> {
    let beside = file.parent().expect("a file lies in a folder");
    let under = match is_root {
        true => beside.to_owned(),
        false => beside.join(file.file_stem().expect("a file has a name")),
    };
    let (mut found, mut path) = (Vec::new(), None);
    for line in text.lines().map(str::trim) {
        if let Some(given) = line.strip_prefix("#[path = \"") {
            path = given.strip_suffix("\"]").map(|path| beside.join(path));
            continue;
        }
        let declared = line
            .strip_suffix(';')
            .and_then(|line| line.rsplit_once("mod "))
            .filter(|(before, _)| before.is_empty() || before.starts_with("pub"));
        if let Some((_, name)) = declared {
            let name = name.trim_start_matches("r#");
            let files = [
                path.take(),
                Some(under.join(format!("{name}.rs"))),
                Some(under.join(name).join("mod.rs")),
            ];
            found.extend(files.into_iter().flatten().find(|file| file.is_file()));
        } else if !(line.starts_with("#[") || line.starts_with("//")) {
            path = None; // it belonged to something else
        }
    }
    found
}

/// Whether the function is defined under an attribute that makes it a test.
fn is_test(source: &str, function: &str) -> bool {
    let definition = format!("fn {function}(");
    source.match_indices(&definition).any(|(at, _)| {
        let (before, _) = source.split_at(at);
        let above = before.rsplit("\n\n").next().unwrap_or(before);
        above.contains("#[test]") || above.contains("::test]") || above.contains("::test(")
    })
}

/// Macros of the source that make tests.
fn makers(source: &str) -> Vec<&str> {
    let macros = source.split("macro_rules! ").skip(1);
    macros
        .filter_map(|rest| {
            let (name, rest) = rest.split_once(' ')?;
            let (body, _) = rest.split_once("\n}\n").unwrap_or((rest, ""));
            (body.contains("#[test]") || body.contains("::test]") || body.contains("::test("))
                .then_some(name)
        })
        .collect()
}

/// Identifiers that the source gives to a macro, where it is called at the start of a line.
fn given<'a>(source: &'a str, name: &str) -> Vec<&'a str> {
    let call = format!("\n{name}!");
    source
        .match_indices(&call)
        .filter_map(|(at, call)| source.get(at.saturating_add(call.len())..))
        .filter_map(|rest| {
            let end = ["\n)", "\n}", ");"];
            let ends = end.iter().filter_map(|end| rest.find(end));
            rest.get(..ends.min()?)
        })
        .flat_map(|arguments| arguments.split(|c: char| !(c.is_alphanumeric() || c == '_')))
        .collect()
}

mod bad_samples {
    use super::*;

    fn tests() -> Tests {
        let source = "macro_rules! both {\n    ($($test:ident)*) => {$(\n        #[tokio::test]\n        async fn $test() {}\n    )*};\n}\n\n\
            both!(\n    made_by_a_macro,\n    as_well,\n);\n\n\
            #[test]\n#[cfg(unix)]\nfn alone() {}\n\n\
            #[tokio::test(flavor = \"multi_thread\")]\nasync fn with_settings() {}\n\n\
            fn helper() {}\n";
        Tests {
            targets: vec![Target {
                name: "web".into(),
                sources: vec![Module {
                    file: "tests/web/refused.rs".into(),
                    text: source.into(),
                }],
            }],
            suites: vec!["core".into()],
        }
    }

    #[test]
    fn a_test_that_is_there() {
        let page = "One (*`web::alone`*), two: *`web::with_settings`*, *`web::as_well`* and all: *`tests/run core`*.";
        assert_eq!(cited(page).len(), 4);
        assert_eq!(unknown(page, &tests()), Vec::<String>::new());
        let page = "*`web::made_by_a_macro`*, *`ui::unclassified_field`*, *`web::refused::alone`*";
        assert_eq!(unknown(page, &tests()), Vec::<String>::new());
    }

    #[test]
    fn a_test_that_is_not() {
        for name in [
            "web::alon",
            "web::alone_no_more",
            "web::helper",
            "web::both",
            "web::accepted::alone",
            "web::accepted::as_well",
            "other::alone",
            "alone",
            "ui::unclassified",
            "tests/run nothing",
        ] {
            let page = format!("A claim: *`{name}`*.");
            assert_eq!(unknown(&page, &tests()), [name]);
        }
        assert!(cited("`code` and *italics*, but no test").is_empty());
    }

    #[test]
    fn where_modules_lie() {
        let checkers = root().join("tests/architecture.rs");
        let found = modules(&checkers, &read(&checkers), true);
        assert!(found.iter().any(|file| file.ends_with("claims.rs")));
        assert_eq!(
            test_tables("[[test]]\nname = \"a\"\npath = \"b.rs\"\n"),
            [("a".to_owned(), "b.rs".to_owned())]
        );
    }
}
