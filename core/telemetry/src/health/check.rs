//! What a check is, and what it says.

use std::{borrow::Cow, fmt, future::Future};

use async_trait::async_trait;

/// How a component is. Ordered: the worst of several is the state of them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// It is well.
    Pass,
    /// It works, and somebody should look at it.
    Warn,
    /// It does not work.
    Fail,
}

impl Status {
    /// Its name in health+json: `pass`, `warn` or `fail`.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Pass => "pass",
            Status::Warn => "warn",
            Status::Fail => "fail",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a check says.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub(crate) status: Status,
    /// Everybody may read it.
    pub(crate) text: Cow<'static, str>,
    pub(crate) observed: Option<(f64, &'static str)>,
    /// For the log alone.
    pub(crate) cause: Option<String>,
}

impl Outcome {
    /// The longest text, in bytes.
    const MAX_TEXT: usize = 512;

    /// All is well.
    pub fn pass() -> Self {
        Outcome { status: Status::Pass, text: Cow::Borrowed(""), observed: None, cause: None }
    }

    /// It works, and somebody should look. Everybody can read the text.
    pub fn warn(text: impl Into<Cow<'static, str>>) -> Self {
        Outcome { status: Status::Warn, text: bounded(text.into()), ..Outcome::pass() }
    }

    /// It does not work. Everybody can read the text: give the reason to [`because`](Outcome::because).
    pub fn fail(text: impl Into<Cow<'static, str>>) -> Self {
        Outcome { status: Status::Fail, text: bounded(text.into()), ..Outcome::pass() }
    }

    /// What was measured, and its unit.
    pub fn observed(mut self, value: f64, unit: &'static str) -> Self {
        self.observed = value.is_finite().then_some((value, unit));
        self
    }

    /// The reason, for the log alone: an error's text may name hosts and users.
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// How the component is.
    pub fn status(&self) -> Status {
        self.status
    }
}

fn bounded(text: Cow<'static, str>) -> Cow<'static, str> {
    if text.len() <= Outcome::MAX_TEXT {
        return text;
    }
    let end = text.floor_char_boundary(Outcome::MAX_TEXT);
    Cow::Owned(format!("{}…", &text[..end]))
}

/// Looks how a component is. An async function or closure that gives an [`Outcome`] is a check.
#[async_trait]
pub trait Check: Send + Sync + 'static {
    /// Looks once. It may take as long as it likes: it is stopped at its deadline, and a panic counts as a failure.
    async fn check(&self) -> Outcome;
}

#[async_trait]
impl<F, Fut> Check for F
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Outcome> + Send,
{
    async fn check(&self) -> Outcome {
        self().await
    }
}
