//! Moments for columns of the type `timestamptz`, for crates that use neither `chrono` nor `time`.

use std::{fmt, time::Duration};

use serde::{Serialize, Serializer};
use sqlx::{
    Decode, Encode, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgTypeInfo, PgValueFormat, PgValueRef},
};

/// A moment, in microseconds. A `timestamptz` column takes it, and it prints as RFC 3339 has it.
///
/// ```
/// use std::time::Duration;
/// use seaworthy_factories::Moment;
///
/// let opened = Moment::after_1970(Duration::from_secs(1_767_225_600));
/// assert_eq!(opened.to_string(), "2026-01-01T00:00:00.000000Z");
/// assert_eq!((opened + Duration::from_millis(90_061_500)).to_string(), "2026-01-02T01:01:01.500000Z");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment {
    micros: i64,
}

/// Where Postgres counts from, in microseconds after 1970.
const YEAR_2000: i64 = 946_684_800_000_000;

impl Moment {
    /// So long after the begin of 1970, in UTC.
    pub fn after_1970(duration: Duration) -> Self {
        Moment::default() + duration
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, duration: Duration) -> Moment {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Moment { micros: self.micros.saturating_add(micros) }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY: i64 = 86_400_000_000;
        let (days, rest) = (self.micros.div_euclid(DAY), self.micros.rem_euclid(DAY));
        // The civil date of a number of days (Hinnant, *chrono-Compatible Low-Level Date Algorithms*).
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let (seconds, micros) = (rest / 1_000_000, rest % 1_000_000);
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Type<Postgres> for Moment {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("timestamptz")
    }
}

impl Encode<'_, Postgres> for Moment {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&(self.micros - YEAR_2000).to_be_bytes());
        Ok(IsNull::No)
    }
}

impl Decode<'_, Postgres> for Moment {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        if value.format() != PgValueFormat::Binary {
            return Err("a moment is read in binary form, as prepared statements have it".into());
        }
        let micros = i64::from_be_bytes(value.as_bytes()?.try_into()?);
        Ok(Moment { micros: micros.saturating_add(YEAR_2000) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let check = |seconds: u64, text: &str| {
            let moment = Moment::after_1970(Duration::from_secs(seconds));
            assert_eq!(moment.to_string(), text);
        };
        check(0, "1970-01-01T00:00:00.000000Z");
        check(951_782_399, "2000-02-28T23:59:59.000000Z");
        check(951_782_400, "2000-02-29T00:00:00.000000Z");
        check(4_107_542_400, "2100-03-01T00:00:00.000000Z");
    }
}
