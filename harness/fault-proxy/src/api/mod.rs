//! Toxiproxy's HTTP API in front of a set of [`Proxies`].
//!
//! [`serve`] listens on an address of your choice; keep it on the loopback interface, since whoever reaches the
//! API can open ports on this machine. Routes, fields, defaults, statuses and error texts are those of
//! Toxiproxy 2, so its clients work unchanged, and no call waits for traffic or for an upstream.
//!
//! Beyond Toxiproxy's: the toxics that only this proxy has, `toxics` in the body that creates a proxy, `hits` of
//! faults on messages, and `/decisions`, the log of what the seed decided.
//!
//! ```
//! use seaworthy_fault_proxy::{Proxies, api};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let api = api::serve(Proxies::with_seed(7), "127.0.0.1:0".parse().unwrap()).await?;
//! println!("give your Toxiproxy client http://{}", api.address());
//! # Ok(())
//! # }
//! ```

mod attributes;
mod decisions;
mod fields;
mod messages;
mod metrics;
mod proxies;
mod refusal;
mod request;
mod routes;
mod serving;
mod settings;
mod toxics;

use std::{io, net::SocketAddr};

use axum::Router;

use crate::Proxies;

pub use decisions::MAX_DECISIONS;
pub(crate) use proxies::config;
pub use serving::Api;
pub use settings::{Answered, Settings};
pub(crate) use toxics::check as toxic;

/// The largest request body, in bytes.
pub const MAX_BODY: usize = 1024 * 1024;

/// The version of Toxiproxy whose API this is. `/version` says so, since clients choose by it what they may ask for.
pub const TOXIPROXY_VERSION: &str = "2.12.0";

/// Serves the API for these proxies on `address`; port 0 means any free one.
///
/// # Errors
///
/// When the address can't be listened on.
pub async fn serve(proxies: Proxies, address: SocketAddr) -> io::Result<Api> {
    serve_with(proxies, address, Settings::default()).await
}

/// Serves the API with other settings than the defaults.
///
/// # Errors
///
/// When the address can't be listened on.
pub async fn serve_with(proxies: Proxies, address: SocketAddr, settings: Settings) -> io::Result<Api> {
    serving::start(router_with(proxies, &settings), address, &settings).await
}

/// The API's routes, for a server of your own. It should limit connections and the time that a request takes to arrive.
pub fn router(proxies: Proxies) -> Router {
    router_with(proxies, &Settings::default())
}

/// The API's routes with other settings than the defaults.
pub fn router_with(proxies: Proxies, settings: &Settings) -> Router {
    routes::router(proxies, settings)
}
