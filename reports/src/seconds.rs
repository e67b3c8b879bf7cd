//! Durations as seconds, rounded to microseconds: readable, and short.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer};

/// Times that a log can name, in microseconds: up to a billion seconds.
const END: f64 = 1e15;

pub(crate) fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(rounded(*duration).as_micros() as f64 / 1e6)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let seconds = f64::deserialize(from)?;
    let micros = (seconds * 1e6).round();
    if (0.0..END).contains(&micros) {
        Ok(Duration::from_micros(micros as u64))
    } else {
        Err(serde::de::Error::custom(format!("{seconds} is not a number of seconds from 0 to a billion")))
    }
}

/// The time as a log keeps it.
pub(crate) fn rounded(duration: Duration) -> Duration {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(micros.min(END as u64 - 1))
}

/// The same for lists of times.
pub(crate) mod list {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeSeq};

    #[derive(Serialize, Deserialize)]
    struct Seconds(#[serde(with = "super")] Duration);

    pub(crate) fn serialize<S: Serializer>(durations: &[Duration], to: S) -> Result<S::Ok, S::Error> {
        let mut list = to.serialize_seq(Some(durations.len()))?;
        for duration in durations {
            list.serialize_element(&Seconds(*duration))?;
        }
        list.end()
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Duration>, D::Error> {
        Ok(Vec::<Seconds>::deserialize(from)?.into_iter().map(|seconds| seconds.0).collect())
    }
}
