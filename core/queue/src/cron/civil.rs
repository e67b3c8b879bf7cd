//! Which local times an expression names. Zones are not known here: croner reads the expression and walks a calendar in which every day has 24 hours.

use std::cmp::Ordering;

use croner::{
    CivilDateTime, CronDateTime, Resolution, Weekday,
    errors::CronError,
    parser::{CronParser, Seconds, Year},
};
use jiff::{SignedDuration, civil::DateTime};

#[derive(Clone)]
pub(super) struct Pattern(croner::Cron);

impl Pattern {
    /// From fields and where they stand; nothing when one of them can't be read.
    pub(super) fn parse(fields: &[(usize, &str)]) -> Option<Self> {
        let fields: Vec<&str> = fields.iter().map(|(_, field)| *field).collect();
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        parser.parse(&fields.join(" ")).ok().map(Pattern)
    }

    /// The first local time after this one, or from it on, to the second.
    pub(super) fn next(&self, from: DateTime, is_inclusive: bool) -> Option<DateTime> {
        self.0.find_next_occurrence(&Local(from), is_inclusive).ok().map(|Local(found)| found)
    }
}

#[derive(Clone, Copy)]
struct Local(DateTime);

impl CronDateTime for Local {
    fn to_civil(&self) -> CivilDateTime {
        let Local(time) = self;
        let (month, day) = (time.month().unsigned_abs().into(), time.day().unsigned_abs().into());
        let [hour, minute, second] =
            [time.hour(), time.minute(), time.second()].map(|part| part.unsigned_abs().into());
        CivilDateTime::from_ymd_hms_opt(time.year().into(), month, day, hour, minute, second)
            .expect("jiff's local times exist")
    }

    fn civil_weekday(&self) -> Weekday {
        Weekday::from_days_from_sunday(self.0.weekday().to_sunday_zero_offset().unsigned_abs().into())
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        let year = i16::try_from(civil.year()).map_err(|_| CronError::InvalidDate)?;
        let part = |part: u32| i8::try_from(part).map_err(|_| CronError::InvalidDate);
        let (month, day) = (part(civil.month())?, part(civil.day())?);
        let (hour, minute, second) = (part(civil.hour())?, part(civil.minute())?, part(civil.second())?);
        let time =
            DateTime::new(year, month, day, hour, minute, second, 0).map_err(|_| CronError::InvalidDate)?;
        Ok(Resolution::Single(Local(time)))
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        self.0.checked_add(SignedDuration::from_secs(seconds)).ok().map(Local)
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}
