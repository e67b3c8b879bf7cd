//! One error type for a service: coded, documented, and safe to show.
//!
//! - An [`Error`] has a stable [`Code`], a [`Kind`], a text for clients, and everything else for those who run the service: the source,
//!   a context, the place. Libraries keep their own small enums, which convert into it.
//! - Every code is declared with [`codes!`], with its meaning, an example and a remedy. A [`Registry`] holds those of an application.
//! - With the feature `http`, [`http`] answers with problem details (RFC 9457) for every error that an axum application can make.
//! - A [`Boundary`] turns panics and late work into errors. An [`Aggregate`] turns many errors into one. [`Reports`] go to where
//!   somebody looks, grouped by their [`Fingerprint`].
//!
//! ```
//! use seaworthy_errors::{Error, Public, Retry, codes};
//!
//! codes! {
//!     /// What can go wrong with parcels.
//!     pub static CODES;
//!
//!     /// The carrier did not take the parcel, since its depot is full.
//!     pub DEPOT_FULL = "PARCEL-0001", Unavailable, "The parcel can't be taken right now" {
//!         example: "The Monday after a holiday.",
//!         remedy: "Wait; if it lasts for more than a day, call the carrier.",
//!     }
//! }
//!
//! fn hand_over(parcel: u64) -> Result<(), Error> {
//!     let refused = std::io::Error::other("depot 7 at 10.0.0.7: full");
//!     Err(Error::new(&DEPOT_FULL).caused_by(refused).with("parcel", parcel))
//! }
//!
//! let error = hand_over(42).unwrap_err();
//! assert_eq!(error.to_string(), "PARCEL-0001: The parcel can't be taken right now");
//! assert_eq!(error.http_status(), 503);
//! assert_eq!(error.retry_advice(), Retry::Backoff);
//! assert!(error.details().to_string().ends_with("parcel 42): depot 7 at 10.0.0.7: full"));
//! ```

mod aggregate;
mod boundary;
mod bounded;
mod code;
mod context;
mod error;
mod fingerprint;
#[cfg(feature = "http")]
pub mod http;
pub mod http_codes;
mod kind;
mod public;
mod registry;
mod report;
mod retry;
pub mod task_codes;

pub use aggregate::{Aggregate, Child, Window};
pub use boundary::{Boundary, JobFuture};
pub use code::Code;
#[doc(hidden)]
pub use code::{check_ids, check_texts, default_retry};
pub use context::Value;
pub use error::{Details, Error, ResultExt};
pub use fingerprint::Fingerprint;
pub use http_codes::CODES as HTTP_CODES;
pub use kind::Kind;
pub use public::Public;
pub use registry::Registry;
#[cfg(feature = "webhook")]
pub use report::Webhook;
pub use report::{JsonLines, Log, Report, ReportCounts, Reporter, ReporterError, Reports, ReportsBuilder};
pub use retry::Retry;
pub use task_codes::CODES as TASK_CODES;
