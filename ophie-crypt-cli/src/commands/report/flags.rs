//! What the report is about: a period, usual hours, and how much it says of owners.

use core::{ops::Range, str::FromStr};

use clap::Args;
use ophie_crypt_sql::{Dialect, Evidence};
use time::{Date, Month, OffsetDateTime, UtcOffset};

const DAY: i64 = 86_400;
/// Bounds the rows that a period gives.
const LONGEST: i64 = 3_660;
const WEEK: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// The flags of `report`.
#[derive(Args)]
pub(crate) struct Flags {
    /// The first day [default: a year before the last]
    #[arg(long, value_name = "YYYY-MM-DD")]
    from: Option<Day>,
    /// The last day [default: today]
    #[arg(long, value_name = "YYYY-MM-DD")]
    to: Option<Day>,
    /// Usual hours; over midnight where the first is behind the last
    #[arg(long, value_name = "HOUR-HOUR", default_value = "7-19")]
    hours: Hours,
    /// Usual days
    #[arg(long, value_name = "DAY-DAY", default_value = "mon-fri")]
    days: Days,
    /// The offset from UTC of days and hours
    #[arg(
        long,
        value_name = "+HH:MM",
        default_value = "+00:00",
        allow_hyphen_values = true
    )]
    utc_offset: Offset,
    /// A head that the ledger had once, as an earlier report named it
    #[arg(long, value_name = "HEAD")]
    pub(super) known: Vec<String>,
    /// Name owners, and print the reasons of sessions, which may name them
    #[arg(long)]
    pub(super) owners: bool,
}

