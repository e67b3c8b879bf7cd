//! Restarts that no client notices: a server that drains before it ends, and a supervisor that starts the next process before it tells the
//! last one to.
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use seaworthy_telemetry::lifecycle::{Server, told_to_stop};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), seaworthy_telemetry::lifecycle::Error> {
//! let router = Router::new().route("/", get(async || "hello"));
//! let drained = Server::new(router).address("127.0.0.1:8080").serve(told_to_stop()).await?;
//! println!("{} connections ended by themselves, {} were cut", drained.finished, drained.cut);
//! # Ok(())
//! # }
//! ```
//!
//! A [`Server`] that is told to stop
//!
//! 1. says so: the closures given to [`Server::on_drain`] run, and whoever holds its [`Draining`] hears of it;
//! 2. takes no new connection from a socket that others hold too (the next process, a service manager);
//! 3. goes on answering on the connections that it has, with `Connection: close`, so that every busy client leaves by itself;
//! 4. closes what is idle after that; requests that are running finish;
//! 5. cuts what is left at the deadline, and reports how many that were.
//!
//! Step 3 is what `axum::serve` lacks: it closes idle connections at once, and a client that sends its next request just then loses it.
//!
//! A [`Supervisor`] owns the listening socket and runs the server as a child process on it. On SIGHUP it starts the next process, waits until
//! that one is ready, and only then tells the last one to stop: there is always somebody who accepts.
//!
//! The socket and the word of readiness travel as systemd defines them (`LISTEN_FDS`, `NOTIFY_SOCKET`), so the same server runs under
//! systemd's socket activation, under the supervisor, and alone.

mod connection;
mod draining;
mod error;
mod listener;
mod notify;
mod process;
mod server;
mod stop;
mod supervisor;

pub use draining::Draining;
pub use error::Error;
pub use server::{Bound, Drained, Server};
pub use stop::told_to_stop;
pub use supervisor::Supervisor;
