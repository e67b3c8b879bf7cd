//! What the fault proxy costs while it injects nothing, beside no proxy and tokio's plainest one.

use std::{net::SocketAddr, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use seaworthy_benches::{echo_server, plain_proxy};
use seaworthy_fault_proxy::{Proxies, ProxyConfig};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Runtime,
    sync::Mutex,
};

const SMALL: usize = 64;
const BULK: usize = 4 * 1024 * 1024;

fn paths(runtime: &Runtime) -> [(&'static str, SocketAddr); 3] {
    runtime.block_on(async {
        let echo = echo_server().await.unwrap();
        let plain = plain_proxy(echo).await.unwrap();
        let ours = Proxies::with_seed(0).create(ProxyConfig::new("echo", echo.to_string())).await.unwrap();
        [("direct", echo), ("tokio copy_bidirectional", plain), ("fault proxy", ours.listen())]
    })
}

async fn connect(address: SocketAddr) -> Mutex<TcpStream> {
    let socket = TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    Mutex::new(socket)
}

async fn exchange(socket: &Mutex<TcpStream>, bytes: &[u8]) {
    let mut socket = socket.lock().await;
    let (mut read, mut write) = socket.split();
    let mut answer = vec![0; bytes.len()];
    let (sent, received) = tokio::join!(write.write_all(bytes), read.read_exact(&mut answer));
    sent.and(received.map(drop)).unwrap();
}

fn fault_proxy(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let paths = paths(&runtime);
    for (name, size) in [("round trip, 64 B", SMALL), ("echo, 4 MiB", BULK)] {
        let bytes = vec![7; size];
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(size as u64)).measurement_time(Duration::from_secs(3));
        for (path, address) in paths {
            let socket = runtime.block_on(connect(address));
            group.bench_function(path, |bencher| {
                bencher.to_async(&runtime).iter(|| exchange(&socket, &bytes))
            });
        }
        group.finish();
    }
}

criterion_group!(benches, fault_proxy);
criterion_main!(benches);
