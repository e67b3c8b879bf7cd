//! Times of the database.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use crate::Error;

/// From microseconds after 1970, as `(extract(epoch from …) * 1000000)::bigint` gives them.
pub(super) fn timestamp(micros: i64) -> Result<Timestamp, Error> {
    Timestamp::from_microsecond(micros).map_err(|error| Error::Database(sqlx::Error::Decode(error.into())))
}

/// As [`timestamp`].
pub(super) fn time(micros: i64) -> Result<SystemTime, Error> {
    SystemTime::try_from(timestamp(micros)?)
        .map_err(|error| Error::Database(sqlx::Error::Decode(error.into())))
}

/// From seconds; what is below zero, since clocks are not perfect, is zero.
pub(super) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
