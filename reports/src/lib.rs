//! The event log that a run of scenarios leaves, and its renderings: HTML and the terminal for people, Markdown for a pull
//! request, JUnit for a build server, JSON for programs.
//!
//! A [`Run`] is what a runner fills. It is kept as an event log: JSON, a line per event, which is readable up to where it ends, also when the
//! runner was killed. Every rendering is made from the log alone, so the same log gives the same bytes.
//!
//! Memory and size are bounded: operations are counted into slices of time with their latencies in buckets, and kept one by one only around a
//! violation.
//!
//! This crate knows nothing of the harness that fills the record: any test runner can.
//!
//! ```
//! use std::time::Duration;
//! use seaworthy_reports::{Check, OutcomeKind, Run, ScenarioRecord, Verdict};
//!
//! let ms = Duration::from_millis;
//! let mut scenario = ScenarioRecord::new("disk-full", "The disk fills up, then space returns.");
//! scenario.operations.record("place-order", ms(20), ms(3), OutcomeKind::Ok);
//! scenario.checks.push(Check::new("nothing is lost", Verdict::Held, "all 412 are there"));
//! let run = Run { seed: 7, scenarios: vec![scenario], ..Run::default() };
//!
//! assert_eq!(run.verdict(), Verdict::Held);
//! let again = Run::from_log(&run.to_log()).unwrap();
//! assert_eq!(again.to_html(), Run::from_log(&run.to_log()).unwrap().to_html());
//! assert!(again.to_html().contains("disk-full"));
//! ```

mod comparison;
mod event;
mod focus;
mod growing;
mod html;
mod json;
mod junit;
mod log;
mod markdown;
mod operations;
mod plot;
mod record;
mod resources;
mod seconds;
mod terminal;
mod text;
mod trend;
mod words;

pub use comparison::Comparison;
pub use event::Event;
pub use focus::{Focus, LogLine, SingleOperation};
pub use log::{FORMAT, LogError, LogWriter};
pub use operations::{Counts, Latencies, Operations, OutcomeKind, Slice, Tally};
pub use record::{Check, Environment, FaultWindow, Number, Run, ScenarioRecord, Status, Verdict};
pub use resources::{Resources, Series, Unit};
pub use trend::Trend;
