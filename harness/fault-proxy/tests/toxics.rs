//! What each toxic does to real connections, live ones and new ones.

use std::{
    io::ErrorKind,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use seaworthy_fault_proxy::{Proxies, Proxy, ProxyConfig, Stream, Toxic, ToxicKind};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(10);

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A proxy in front of a listener that the test accepts from.
struct Line {
    proxy: Proxy,
    server: TcpListener,
}

impl Line {
    async fn new() -> Line {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = ProxyConfig::new("line", server.local_addr().unwrap().to_string());
        Line { proxy: Proxies::with_seed(1).create(config).await.unwrap(), server }
    }

    /// Both ends of a connection through the proxy.
    async fn connect(&self) -> (TcpStream, TcpStream) {
        let connecting =
            async { tokio::join!(TcpStream::connect(self.proxy.listen()), self.server.accept()) };
        let (client, server) = timeout(DEADLINE, connecting).await.expect("a connection within the deadline");
        (client.unwrap(), server.unwrap().0)
    }
}

async fn get(socket: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    timeout(DEADLINE, socket.read_exact(&mut bytes)).await.expect("bytes within the deadline").unwrap();
    bytes
}

/// Everything up to the end, be it orderly or not.
async fn rest(socket: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let reading = socket.read_to_end(&mut bytes);
    let _ = timeout(DEADLINE, reading).await.expect("an end within the deadline");
    bytes
}

async fn is_silent(socket: &mut TcpStream) -> bool {
    timeout(ms(100), socket.read(&mut [0; 16])).await.is_err()
}

#[tokio::test]
async fn bandwidth_slows_down_what_passes() {
    let line = Line::new().await;
    line.proxy.add_toxic(Toxic::bandwidth(100)).unwrap();
    let (mut client, mut server) = line.connect().await;
    let started = Instant::now();
    server.write_all(&[7; 30_000]).await.unwrap();
    assert_eq!(get(&mut client, 30_000).await, vec![7; 30_000]);
    assert!(started.elapsed() >= ms(290), "30 KB at 100 KB/s took {:?}", started.elapsed());
}

#[tokio::test]
async fn a_line_without_bandwidth_pushes_back_and_delivers_all_once_it_heals() {
    let line = Line::new().await;
    let (mut client, mut server) = line.connect().await;
    line.proxy.add_toxic(Toxic::bandwidth(0)).unwrap();
    let sending = tokio::spawn(async move {
        server.write_all(&vec![7; 40_000_000]).await.unwrap();
    });
    assert!(is_silent(&mut client).await);
    assert!(!sending.is_finished(), "40 MB fit into a line that delivers nothing");
    line.proxy.remove_toxic("bandwidth_downstream").unwrap();
    assert_eq!(rest(&mut client).await.len(), 40_000_000);
    sending.await.unwrap();
}

#[tokio::test]
async fn limit_data_lets_exactly_so_many_bytes_of_each_connection_through() {
    let line = Line::new().await;
    line.proxy.add_toxic(Toxic::limit_data(1000)).unwrap();
    for _ in 0..3 {
        let (mut client, mut server) = line.connect().await;
        server.write_all(&[7; 600]).await.unwrap();
        assert_eq!(get(&mut client, 600).await.len(), 600);
        server.write_all(&[7; 600]).await.unwrap();
        assert_eq!(rest(&mut client).await.len(), 400);
        assert!(rest(&mut server).await.is_empty());
    }
}

#[tokio::test]
async fn slow_close_delays_the_close_alone() {
    let line = Line::new().await;
    line.proxy.add_toxic(Toxic::slow_close(ms(150))).unwrap();
    let (mut client, mut server) = line.connect().await;
    server.write_all(b"bye").await.unwrap();
    drop(server);
    let closed = Instant::now();
    assert_eq!(get(&mut client, 3).await, b"bye");
    assert!(rest(&mut client).await.is_empty());
    assert!(closed.elapsed() >= ms(140), "{:?}", closed.elapsed());
}

#[tokio::test]
async fn the_slicer_delivers_slices() {
    let line = Line::new().await;
    line.proxy.add_toxic(Toxic::slicer(100, 0, ms(2))).unwrap();
    let (mut client, mut server) = line.connect().await;
    server.write_all(&[7; 1000]).await.unwrap();
    let mut first = [0; 1000];
    let length = timeout(DEADLINE, client.read(&mut first)).await.unwrap().unwrap();
    assert!(length < 1000, "all came in one piece");
    assert_eq!(get(&mut client, 1000 - length).await, vec![7; 1000 - length]);
}

#[tokio::test]
async fn corrupt_flips_bits_and_keeps_the_length() {
    let line = Line::new().await;
    line.proxy.add_toxic(Toxic::corrupt(0.5)).unwrap();
    let (mut client, mut server) = line.connect().await;
    server.write_all(&[0; 1000]).await.unwrap();
    let flipped = get(&mut client, 1000).await.iter().filter(|byte| **byte != 0).count();
    assert!((300..700).contains(&flipped), "{flipped} of 1000 bytes");
}

#[tokio::test]
async fn a_blackhole_accepts_and_the_upstream_never_hears() {
    let line = Line::new().await;
    let (mut live, mut live_server) = line.connect().await;
    line.proxy.add_toxic(Toxic::blackhole()).unwrap();
    live.write_all(b"hello?").await.unwrap();
    assert!(is_silent(&mut live_server).await);
    let mut new = TcpStream::connect(line.proxy.listen()).await.unwrap();
    new.write_all(b"hello?").await.unwrap();
    assert!(is_silent(&mut new).await);
    assert!(timeout(ms(50), line.server.accept()).await.is_err(), "the upstream was reached");
    line.proxy.clear_toxics();
    for socket in [&mut live, &mut new, &mut live_server] {
        assert!(rest(socket).await.is_empty());
    }
    line.connect().await;
}

#[tokio::test]
async fn refuse_closes_the_port_to_new_connections_and_leaves_live_ones_alone() {
    let line = Line::new().await;
    let (mut client, mut server) = line.connect().await;
    for _ in 0..3 {
        line.proxy.add_toxic(Toxic::refuse()).unwrap();
        let refused = async {
            loop {
                match TcpStream::connect(line.proxy.listen()).await {
                    Err(error) if error.kind() == ErrorKind::ConnectionRefused => return,
                    // It was accepted before the toxic was.
                    _ => tokio::task::yield_now().await,
                }
            }
        };
        timeout(DEADLINE, refused).await.expect("refusal within the deadline");
        client.write_all(b"still").await.unwrap();
        assert_eq!(get(&mut server, 5).await, b"still");
        line.proxy.clear_toxics();
        let connected = async { while TcpStream::connect(line.proxy.listen()).await.is_err() {} };
        timeout(DEADLINE, connected).await.expect("a connection within the deadline");
    }
}

#[tokio::test]
async fn a_share_of_connections_is_refused_by_reset() {
    let line = Line::new().await;
    line.proxy.add_toxic(Toxic::refuse().toxicity(0.5)).unwrap();
    tokio::spawn(async move { while line.server.accept().await.is_ok() {} });
    let mut refused = 0;
    for _ in 0..40 {
        let outcome = async {
            let mut client = TcpStream::connect(line.proxy.listen()).await?;
            client.read(&mut [0; 1]).await
        };
        let outcome = timeout(DEADLINE, outcome).await.expect("an end within the deadline");
        refused += u32::from(outcome.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    }
    assert!((8..=32).contains(&refused), "{refused} of 40");
}

#[tokio::test]
async fn a_half_open_connection_is_silent_on_one_side_and_reset_on_the_other() {
    let line = Line::new().await;
    for (stream, toxic) in [
        (Stream::Downstream, Toxic::half_open()),
        (Stream::Upstream, Toxic::half_open().on(Stream::Upstream)),
    ] {
        let (client, server) = line.connect().await;
        let (mut left, mut gone) = match stream {
            Stream::Downstream => (client, server),
            Stream::Upstream => (server, client),
        };
        line.proxy.add_toxic(toxic).unwrap();
        let end = timeout(DEADLINE, gone.read(&mut [0; 1])).await.unwrap();
        assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
        left.write_all(b"anyone?").await.unwrap();
        assert!(is_silent(&mut left).await);
        line.proxy.clear_toxics();
        assert!(rest(&mut left).await.is_empty());
    }
}

#[tokio::test]
async fn a_half_open_connection_ends_when_the_one_that_is_left_gives_up() {
    let line = Line::new().await;
    line.proxy.add_toxic(Toxic::half_open()).unwrap();
    // The server may be gone before it accepts.
    let client = TcpStream::connect(line.proxy.listen()).await.unwrap();
    until("the connection is there", || line.proxy.connections() == 1).await;
    drop(client);
    until("the connection is gone", || line.proxy.connections() == 0).await;
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let polling = async {
        while !is_so() {
            tokio::time::sleep(ms(1)).await;
        }
    };
    timeout(DEADLINE, polling).await.unwrap_or_else(|_| panic!("not within the deadline: {what}"));
}

#[tokio::test]
async fn a_receiver_that_goes_away_leaves_the_answers_of_its_peer_to_be_read() {
    let line = Line::new().await;
    let (mut client, mut server) = line.connect().await;
    server.write_all(&[7; 100_000]).await.unwrap();
    drop(server);
    // The way up is broken; what came down before is still there.
    let _ = client.write_all(b"too late").await;
    assert_eq!(rest(&mut client).await.len(), 100_000);
}

#[tokio::test]
async fn a_proxy_whose_last_handle_is_dropped_stops() {
    let line = Line::new().await;
    let (mut client, _server) = line.connect().await;
    let address = line.proxy.listen();
    drop(line.proxy);
    assert!(rest(&mut client).await.is_empty());
    let refused = async { while TcpStream::connect(address).await.is_ok() {} };
    timeout(DEADLINE, refused).await.expect("refusal within the deadline");
}

#[tokio::test]
async fn traffic_is_counted_on_both_sides_of_the_toxics() {
    let line = Line::new().await;
    line.proxy.add_toxic(Toxic::limit_data(10)).unwrap();
    let (mut client, mut server) = line.connect().await;
    client.write_all(b"hello").await.unwrap();
    assert_eq!(get(&mut server, 5).await, b"hello");
    server.write_all(&[7; 100]).await.unwrap();
    assert_eq!(rest(&mut client).await.len(), 10);
    let (up, down) = (line.proxy.traffic(Stream::Upstream), line.proxy.traffic(Stream::Downstream));
    assert_eq!((up.received, up.sent, down.received, down.sent), (5, 5, 100, 10));
}

#[tokio::test]
async fn hostile_attributes_neither_crash_nor_hang() {
    let huge = Duration::from_millis(u64::MAX);
    let kinds = [
        ToxicKind::Latency { latency: huge, jitter: huge },
        ToxicKind::Latency { latency: Duration::ZERO, jitter: huge },
        ToxicKind::Bandwidth { rate: u64::MAX },
        ToxicKind::Bandwidth { rate: 0 },
        ToxicKind::SlowClose { delay: huge },
        ToxicKind::Timeout { timeout: huge },
        ToxicKind::ResetPeer { timeout: huge },
        ToxicKind::HalfOpen { timeout: huge },
        ToxicKind::Slicer { average_size: 0, size_variation: 0, delay: Duration::ZERO },
        ToxicKind::Slicer { average_size: 1, size_variation: u64::MAX, delay: huge },
        ToxicKind::Slicer { average_size: u64::MAX, size_variation: 0, delay: huge },
        ToxicKind::LimitData { bytes: 0 },
        ToxicKind::LimitData { bytes: u64::MAX },
        ToxicKind::Stall { share: 1.0, pause: huge },
        ToxicKind::Corrupt { rate: f64::MIN_POSITIVE },
    ];
    let line = Line::new().await;
    for kind in kinds {
        let (mut client, mut server) = line.connect().await;
        line.proxy.add_toxic(Toxic::new(kind.clone()).named("hostile")).unwrap();
        server.write_all(&[7; 10_000]).await.unwrap();
        let _ = timeout(ms(5), client.read(&mut [0; 64])).await;
        line.proxy.clear_toxics();
        drop(client);
        let (mut client, mut server) = line.connect().await;
        server.write_all(b"alive").await.unwrap();
        assert_eq!(get(&mut client, 5).await, b"alive", "after {kind:?}");
    }
    for kind in [
        ToxicKind::Corrupt { rate: f64::NAN },
        ToxicKind::Corrupt { rate: -0.1 },
        ToxicKind::Stall { share: 1.5, pause: Duration::ZERO },
    ] {
        let error = line.proxy.add_toxic(Toxic::new(kind)).unwrap_err().to_string();
        assert!(error.contains("is not between 0 and 1"), "{error}");
    }
}

/// A toxic that keeps every byte.
fn a_keeping_toxic() -> impl Strategy<Value = ToxicKind> {
    prop_oneof![
        (0..8_u64, 0..8_u64)
            .prop_map(|(latency, jitter)| ToxicKind::Latency { latency: ms(latency), jitter: ms(jitter) }),
        (2000..50_000_u64).prop_map(|rate| ToxicKind::Bandwidth { rate }),
        (0..20_u64).prop_map(|delay| ToxicKind::SlowClose { delay: ms(delay) }),
        (500..5000_u64, 0..500_u64).prop_map(|(average_size, size_variation)| ToxicKind::Slicer {
            average_size,
            size_variation,
            delay: Duration::from_micros(20)
        }),
        (0.0..0.3_f64).prop_map(|share| ToxicKind::Stall { share, pause: ms(3) }),
        Just(ToxicKind::Noop),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn what_comes_out_is_what_went_in_or_the_start_of_it_that_the_toxic_says(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20_000), 1..8),
        kinds in prop::collection::vec((a_keeping_toxic(), any::<bool>()), 0..5),
        limit in prop::option::of(0..40_000_u64),
        changes in prop::collection::vec(0..4_usize, 8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let line = Line::new().await;
            let (mut client, mut server) = line.connect().await;
            let sent = chunks.concat();
            if let Some(bytes) = limit {
                line.proxy.add_toxic(Toxic::limit_data(bytes)).unwrap();
            }
            let writing = async {
                // A toxic comes, changes or goes between any two chunks.
                for (n, (chunk, change)) in chunks.iter().zip(changes).enumerate() {
                    if let Some((kind, _)) = kinds.get(n % kinds.len().max(1)) {
                        let name = format!("t{}", n % 3);
                        let toxic = Toxic::new(kind.clone()).named(&name);
                        let _ = match change {
                            0 => line.proxy.remove_toxic(&name),
                            1 => line.proxy.update_toxic(toxic),
                            _ => line.proxy.add_toxic(toxic),
                        };
                    }
                    if server.write_all(chunk).await.is_err() {
                        break;
                    }
                }
                let _ = server.shutdown().await;
            };
            let (received, ()) = tokio::join!(rest(&mut client), writing);
            let passes = limit.map_or(sent.len(), |limit| sent.len().min(limit as usize));
            assert!(received == sent[..passes], "{} of {passes} bytes, or others", received.len());
        });
    }
}
