//! Addresses to listen on: from what people write to what a socket is bound to.
//!
//! The forms are those that Go's `net.Listen` takes, as are the texts of what is wrong with one: clients of Toxiproxy
//! show them, and some compare them.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::net::{TcpSocket, lookup_host};

/// How long the resolver may take for the name of a host to listen on.
const PATIENCE: Duration = Duration::from_secs(5);

/// Finds the address for `host:port`. IPv4 comes first where a name has both. No host means every interface, nothing at
/// all means a free port of the loopback interface.
pub(crate) async fn resolve(address: &str) -> Result<SocketAddr, String> {
    if address.is_empty() {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    }
    let (host, port) = split(address)?;
    if host.is_empty() {
        return Ok(every_interface(port));
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, port));
    }
    let no_such_host = || format!("lookup {host}: no such host");
    if !could_be_a_name(host) {
        return Err(no_such_host());
    }
    let found = tokio::time::timeout(PATIENCE, lookup_host((host, port)));
    let found =
        found.await.map_err(|_| format!("lookup {host}: i/o timeout"))?.map_err(|_| no_such_host())?;
    preferred(found).ok_or_else(no_such_host)
}

/// The first IPv4 address, or the first of all.
fn preferred(found: impl Iterator<Item = SocketAddr>) -> Option<SocketAddr> {
    let found: Vec<SocketAddr> = found.collect();
    found.iter().find(|address| address.is_ipv4()).or(found.first()).copied()
}

/// Binds without listening, so that the port is ours while connections are refused.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn split(address: &str) -> Result<(&str, u16), String> {
    let wrong = |why: &str| format!("address {address}: {why}");
    let (host, port) = if let Some(bracketed) = address.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']').ok_or_else(|| wrong("missing ']' in address"))?;
        (host, rest.strip_prefix(':').ok_or_else(|| wrong("missing port in address"))?)
    } else {
        let (host, port) = address.rsplit_once(':').ok_or_else(|| wrong("missing port in address"))?;
        if host.contains(':') {
            return Err(wrong("too many colons in address"));
        }
        (host, port)
    };
    if port.is_empty() {
        return Ok((host, 0));
    }
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("lookup tcp/{port}: unknown port"));
    }
    let port = port.parse().map_err(|_| format!("address {port}: invalid port"))?;
    Ok((host, port))
}

/// Spares the resolver what can't be the name of a host, such as an IPv4 address with a number too large.
fn could_be_a_name(host: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    host.len() <= 253 && host.bytes().all(allowed) && host.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// Both families where there is IPv6.
fn every_interface(port: u16) -> SocketAddr {
    match bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))) {
        Ok(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
        Err(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_form_of_a_listening_address_means_what_it_means_to_toxiproxy() {
        let cases = [
            ("", Ok("127.0.0.1:0")),
            ("127.0.0.1:0", Ok("127.0.0.1:0")),
            ("localhost:3310", Ok("127.0.0.1:3310")),
            ("localhost:", Ok("127.0.0.1:0")),
            ("0.0.0.0:22220", Ok("0.0.0.0:22220")),
            ("[::1]:22220", Ok("[::1]:22220")),
            ("local373", Err("address local373: missing port in address")),
            ("[::1]", Err("address [::1]: missing port in address")),
            ("[::1:5", Err("address [::1:5: missing ']' in address")),
            ("::1:5", Err("address ::1:5: too many colons in address")),
            ("localhost:http8", Err("lookup tcp/http8: unknown port")),
            ("localhost:-1", Err("lookup tcp/-1: unknown port")),
            ("localhost:65536", Err("address 65536: invalid port")),
            ("256.0.0.1:1", Err("lookup 256.0.0.1: no such host")),
            ("a b:1", Err("lookup a b: no such host")),
        ];
        for (address, wanted) in cases {
            let got = resolve(address).await.map(|address| address.to_string());
            assert_eq!(got, wanted.map(str::to_owned).map_err(str::to_owned), "{address}");
        }
    }

    #[test]
    fn a_name_with_addresses_of_both_families_means_the_first_of_ipv4() {
        let check = |found: &[&str], wanted: Option<&str>| {
            let found = found.iter().map(|address| address.parse().unwrap());
            assert_eq!(preferred(found), wanted.map(|address| address.parse().unwrap()));
        };
        check(&["[::1]:1", "127.0.0.1:1", "127.0.0.2:1"], Some("127.0.0.1:1"));
        check(&["[::1]:1", "[::2]:1"], Some("[::1]:1"));
        check(&[], None);
    }

    #[tokio::test]
    async fn no_host_means_every_interface() {
        let every = resolve(":22220").await.unwrap();
        assert!(every.ip().is_unspecified());
        assert_eq!(every.port(), 22220);
    }
}
