//! Why a handler could not do its work.

use std::{fmt, time::Duration};

use seaworthy_errors::Retry;

use crate::Error;

/// Why a handler could not do its work. Every error converts into one, so `?` works in handlers; what a
/// [`seaworthy_errors::Error`] advises on trying again is obeyed, any other error is tried again.
#[derive(Debug)]
pub struct Failure {
    pub(crate) text: String,
    pub(crate) retry: Retry,
    /// After which time another attempt is made in the place of this one.
    pub(crate) again_in: Option<Duration>,
    code: Option<&'static str>,
}

impl Failure {
    /// The largest error text that is kept, in bytes.
    const MAX_TEXT: usize = 4096;

    pub(crate) fn new(reason: impl fmt::Display, retry: Retry, code: Option<&'static str>) -> Self {
        let mut text = reason.to_string();
        text.truncate(text.floor_char_boundary(Self::MAX_TEXT));
        // Postgres stores no NUL in a text.
        Failure { text: text.replace('\0', "\u{fffd}"), retry, again_in: None, code }
    }

    /// Try the job again later, if it has attempts left.
    pub fn retry(reason: impl fmt::Display) -> Self {
        Failure::new(reason, Retry::Backoff, None)
    }

    /// Try the job again after this time, if it has attempts left.
    pub fn retry_after(wait: Duration, reason: impl fmt::Display) -> Self {
        Failure::new(reason, Retry::After(wait), None)
    }

    /// Give the job back, for whoever claims it after this time: the attempt does not count. What is given back again and again never becomes a dead letter.
    pub fn give_back(wait: Duration, reason: impl fmt::Display) -> Self {
        Failure { again_in: Some(wait), ..Failure::retry(reason) }
    }

    /// Never try the job again: it goes to the dead-letter table at once.
    pub fn discard(reason: impl fmt::Display) -> Self {
        Failure::new(reason, Retry::Never, None)
    }

    /// What the dead letter will say, if it comes to that.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The code of the error that it was made of, if it had one; `TASK-0001` of a panic, `TASK-0002` of a handler that took too long.
    pub fn code(&self) -> Option<&str> {
        self.code
    }
}

impl<E: std::error::Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let any: &(dyn std::error::Error + 'static) = &error;
        if let Some(coded) = any.downcast_ref::<seaworthy_errors::Error>() {
            Failure::new(coded.details(), coded.retry_advice(), Some(coded.code().id))
        } else if let Some(own) = any.downcast_ref::<Error>() {
            Failure::new(own, own.code().retry, Some(own.code().id))
        } else {
            Failure::retry(error)
        }
    }
}
