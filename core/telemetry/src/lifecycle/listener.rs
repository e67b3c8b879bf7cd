//! The listening socket: handed over by a service manager, or our own.

use std::{env, io, net::TcpListener, process};

use listenfd::ListenFd;
use nix::sys::socket::{getsockopt, sockopt::AcceptConn};

use super::Error;

/// A listening socket, and whether somebody else holds it too.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: TcpListener,
    /// Connections that nobody accepts wait for the next process instead of being refused.
    pub(super) shared: bool,
}

impl Listener {
    /// The socket that a service manager handed over, else one of our own on this address.
    pub(super) async fn open(address: &str) -> Result<Listener, Error> {
        if let Some(socket) = handed_over()? {
            return Ok(Listener { socket, shared: true });
        }
        let fail = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => Error::AddressInUse { address: address.to_owned() },
            _ => Error::Listen { address: address.to_owned(), source },
        };
        // By tokio, which resolves names without blocking and asks for a long queue.
        let bound = tokio::net::TcpListener::bind(address).await.map_err(fail)?;
        Ok(Listener { socket: bound.into_std().map_err(fail)?, shared: false })
    }
}

/// The socket of `LISTEN_FDS`, as sd_listen_fds(3) has it, if it is meant for this process.
fn handed_over() -> Result<Option<TcpListener>, Error> {
    let fail = |why: String| Error::HandedOver { why };
    let Some(count) = env::var_os("LISTEN_FDS") else { return Ok(None) };
    let meant_for = env::var("LISTEN_PID").unwrap_or_default();
    if !meant_for.is_empty() && meant_for != process::id().to_string() {
        return Ok(None);
    }
    if count != "1" {
        return Err(fail(format!("LISTEN_FDS is {count:?}")));
    }
    let socket = ListenFd::from_env().take_tcp_listener(0).map_err(|error| fail(error.to_string()))?;
    let socket = socket.ok_or_else(|| fail("it is taken already".to_owned()))?;
    match getsockopt(&socket, AcceptConn) {
        Ok(true) => Ok(Some(socket)),
        Ok(false) => Err(fail("it does not listen (in a systemd unit, set Accept=no)".to_owned())),
        Err(errno) => Err(fail(errno.to_string())),
    }
}
