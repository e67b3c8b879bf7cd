//! A small shop, the reference application of Seaworthy: read it first, and copy from it.
//!
//! - `POST /orders` writes an order and enqueues its fulfilment **in one Postgres transaction** ([`orders`]).
//! - Workers fulfil orders; recording a fulfilment completes its job **in the same transaction** ([`fulfilment`]).
//! - Every change of state is written to an outbox in the transaction that makes it, and a relay publishes the outbox
//!   through Redis ([`relay`]): a Redis that is away delays news, and loses none.
//! - Clients on `GET /ws` watch orders ([`live`]). Pub/Sub forgets what it sends while nobody listens, so after every
//!   reconnect the server reads the watched orders' true state from Postgres.
//!
//! The shop runs as `serve` (HTTP, WebSockets, relay) and `work` (workers, relay), any number of each.
//!
//! ```no_run
//! # #[tokio::main]
//! # async fn main() -> std::process::ExitCode {
//! seaworthy_shop::run_command(["shop", "serve", "--listen", "127.0.0.1:8080"]).await
//! # }
//! ```

mod bug;
pub mod codes;
mod command;
pub mod fulfilment;
pub mod live;
pub mod orders;
pub mod relay;
mod schema;
mod server;
mod telemetry;

pub use bug::Bug;
pub use command::{Shop, run_command};
pub use schema::migrate;
