//! What a query log is told to do.

use std::{io, num::ParseIntError, path::PathBuf, time::Duration};

use super::{QueryLog, reporter::Reporter};

/// For which statements the calling line of the application is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callers {
    /// For every statement: a walk of the stack each time, some microseconds.
    All,
    /// For slow statements and repeated ones, where it is worth it anyway.
    Findings,
    /// For none.
    None,
}

impl Default for Callers {
    /// All in debug builds, findings in others.
    fn default() -> Self {
        if cfg!(debug_assertions) { Callers::All } else { Callers::Findings }
    }
}

/// How a [`QueryLog`] works. The defaults suit production.
#[derive(Debug, Clone)]
pub struct Settings {
    pub(crate) slow_after: Duration,
    pub(crate) repeated_from: u64,
    pub(crate) callers: Callers,
    pub(crate) lines: bool,
    pub(crate) file: Option<PathBuf>,
    pub(crate) file_limit: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            slow_after: Duration::from_millis(200),
            repeated_from: 10,
            callers: Callers::default(),
            lines: false,
            file: None,
            file_limit: 256 * 1024 * 1024,
        }
    }
}

impl Settings {
    /// The defaults, changed by the environment: `SEAWORTHY_SQL_SLOW_MS`, `SEAWORTHY_SQL_REPEATED`, `SEAWORTHY_SQL_CALLERS`
    /// (`all`, `findings`, `none`), `SEAWORTHY_SQL_LINES` (`true`, `false`) and `SEAWORTHY_SQL_FILE`.
    ///
    /// # Errors
    ///
    /// When a variable has a value that it can't have.
    pub fn from_env() -> Result<Self, QueryLogError> {
        Settings::from_variables(|name| std::env::var(name).ok())
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, QueryLogError> {
        let mut settings = Settings::default();
        let number = |name: &'static str| {
            let parse = |value: String| {
                value.trim().parse::<u64>().map_err(|source| QueryLogError::Number { name, value, source })
            };
            variable(name).map(parse).transpose()
        };
        if let Some(milliseconds) = number("SEAWORTHY_SQL_SLOW_MS")? {
            settings.slow_after = Duration::from_millis(milliseconds);
        }
        if let Some(times) = number("SEAWORTHY_SQL_REPEATED")? {
            settings.repeated_from = times;
        }
        let choice = |name, allowed, value| QueryLogError::Choice { name, allowed, value };
        if let Some(value) = variable("SEAWORTHY_SQL_CALLERS") {
            settings.callers = match value.trim() {
                "all" => Callers::All,
                "findings" => Callers::Findings,
                "none" => Callers::None,
                _ => return Err(choice("SEAWORTHY_SQL_CALLERS", "all, findings, none", value)),
            };
        }
        if let Some(value) = variable("SEAWORTHY_SQL_LINES") {
            settings.lines = match value.trim() {
                "true" => true,
                "false" => false,
                _ => return Err(choice("SEAWORTHY_SQL_LINES", "true, false", value)),
            };
        }
        settings.file = variable("SEAWORTHY_SQL_FILE").filter(|path| !path.is_empty()).map(PathBuf::from);
        Ok(settings)
    }

    /// From which time on a statement is slow and a warning; 200 ms unless set.
    pub fn slow_after(self, slow_after: Duration) -> Self {
        Settings { slow_after, ..self }
    }

    /// From how many times on, in one piece of work, the same statement is a warning; 10 unless set, 0 for never.
    pub fn repeated_from(self, repeated_from: u64) -> Self {
        Settings { repeated_from, ..self }
    }

    /// For which statements callers are looked up; all in debug builds, findings in others unless set.
    pub fn callers(self, callers: Callers) -> Self {
        Settings { callers, ..self }
    }

    /// Whether each statement is a line of the log, at level debug with the target `seaworthy::sql`; not unless set.
    pub fn lines(self, lines: bool) -> Self {
        Settings { lines, ..self }
    }

