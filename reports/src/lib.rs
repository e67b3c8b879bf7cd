//! The record that a run of scenarios leaves, and its renderings: JSON for machines, one self-contained HTML file for
//! people.
//!
//! This crate knows nothing of the harness that fills the record: any test runner can.
//!
//! ```
//! use std::time::Duration;
//! use seaworthy_reports::{Check, Environment, Run, ScenarioRecord, Verdict};
//!
//! let mut scenario = ScenarioRecord::new("disk-full", "the disk fills up, then space returns");
//! scenario.checks.push(Check::new("nothing is lost", Verdict::Held, "all 412 are there"));
//! let run = Run { seed: 7, scenarios: vec![scenario], ..Run::default() };
//!
//! assert_eq!(run.verdict(), Verdict::Held);
//! assert!(run.to_html().contains("disk-full"));
//! assert_eq!(Run::from_json(&run.to_json()).unwrap(), run);
//! ```

mod html;
mod plot;
mod record;

pub use record::{
    Check, Environment, FaultWindow, Number, OutcomeKind, Run, Sample, ScenarioRecord, Status, Verdict,
};
