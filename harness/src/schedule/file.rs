//! Schedules as files that people write and read.

use std::{fs, path::Path, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Event, Schedule};
use crate::{Error, Fault};

/// The longest that an event may begin after the start or last: a day.
const LONGEST: Duration = Duration::from_secs(86_400);

/// An event as it is written: times in milliseconds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    at_ms: u64,
    lasts_ms: u64,
    target: String,
    fault: FaultLine,
}

/// A fault by its name, with what it needs.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum FaultLine {
    Latency {
        latency_ms: u64,
        #[serde(default)]
        jitter_ms: u64,
    },
    Down,
    Reset,
    Kill,
    Pause,
    DiskFull,
    Restart,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    events: Vec<Line>,
}

impl Schedule {
    /// The schedule as JSON, one event a line:
    ///
    /// ```
    /// use std::time::Duration;
    /// use seaworthy_harness::{Fault, Schedule};
    ///
    /// let second = Duration::from_secs(1);
    /// let schedule = Schedule::quiet().fault(second, 2 * second, "postgres", Fault::Down);
    /// assert_eq!(
    ///     schedule.to_json(),
    ///     "{\"events\": [\n  {\"at_ms\":1000,\"lasts_ms\":2000,\"target\":\"postgres\",\"fault\":\"down\"}\n]}\n"
    /// );
    /// assert_eq!(Schedule::from_json(&schedule.to_json()).unwrap(), schedule);
    /// ```
    pub fn to_json(&self) -> String {
        // Plain data, which always has a JSON form.
        let line = |event: &Event| serde_json::to_string(&Line::from(event)).unwrap_or_default();
        let lines: Vec<String> = self.events.iter().map(|event| format!("  {}", line(event))).collect();
        if lines.is_empty() {
            "{\"events\": []}\n".to_owned()
        } else {
            format!("{{\"events\": [\n{}\n]}}\n", lines.join(",\n"))
        }
    }

    /// Reads a schedule from JSON, as [`to_json`](Self::to_json) writes it.
    ///
    /// # Errors
    ///
    /// [`Error::Schedule`], which says where and what is wrong.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let file: File =
            serde_json::from_str(text).map_err(|error| Error::Schedule { why: error.to_string() })?;
        let schedule = Schedule { events: file.events.into_iter().map(Event::from).collect() };
        schedule.check().map_err(|why| Error::Schedule { why })?;
        Ok(schedule)
    }

    /// Writes the schedule to a file.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        fs::write(path, self.to_json()).map_err(Error::io(format!("writing the schedule {}", path.display())))
    }

    /// Reads a schedule from a file.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Schedule`].
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path)
            .map_err(Error::io(format!("reading the schedule {}", path.display())))?;
        Self::from_json(&text)
    }

    /// What no player could play, in words.
    pub(super) fn check(&self) -> Result<(), String> {
        for (number, event) in self.events.iter().enumerate() {
            let at = |why: &str| {
                Err(format!("event {}, {} of `{}`: {why}", number + 1, event.fault.name(), event.target))
            };
            if event.target.is_empty() {
                return at("it has no target");
            }
            if event.at > LONGEST || event.lasts > LONGEST {
                return at("it begins later or lasts longer than a day");
            }
            if let Fault::Latency { latency, jitter } = event.fault
                && (jitter > latency || latency > LONGEST)
            {
                return at("its jitter is larger than its latency, or it is longer than a day");
            }
            let same = |other: &&Event| {
                other.target == event.target
                    && other.fault.name() == event.fault.name()
                    && other.at < event.at + event.lasts
                    && event.at < other.at + other.lasts
            };
            if self.events[..number].iter().any(|other| same(&other)) {
                return at("the same fault is on there at the same time");
            }
        }
        Ok(())
    }
}

impl From<&Event> for Line {
    fn from(event: &Event) -> Self {
        let fault = match event.fault {
            Fault::Latency { latency, jitter } => {
                FaultLine::Latency { latency_ms: millis(latency), jitter_ms: millis(jitter) }
            }
            Fault::Down => FaultLine::Down,
            Fault::Reset => FaultLine::Reset,
            Fault::Kill => FaultLine::Kill,
            Fault::Pause => FaultLine::Pause,
            Fault::DiskFull => FaultLine::DiskFull,
            Fault::Restart => FaultLine::Restart,
        };
        Line { at_ms: millis(event.at), lasts_ms: millis(event.lasts), target: event.target.clone(), fault }
    }
}

impl From<Line> for Event {
    fn from(line: Line) -> Self {
        let ms = Duration::from_millis;
        let fault = match line.fault {
            FaultLine::Latency { latency_ms, jitter_ms } => {
                Fault::Latency { latency: ms(latency_ms), jitter: ms(jitter_ms) }
            }
            FaultLine::Down => Fault::Down,
            FaultLine::Reset => Fault::Reset,
            FaultLine::Kill => Fault::Kill,
            FaultLine::Pause => Fault::Pause,
            FaultLine::DiskFull => Fault::DiskFull,
            FaultLine::Restart => Fault::Restart,
        };
        Event { at: ms(line.at_ms), lasts: ms(line.lasts_ms), target: line.target, fault }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Storm;

    proptest! {
        #[test]
        fn what_is_written_reads_back(seed: u64) {
            let ms = Duration::from_millis;
            let slow = Fault::Latency { latency: ms(200), jitter: ms(50) };
            let storm = Storm::over(ms(30_000)).hazard("a", slow, 1).hazard("b", Fault::Kill, 1).hazard("c", Fault::Pause, 1);
            let schedule = storm.schedule(seed);
            prop_assert_eq!(Schedule::from_json(&schedule.to_json()).unwrap(), schedule);
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            let _ = Schedule::from_json(&text);
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_words() {
        let event = |at: u64, target: &str, fault: &str| {
            format!(r#"{{"at_ms":{at},"lasts_ms":1000,"target":"{target}","fault":{fault}}}"#)
        };
        let of = |events: &[String]| format!("{{\"events\":[{}]}}", events.join(","));
        let cases = [
            ("nonsense".to_owned(), "expected"),
            (
                of(&[event(0, "redis", "\"dwon\"")]),
                "unknown variant `dwon`, expected one of `latency`, `down`",
            ),
            (of(&[event(0, "", "\"down\"")]), "event 1, down of ``: it has no target"),
            (of(&[event(90_000_000, "redis", "\"down\"")]), "longer than a day"),
            (
                of(&[event(0, "redis", "\"down\""), event(500, "redis", "\"down\"")]),
                "event 2, down of `redis`: the same fault",
            ),
            (
                of(&[event(0, "redis", r#"{"latency":{"latency_ms":5,"jitter_ms":9}}"#)]),
                "its jitter is larger",
            ),
            (
                of(&[event(0, "redis", r#"{"latency":{"latency_ms":5,"jiter_ms":9}}"#)]),
                "unknown field `jiter_ms`",
            ),
        ];
        for (text, why) in cases {
            let error = Schedule::from_json(&text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
