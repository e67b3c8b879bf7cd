//! What the fault proxy costs while it injects nothing, beside no proxy and tokio's plainest one; and how exact its latency is.
//!
//! The table comes first: its ways take turns, so that their ratios mean something on a busy machine. Requests are
//! measured with `redis-benchmark` against a real Redis where both are installed. Criterion's numbers follow.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use seaworthy_benches::{Measured, echo_server, interleaved, micros, plain_proxy, sink_server};
use seaworthy_fault_proxy::{Proxies, Proxy, ProxyConfig, Toxic};
use seaworthy_harness::{Redis, Stack};
use tokio::runtime::Runtime;

const SMALL: usize = 64;
const BULK: usize = 64 * 1024 * 1024;
const DIRECT: &str = "direct";
const PLAIN: &str = "tokio copy_bidirectional";
const OURS: &str = "fault proxy";

/// The three ways to one server.
struct Ways {
    ways: [(&'static str, SocketAddr); 3],
    ours: Proxy,
}

impl Ways {
    fn to(runtime: &Runtime, server: SocketAddr) -> Ways {
        let config = ProxyConfig::new("bench", server.to_string());
        let plain = runtime.block_on(plain_proxy(server)).unwrap();
        let ours = runtime.block_on(Proxies::with_seed(0).create(config)).unwrap();
        Ways { ways: [(DIRECT, server), (PLAIN, plain), (OURS, ours.listen())], ours }
    }

    fn connect(&self) -> [(&'static str, TcpStream); 3] {
        self.ways.map(|(name, address)| (name, connect(address)))
    }

    fn address(&self, name: &str) -> SocketAddr {
        self.ways.iter().find(|(way, _)| *way == name).unwrap().1
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

fn round_trip(mut socket: &TcpStream) {
    socket.write_all(&[7; SMALL]).unwrap();
    socket.read_exact(&mut [0; SMALL]).unwrap();
}

fn transfer(mut socket: &TcpStream, bytes: &[u8]) {
    socket.write_all(&(bytes.len() as u64).to_be_bytes()).unwrap();
    socket.write_all(bytes).unwrap();
    socket.read_exact(&mut [0]).unwrap();
}

fn socket_of<'a>(sockets: &'a [(&'static str, TcpStream); 3], name: &str) -> &'a TcpStream {
    &sockets.iter().find(|(way, _)| *way == name).unwrap().1
}

/// Prints a line for each way, with its ratio to the plain proxy.
fn print(what: &str, measured: &[Measured; 3]) {
    let [direct, plain, ours] = measured.each_ref().map(Measured::median);
    println!("{what}");
    for (way, median) in measured.iter().zip([direct, plain, ours]) {
        let (low, high) = (way.quantile(0.1), way.quantile(0.9));
        println!("  {:26} {median:10.1}  ({low:.1} to {high:.1})  {:.2}x plain", way.name, median / plain);
    }
    println!("  added by ours over added by plain: {:.2}", (ours - direct) / (plain - direct));
}

/// The median time of a round trip, in µs.
fn round_trips(echo: &Ways) {
    let sockets = echo.connect();
    let measured = interleaved([DIRECT, PLAIN, OURS], 30, |name| {
        let socket = socket_of(&sockets, name);
        let mut times = Vec::new();
        for _ in 0..2000 {
            let started = Instant::now();
            round_trip(socket);
            times.push(micros(started.elapsed()));
        }
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    print("round trip of 64 bytes, p50 in µs", &measured);
}

fn bulk(sink: &Ways) {
    let sockets = sink.connect();
    let bytes = vec![7; BULK];
    let measured = interleaved([DIRECT, PLAIN, OURS], 20, |name| {
        let started = Instant::now();
        transfer(socket_of(&sockets, name), &bytes);
        (BULK as f64 / (1024.0 * 1024.0)) / started.elapsed().as_secs_f64()
    });
    print("bulk, in MiB/s", &measured);
}

/// Requests per second, as redis-benchmark says.
fn redis_benchmark(address: SocketAddr) -> Option<f64> {
    let output = Command::new("redis-benchmark")
        .args(["-h", &address.ip().to_string(), "-p", &address.port().to_string()])
        .args(["-c", "50", "-n", "50000", "-t", "get", "--csv"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().find(|line| line.starts_with("\"GET\""))?.split(',').nth(1)?.trim_matches('"').parse().ok()
}

fn requests(runtime: &Runtime) {
    let _entered = runtime.enter();
    let Ok(stack) = runtime.block_on(Stack::builder().redis(Redis::new()).start()) else {
        println!("requests: no Redis to measure with");
        return;
    };
    let url = stack.redis().direct_url();
    let server = url.rsplit(['@', '/']).find_map(|part| part.parse::<SocketAddr>().ok());
    let ways = Ways::to(runtime, server.unwrap_or_else(|| panic!("an address in {url}")));
    if redis_benchmark(ways.address(DIRECT)).is_none() {
        println!("requests: no redis-benchmark to measure with");
        return;
    }
    let measured =
        interleaved([DIRECT, PLAIN, OURS], 9, |name| redis_benchmark(ways.address(name)).unwrap_or(f64::NAN));
    print("redis-benchmark GET, 50 clients, in requests/s", &measured);
}

/// How far a delay of 20 ms is off, for ten connections at once.
fn latency_error(echo: &Ways) {
    const DELAY: Duration = Duration::from_millis(20);
    echo.ours.add_toxic(Toxic::latency(DELAY)).unwrap();
    let address = echo.address(OURS);
    let connections: Vec<_> = (0..10)
        .map(|_| {
            thread::spawn(move || {
                let socket = connect(address);
                let off = || {
                    let started = Instant::now();
                    round_trip(&socket);
                    micros(started.elapsed().abs_diff(DELAY))
                };
                (0..150).map(|_| off()).collect::<Vec<f64>>()
            })
        })
        .collect();
    let mut results: Vec<f64> = connections.into_iter().flat_map(|one| one.join().unwrap()).collect();
    results.sort_by(f64::total_cmp);
    echo.ours.clear_toxics();
    let errors = Measured { name: OURS, results };
    println!(
        "a latency of 20 ms is off by (round trip included, in µs): p50 {:.0}, p99 {:.0}, worst {:.0}",
        errors.median(),
        errors.quantile(0.99),
        errors.quantile(1.0)
    );
}

fn fault_proxy(criterion: &mut Criterion) {
    // The plain proxy has a runtime of its own, as in a process of its own.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let echo = Ways::to(&runtime, echo_server().unwrap());
    let sink = Ways::to(&runtime, sink_server().unwrap());
    // `cargo test` and `cargo bench -- --test` only see whether it works.
    if std::env::args().any(|argument| argument == "--bench") && !std::env::args().any(|it| it == "--test") {
        round_trips(&echo);
        bulk(&sink);
        requests(&runtime);
        latency_error(&echo);
    }
    let sockets = echo.connect();
    let mut group = criterion.benchmark_group("round trip, 64 B");
    group.measurement_time(Duration::from_secs(3));
    for (name, socket) in &sockets {
        group.bench_function(*name, |bencher| bencher.iter(|| round_trip(socket)));
    }
    group.finish();
    let sockets = sink.connect();
    let bytes = vec![7; BULK / 16];
    let mut group = criterion.benchmark_group("bulk, 4 MiB");
    group.throughput(Throughput::Bytes(bytes.len() as u64)).measurement_time(Duration::from_secs(3));
    for (name, socket) in &sockets {
        group.bench_function(*name, |bencher| bencher.iter(|| transfer(socket, &bytes)));
    }
    group.finish();
}

criterion_group!(benches, fault_proxy);
criterion_main!(benches);
