//! What can be counted over the library's tables for whoever audits them.
//!
//! Invariant: no statement reads a key, sealed or wrapped, a fingerprint or a MAC, and the number of rows is bounded
//! whatever the tables hold. Names come as hex of their beginning, as a changed row may hold bytes that are no text.
//! Absent: who runs them, and what is made of the counts (the command).

use core::ops::Range;

use crate::Dialect;

/// Characters of a name that are read; its length comes beside it.
const NAME: u32 = 200;

/// Statements that count, and tell of owners only where they say so. Every cell is a text or NULL.
///
/// ```
/// use ophie_crypt_sql::{Dialect, Evidence};
///
/// let year = Evidence::new(Dialect::Sqlite, 1_767_225_600..1_798_761_600);
/// assert!(!year.keys().contains("wrapped"));
/// ```
#[derive(Clone, Debug)]
pub struct Evidence {
    dialect: Dialect,
    period: Range<i64>,
    offset: i64,
    hours: Range<u8>,
    days: Vec<u8>,
}

impl Evidence {
    /// Of records of this period, in seconds since 1970. No hour is unusual.
    #[must_use]
    pub const fn new(dialect: Dialect, period: Range<i64>) -> Self {
        Self {
            dialect,
            period,
            offset: 0,
            hours: 0..0,
            days: Vec::new(),
        }
    }

    /// With these usual hours of these days, from Monday, which is 0, at so many seconds east of UTC. Where the first hour
    /// is behind the last one they go on over midnight, and all day where both are the same.
    #[must_use]
    pub fn usual(mut self, offset: i32, hours: Range<u8>, days: Vec<u8>) -> Self {
        self.offset = offset.into();
        self.hours = hours;
        self.days = days;
        self
    }

    /// Keys by generation and state: how many, when the oldest and the youngest were made, and when the first of them
    /// came into that state.
    #[must_use]
    pub fn keys(&self) -> String {
        self.generations("ophie_crypt_deks", "stated_at")
    }

    /// Index keys, in the same way.
    #[must_use]
    pub fn index_keys(&self) -> String {
        self.generations("ophie_crypt_index_keys", "coalesce(stated_at, created_at)")
    }

    fn generations(&self, table: &str, stated: &str) -> String {
        let made = self.seconds("created_at");
        let cells = self.texts(&[
            "generation",
            "state",
            "count(*)",
            &format!("min({made})"),
            &format!("max({made})"),
            &format!("min({})", self.seconds(stated)),
        ]);
        format!(
            "SELECT {cells} FROM {table} GROUP BY generation, state ORDER BY generation, state LIMIT 200"
        )
    }

    /// How many keys that seal are at least as old as the first of these, the second, and so on: one row.
    #[must_use]
    pub fn sealing_ages(&self, now: i64, days: &[i64]) -> String {
        let made = self.seconds("created_at");
        let cells = days.iter().map(|days| {
            let before = now.saturating_sub(days.saturating_mul(86_400));
            format!("coalesce(sum(CASE WHEN {made} <= {before} THEN 1 ELSE 0 END), 0)")
        });
        let cells: Vec<_> = cells.collect();
        let cells: Vec<_> = cells.iter().map(String::as_str).collect();
        format!(
            "SELECT {} FROM ophie_crypt_deks WHERE state = 'sealing'",
            self.texts(&cells)
        )
    }

    /// Keys that seal and were made in another epoch than the present one: they seal nothing before they are rotated.
    #[must_use]
    pub fn keys_of_other_epochs(&self) -> String {
        format!(
            "SELECT {} FROM ophie_crypt_deks AS dek JOIN ophie_crypt_installation AS home ON home.epoch <> dek.epoch \
             WHERE dek.state = 'sealing'",
            self.texts(&["count(*)"])
        )
    }

    /// The most used KEKs: name, its length, keys under it.
    #[must_use]
    pub fn keks(&self) -> String {
        format!(
            "SELECT {} FROM ophie_crypt_deks WHERE kek IS NOT NULL GROUP BY kek ORDER BY count(*) DESC, kek LIMIT 20",
            self.texts(&[
                &self.name("kek"),
                &format!("{}(kek)", self.length()),
                "count(*)"
            ])
        )
    }

    /// How much of their budget keys that seal were granted: for each of these bounds how many were granted as much or
    /// more, and then the most.
    #[must_use]
    pub fn budgets(&self, bounds: &[u64]) -> String {
        let counts = bounds.iter().map(|bound| {
            format!("coalesce(sum(CASE WHEN budget.granted >= {bound} THEN 1 ELSE 0 END), 0)")
        });
        let mut cells: Vec<_> = counts.collect();
        cells.push("coalesce(max(budget.granted), 0)".to_owned());
        let cells: Vec<_> = cells.iter().map(String::as_str).collect();
        format!(
            "SELECT {} FROM ophie_crypt_deks AS dek JOIN ophie_crypt_budgets AS budget \
             ON budget.owner = dek.owner AND budget.generation = dek.generation WHERE dek.state = 'sealing'",
            self.texts(&cells)
        )
    }

