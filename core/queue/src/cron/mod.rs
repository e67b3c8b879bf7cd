//! When a periodic job runs: a cron expression in a time zone.

mod civil;
mod error;

use std::{fmt, str::FromStr, time::SystemTime};

use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone},
};

pub use error::CronError;

use self::civil::Pattern;

/// A cron expression in a time zone (UTC unless [said otherwise](Cron::in_zone)).
///
/// Five fields (minute, hour, day of the month, month, day of the week), or six with the second before them; or `@yearly`, `@monthly`, `@weekly`, `@daily`,
/// `@midnight` or `@hourly`. A field is `*`, a number, a name (`MON`, `JAN`), a range, a list, each with a step (`*/5`, `9-17/2`); days may be `L` (the last one), `15W` (the working day
/// next to it) and `FRI#2` (the second one of the month). When both days are restricted, one of them is enough, as in every cron; with a `+` before the day of the week, both have to fit.
///
/// # When clocks change
///
/// An expression whose second, minute and hour are all numbers names *times of the day*, and each of them comes once on every day:
///
/// - a time that the clock skips comes when the clock goes on: `30 2 * * *` runs at 3:00 on the day on which 2:00 to 3:00 is skipped;
/// - a time that comes twice is taken the first time.
///
/// Times that fall into the same skipped hour become one run. An expression one of whose three fields begins with `*` names an *interval*, and follows the time that passes: `*/10 * * * *` runs
/// every ten minutes, also through the hour that comes twice, and nothing is made up for in the one that is skipped, which takes no time. This is what Vixie's cron does, and the Open Cron Pattern
/// Specification asks for.
///
/// ```
/// use seaworthy_queue::Cron;
///
/// let nightly: Cron = "30 2 * * *".parse()?;
/// let nightly = nightly.in_zone("Europe/Stockholm")?;
/// assert_eq!(nightly.to_string(), "30 2 * * * in Europe/Stockholm");
///
/// let error = "30 24 * * *".parse::<Cron>().unwrap_err();
/// assert!(error.to_string().contains("the hour `24` at column 4"), "{error}");
/// # Ok::<(), seaworthy_queue::CronError>(())
/// ```
#[derive(Clone)]
pub struct Cron {
    text: String,
    pattern: Pattern,
    /// Whether it names times of the day.
    is_fixed: bool,
    zone: TimeZone,
    zone_name: String,
}

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        let text = text.trim();
        let fields = error::fields(text)?;
        let pattern = Pattern::parse(&fields).ok_or_else(|| error::locate(text, &fields))?;
        if pattern.next(DateTime::constant(2000, 1, 1, 0, 0, 0, 0), true).is_none() {
            return Err(CronError::NeverFires { text: text.to_owned() });
        }
        let of_the_day = &fields[..fields.len() - 3];
        Ok(Cron {
            text: text.to_owned(),
            pattern,
            is_fixed: !of_the_day.iter().any(|(_, field)| field.starts_with('*')),
            zone: TimeZone::UTC,
            zone_name: "UTC".to_owned(),
        })
    }
}

impl Cron {
    /// In this time zone of the IANA database, for example `Europe/Stockholm`. The system's database is used, and one that is built in where there is none.
    ///
    /// # Errors
    ///
    /// [`CronError::UnknownZone`].
    pub fn in_zone(mut self, name: &str) -> Result<Self, CronError> {
        let unknown = || CronError::UnknownZone { zone: name.to_owned(), text: self.text.clone() };
        // Jiff has a name for a zone that nobody knows, which is no answer here.
        let zone = TimeZone::get(name).ok().filter(|zone| !zone.is_unknown()).ok_or_else(unknown)?;
        self.zone_name = zone.iana_name().unwrap_or(name).to_owned();
        self.zone = zone;
        Ok(self)
    }

    /// The expression as it was written.
    pub fn expression(&self) -> &str {
        &self.text
    }

    /// The time zone's name.
    pub fn zone(&self) -> &str {
        &self.zone_name
    }

    /// When it is due for the first time after this; nothing when that is not before the year 5000.
    pub fn next_after(&self, after: SystemTime) -> Option<SystemTime> {
        let after = Timestamp::try_from(after).ok()?;
        self.next(after).and_then(|at| at.try_into().ok())
    }

    /// When it is due after this, again and again.
    pub fn upcoming(&self, after: SystemTime) -> impl Iterator<Item = SystemTime> {
        std::iter::successors(self.next_after(after), |last| self.next_after(*last))
    }

    pub(crate) fn next(&self, after: Timestamp) -> Option<Timestamp> {
        if self.is_fixed { self.next_time_of_day(after) } else { self.next_of_interval(after) }
    }

    /// The first of the local times, each of them resolved to one moment, that comes later. Later local times never resolve to earlier moments.
    fn next_time_of_day(&self, after: Timestamp) -> Option<Timestamp> {
        let mut local = self.zone.to_datetime(after);
        loop {
            local = self.pattern.next(local, false)?;
            let at = self.resolve(local)?;
            if at > after {
                return Some(at);
            }
        }
    }

    /// A time that is skipped is when the clock goes on; of one that comes twice, it is the first.
    fn resolve(&self, local: DateTime) -> Option<Timestamp> {
        let ambiguous = self.zone.to_ambiguous_timestamp(local);
        let is_skipped = matches!(ambiguous.offset(), AmbiguousOffset::Gap { .. });
        let earlier = ambiguous.earlier().ok()?;
        if !is_skipped {
            return Some(earlier);
        }
        // As far before the change as the local time is before the end of the gap.
        self.zone.following(earlier).next().map(|change| change.timestamp())
    }

    /// Local time goes on evenly from one change of the clock to the next.
    fn next_of_interval(&self, after: Timestamp) -> Option<Timestamp> {
        let (mut since, mut is_inclusive) = (after, false);
        loop {
            let offset = self.zone.to_offset(since);
            let local = self.pattern.next(offset.to_datetime(since), is_inclusive)?;
            let at = offset.to_timestamp(local).ok()?;
            match self.zone.following(since).next().map(|change| change.timestamp()) {
                Some(change) if at >= change => (since, is_inclusive) = (change, true),
                _ => return Some(at),
            }
        }
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.text, self.zone_name)
    }
}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cron({self})")
    }
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        (&self.text, &self.zone_name) == (&other.text, &other.zone_name)
    }
}
