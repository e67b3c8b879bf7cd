//! What the fault proxy costs while it injects nothing, beside no proxy and tokio's plainest one; and how exact its latency is.
//!
//! The table comes first: its ways take turns, so that their ratios mean something on a busy machine. Requests are
//! measured with `redis-benchmark` against a real Redis where both are installed. Criterion's numbers follow.

use std::{
    net::SocketAddr,
    process::Command,
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use seaworthy_benches::{Measured, echo_server, interleaved, micros, plain_proxy, sink_server};
use seaworthy_fault_proxy::{Proxies, Proxy, ProxyConfig, Toxic};
use seaworthy_harness::{Redis, Stack};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Runtime,
    sync::Mutex,
};

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
    async fn to(server: SocketAddr) -> Ways {
        let plain = plain_proxy(server).await.unwrap();
        let ours = Proxies::with_seed(0).create(ProxyConfig::new("bench", server.to_string())).await.unwrap();
        Ways { ways: [(DIRECT, server), (PLAIN, plain), (OURS, ours.listen())], ours }
    }

    async fn connect(&self) -> [(&'static str, Mutex<TcpStream>); 3] {
        let mut sockets = Vec::new();
        for (name, address) in self.ways {
            sockets.push((name, Mutex::new(connect(address).await)));
        }
        sockets.try_into().unwrap()
    }

    fn address(&self, name: &str) -> SocketAddr {
        self.ways.iter().find(|(way, _)| *way == name).unwrap().1
    }
}

async fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

async fn round_trip(socket: &Mutex<TcpStream>) {
    let mut socket = socket.lock().await;
    socket.write_all(&[7; SMALL]).await.unwrap();
    socket.read_exact(&mut [0; SMALL]).await.unwrap();
}

async fn transfer(socket: &Mutex<TcpStream>, bytes: &[u8]) {
    let mut socket = socket.lock().await;
    socket.write_u64(bytes.len() as u64).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    socket.read_u8().await.unwrap();
}

fn socket_of<'a>(sockets: &'a [(&'static str, Mutex<TcpStream>); 3], name: &str) -> &'a Mutex<TcpStream> {
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
fn round_trips(runtime: &Runtime, echo: &Ways) {
    let sockets = runtime.block_on(echo.connect());
    let measured = interleaved([DIRECT, PLAIN, OURS], 30, |name| {
        runtime.block_on(async {
            let mut times = Vec::new();
            for _ in 0..2000 {
                let started = Instant::now();
                round_trip(socket_of(&sockets, name)).await;
                times.push(micros(started.elapsed()));
            }
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        })
    });
    print("round trip of 64 bytes, p50 in µs", &measured);
}

fn bulk(runtime: &Runtime, sink: &Ways) {
    let sockets = runtime.block_on(sink.connect());
    let bytes = vec![7; BULK];
    let measured = interleaved([DIRECT, PLAIN, OURS], 20, |name| {
        let started = Instant::now();
        runtime.block_on(transfer(socket_of(&sockets, name), &bytes));
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
    let Ok(stack) = runtime.block_on(Stack::builder().redis(Redis::new()).start()) else {
        println!("requests: no Redis to measure with");
        return;
    };
    let url = stack.redis().direct_url();
    let server = url.rsplit(['@', '/']).find_map(|part| part.parse::<SocketAddr>().ok());
    let ways = runtime.block_on(Ways::to(server.unwrap_or_else(|| panic!("an address in {url}"))));
    if redis_benchmark(ways.address(DIRECT)).is_none() {
        println!("requests: no redis-benchmark to measure with");
        return;
    }
    let measured =
        interleaved([DIRECT, PLAIN, OURS], 9, |name| redis_benchmark(ways.address(name)).unwrap_or(f64::NAN));
    print("redis-benchmark GET, 50 clients, in requests/s", &measured);
}

/// How far a delay of 20 ms is off, for ten connections at once.
fn latency_error(runtime: &Runtime, echo: &Ways) {
    const DELAY: Duration = Duration::from_millis(20);
    echo.ours.add_toxic(Toxic::latency(DELAY)).unwrap();
    let address = echo.address(OURS);
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            runtime.spawn(async move {
                let socket = Mutex::new(connect(address).await);
                let mut errors = Vec::new();
                for _ in 0..150 {
                    let started = Instant::now();
                    round_trip(&socket).await;
                    errors.push(micros(started.elapsed().abs_diff(DELAY)));
                }
                errors
            })
        })
        .collect();
    let mut results: Vec<f64> = tasks.into_iter().flat_map(|task| runtime.block_on(task).unwrap()).collect();
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
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let echo = runtime.block_on(async { Ways::to(echo_server().await.unwrap()).await });
    let sink = runtime.block_on(async { Ways::to(sink_server().await.unwrap()).await });
    // `cargo test` and `cargo bench -- --test` only see whether it works.
    if std::env::args().any(|argument| argument == "--bench") && !std::env::args().any(|it| it == "--test") {
        round_trips(&runtime, &echo);
        bulk(&runtime, &sink);
        requests(&runtime);
        latency_error(&runtime, &echo);
    }
    let sockets = runtime.block_on(echo.connect());
    let mut group = criterion.benchmark_group("round trip, 64 B");
    group.measurement_time(Duration::from_secs(3));
    for (name, socket) in &sockets {
        group.bench_function(*name, |bencher| bencher.to_async(&runtime).iter(|| round_trip(socket)));
    }
    group.finish();
    let sockets = runtime.block_on(sink.connect());
    let bytes = vec![7; BULK / 16];
    let mut group = criterion.benchmark_group("bulk, 4 MiB");
    group.throughput(Throughput::Bytes(bytes.len() as u64)).measurement_time(Duration::from_secs(3));
    for (name, socket) in &sockets {
        group.bench_function(*name, |bencher| bencher.to_async(&runtime).iter(|| transfer(socket, &bytes)));
    }
    group.finish();
}

criterion_group!(benches, fault_proxy);
criterion_main!(benches);
