//! What the command is told besides its arguments: flags over the environment over one file.
//!
//! Invariant: a key that is not known is refused, and no value of the file or the environment stands in an error.
//! Absent: what the values are good for (`world`).

use std::path::{Path, PathBuf};

use crate::arguments::Shared;

/// The file that is read if it is there and no other is named.
const FILE: &str = "ophie-crypt.toml";

/// Each key of the file, its variable, and what it is.
pub(crate) const KEYS: [(&str, &str); 8] = [
    ("actor", "OPHIE_CRYPT_ACTOR"),
    ("app", "OPHIE_CRYPT_APP"),
    ("database_url", "OPHIE_CRYPT_DATABASE_URL"),
    ("former_kms", "OPHIE_CRYPT_FORMER_KMS"),
    ("horizon_days", "OPHIE_CRYPT_HORIZON_DAYS"),
    ("keys_url", "OPHIE_CRYPT_KEYS_URL"),
    ("kms", "OPHIE_CRYPT_KMS"),
    ("ledger", "OPHIE_CRYPT_LEDGER"),
];

/// The configuration is wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("{path}, line {line}: this is not TOML: {why}")]
    NotToml {
        path: String,
        line: usize,
        why: String,
    },
    #[error(
        "{path}, line {line}: there is no key `{key}`; the keys are {}",
        known()
    )]
    UnknownKey {
        path: String,
        line: usize,
        key: String,
    },
    #[error("{path}, line {line}: `{key}` is to be {what}")]
    WrongType {
        path: String,
        line: usize,
        key: String,
        what: &'static str,
    },
    #[error("the configuration {path} cannot be read")]
    Unreadable {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("`{key}` (from {from}) is to be {what}")]
    WrongValue {
        key: &'static str,
        from: String,
        what: &'static str,
    },
    #[error(
        "`database_url` comes from DATABASE_URL and `keys_url` from {keys}: rows and keys may be of different installations, and what is not found among the rows is destroyed; say both in one place"
    )]
    Mixed { keys: String },
    #[error("`{key}` is not set; say it with `--{}`, {variable}, or `{key} = \"..\"` in ophie-crypt.toml", .key.replace('_', "-"))]
    Missing {
        key: &'static str,
        variable: &'static str,
    },
}

fn known() -> String {
    KEYS.map(|(key, _)| format!("`{key}`")).join(", ")
}

/// One setting, and where it was said.
#[derive(Clone)]
pub(crate) struct Setting {
    pub(crate) key: &'static str,
    pub(crate) value: String,
    pub(crate) from: String,
}

impl Setting {
    /// Host and name of the database of a URL, without user, password and options.
    pub(crate) fn whereabouts(&self) -> &str {
        let at = self.value.split(['?', '#']).next().unwrap_or_default();
        let at = at.split_once(':').map_or(at, |(_, at)| at);
        let at = at.rsplit_once('@').map_or(at, |(_, at)| at);
        at.strip_prefix("//").unwrap_or(at)
    }

    fn has_password(&self) -> bool {
        self.value.contains("://") && (self.value.contains('@') || self.value.contains("password="))
    }

    /// The error of a value that is of no use.
    pub(crate) fn wrong(&self, what: &'static str) -> ConfigError {
        ConfigError::WrongValue {
            key: self.key,
            from: self.from.clone(),
            what,
        }
    }
}

/// All settings. It has no `Debug`: URLs hold passwords.
pub(crate) struct Config {
    settings: Vec<Setting>,
    file: Option<ConfigFile>,
}

/// The file that was read.
pub(crate) struct ConfigFile {
    pub(crate) path: PathBuf,
    /// Whether a URL in it has a password.
    pub(crate) has_password: bool,
}

impl Config {
    /// From flags, environment and file, in that order.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub(crate) fn read(
        shared: &Shared,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let mut settings = Vec::new();
        let named = shared.config.clone();
        let named = named.or_else(|| variable("OPHIE_CRYPT_CONFIG").map(PathBuf::from));
        let path = named.or_else(|| Path::new(FILE).exists().then(|| FILE.into()));
        let file = match &path {
            Some(path) => file(path)?,
            None => Vec::new(),
        };
        for (key, name) in KEYS {
            let flag = shared.flag(key).map(|value| Setting {
                key,
                value,
                from: format!("--{}", key.replace('_', "-")),
            });
            let from_environment = |name: &str| {
                variable(name).map(|value| Setting {
                    key,
                    value,
                    from: name.to_owned(),
                })
            };
            let of_file = || file.iter().find(|setting| setting.key == key).cloned();
            let setting = flag.or_else(|| from_environment(name)).or_else(|| {
                (key == "database_url")
                    .then(|| from_environment("DATABASE_URL"))
                    .flatten()
            });
            settings.extend(setting.or_else(of_file));
        }
        let has_password = file.iter().any(Setting::has_password);
        Ok(Self {
            settings,
            file: path.map(|path| ConfigFile { path, has_password }),
        })
    }

    /// A setting, if it was said.
    pub(crate) fn setting(&self, key: &'static str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.key == key)
    }

    /// The file, if one was read.
    pub(crate) const fn file(&self) -> Option<&ConfigFile> {
        self.file.as_ref()
    }

    /// The URL of the application's database.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Missing`]; [`ConfigError::Mixed`] where a variable that many programs read meets keys that were
    /// named elsewhere.
    pub(crate) fn rows_url(&self) -> Result<&Setting, ConfigError> {
        let rows = self.needed("database_url")?;
        match self.setting("keys_url") {
            Some(keys) if rows.from == "DATABASE_URL" && keys.from != "OPHIE_CRYPT_KEYS_URL" => {
                Err(ConfigError::Mixed {
                    keys: keys.from.clone(),
                })
            }
            _ => Ok(rows),
        }
    }

    /// A setting that must be there.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Missing`].
    pub(crate) fn needed(&self, key: &'static str) -> Result<&Setting, ConfigError> {
        let variable = KEYS.iter().find(|(known, _)| *known == key);
        let variable = variable.map_or("", |(_, variable)| variable);
        self.setting(key)
            .ok_or(ConfigError::Missing { key, variable })
    }
}

