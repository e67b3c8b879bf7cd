//! What can go wrong when a proxy is set up or changed.

use std::io;

/// Why a proxy or a toxic could not be set up. A proxy never drops a fault silently.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No proxy has this name.
    #[error("there is no proxy named `{0}`")]
    ProxyNotFound(String),
    /// A proxy has this name already.
    #[error("a proxy named `{0}` exists already: choose another name or delete that one first")]
    ProxyExists(String),
    /// The proxy has no toxic of this name.
    #[error("proxy `{proxy}` has no toxic named `{toxic}`")]
    ToxicNotFound {
        /// The proxy that was asked.
        proxy: String,
        /// The toxic that it does not have.
        toxic: String,
    },
    /// The proxy has a toxic of this name already, on either stream.
    #[error("proxy `{proxy}` has a toxic named `{toxic}` already: give this one another name")]
    ToxicExists {
        /// The proxy that was asked.
        proxy: String,
        /// The name that is taken.
        toxic: String,
    },
    /// The toxicity is not a share between 0 and 1.
    #[error("toxicity {0} is not between 0 and 1")]
    Toxicity(f64),
    /// An attribute of a toxic has a value that means nothing.
    #[error("toxic `{toxic}`: attribute `{attribute}` {why}")]
    Attribute {
        /// The toxic's name.
        toxic: String,
        /// The attribute's name on the HTTP API.
        attribute: &'static str,
        /// What is wrong with it, and what is right.
        why: String,
    },
    /// The proxy could not listen.
    #[error("proxy `{proxy}` can't listen on {address}: {source}")]
    Listen {
        /// The proxy.
        proxy: String,
        /// The address that was asked for.
        address: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The listening address is malformed, or its host can't be found.
    #[error("proxy `{proxy}` can't listen on `{address}`: {why}")]
    Address {
        /// The proxy.
        proxy: String,
        /// The address that was asked for.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// A name or an address is empty or too long.
    #[error("{what} {why}")]
    Text {
        /// What the text was meant for.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A limit is reached.
    #[error("there can be at most {limit} {what}: delete some first")]
    TooMany {
        /// What there can't be more of.
        what: &'static str,
        /// How many there can be.
        limit: usize,
    },
}
