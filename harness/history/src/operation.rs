//! One operation of one client.

use std::{fmt, time::Duration};

use seaworthy_reports::{OutcomeKind, SingleOperation};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It took effect, and the client was told so.
    Ok,
    /// It did not take effect, and the client was told so.
    Failed(String),
    /// The client can't know: the connection broke before the answer. It may take effect at any time from its invocation on, or never.
    Unknown(String),
    /// No answer came within the client's deadline. It may take effect at any time from its invocation on, or never.
    TimedOut,
}

impl Outcome {
    /// Whether the operation may have taken effect, or may still do so.
    pub fn may_have_happened(&self) -> bool {
        !matches!(self, Outcome::Failed(_))
    }

    /// Whether the client was told, either way.
    pub fn is_known(&self) -> bool {
        matches!(self, Outcome::Ok | Outcome::Failed(_))
    }

    /// Why it did not end well; empty when it did.
    pub fn why(&self) -> &str {
        match self {
            Outcome::Ok => "",
            Outcome::Failed(why) | Outcome::Unknown(why) => why,
            Outcome::TimedOut => "no answer in time",
        }
    }

    /// The outcome as reports count it.
    pub fn kind(&self) -> OutcomeKind {
        match self {
            Outcome::Ok => OutcomeKind::Ok,
            Outcome::Failed(_) => OutcomeKind::Failed,
            Outcome::Unknown(_) => OutcomeKind::Unknown,
            Outcome::TimedOut => OutcomeKind::TimedOut,
        }
    }
}

/// One operation of one client. Times count from the history's start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// The client. It does one thing after the other; after an operation whose end it does not know, it goes on under a new number.
    pub process: u64,
    /// What was done, for example `place-order`.
    pub kind: String,
    /// What it was done to; empty where there is only one.
    #[serde(default)]
    pub key: String,
    /// What the client asked for, for example the value to write; null where that says nothing.
    #[serde(default)]
    pub input: Value,
    /// What the client was told, for example the value that it read; null where that says nothing.
    #[serde(default)]
    pub output: Value,
    /// When it should have begun. Latency counts from here, so that a stall is not hidden by the requests that it held back.
    pub intended: Duration,
    /// When it began.
    pub invoked: Duration,
    /// When it ended, or its client gave up.
    pub ended: Duration,
    /// How it ended.
    pub outcome: Outcome,
}

impl Operation {
    /// An operation on a key that began when it should have.
    pub fn new(kind: impl Into<String>, key: impl Into<String>, began: Duration) -> Self {
        Operation {
            process: 0,
            kind: kind.into(),
            key: key.into(),
            input: Value::Null,
            output: Value::Null,
            intended: began,
            invoked: began,
            ended: began,
            outcome: Outcome::Unknown("it has not ended".to_owned()),
        }
    }

    /// By this client.
    pub fn by(mut self, process: u64) -> Self {
        self.process = process;
        self
    }

    /// Asked for this.
    pub fn asking(mut self, input: impl Into<Value>) -> Self {
        self.input = input.into();
        self
    }

    /// It ended then, like this.
    pub fn ended(mut self, at: Duration, outcome: Outcome) -> Self {
        (self.ended, self.outcome) = (at, outcome);
        self
    }

    /// It took effect and ended then, and its client was told this.
    pub fn answered(mut self, at: Duration, output: impl Into<Value>) -> Self {
        self.output = output.into();
        self.ended(at, Outcome::Ok)
    }

    /// From the intended start to the end.
    pub fn latency(&self) -> Duration {
        self.ended.saturating_sub(self.intended)
    }

    /// The operation as a report shows it.
    pub fn single(&self) -> SingleOperation {
        SingleOperation {
            kind: self.kind.clone(),
            key: self.key.clone(),
            at: self.intended,
            latency: self.latency(),
            outcome: self.outcome.kind(),
            why: self.outcome.why().to_owned(),
        }
    }
}

/// In a line: `1.204 s to 1.310 s, client 3: write account-7 5, ok`.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |at: Duration| format!("{:.3} s", at.as_secs_f64());
        let (from, to) = (seconds(self.invoked), seconds(self.ended));
        write!(f, "{from} to {to}, client {}: {}", self.process, self.kind)?;
        if !self.key.is_empty() {
            write!(f, " {}", self.key)?;
        }
        if !self.input.is_null() {
            write!(f, " {}", self.input)?;
        }
        match &self.outcome {
            Outcome::Ok if self.output.is_null() => write!(f, ", ok"),
            Outcome::Ok => write!(f, " -> {}", self.output),
            Outcome::Failed(why) => write!(f, ", refused: {why}"),
            Outcome::Unknown(why) => write!(f, ", unknown: {why}"),
            Outcome::TimedOut => write!(f, ", no answer in time"),
        }
    }
}
