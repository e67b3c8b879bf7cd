//! What clients did and what became of it: open-loop load, histories, and checks of what must hold.
//!
//! A [`Workload`] sends operations at their times and records each in a [`History`]: when it was meant to begin, began and ended, what was
//! asked and told, and whether it is known to have taken effect. The checks in [`check`] read the history afterwards.
//!
//! ```
//! use std::time::Duration;
//! use seaworthy_history::{Failure, History, Profile, Workload};
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let history = History::start();
//! Workload::new(Profile::constant(100.0, Duration::from_millis(50)))
//!     .operation("ping", 1, |_| async { Ok::<_, Failure>("pong") })
//!     .run(&history)
//!     .await;
//! assert_eq!(history.counts().ok, 5);
//! assert_eq!(history.operations()[0].output, "pong");
//! # });
//! ```
//!
//! It knows nothing of the services: it can be used without the rest of the harness.

pub mod check;
pub mod export;
mod failure;
mod history;
pub mod linearizable;
mod load;
mod operation;

pub use failure::Failure;
pub use history::{History, Pending};
pub use load::{Call, Profile, Sent, Workload};
pub use operation::{Operation, Outcome};
pub use seaworthy_reports::Counts;
