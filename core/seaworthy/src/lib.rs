//! The core services of Seaworthy under one name: `seaworthy = { features = ["errors", "queue"] }`.
//!
//! Each service is a crate of its own and can be used alone; a feature of the same name brings it in here. Without
//! features, this crate is empty.
//!
//! ```
//! # #[cfg(feature = "queue")]
//! # {
//! use seaworthy::queue::NewJob;
//!
//! let job = NewJob::new("send-receipt", &42).unwrap().max_attempts(5);
//! # let _ = job;
//! # }
//! ```

#[cfg(feature = "errors")]
pub use seaworthy_errors as errors;
#[cfg(feature = "queue")]
pub use seaworthy_queue as queue;
#[cfg(feature = "telemetry")]
pub use seaworthy_telemetry as telemetry;