    /// Owners by state.
    #[must_use]
    pub fn owners(&self) -> String {
        format!(
            "SELECT {} FROM ophie_crypt_owners GROUP BY state ORDER BY state",
            self.texts(&["state", "count(*)"])
        )
    }

    /// Shreds: all, not done, those that failed so often in a row, swept, and due to be swept by what is before this time.
    #[must_use]
    pub fn shreds(&self, stuck: u32, swept_before: i64) -> String {
        let sum = |what: &str| format!("coalesce(sum(CASE WHEN {what} THEN 1 ELSE 0 END), 0)");
        let (undone, swept) = (sum("done_at IS NULL"), sum("swept_at IS NOT NULL"));
        let stuck = sum(&format!("done_at IS NULL AND attempts >= {stuck}"));
        let due = sum(&format!(
            "swept_at IS NULL AND appended_at IS NOT NULL AND appended_at <= {swept_before} AND requested_at <= {swept_before}"
        ));
        format!(
            "SELECT {} FROM ophie_crypt_shreds",
            self.texts(&["count(*)", &undone, &stuck, &swept, &due])
        )
    }

    /// The last shreds: the owner in hex, when it was asked for, appended, tombstoned, emptied, vacuumed, done and swept
    /// (microseconds), and attempts.
    #[must_use]
    pub fn last_shreds(&self, limit: u32) -> String {
        let cells = self.texts(&[
            &self.hex("owner"),
            "requested_at",
            "appended_at",
            "tombstoned_at",
            "emptied_at",
            "vacuumed_at",
            "done_at",
            "swept_at",
            "attempts",
        ]);
        format!(
            "SELECT {cells} FROM ophie_crypt_shreds ORDER BY requested_at DESC, owner LIMIT {limit}"
        )
    }

    /// Records of the period by day since 1970, where that time is that of the offset: unwraps that were done, other
    /// calls that were done, calls that were not, and sessions.
    #[must_use]
    pub fn days(&self) -> String {
        let day = self.day();
        let cells = self.texts(&[
            &day,
            &sum(&format!("{DONE} AND {UNWRAPS}")),
            &sum(&format!("{DONE} AND NOT {UNWRAPS}")),
            &sum(FAILED),
            &sum(SESSION),
        ]);
        format!(
            "SELECT {cells} FROM ophie_crypt_audit_records WHERE {} GROUP BY {day} ORDER BY {day}",
            self.within()
        )
    }

    /// How many records there are, of whatever time.
    #[must_use]
    pub fn records(&self) -> String {
        let cells = self.texts(&["count(*)"]);
        format!("SELECT {cells} FROM ophie_crypt_audit_records")
    }

    /// Sessions of the period by day of the week, from Monday, and hour.
    #[must_use]
    pub fn week(&self) -> String {
        let (weekday, hour) = (self.weekday(), self.hour());
        let cells = self.texts(&[&weekday, &hour, "count(*)"]);
        format!(
            "SELECT {cells} FROM ophie_crypt_audit_records WHERE {} AND {SESSION} GROUP BY {weekday}, {hour} \
             ORDER BY {weekday}, {hour}",
            self.within()
        )
    }

    /// The principals and purposes with the most records: both names and their lengths, sessions, unwraps that were done,
    /// calls that were not, sessions outside usual hours, sessions with a reason, and when the last one was, in seconds.
    #[must_use]
    pub fn principals(&self, limit: u32) -> String {
        let cells = self.texts(&[
            &self.name("actor"),
            &format!("{}(actor)", self.length()),
            &self.name("purpose"),
            &format!("{}(purpose)", self.length()),
            &sum(SESSION),
            &sum(&format!("{DONE} AND {UNWRAPS}")),
            &sum(FAILED),
            &sum(&format!("{SESSION} AND {}", self.unusual())),
            &sum(&format!("{SESSION} AND reason IS NOT NULL")),
            &format!("max({})", self.seconds("at")),
        ]);
        format!(
            "SELECT {cells} FROM ophie_crypt_audit_records WHERE {} GROUP BY actor, purpose \
             ORDER BY count(*) DESC, actor, purpose LIMIT {limit}",
            self.within()
        )
    }

    /// Of all principals and purposes of the period: how many pairs, sessions, unwraps that were done, calls that were not,
    /// sessions outside usual hours, sessions with a reason, and records.
    #[must_use]
    pub fn totals(&self) -> String {
        let within = self.within();
        let pairs = format!(
            "(SELECT count(*) FROM (SELECT actor, purpose FROM ophie_crypt_audit_records WHERE {within} GROUP BY actor, purpose) AS pair)"
        );
        let cells = self.texts(&[
            &pairs,
            &sum(SESSION),
            &sum(&format!("{DONE} AND {UNWRAPS}")),
            &sum(FAILED),
            &sum(&format!("{SESSION} AND {}", self.unusual())),
            &sum(&format!("{SESSION} AND reason IS NOT NULL")),
            "count(*)",
        ]);
        format!("SELECT {cells} FROM ophie_crypt_audit_records WHERE {within}")
    }