/// It is of no use.
#[derive(Debug, thiserror::Error)]
#[error("it is written like {0}")]
pub(crate) struct NotLike(&'static str);

#[derive(Clone, Copy)]
struct Day(Date);

#[derive(Clone)]
struct Hours(Range<u8>);

#[derive(Clone, Copy)]
struct Days(usize, usize);

#[derive(Clone, Copy)]
struct Offset(UtcOffset);

impl FromStr for Day {
    type Err = NotLike;

    fn from_str(text: &str) -> Result<Self, NotLike> {
        let day = || {
            let mut parts = text.splitn(3, '-');
            let year = parts
                .next()?
                .parse()
                .ok()
                .filter(|year| (2000..=2200).contains(year))?;
            let month: u8 = parts.next()?.parse().ok()?;
            let day = parts.next()?.parse().ok()?;
            Date::from_calendar_date(year, Month::try_from(month).ok()?, day).ok()
        };
        day().map(Self).ok_or(NotLike("2026-01-31"))
    }
}

impl FromStr for Hours {
    type Err = NotLike;

    fn from_str(text: &str) -> Result<Self, NotLike> {
        let hour = |text: &str| text.parse().ok().filter(|hour: &u8| *hour <= 24);
        let hours = text
            .split_once('-')
            .and_then(|(from, to)| Some(hour(from)?..hour(to)?));
        hours
            .map(Self)
            .ok_or(NotLike("7-19, with hours from 0 to 24"))
    }
}

impl FromStr for Days {
    type Err = NotLike;

    fn from_str(text: &str) -> Result<Self, NotLike> {
        let day = |text: &str| WEEK.iter().position(|day| *day == text);
        let days = text
            .split_once('-')
            .and_then(|(from, to)| Some(Self(day(from)?, day(to)?)));
        days.ok_or(NotLike("mon-fri"))
    }
}

impl FromStr for Offset {
    type Err = NotLike;

    fn from_str(text: &str) -> Result<Self, NotLike> {
        let offset = || {
            let (sign, rest) = (text.get(..1)?, text.get(1..)?);
            let (hours, minutes) = rest.split_once(':')?;
            let part = |text: &str| text.parse().ok().filter(|part: &i8| (0..60).contains(part));
            let (hours, minutes) = (part(hours)?, part(minutes)?);
            match sign {
                "+" => UtcOffset::from_hms(hours, minutes, 0).ok(),
                "-" => UtcOffset::from_hms(hours.checked_neg()?, minutes.checked_neg()?, 0).ok(),
                _ => None,
            }
        };
        offset().map(Self).ok_or(NotLike("+01:00"))
    }
}

/// The flags, put together.
#[derive(Clone)]
pub(super) struct Scope {
    pub(super) period: Range<i64>,
    pub(super) offset: UtcOffset,
    pub(super) hours: Range<u8>,
    /// From Monday, which is 0.
    pub(super) days: Vec<u8>,
}

impl Scope {
    /// Against this time in seconds; `None` of a period that is empty or too long.
    pub(super) fn new(flags: &Flags, now: i64) -> Option<Self> {
        let offset = flags.utc_offset.0;
        let start = |day: Date| day.midnight().assume_offset(offset).unix_timestamp();
        let today = || {
            now.saturating_sub(
                now.saturating_add(offset.whole_seconds().into())
                    .rem_euclid(DAY),
            )
        };
        let last = flags.to.map_or_else(today, |day| start(day.0));
        let end = last.saturating_add(DAY);
        let year = || end.saturating_sub(DAY.saturating_mul(365));
        let from = flags.from.map_or_else(year, |day| start(day.0));
        let long = end
            .checked_sub(from)
            .and_then(|long| long.checked_div(DAY))?;
        let Days(first, last) = flags.days;
        // A range over Sunday goes on with Monday.
        let length = last
            .saturating_add(7)
            .saturating_sub(first)
            .checked_rem(7)?;
        let days = (0..=length)
            .filter_map(|at| u8::try_from(first.saturating_add(at).checked_rem(7)?).ok());
        (1..=LONGEST).contains(&long).then(|| Self {
            period: from..end,
            offset,
            hours: flags.hours.0.clone(),
            days: days.collect(),
        })
    }

    /// The statements.
    pub(super) fn evidence(&self, dialect: Dialect) -> Evidence {
        Evidence::new(dialect, self.period.clone()).usual(
            self.offset.whole_seconds(),
            self.hours.clone(),
            self.days.clone(),
        )
    }

    /// A time in seconds as people read it, at the offset.
    pub(super) fn moment(&self, seconds: i64) -> String {
        match self.at(seconds) {
            Some(at) => format!("{} {:02}:{:02}", at.date(), at.hour(), at.minute()),
            None => "no time".to_owned(),
        }
    }

    pub(super) fn day(&self, seconds: i64) -> String {
        self.at(seconds)
            .map_or_else(|| "no day".to_owned(), |at| at.date().to_string())
    }

    fn at(&self, seconds: i64) -> Option<OffsetDateTime> {
        let at = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
        at.checked_to_offset(self.offset)
    }

    pub(super) fn is_usual(&self, day: u8, hour: u8) -> bool {
        let Range { start, end } = self.hours;
        let hours = match start < end {
            true => (start..end).contains(&hour),
            false => start == end || hour >= start || hour < end,
        };
        self.days.contains(&day) && hours
    }

    /// The usual hours in words.
    pub(super) fn usual(&self) -> String {
        let name = |day: Option<&u8>| {
            let day = day.and_then(|day| WEEK.get(usize::from(*day)));
            day.copied().unwrap_or_default()
        };
        let Range { start, end } = self.hours;
        format!(
            "{} to {}, {start}:00 to {end}:00, at UTC{}",
            name(self.days.first()),
            name(self.days.last()),
            self.utc()
        )
    }

    fn utc(&self) -> String {
        let (hours, minutes, _) = self.offset.as_hms();
        let sign = if self.offset.is_negative() { '-' } else { '+' };
        format!(
            "{sign}{:02}:{:02}",
            hours.unsigned_abs(),
            minutes.unsigned_abs()
        )
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }

    /// 2026-11-30, a Monday, at noon in UTC.
    const NOW: i64 = 1_796_040_000;

    fn scope(arguments: &[&str]) -> Option<Scope> {
        let line = Line::try_parse_from([&["report"], arguments].concat()).ok()?;
        Scope::new(&line.flags, NOW)
    }

    #[test]
    fn a_year_until_today_and_office_hours_are_the_default() {
        let scope = scope(&[]).unwrap();
        assert_eq!(scope.moment(scope.period.end), "2026-12-01 00:00");
        assert_eq!(scope.moment(scope.period.start), "2025-12-01 00:00");
        assert_eq!(scope.usual(), "mon to fri, 7:00 to 19:00, at UTC+00:00");
        assert!(scope.is_usual(0, 7) && scope.is_usual(4, 18));
        assert!(!scope.is_usual(0, 6) && !scope.is_usual(0, 19) && !scope.is_usual(5, 12));
    }

    #[test]
    fn days_and_hours_are_those_of_the_offset_and_go_round() {
        let arguments = [
            "--from",
            "2026-01-01",
            "--to",
            "2026-01-31",
            "--utc-offset",
            "-03:30",
            "--hours",
            "22-6",
            "--days",
            "sat-mon",
        ];
        let scope = scope(&arguments).unwrap();
        assert_eq!(scope.period.end - scope.period.start, 31 * DAY);
        assert_eq!(scope.moment(scope.period.start), "2026-01-01 00:00");
        assert_eq!(scope.period.start % DAY, 3 * 3600 + 1800);
        assert_eq!(scope.days, [5, 6, 0]);
        assert!(scope.is_usual(6, 23) && scope.is_usual(0, 5));
        assert!(!scope.is_usual(0, 6) && !scope.is_usual(1, 23));
    }

    #[test]
    fn what_is_no_period_is_refused() {
        for arguments in [
            ["--from", "2026-12-01"],
            ["--from", "2000-01-01"],
            ["--from", "2026-02-30"],
            ["--to", "today"],
            ["--hours", "7"],
            ["--hours", "7-25"],
            ["--days", "1-5"],
            ["--utc-offset", "CET"],
            ["--utc-offset", "+99:00"],
        ] {
            assert!(scope(&arguments).is_none(), "{arguments:?}");
        }
    }
}
