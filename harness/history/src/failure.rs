//! What an error says about an operation: did it take effect or not, or can't one know?

use std::fmt;

use crate::Outcome;

/// Why an operation did not succeed, as far as its client can know.
///
/// When in doubt, it is [`Unknown`](Failure::Unknown): an operation that is wrongly called refused makes checks cry out over nothing, and one that is
/// wrongly called unknown only makes them see less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It took no effect, for certain.
    Refused(String),
    /// It may have taken effect, or may still do so.
    Unknown(String),
}

impl Failure {
    /// It took no effect, for certain.
    pub fn refused(why: impl fmt::Display) -> Self {
        Failure::Refused(why.to_string())
    }

    /// It may have taken effect.
    pub fn unknown(why: impl fmt::Display) -> Self {
        Failure::Unknown(why.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Refused(why) => write!(f, "refused: {why}"),
            Failure::Unknown(why) => write!(f, "unknown: {why}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(why) => Outcome::Failed(why),
            Failure::Unknown(why) => Outcome::Unknown(why),
        }
    }
}

impl From<std::convert::Infallible> for Failure {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

/// Refused is what the server refused in words, unless those say that it is going down (class 57, `crash_shutdown` and its like) or that the outcome
/// of a transaction is not known (08007, 40003); and what never reached a connection. All else may have happened.
#[cfg(feature = "sqlx")]
impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        let refused = match &error {
            sqlx::Error::Database(said) => said
                .code()
                .is_some_and(|code| !code.starts_with("57P") && !["08007", "40003"].contains(&code.as_ref())),
            sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::Configuration(_)
            | sqlx::Error::RowNotFound => true,
            _ => false,
        };
        if refused { Failure::refused(error) } else { Failure::unknown(error) }
    }
}

/// Refused is what the server answered with an error, and a connection that could not be opened. All else may have happened.
#[cfg(feature = "redis")]
impl From<redis::RedisError> for Failure {
    fn from(error: redis::RedisError) -> Self {
        let refused = error.is_connection_refusal() || error.code().is_some();
        if refused { Failure::refused(error) } else { Failure::unknown(error) }
    }
}

/// Refused is what found no connection, and an answer with a status of 4xx. All else may have happened.
#[cfg(feature = "reqwest")]
impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        let refused = error.is_builder()
            || error.is_connect()
            || error.status().is_some_and(|status| status.is_client_error());
        if refused { Failure::refused(error) } else { Failure::unknown(error) }
    }
}
