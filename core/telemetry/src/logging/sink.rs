//! Where lines end: the face of a strategy.

use std::{io, time::Duration};

use super::{files, journald, json, line::Line, pretty, syslog};
use crate::settings::{Settings, Strategy};

/// Formats finished lines and moves them. Runs on the writer's thread, so it may wait.
pub trait Sink: Send {
    /// Writes lines.
    ///
    /// # Errors
    ///
    /// Says how many of them are lost, and whether to try again with the same lines.
    fn write(&mut self, lines: &[Line]) -> Result<(), Failure>;

    /// How long to wait for more lines, for a sink that does better with many at once.
    fn linger(&self) -> Duration {
        Duration::ZERO
    }
}

/// A sink could not write all lines.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// How many lines are lost, unless they are tried again.
    pub lost: usize,
    /// Why, for the person who looks after the service. It is scrubbed before it is shown.
    pub reason: String,
    /// Try the same lines again, after this time at the earliest.
    pub retry: Option<Duration>,
}

impl Failure {
    /// Lines that are lost.
    pub fn lost(lost: usize, reason: impl std::fmt::Display) -> Self {
        Failure { lost, reason: reason.to_string(), retry: None }
    }

    /// Lines that can be tried again, after this time at the earliest.
    pub fn retry(lines: usize, after: Duration, reason: impl std::fmt::Display) -> Self {
        Failure { lost: lines, reason: reason.to_string(), retry: Some(after) }
    }
}

/// The sink of the strategy that the settings say.
pub(super) fn of(settings: &Settings) -> Box<dyn Sink> {
    match settings.strategy {
        Strategy::Pretty => Box::new(pretty::Pretty::stderr()),
        Strategy::Json => Box::new(json::Json::new(io::stdout(), &settings.service)),
        Strategy::Files => Box::new(files::Files::new(&settings.files, &settings.service)),
        Strategy::Journald => Box::new(journald::Journald::new(&settings.journald, &settings.service)),
        Strategy::Syslog => Box::new(syslog::Syslog::new(&settings.syslog, &settings.service)),
        #[cfg(feature = "otlp")]
        Strategy::Otlp => Box::new(super::otlp::Otlp::new(&settings.otlp, &settings.service)),
        #[cfg(not(feature = "otlp"))]
        Strategy::Otlp => unreachable!("the settings are checked before"),
    }
}
