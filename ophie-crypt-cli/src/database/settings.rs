//! Settings of the server by which plaintext could get into its logs.

use super::{Database, DatabaseError};

/// A setting, and what it prints.
pub(crate) struct Leak {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) prints: &'static str,
}

impl Database {
    /// Settings that print parameters or rows.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub(crate) async fn leaks(&self) -> Result<Vec<Leak>, DatabaseError> {
        let sql = self.of(
            "SELECT variable_name, variable_value FROM information_schema.global_variables WHERE lower(variable_name) IN \
             ('general_log', 'slow_query_log', 'log_output')",
            "SELECT name, setting FROM pg_catalog.pg_settings WHERE name IN ('log_statement', 'log_min_duration_statement', \
             'log_min_duration_sample', 'log_transaction_sample_rate', 'log_parameter_max_length', \
             'log_parameter_max_length_on_error', 'log_error_verbosity', 'log_min_error_statement', \
             'auto_explain.log_min_duration', 'auto_explain.log_parameter_max_length')",
            "SELECT '', '' WHERE 1 = 0", // SQLite has no log
        );
        let rows = match self.texts(sql.to_owned(), &[]).await {
            // MySQL has them elsewhere than MariaDB.
            Err(_) if matches!(self, Self::MySql(_)) => {
                let sql = "SELECT variable_name, variable_value FROM performance_schema.global_variables \
                           WHERE variable_name IN ('general_log', 'slow_query_log')";
                self.texts(sql.to_owned(), &[]).await
            }
            rows => rows,
        };
        let rows = rows.map_err(DatabaseError::Failed)?;
        let settings: Vec<(String, String)> = rows
            .into_iter()
            .filter_map(|row| {
                let mut cells = row.into_iter().flatten();
                Some((cells.next()?.to_lowercase(), cells.next()?))
            })
            .collect();
        Ok(leaks(&settings))
    }
}

/// What of these settings prints what.
fn leaks(settings: &[(String, String)]) -> Vec<Leak> {
    let value = |name: &str| {
        let found = settings.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    };
    let on =
        |name| value(name).is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("on"));
    let mut found = Vec::new();
    let mut add = |name: &str, prints| {
        found.push(Leak {
            name: name.to_owned(),
            value: value(name).unwrap_or_default().to_owned(),
            prints,
        });
    };
    // Parameters of statements that are logged, whole unless it says 0.
    let parameters = value("log_parameter_max_length").is_some_and(|length| length != "0");
    if parameters {
        if value("log_statement").is_some_and(|which| matches!(which, "all" | "mod")) {
            add(
                "log_statement",
                "statements with their parameters; set it to none, or log_parameter_max_length to 0",
            );
        }
        for name in ["log_min_duration_statement", "log_min_duration_sample"] {
            if value(name).is_some_and(|least| !least.starts_with('-')) {
                add(
                    name,
                    "slow statements with their parameters; set log_parameter_max_length to 0",
                );
            }
        }
        if value("log_transaction_sample_rate").is_some_and(|rate| rate != "0") {
            add(
                "log_transaction_sample_rate",
                "sampled statements with their parameters; set log_parameter_max_length to 0",
            );
        }
    }
    if value("log_parameter_max_length_on_error").is_some_and(|length| length != "0") {
        add(
            "log_parameter_max_length_on_error",
            "parameters of statements that fail; set it to 0",
        );
    }
    if value("log_error_verbosity").is_some_and(|verbosity| verbosity != "terse") {
        add(
            "log_error_verbosity",
            "whole rows, plaintext columns too, in errors of constraints; set it to terse before plaintext stands beside ciphertext",
        );
    }
    if value("log_min_error_statement").is_some_and(|level| level != "panic") {
        add(
            "log_min_error_statement",
            "the text of statements that fail, with what is written in it; bind values, never write them in",
        );
    }
    // Known where its library is loaded. Before PostgreSQL 16, it printed no parameters as such.
    if value("auto_explain.log_min_duration").is_some_and(|least| !least.starts_with('-')) {
        add(
            "auto_explain.log_min_duration",
            "plans of slow statements, in which parameters stand as constants; set it to -1",
        );
        if value("auto_explain.log_parameter_max_length").is_some_and(|length| length != "0") {
            add(
                "auto_explain.log_parameter_max_length",
                "parameters of statements whose plans are logged; set it to 0",
            );
        }
    }
    if on("general_log") {
        add(
            "general_log",
            "every statement with its parameters; set it to OFF",
        );
    }
    if on("slow_query_log") {
        add(
            "slow_query_log",
            "slow statements with their parameters; set it to OFF, or see who reads the file",
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(settings: &[(&str, &str)]) -> Vec<String> {
        let settings: Vec<_> = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        leaks(&settings).into_iter().map(|leak| leak.name).collect()
    }

    #[test]
    fn each_setting_that_prints_is_named_and_no_other() {
        let quiet = [
            ("log_statement", "none"),
            ("log_min_duration_statement", "-1"),
            ("log_min_duration_sample", "-1"),
            ("log_transaction_sample_rate", "0"),
            ("log_parameter_max_length", "-1"),
            ("log_parameter_max_length_on_error", "0"),
            ("log_error_verbosity", "terse"),
            ("log_min_error_statement", "panic"),
            ("auto_explain.log_min_duration", "-1"),
            ("auto_explain.log_parameter_max_length", "0"),
            ("general_log", "OFF"),
            ("slow_query_log", "0"),
        ];
        assert!(names(&quiet).is_empty());
        for (name, loud) in [
            ("log_statement", "all"),
            ("log_statement", "mod"),
            ("log_min_duration_statement", "0"),
            ("log_min_duration_sample", "100"),
            ("log_transaction_sample_rate", "0.1"),
            ("log_parameter_max_length_on_error", "-1"),
            ("log_error_verbosity", "default"),
            ("log_min_error_statement", "error"),
            ("auto_explain.log_min_duration", "250"),
            ("general_log", "ON"),
            ("slow_query_log", "1"),
        ] {
            let settings =
                quiet.map(|(known, value)| (known, if known == name { loud } else { value }));
            assert_eq!(names(&settings), [name]);
        }
        // What prints nothing by itself.
        let parameters = ("auto_explain.log_parameter_max_length", "-1");
        assert!(names(&[parameters]).is_empty());
        assert_eq!(
            names(&[("auto_explain.log_min_duration", "0"), parameters]),
            ["auto_explain.log_min_duration", parameters.0]
        );
        let without_parameters = [("log_statement", "all"), ("log_parameter_max_length", "0")];
        assert!(names(&without_parameters).is_empty());
    }
}
