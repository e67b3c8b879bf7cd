//! What an application said to its services, as the fault proxies heard it: the SQL that ran, the Redis commands, the WebSocket messages.
//!
//! ```no_run
//! use seaworthy_harness::{Stack, assert_no_n_plus_one, assert_queries};
//!
//! # async fn load_orders(url: &str) -> Vec<u8> { vec![] }
//! # async fn example(stack: Stack) {
//! let postgres = stack.postgres();
//! let orders = assert_queries!(postgres, <= 3, { load_orders(&postgres.url()).await });
//! assert_no_n_plus_one!(postgres);
//! println!("{}", postgres.queries()); // the statements, one a line
//! # }
//! ```

mod assertions;
mod commands;
mod kind;
mod matcher;
mod queries;
mod repeated;
mod sql;
mod transcript;

use seaworthy_fault_proxy::{Protocol, Recording};

#[doc(hidden)]
pub use self::assertions::{Claim, check};
pub use self::{
    assertions::DEFAULT_REPEATED,
    commands::Commands,
    kind::Kind,
    matcher::{Matcher, closed, opened, received, sent},
    queries::{Queries, Ran},
    repeated::Repeated,
    transcript::{Line, Transcript},
};
use crate::Service;

impl Service {
    /// The SQL that ran through this service's fault proxy, since the service was started.
    ///
    /// # Panics
    ///
    /// When the service is no Postgres.
    pub fn queries(&self) -> Queries {
        Queries::of(self.heard(Protocol::Postgres, "SQL"))
    }

    /// The Redis commands that went through this service's fault proxy, since the service was started.
    ///
    /// # Panics
    ///
    /// When the service is no Redis.
    pub fn commands(&self) -> Commands {
        Commands::of(self.heard(Protocol::Redis, "Redis commands"))
    }

    /// The WebSocket messages that went through this service's fault proxy, since the service was started.
    ///
    /// # Panics
    ///
    /// When the service is no application that listens.
    pub fn transcript(&self) -> Transcript {
        Transcript::of(self.heard(Protocol::WebSocket, "WebSocket messages"))
    }

    fn heard(&self, protocol: Protocol, what: &str) -> Recording {
        let recording = self.recording().filter(|recording| recording.tap().protocol() == protocol);
        recording.cloned().unwrap_or_else(|| panic!("the service `{}` does not get {what}", self.name()))
    }
}
