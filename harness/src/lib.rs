//! Real services for tests, and the means to break them: a stack of Postgres, Redis and your application, each behind a
//! fault proxy; faults of the network, the process and the disk; open-loop load, histories and checks.
//!
//! ```
//! use seaworthy_harness::{Fault, Redis, Stack};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let stack = Stack::builder().redis(Redis::new()).start().await?;
//! let client = redis::Client::open(stack.redis().url())?;
//! assert!(client.get_multiplexed_async_connection().await.is_ok());
//!
//! let outage = stack.redis().inject(Fault::Down).await?;
//! assert!(client.get_multiplexed_async_connection().await.is_err());
//! outage.heal().await?;
//! assert!(client.get_multiplexed_async_connection().await.is_ok());
//! # Ok(())
//! # }
//! ```
//!
//! # Where services come from
//!
//! A [`ProviderChoice`] says so: containers, processes of binaries on this machine, or servers that run already. With
//! `auto`, a stack takes Docker where a daemon answers and the images are there or can be pulled, else native processes.
//!
//! # Nothing is left behind
//!
//! A small guardian process owns everything that belongs to a stack. When the stack's owner ends, in whatever way, the
//! guardian ends the stack's processes and containers and removes its mounts and its folder.
//!
//! # Settings
//!
//! | environment variable | what it names |
//! |---|---|
//! | `SEAWORTHY_PROVIDER` | the provider, for [`ProviderChoice::from_env`] |
//! | `SEAWORTHY_POSTGRES`, `SEAWORTHY_REDIS` | the server binaries of the native provider |
//! | `SEAWORTHY_POSTGRES_IMAGE`, `SEAWORTHY_REDIS_IMAGE`, `SEAWORTHY_APP_IMAGE` | the images of the docker provider |
//! | `SEAWORTHY_POSTGRES_URL`, `SEAWORTHY_REDIS_URL` | the servers of the external provider |
//! | `SEAWORTHY_DIR` | the folder in which stacks keep their files |

mod asked;
pub mod binaries;
mod cache;
pub mod codes;
mod digest;
pub mod env;
mod error;
mod eventually;
mod fault;
mod guardian;
mod lock;
mod login;
mod nats;
mod network;
pub mod observed;
mod processes;
mod provider;
mod readiness;
mod replica;
mod rows;
mod run;
mod schedule;
mod service;
mod shared;
mod shrink;
mod signal;
mod software;
mod spec;
mod stack;
#[cfg(feature = "toxiproxy")]
pub mod toxiproxy;
mod usage;
mod version;

pub use env::Env;
pub use error::Error;
pub use eventually::{Answer, NotInTime, consistently, eventually, wait_until};
pub use fault::{Fault, Injected};
pub use nats::Nats;
pub use network::{Faults, NetworkFault, Sentence};
pub use observed::{Queries, Transcript};
#[cfg(feature = "docker")]
pub use provider::docker::version as docker_version;
pub use provider::{ProviderChoice, would_take};
pub use readiness::Readiness;
pub use replica::{Lag, Replica};
pub use rows::{Redactor, Rows, RowsError};
pub use run::{BoxError, Interrupt, News, OwnFault, Play, Played, Progress, Scenario, Voyage};
pub use schedule::{Cluster, Event, Imported, Manifest, Schedule, Storm};
pub use seaworthy_fault_proxy::{Stream, Toxic};
pub use seaworthy_harness_macros::test;
pub use seaworthy_history::{
    Call, Counts, Failure, History, Operation, Outcome, Pending, Profile, Sent, Workload, check, export,
};
/// The records that runs leave, and their renderings.
pub use seaworthy_reports as reports;
pub use service::Service;
pub use shared::take_down;
pub use shrink::{Rate, Shrink, Shrunk, Step, Trial};
pub use signal::Signal;
pub use software::{Image, Port, Program, Software};
pub use spec::{App, Postgres, Redis};
pub use stack::{Stack, StackBuilder, data_folder};
pub use usage::Usage;

#[cfg(doctest)]
#[doc = include_str!("../../docs/recording.md")]
mod recording_guide {}