    /// The last sessions outside usual hours: seconds, both names and their lengths, and the owner in hex.
    #[must_use]
    pub fn unusual_sessions(&self, limit: u32) -> String {
        self.sessions(&self.unusual(), limit)
    }

    /// The last sessions with a reason, in the same way, and the reason's beginning.
    #[must_use]
    pub fn reasoned_sessions(&self, limit: u32) -> String {
        self.sessions("reason IS NOT NULL", limit)
    }

    fn sessions(&self, which: &str, limit: u32) -> String {
        let at = self.seconds("at");
        let cells = self.texts(&[
            &at,
            &self.name("actor"),
            &format!("{}(actor)", self.length()),
            &self.name("purpose"),
            &format!("{}(purpose)", self.length()),
            &self.hex("owner"),
            &self.name("reason"),
        ]);
        format!(
            "SELECT {cells} FROM ophie_crypt_audit_records WHERE {} AND {SESSION} AND {which} \
             ORDER BY {at} DESC, writer, seq DESC LIMIT {limit}",
            self.within()
        )
    }

    /// Each as a text.
    fn texts(&self, cells: &[&str]) -> String {
        let text = self.dialect.of("CHAR", "text", "TEXT");
        let cells = cells.iter().map(|cell| format!("CAST({cell} AS {text})"));
        cells.collect::<Vec<_>>().join(", ")
    }

    /// Seconds since 1970; NULL of what is no time.
    fn seconds(&self, time: &str) -> String {
        match self.dialect {
            Dialect::MySql => {
                format!("timestampdiff(SECOND, TIMESTAMP'1970-01-01 00:00:00', {time})")
            }
            Dialect::Postgres => format!(
                "CASE WHEN isfinite({time}) THEN CAST(floor(extract(epoch FROM {time})) AS bigint) END"
            ),
            Dialect::Sqlite => format!("CAST(strftime('%s', substr({time}, 1, 19)) AS integer)"),
        }
    }

    fn local(&self) -> String {
        format!("({} + ({}))", self.seconds("at"), self.offset)
    }

    fn day(&self) -> String {
        format!("({} {} 86400)", self.local(), self.div())
    }

    fn weekday(&self) -> String {
        format!("(({} + 3) % 7)", self.day()) // 1970 began with a Thursday
    }

    fn hour(&self) -> String {
        format!("(({} % 86400) {} 3600)", self.local(), self.div())
    }

    fn within(&self) -> String {
        let at = self.seconds("at");
        format!(
            "{at} >= {} AND {at} < {}",
            self.period.start, self.period.end
        )
    }

    fn unusual(&self) -> String {
        let Range { start, end } = self.hours;
        let days: Vec<_> = self.days.iter().map(u8::to_string).collect();
        if days.is_empty() {
            return "1 = 0".to_owned();
        }
        let (hour, days) = (self.hour(), days.join(", "));
        let hours = match start.cmp(&end) {
            core::cmp::Ordering::Less => format!("{hour} >= {start} AND {hour} < {end}"),
            core::cmp::Ordering::Equal => "1 = 1".to_owned(),
            core::cmp::Ordering::Greater => format!("({hour} >= {start} OR {hour} < {end})"),
        };
        format!("NOT ({} IN ({days}) AND {hours})", self.weekday())
    }

    const fn div(&self) -> &'static str {
        self.dialect.of("DIV", "/", "/")
    }

    const fn length(&self) -> &'static str {
        self.dialect.of("char_length", "char_length", "length")
    }

    /// The beginning of a text, in hex of its bytes.
    fn name(&self, column: &str) -> String {
        match self.dialect {
            Dialect::MySql => format!("hex(left({column}, {NAME}))"),
            Dialect::Postgres => {
                format!("encode(convert_to(left({column}, {NAME}), 'UTF8'), 'hex')")
            }
            Dialect::Sqlite => format!("hex(substr({column}, 1, {NAME}))"),
        }
    }

    fn hex(&self, column: &str) -> String {
        match self.dialect {
            Dialect::Postgres => format!("encode({column}, 'hex')"),
            _ => format!("hex({column})"),
        }
    }
}

const DONE: &str = "(step = 'outcome' AND result = 'done')";
const FAILED: &str = "(step = 'outcome' AND result <> 'done')";
const UNWRAPS: &str = "operation IN ('unwrap', 'renew')";
/// A call for one that is opened, or one that shares keys which were unwrapped before.
const SESSION: &str =
    "(step = 'joined' OR (step = 'intent' AND operation = 'unwrap' AND attempt = 1))";

fn sum(what: &str) -> String {
    format!("coalesce(sum(CASE WHEN {what} THEN 1 ELSE 0 END), 0)")
}
