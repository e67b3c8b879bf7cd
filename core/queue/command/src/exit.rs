//! How a command ends.

use std::process::ExitCode;

use seaworthy_queue::Error;
use seaworthy_telemetry::redaction::scrub;

use crate::database::CONNECT_DEADLINE;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All that was asked for is so: 0.
    Done,
    /// Nothing matched, or something was refused: 1.
    Refused,
    /// The command was not understood: 2.
    Usage,
    /// The database could not be reached, or failed: 3.
    Unreachable,
    /// Ctrl-C or another signal: 130, what a shell reports for a command that Ctrl-C ended.
    Interrupted,
}

impl Exit {
    /// The worse of two: a command for many ends as its worst part.
    pub(crate) fn and(self, other: Exit) -> Exit {
        if self == Exit::Done { other } else { self }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::Refused => 1,
            Exit::Usage => 2,
            Exit::Unreachable => 3,
            Exit::Interrupted => 130,
        })
    }
}

/// Why a command can't be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    exit: Exit,
    /// Without secrets.
    pub(crate) text: String,
}

impl Problem {
    pub(crate) fn refused(text: impl Into<String>) -> Self {
        Problem { exit: Exit::Refused, text: text.into() }
    }

    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Problem { exit: Exit::Usage, text: text.into() }
    }

    pub(crate) fn unreachable(text: impl Into<String>) -> Self {
        Problem { exit: Exit::Unreachable, text: text.into() }
    }

    /// Says it on standard error.
    pub(crate) fn tell(&self) -> Exit {
        eprintln!("seaworthy: {}", self.text);
        self.exit
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        // Of a table or a schema that is not there.
        const NO_TABLES: [&str; 2] = ["42P01", "3F000"];
        let text = match &error {
            Error::Database(sqlx::Error::Database(refused))
                if refused.code().is_some_and(|code| NO_TABLES.contains(&code.as_ref())) =>
            {
                "this database has no queue, or one of an older version: the application makes the tables with \
                 `Queue::migrate`, or the URL names another database"
                    .to_owned()
            }
            Error::Database(sqlx::Error::PoolTimedOut) => {
                format!("the database gave no connection within {} s", CONNECT_DEADLINE.as_secs())
            }
            other => scrub(&other.to_string()).into_owned(),
        };
        Problem::unreachable(text)
    }
}
