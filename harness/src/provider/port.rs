//! Ports for services that can't pick one themselves and tell us.

use std::{
    net::{Ipv4Addr, TcpListener},
    ops::Range,
    sync::atomic::{AtomicU32, Ordering},
};

use crate::Error;

/// Below the ranges from which systems take the ports of outgoing connections (Linux from 32768, macOS from 49152). A
/// port in those could be taken, while its service is down, by a client that tries to reconnect, even to itself.
const RANGE: Range<u32> = 15_000..32_000;
/// Ports that one process tries before it comes to those of its neighbour.
const PER_PROCESS: u32 = 64;

/// The port that was asked for, if it is free, else a free one.
///
/// Between our look and the service's start, another process could take the port. Ours don't: each counts through a
/// range of its own.
pub(crate) fn pick(service: &str, wanted: Option<u16>) -> Result<u16, Error> {
    if let Some(port) = wanted {
        return match bind(port) {
            Ok(()) => Ok(port),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                Err(Error::PortTaken { service: service.to_owned(), port })
            }
            Err(source) => {
                Err(Error::Io { action: format!("listening on port {port} for {service}"), source })
            }
        };
    }
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let size = RANGE.end - RANGE.start;
    for _ in 0..size {
        let number =
            std::process::id().wrapping_mul(PER_PROCESS).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(RANGE.start + number % size).unwrap_or(u16::MAX);
        if bind(port).is_ok() {
            return Ok(port);
        }
    }
    Err(Error::Start {
        service: service.to_owned(),
        why: format!("every port from {} to {} is taken", RANGE.start, RANGE.end - 1),
        log: String::new(),
    })
}

fn bind(port: u16) -> std::io::Result<()> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(drop)
}
