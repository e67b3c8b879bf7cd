//! A TCP proxy that injects faults, driven as a library or through Toxiproxy's HTTP API.
//!
//! A test puts a [`Proxy`] between a client and a server and then makes the network misbehave: slow it
//! down, swallow its data, reset its connections, take it away. No server has to be installed: the proxy
//! runs inside the test process. The `api` feature (on by default) serves the same proxies over HTTP, so
//! that any Toxiproxy client can drive them.
//!
//! ```
//! use std::time::Duration;
//! use seaworthy_fault_proxy::{Proxies, ProxyConfig, Toxic};
//! # use tokio::{io::AsyncWriteExt, net::{TcpListener, TcpStream}};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = TcpListener::bind("127.0.0.1:0").await?;
//! # let upstream = server.local_addr()?.to_string();
//! let proxies = Proxies::with_seed(7);
//! let redis = proxies.create(ProxyConfig::new("redis", upstream)).await?;
//!
//! let mut client = TcpStream::connect(redis.listen()).await?;
//! redis.add_toxic(Toxic::latency(Duration::from_millis(200)))?;
//! client.write_all(b"PING\r\n").await?; // arrives at once; the answer takes 200 ms longer
//!
//! redis.disable().await; // now connections are refused, and the live ones are closed
//! assert!(TcpStream::connect(redis.listen()).await.is_err());
//! redis.enable()?;
//! # Ok(())
//! # }
//! ```
//!
//! # What is random, and what is not
//!
//! Every random decision comes from the seed of [`Proxies::with_seed`], the proxy's name, the connection's number
//! (counted from 0 in the order of acceptance), the toxic's name and stream, and the position in the stream. It
//! does not depend on the time or on other connections. Whether a toxic applies to a connection is decided once and
//! sticks. [`Proxies::decisions`] is the log of all that, for comparing runs.

mod accept;
mod address;
mod alarm;
mod chain;
mod connection;
mod decisions;
mod engine;
mod error;
mod faults;
mod limits;
mod link;
mod message_toxic;
mod messages;
mod protocol;
mod proxies;
mod proxy;
mod proxy_config;
mod queue;
mod recording;
mod stages;
mod toxic;
mod traffic;

#[cfg(feature = "api")]
pub mod api;
#[cfg(feature = "api")]
pub mod config;

pub use decisions::{Decided, Decision, DecisionLog};
pub use error::Error;
pub use limits::{MAX_ADDRESS, MAX_NAME, MAX_PROXIES, MAX_TOXICS};
pub use message_toxic::MessageToxic;
pub use messages::{
    Action, Frame, MAX_TEXT, MessageFault, Messages, Postgres, Redis, WebSocket, When, Which,
};
pub use proxies::Proxies;
pub use proxy::Proxy;
pub use proxy_config::{ProxyChange, ProxyConfig};
pub use recording::{
    Command, Entry, Excerpt, MAX_ENTRIES, MAX_EXCERPT, Mark, Message, MessageKind, Outcome, Protocol,
    Recorded, Recording, Statement, Tap, What,
};

/// How long a reordered message waits for the next one to overtake it.
pub const REORDER_PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);

pub use toxic::{Stream, Toxic, ToxicKind};
pub use traffic::Traffic;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/toxics.md")]
mod docs {}

#[cfg(all(doctest, feature = "api"))]
#[doc = include_str!("../../../docs/fault-proxy.md")]
mod guide {}
