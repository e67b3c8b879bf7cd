//! Every statement that the application runs: how long it took, how many rows, from which line, for which request.
//!
//! sqlx tells of each statement as a tracing event, which a [`QueryLog`] hears whatever the log's level is. It warns of slow
//! statements, and of a statement that one request runs again and again (an N+1 query), with the line that does it. Values are never
//! seen: sqlx does not tell the parameters, and literals become `?`.
//!
//! ```
//! use seaworthy_telemetry::queries;
//! use tracing_subscriber::{EnvFilter, Layer as _, layer::SubscriberExt as _};
//!
//! let queries = queries::Settings::default().repeated_from(5).start()?;
//! let log = tracing_subscriber::fmt::layer().with_filter(EnvFilter::new("info"));
//! let subscriber = tracing_subscriber::registry().with(log).with(queries.layer());
//! queries.on_statement(|statement| println!("{}: {:?}", statement.kind(), statement.time));
//! # drop(subscriber);
//! # Ok::<(), queries::QueryLogError>(())
//! ```

mod caller;
mod file;
mod log;
mod recording;
mod reporter;
mod settings;
mod statement;
mod tally;
mod text;
mod tokens;

pub use caller::Caller;
pub use log::QueryLog;
pub(crate) use recording::Recorder;
pub use recording::{Recording, record};
pub use settings::{Callers, QueryLogError, Settings};
pub use statement::Statement;
pub(crate) use tally::Tally;
pub use tally::{Repeated, Totals};
pub use text::{Fingerprint, MAX_TEXT};

/// What a query log has done since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Statements that ended.
    pub statements: u64,
    /// Of them, those that were slow.
    pub slow: u64,
    /// Statements that were repeated within one piece of work, once for each such statement and work.
    pub repeated: u64,
    /// Lines and warnings that were left out because too many waited to be written.
    pub dropped: u64,
    /// Lines that could not be written to the file.
    pub failed: u64,
}