/// The file's settings. TOML's own message would show the line, and with it a password.
fn file(path: &Path) -> Result<Vec<Setting>, ConfigError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
        path: name.clone(),
        source,
    })?;
    parse(&name, &text)
}

fn parse(path: &str, text: &str) -> Result<Vec<Setting>, ConfigError> {
    use toml::de::{DeTable, DeValue};

    let line = |at: usize| {
        text.bytes()
            .take(at)
            .filter(|byte| *byte == b'\n')
            .count()
            .saturating_add(1)
    };
    let table = DeTable::parse(text).map_err(|error| ConfigError::NotToml {
        path: path.to_owned(),
        line: line(error.span().map_or(0, |span| span.start)),
        why: "see what is written there".to_owned(),
    })?;
    let mut settings = Vec::new();
    for (key, value) in table.get_ref() {
        let line = line(key.span().start);
        let said: &str = key.get_ref();
        let Some((known, _)) = KEYS.iter().find(|(known, _)| *known == said) else {
            return Err(ConfigError::UnknownKey {
                path: path.to_owned(),
                line,
                key: said.to_owned(),
            });
        };
        let wrong = |what| ConfigError::WrongType {
            path: path.to_owned(),
            line,
            key: said.to_owned(),
            what,
        };
        let value = match (*known, value.get_ref()) {
            ("horizon_days", DeValue::Integer(days)) => days.to_string(),
            ("horizon_days", _) => return Err(wrong("a number")),
            (_, DeValue::String(text)) => text.to_string(),
            _ => return Err(wrong("a text")),
        };
        settings.push(Setting {
            key: known,
            value,
            from: format!("{path}, line {line}"),
        });
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(shared: &Shared, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::read(shared, |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_database_is_named_without_its_credentials() {
        for (url, said) in [
            (
                "postgres://ada:pa55@db.example:5432/app?sslmode=require",
                "db.example:5432/app",
            ),
            ("postgres:///app?host=/run&password=pa55", "/app"),
            ("mysql://ada:p%40@db/app", "db/app"),
            ("mysql://ada:p@ss@db/app", "db/app"),
            ("sqlite:/srv/app.db?mode=ro", "/srv/app.db"),
            ("sqlite://app.db", "app.db"),
        ] {
            let setting = Setting {
                key: "database_url",
                value: url.to_owned(),
                from: "test".to_owned(),
            };
            assert_eq!(setting.whereabouts(), said);
        }
    }

    #[test]
    fn flags_over_environment_over_file() {
        let path = std::env::temp_dir().join(format!("ophie-crypt-config-{}", std::process::id()));
        std::fs::write(
            &path,
            "app = \"file\"\nactor = \"file\"\nkms = \"file\"\nhorizon_days = 7\n",
        )
        .unwrap();
        let shared = Shared {
            config: Some(path.clone()),
            app: Some("flag".into()),
            ..Shared::default()
        };
        let environment = [
            ("OPHIE_CRYPT_APP", "env"),
            ("OPHIE_CRYPT_ACTOR", "env"),
            ("DATABASE_URL", "env"),
        ];
        let config = config(&shared, &environment).unwrap();
        std::fs::remove_file(path).unwrap();
        let value = |key| config.setting(key).map(|setting| setting.value.as_str());
        assert_eq!(
            [
                "app",
                "actor",
                "kms",
                "database_url",
                "horizon_days",
                "ledger"
            ]
            .map(value),
            [
                Some("flag"),
                Some("env"),
                Some("file"),
                Some("env"),
                Some("7"),
                None
            ]
        );
        assert!(
            config
                .needed("ledger")
                .is_err_and(|error| error.to_string().contains("OPHIE_CRYPT_LEDGER"))
        );
    }

    #[test]
    fn mistakes_are_named_with_their_line_and_no_value() {
        let secret = "postgres://u:canary@h/d";
        let cases = [
            (
                format!("app = \"a\"\ndatabase = \"{secret}\"\n"),
                "f, line 2: there is no key `database`",
            ),
            (
                format!("\nkms = [\"{secret}\"]\n"),
                "f, line 2: `kms` is to be a text",
            ),
            (
                format!("horizon_days = \"{secret}\"\n"),
                "f, line 1: `horizon_days` is to be a number",
            ),
            (
                format!("app = \"a\"\n\ndatabase_url = {secret}\n"),
                "f, line 3: this is not TOML",
            ),
        ];
        for (text, message) in cases {
            let Err(error) = parse("f", &text) else {
                panic!("{text} was taken")
            };
            assert!(error.to_string().starts_with(message), "{error}");
            assert!(
                !format!("{error} {error:?}").contains("canary"),
                "{error:?}"
            );
        }
    }
}
