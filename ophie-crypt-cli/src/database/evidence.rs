//! Counts of the library's own tables, for the report.
//!
//! Invariant: as of the statements (`ophie_crypt_sql::Evidence`). Absent: what is made of them.

use ophie_crypt_sql::Evidence;

use super::{Database, DatabaseError, number};

/// A row of texts.
pub(crate) struct Counted(Vec<Option<String>>);

impl Counted {
    /// A count; 0 where there is none.
    pub(crate) fn number(&self, at: usize) -> i64 {
        number(self.0.get(at))
    }

    /// A number that may not be there.
    pub(crate) fn some_number(&self, at: usize) -> Option<i64> {
        self.0.get(at)?.as_deref()?.parse().ok()
    }

    /// A text; empty where there is none.
    pub(crate) fn text(&self, at: usize) -> &str {
        self.0
            .get(at)
            .and_then(Option::as_deref)
            .unwrap_or_default()
    }

    /// Bytes that come in hex.
    pub(crate) fn bytes(&self, at: usize) -> Vec<u8> {
        let digits: Vec<_> = self
            .text(at)
            .chars()
            .filter_map(|c| c.to_digit(16))
            .collect();
        let pairs = digits.chunks_exact(2).map(|pair| {
            let byte = pair
                .iter()
                .fold(0, |byte: u32, digit| byte.wrapping_shl(4) | digit);
            u8::try_from(byte).unwrap_or(0)
        });
        pairs.collect()
    }
}

impl Database {
    /// Its rows.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub(crate) async fn counted(&self, sql: String) -> Result<Vec<Counted>, DatabaseError> {
        let rows = self.texts(sql, &[]).await.map_err(DatabaseError::Failed)?;
        Ok(rows.into_iter().map(Counted).collect())
    }

    /// How many records the audit has.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub(crate) async fn audit_records(&self) -> Result<u64, DatabaseError> {
        let evidence = Evidence::new(self.dialect(), 0..0);
        let rows = self.counted(evidence.records()).await?;
        let records = rows.first().map_or(0, |row| row.number(0));
        Ok(u64::try_from(records).unwrap_or(0))
    }

    /// The database's own name and its server's version.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub(crate) async fn whereabouts(&self) -> Result<(String, String), DatabaseError> {
        let sql = self.of(
            "SELECT CAST(database() AS CHAR), CAST(version() AS CHAR)",
            "SELECT CAST(current_database() AS text), current_setting('server_version')",
            "SELECT CAST(file AS TEXT), sqlite_version() FROM pragma_database_list WHERE name = 'main'",
        );
        let rows = self.counted(sql.to_owned()).await?;
        let row = rows.first();
        let cell = |at| row.map_or_else(String::new, |row| row.text(at).to_owned());
        Ok((cell(0), cell(1)))
    }
}
