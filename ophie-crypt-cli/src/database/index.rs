//! What a blind index would show of a plaintext column, counted by the database.
//!
//! Invariant: values are compared in the database, byte by byte, and none leaves it.

use super::{Database, DatabaseError, number};

/// How many of the most frequent are counted.
const MOST: usize = 10;

/// What an observer of the fingerprints would count.
pub(crate) struct Shown {
    pub(crate) rows: i64,
    pub(crate) nulls: i64,
    pub(crate) owners: i64,
    /// Different pairs of owner and value: as many fingerprints.
    pub(crate) fingerprints: i64,
    /// Rows whose fingerprint is no other row's.
    pub(crate) alone: i64,
    /// Rows of the most frequent fingerprints, falling.
    pub(crate) most: Vec<i64>,
    /// Owners with two rows or more, all of whose rows have one fingerprint.
    pub(crate) uniform_owners: i64,
}

impl Shown {
    /// How many questions it takes, each of which reads the table.
    pub(crate) const QUESTIONS: u64 = 3;
}

impl Database {
    /// Counts, and calls what is given after each question.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]; nothing of the column stands in it.
    pub(crate) async fn shown(
        &self,
        table: &str,
        column: &str,
        owner: &str,
        answered: impl Fn(),
    ) -> Result<Shown, DatabaseError> {
        let (name, value, whose) = (self.table(table), self.quoted(column), self.quoted(owner));
        // A collation would take `a` for `A`, and json has no equality.
        let bytes = match self {
            Self::MySql(_) => format!("CAST({value} AS BINARY)"),
            Self::Postgres(_) => format!("CAST({value} AS text) COLLATE \"C\""),
            Self::Sqlite(_) => format!("{value} COLLATE BINARY"),
        };
        let text = self.of("CHAR", "text", "TEXT");
        let groups = format!(
            "SELECT {whose} AS o, {bytes} AS v, count(*) AS n FROM {name} \
             WHERE {value} IS NOT NULL GROUP BY {whose}, {bytes}"
        );
        let by_owner = format!(
            "SELECT g.o AS o, count(*) AS f, sum(g.n) AS n FROM ({groups}) AS g GROUP BY g.o"
        );
        let counts = format!(
            "SELECT CAST((SELECT count(*) FROM {name}) AS {text}), \
             CAST((SELECT count(*) FROM {name} WHERE {value} IS NULL) AS {text}), \
             CAST(count(*) AS {text}), CAST(coalesce(sum(b.f), 0) AS {text}), \
             CAST(coalesce(sum(CASE WHEN b.f = 1 AND b.n > 1 THEN 1 ELSE 0 END), 0) AS {text}) FROM ({by_owner}) AS b"
        );
        let alone = format!("SELECT CAST(count(*) AS {text}) FROM ({groups}) AS g WHERE g.n = 1");
        let most = format!(
            "SELECT CAST(g.n AS {text}) FROM ({groups}) AS g ORDER BY g.n DESC LIMIT {MOST}"
        );
        let no_column = |source| DatabaseError::NoColumn {
            table: table.to_owned(),
            column: column.to_owned(),
            owner: owner.to_owned(),
            source,
        };
        let counts = self.texts(counts, &[]).await.map_err(&no_column)?;
        answered();
        let alone = self.texts(alone, &[]).await.map_err(&no_column)?;
        answered();
        let most = self.texts(most, &[]).await.map_err(&no_column)?;
        answered();
        let count = |at: usize| number(counts.first().and_then(|row| row.get(at)));
        Ok(Shown {
            rows: count(0),
            nulls: count(1),
            owners: count(2),
            fingerprints: count(3),
            uniform_owners: count(4),
            alone: number(alone.first().and_then(|row| row.first())),
            most: most.iter().map(|row| number(row.first())).collect(),
        })
    }

    /// With its schema, if it is named with one.
    pub(super) fn table(&self, name: &str) -> String {
        let parts: Vec<_> = name.split('.').map(|part| self.quoted(part)).collect();
        parts.join(".")
    }

    /// SQLite takes a double-quoted name that it does not know for a text, but not one in brackets or backticks.
    pub(super) fn quoted(&self, name: &str) -> String {
        let quote = self.of("`", "\"", "`");
        format!("{quote}{}{quote}", name.replace(quote, &quote.repeat(2)))
    }
}
