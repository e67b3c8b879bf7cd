//! Ports for services that can't pick one themselves and tell us.

use std::net::{Ipv4Addr, TcpListener};

use crate::Error;

/// The port that was asked for, if it is free, else any free port. Another process may take it before the service
/// does; then the service's start fails and says so.
pub(crate) fn pick(service: &str, wanted: Option<u16>) -> Result<u16, Error> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, wanted.unwrap_or(0)));
    let address = listener.and_then(|listener| listener.local_addr());
    match (address, wanted) {
        (Ok(address), _) => Ok(address.port()),
        (Err(error), Some(port)) if error.kind() == std::io::ErrorKind::AddrInUse => {
            Err(Error::PortTaken { service: service.to_owned(), port })
        }
        (Err(source), _) => Err(Error::Io { action: format!("picking a port for {service}"), source }),
    }
}
