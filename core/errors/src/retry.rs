//! Whether it helps to try again.

use std::time::Duration;

/// Advice to whoever may try again: a client, a queue, a supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It would fail in the same way.
    Never,
    /// It may work later; wait as one usually does, longer each time.
    Backoff,
    /// It may work after this time.
    After(Duration),
}

impl Retry {
    /// Whether trying again can help.
    pub const fn is_worth_it(self) -> bool {
        !matches!(self, Retry::Never)
    }

    /// How long to wait at least, where that is known.
    pub const fn after(self) -> Option<Duration> {
        match self {
            Retry::After(wait) => Some(wait),
            Retry::Never | Retry::Backoff => None,
        }
    }
}
