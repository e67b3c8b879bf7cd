//! Problem details (RFC 9457) for every error that an axum application can answer with.
//!
//! A handler returns `Result<_, Error>`. [`ProblemLayer`] sees to the rest: what extractors refuse, unknown addresses and methods,
//! bodies that are too large, panics, and requests that take too long. Every 4xx and 5xx leaves as `application/problem+json`, and none with
//! a text that was not made for clients.
//!
//! ```
//! use std::time::Duration;
//! use axum::{Router, extract::Path, routing::get};
//! use seaworthy_errors::{Error, http::ProblemLayer, http_codes};
//!
//! async fn show(Path(order): Path<u32>) -> Result<String, Error> {
//!     Err(Error::new(&http_codes::NOT_FOUND).with("order", order))
//! }
//!
//! let app: Router = Router::new()
//!     .route("/orders/{id}", get(show))
//!     .layer(ProblemLayer::new().timeout(Duration::from_secs(5)));
//! # let _ = app;
//! ```

mod extract;
mod layer;
mod problem;
mod types;

pub use extract::{Json, Path, Query};
pub use layer::{ProblemLayer, ProblemService};
pub use problem::Problem;
pub use types::problem_types;
