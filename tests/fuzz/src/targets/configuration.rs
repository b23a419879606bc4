//! The command's file of settings: any bytes, with passwords in them.
//!
//! Invariant: what is wrong is named by its line, which has it, and no error shows a password, unless it stands where the
//! name of a key belongs; what is right is said to come from the line that has it.

use std::{fs, path::Path};

use crate::{
    arguments::Shared,
    config::{Config, ConfigError, KEYS},
    targets::{folder, told},
};

/// Stands in the file wherever the input has a `~`.
const PASSWORD: &str = "canary-5f2e";

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    [
        "# ours\ndatabase_url = \"postgres://ada:~@h/app\"\nhorizon_days = 30\n",
        "app = 'a'\nactor = \"\"\"\n~\n\"\"\"\nkms = \"local:k\"\n",
        "database_url = postgres://ada:~@h/app\n",
        "keys_url = [\"~\"]\nledger = { path = \"~\" }\n",
        "pasword = \"~\"\n\"app\" = \"~\"\n\"\\u0061ctor\" = 1\n",
        "horizon_days = \"~\"\r\n[app]\nname = \"~\"\n",
        "former_kms = \"~\nkms = \"~\"",
        "app.name = \"~\"\napp = \"~\"\n",
        "\n\n  ~ = 5 # ~\n",
        "\u{feff}app = 0x7f_ff\nhorizon_days = 1979-05-27\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}

pub(crate) fn run(input: &[u8]) {
    let content: Vec<u8> = input
        .iter()
        .flat_map(|byte| match byte {
            b'~' => PASSWORD.as_bytes().to_vec(),
            byte => vec![*byte],
        })
        .collect();
    let folder = folder();
    let path = folder.path().join("ophie-crypt.toml");
    fs::write(&path, &content).unwrap();
    let shared = Shared {
        config: Some(path.clone()),
    };
    match (Config::read(&shared, |_| None), String::from_utf8(content)) {
        (Ok(config), Ok(text)) => is_from_its_line(&config, &path, &text),
        (Err(error), text) => is_told(&error, &path, text.ok().as_deref()),
        (Ok(_), Err(_)) => panic!("what is no text was taken"),
    }
}

fn is_from_its_line(config: &Config, path: &Path, text: &str) {
    for setting in KEYS.iter().filter_map(|(key, _)| config.setting(key)) {
        let from = format!("{}, line ", path.display());
        let number = setting.from.strip_prefix(&from).unwrap();
        has(text, number.parse().unwrap(), setting.key);
    }
}

fn is_told(error: &ConfigError, path: &Path, text: Option<&str>) {
    let (told, said) = (told(error), error.to_string());
    assert!(said.contains(&path.display().to_string()), "{said}");
    let (line, key) = match error {
        ConfigError::NotToml { line, .. } => (*line, ""),
        ConfigError::UnknownKey { line, key, .. } => (*line, &**key),
        ConfigError::WrongType { line, key, .. } => (*line, &**key),
        ConfigError::Unreadable { .. } => {
            assert_eq!(text, None, "a text was not read");
            assert!(!told.contains(PASSWORD), "{told}");
            return;
        }
        other => panic!("{other:?}"),
    };
    assert!(said.contains(&format!(", line {line}: ")), "{said}");
    has(text.unwrap(), line, key);
    assert!(key.contains(PASSWORD) || !told.contains(PASSWORD), "{told}");
}

/// The line has the key; in quotes, it may be written in other ways.
fn has(text: &str, number: usize, key: &str) {
    // An error may be behind the last line break.
    let line = text.split('\n').nth(number - 1).expect("such a line");
    assert!(
        line.contains(key) || line.contains('\\'),
        "line {number} has no `{key}`: {line:?}"
    );
}
