//! What can go wrong when a service begins to listen.

use std::{ffi::OsString, io};

/// Why a server does not listen, or a supervisor does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process listens there.
    #[error("another process listens on {address} already: stop it, or choose another address")]
    AddressInUse {
        /// The address.
        address: String,
    },
    /// The address can't be listened on.
    #[error("can't listen on {address}: {source}")]
    Listen {
        /// The address.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The service manager handed over something else than one listening TCP socket.
    #[error(
        "the service manager handed over no usable socket: {why}; give it exactly one TCP socket that listens, or none"
    )]
    HandedOver {
        /// What is wrong.
        why: String,
    },
    /// The supervisor could not be set up.
    #[error("the supervisor can't {action}: {source}")]
    Supervise {
        /// What it tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The first process did not become ready, so there is nothing to supervise.
    #[error("{program:?} did not become ready: {why}")]
    NotReady {
        /// The program.
        program: OsString,
        /// What happened.
        why: String,
    },
}
