//! What many idle connections cost.

#![cfg(target_os = "linux")]

use std::{
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use seaworthy_fault_proxy::{Proxies, ProxyConfig};

/// Memory of this process, in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// File handles that this process may have.
fn handles() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    line.split_whitespace().nth(3).unwrap().parse().unwrap()
}

/// All four ends of a connection are in this process, so ten thousand need `ulimit -n 65536`; with less, there are
/// as many as there are handles for, and the sum is scaled.
#[test]
#[ignore = "opens tens of thousands of sockets; run it alone, with `ulimit -n 65536`"]
fn ten_thousand_idle_connections_cost_less_than_200_mb() {
    let count = (handles().saturating_sub(200) / 4).min(10_000);
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let upstream = server.local_addr().unwrap().to_string();
    let proxy = runtime.block_on(Proxies::with_seed(1).create(ProxyConfig::new("idle", upstream))).unwrap();
    let before = resident();
    let connections: Vec<(TcpStream, TcpStream)> = (0..count)
        .map(|_| (TcpStream::connect(proxy.listen()).unwrap(), server.accept().unwrap().0))
        .collect();
    let deadline = Instant::now() + Duration::from_secs(20);
    while proxy.connections() < count as u64 {
        assert!(Instant::now() < deadline, "{} of {count} connections", proxy.connections());
        std::thread::sleep(Duration::from_millis(5));
    }
    let each = resident().saturating_sub(before) / count as u64;
    println!(
        "{count} idle connections: {each} bytes each, {} MB for ten thousand",
        each * 10_000 / 1_000_000
    );
    assert!(each * 10_000 < 200_000_000, "{each} bytes for each idle connection");
    drop(connections);
}