    /// A file that gets each statement as a line of JSON; none unless set.
    pub fn file(self, file: impl Into<PathBuf>) -> Self {
        Settings { file: Some(file.into()), ..self }
    }

    /// The size in bytes at which the file is moved to `<file>.1`, in place of the one before, and begun anew; 256 MiB unless set.
    pub fn file_limit(self, file_limit: u64) -> Self {
        Settings { file_limit, ..self }
    }

    /// Starts the log: opens the file, and starts the thread that writes.
    ///
    /// # Errors
    ///
    /// When the file can't be opened, or the thread can't be started.
    pub fn start(self) -> Result<QueryLog, QueryLogError> {
        let reporter = Reporter::start(&self)?;
        Ok(QueryLog::new(self, reporter))
    }

    /// A log that only counts and records, without a thread.
    pub(crate) fn start_silent(self) -> QueryLog {
        QueryLog::new(Settings { lines: false, file: None, repeated_from: 0, ..self }, Reporter::silent())
    }

    pub(crate) fn finds_all_callers(&self) -> bool {
        self.callers == Callers::All
    }

    pub(crate) fn finds_callers_of_findings(&self) -> bool {
        self.callers != Callers::None
    }
}

/// Why a query log could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryLogError {
    /// A variable of the environment is not a number.
    #[error("{name} must be a whole number, like 200, and is {value:?}")]
    Number {
        /// Which variable.
        name: &'static str,
        /// What it is.
        value: String,
        /// What is wrong with it.
        source: ParseIntError,
    },
    /// A variable of the environment is none of its few values.
    #[error("{name} must be one of {allowed}, and is {value:?}")]
    Choice {
        /// Which variable.
        name: &'static str,
        /// What it can be.
        allowed: &'static str,
        /// What it is.
        value: String,
    },
    /// The file for statements can't be opened.
    #[error("the query log's file {} can't be opened for appending: {source}; choose another with SEAWORTHY_SQL_FILE", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The thread that writes can't be started.
    #[error("the query log's thread can't be started: {source}")]
    Thread {
        /// Why.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, String> {
        let find =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Settings::from_variables(find).map_err(|error| error.to_string())
    }

    #[test]
    fn the_environment_changes_the_defaults() {
        let settings = read(&[
            ("SEAWORTHY_SQL_SLOW_MS", "50"),
            ("SEAWORTHY_SQL_REPEATED", "3"),
            ("SEAWORTHY_SQL_CALLERS", "none"),
            ("SEAWORTHY_SQL_LINES", "true"),
            ("SEAWORTHY_SQL_FILE", "/tmp/sql.jsonl"),
        ])
        .unwrap();
        assert_eq!(settings.slow_after, Duration::from_millis(50));
        assert_eq!((settings.repeated_from, settings.callers, settings.lines), (3, Callers::None, true));
        assert_eq!(settings.file, Some(PathBuf::from("/tmp/sql.jsonl")));
        let default = read(&[]).unwrap();
        assert_eq!((default.slow_after, default.repeated_from), (Duration::from_millis(200), 10));
        assert!(!default.lines && default.file.is_none());
    }

    #[test]
    fn a_wrong_setting_is_named_with_what_it_can_be() {
        for (name, value, message) in [
            ("SEAWORTHY_SQL_SLOW_MS", "fast", "must be a whole number, like 200, and is \"fast\""),
            ("SEAWORTHY_SQL_REPEATED", "-1", "must be a whole number, like 200, and is \"-1\""),
            ("SEAWORTHY_SQL_CALLERS", "some", "must be one of all, findings, none, and is \"some\""),
            ("SEAWORTHY_SQL_LINES", "yes", "must be one of true, false, and is \"yes\""),
        ] {
            assert_eq!(read(&[(name, value)]).unwrap_err(), format!("{name} {message}"));
        }
    }
}
