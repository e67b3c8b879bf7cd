//! What a client and a server see through the proxy, with and without faults.

use std::{
    io::ErrorKind,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use seaworthy_fault_proxy::{Error, Proxies, Proxy, ProxyConfig, Stream, Toxic, ToxicKind};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(10);

/// A server that sends back what it gets, and closes its side once the client has closed its own.
async fn echo_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = socket.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
                let _ = write.shutdown().await;
            });
        }
    });
    address.to_string()
}

async fn echo_proxy() -> Proxy {
    Proxies::with_seed(1).create(ProxyConfig::new("echo", echo_server().await)).await.unwrap()
}

async fn round_trip(socket: &mut TcpStream, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut answer = vec![0; bytes.len()];
    let exchange = async {
        socket.write_all(bytes).await?;
        socket.read_exact(&mut answer).await
    };
    timeout(DEADLINE, exchange).await.expect("an answer within the deadline")?;
    Ok(answer)
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let polling = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(DEADLINE, polling).await.unwrap_or_else(|_| panic!("not within the deadline: {what}"));
}

/// What a client that only waits gets to see: bytes, an orderly end (0) or an error.
async fn wait_for_end(socket: &mut TcpStream) -> std::io::Result<usize> {
    timeout(DEADLINE, socket.read(&mut [0; 64])).await.expect("an end within the deadline")
}

#[tokio::test]
async fn bytes_pass_unchanged_without_toxics() {
    let proxy = echo_proxy().await;
    let mut client = TcpStream::connect(proxy.listen()).await.unwrap();
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let (mut read, mut write) = client.split();
    let mut answer = vec![0; bytes.len()];
    let (sent, received) =
        timeout(DEADLINE, async { tokio::join!(write.write_all(&bytes), read.read_exact(&mut answer)) })
            .await
            .unwrap();
    sent.unwrap();
    received.unwrap();
    assert!(answer == bytes);
}

#[tokio::test]
async fn a_client_that_closes_its_write_side_still_gets_the_answer() {
    let proxy = echo_proxy().await;
    for toxic in [None, Some(Toxic::latency(Duration::from_millis(30)))] {
        proxy.clear_toxics();
        toxic.map_or(Ok(()), |toxic| proxy.add_toxic(toxic)).unwrap();
        let mut client = TcpStream::connect(proxy.listen()).await.unwrap();
        client.write_all(b"the last words").await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = Vec::new();
        timeout(DEADLINE, client.read_to_end(&mut answer)).await.unwrap().unwrap();
        assert_eq!(answer, b"the last words");
    }
}

#[tokio::test]
async fn two_latencies_on_one_stream_add_up() {
    let proxy = echo_proxy().await;
    let mut client = TcpStream::connect(proxy.listen()).await.unwrap();
    round_trip(&mut client, b"warm").await.unwrap();
    let latency = Duration::from_millis(100);
    proxy.add_toxic(Toxic::latency(latency)).unwrap();
    proxy.add_toxic(Toxic::latency(latency).named("another")).unwrap();
    let started = Instant::now();
    round_trip(&mut client, b"ping").await.unwrap();
    assert!(started.elapsed() >= latency * 2, "{:?}", started.elapsed());
}

#[tokio::test]
async fn latency_delays_every_answer_and_ends_with_the_toxic() {
    let proxy = echo_proxy().await;
    let mut client = TcpStream::connect(proxy.listen()).await.unwrap();
    round_trip(&mut client, b"warm").await.unwrap();

    let latency = Duration::from_millis(150);
    proxy.add_toxic(Toxic::latency(latency)).unwrap();
    let started = Instant::now();
    round_trip(&mut client, b"slow").await.unwrap();
    assert!(started.elapsed() >= latency);

    // Removed while an answer waits: the answer is not lost.
    client.write_all(b"late").await.unwrap();
    proxy.remove_toxic("latency_downstream").unwrap();
    let mut answer = [0; 4];
    timeout(DEADLINE, client.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"late");
}

#[tokio::test]
async fn chunks_that_arrive_together_share_one_delay() {
    let proxy = echo_proxy().await;
    let latency = Duration::from_millis(300);
    proxy.add_toxic(Toxic::latency(latency)).unwrap();
    let mut client = TcpStream::connect(proxy.listen()).await.unwrap();
    let started = Instant::now();
    for _ in 0..10 {
        client.write_all(&[7; 100]).await.unwrap();
        tokio::task::yield_now().await;
    }
    timeout(DEADLINE, client.read_exact(&mut [0; 1000])).await.unwrap().unwrap();
    assert!(started.elapsed() < latency * 5, "ten pipelined chunks took {:?}", started.elapsed());
}

#[tokio::test]
async fn reset_peer_resets_existing_idle_and_new_connections() {
    let proxy = echo_proxy().await;
    let mut busy = TcpStream::connect(proxy.listen()).await.unwrap();
    round_trip(&mut busy, b"hello").await.unwrap();
    let mut idle = TcpStream::connect(proxy.listen()).await.unwrap();
    round_trip(&mut idle, b"hello").await.unwrap();

    proxy.add_toxic(Toxic::reset_peer()).unwrap();
    for client in [&mut busy, &mut idle] {
        assert_eq!(wait_for_end(client).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
    // The reset may come before `connect` returns or right after it.
    if let Ok(mut new) = TcpStream::connect(proxy.listen()).await {
        assert_eq!(wait_for_end(&mut new).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }

    proxy.remove_toxic("reset_peer_downstream").unwrap();
    let mut healed = TcpStream::connect(proxy.listen()).await.unwrap();
    assert_eq!(round_trip(&mut healed, b"again").await.unwrap(), b"again");
}

#[tokio::test]
async fn a_blackhole_swallows_answers_and_its_removal_closes_the_connection() {
    let proxy = echo_proxy().await;
    let mut client = TcpStream::connect(proxy.listen()).await.unwrap();
    round_trip(&mut client, b"hello").await.unwrap();
    proxy.add_toxic(Toxic::timeout(Duration::ZERO)).unwrap();
    client.write_all(b"anyone there?").await.unwrap();
    let silence = timeout(Duration::from_millis(200), client.read(&mut [0; 64])).await;
    assert!(silence.is_err(), "the blackhole let something through: {silence:?}");
    proxy.remove_toxic("timeout_downstream").unwrap();
    assert!(matches!(wait_for_end(&mut client).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn a_timeout_closes_the_connection_after_its_time() {
    let proxy = echo_proxy().await;
    proxy.add_toxic(Toxic::new(ToxicKind::Timeout { timeout: Duration::from_millis(100) })).unwrap();
    let mut client = TcpStream::connect(proxy.listen()).await.unwrap();
    let started = Instant::now();
    client.write_all(b"hello").await.unwrap();
    assert!(matches!(wait_for_end(&mut client).await, Ok(0) | Err(_)));
    assert!(started.elapsed() >= Duration::from_millis(90));
}

#[tokio::test]
async fn a_disabled_proxy_refuses_connections_closes_the_live_ones_and_keeps_its_port() {
    let proxy = echo_proxy().await;
    for _ in 0..5 {
        let address = proxy.listen();
        let mut client = TcpStream::connect(address).await.unwrap();
        round_trip(&mut client, b"hello").await.unwrap();
        proxy.disable().await;
        assert!(matches!(wait_for_end(&mut client).await, Ok(0) | Err(_)));
        assert_eq!(TcpStream::connect(address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        proxy.enable().unwrap();
        assert_eq!(proxy.listen(), address);
        let mut again = TcpStream::connect(address).await.unwrap();
        assert_eq!(round_trip(&mut again, b"again").await.unwrap(), b"again");
    }
}

#[tokio::test]
async fn an_upstream_that_refuses_closes_the_client_and_counts_no_connection() {
    let nowhere = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let proxy = Proxies::with_seed(1).create(ProxyConfig::new("nowhere", nowhere.to_string())).await.unwrap();
    let mut client = TcpStream::connect(proxy.listen()).await.unwrap();
    assert!(matches!(wait_for_end(&mut client).await, Ok(0) | Err(_)));
    until("no connection is counted", || proxy.connections() == 0).await;
}

#[tokio::test]
async fn a_toxicity_applies_to_its_share_of_connections_and_repeats_with_the_seed() {
    let upstream = echo_server().await;
    let mut runs = Vec::new();
    for _ in 0..2 {
        let proxy = Proxies::with_seed(42).create(ProxyConfig::new("echo", &upstream)).await.unwrap();
        proxy.add_toxic(Toxic::reset_peer().toxicity(0.5)).unwrap();
        let mut survived = Vec::new();
        for _ in 0..60 {
            // The reset may come before `connect` returns or right after it.
            let exchange = async { round_trip(&mut TcpStream::connect(proxy.listen()).await?, b"?").await };
            survived.push(exchange.await.is_ok());
        }
        runs.push(survived);
    }
    assert_eq!(runs[0], runs[1]);
    let alive = runs[0].iter().filter(|alive| **alive).count();
    assert!((15..=45).contains(&alive), "{alive} of 60 connections survived a toxicity of 0.5");
}

#[tokio::test]
async fn what_can_not_be_set_up_is_an_error_that_names_it() {
    let proxies = Proxies::with_seed(1);
    let config = || ProxyConfig::new("redis", "127.0.0.1:1");
    let proxy = proxies.create(config()).await.unwrap();
    let taken = proxy.listen().to_string();
    proxy.add_toxic(Toxic::reset_peer()).unwrap();

    let says = |outcome: Result<(), Error>, what: &str| {
        let text = outcome.unwrap_err().to_string();
        assert!(text.contains(what), "`{text}` does not say `{what}`");
    };
    says(proxies.create(config()).await.map(drop), "a proxy named `redis` exists already");
    says(proxies.create(ProxyConfig::new("b", "127.0.0.1:1").listen(&taken)).await.map(drop), &taken);
    says(proxies.get("kafka").map(drop), "no proxy named `kafka`");
    says(proxy.add_toxic(Toxic::reset_peer()), "has a toxic named `reset_peer_downstream` already");
    says(proxy.add_toxic(Toxic::blackhole().toxicity(1.5)), "toxicity 1.5");
    says(proxy.remove_toxic("fog"), "no toxic named `fog`");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_goes_in_comes_out_however_it_is_cut_and_delayed(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..5000), 1..12),
        latency in 0u64..20,
        jitter in 0u64..20,
        toggles in prop::collection::vec(any::<bool>(), 12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let proxy = echo_proxy().await;
            let toxic = |stream| Toxic::new(ToxicKind::Latency {
                latency: Duration::from_millis(latency),
                jitter: Duration::from_millis(jitter),
            }).on(stream);
            let mut client = TcpStream::connect(proxy.listen()).await.unwrap();
            let (mut read, mut write) = client.split();
            let sent = chunks.concat();
            let mut received = Vec::new();
            let writing = async {
                for (chunk, toggle) in chunks.iter().zip(toggles) {
                    if toggle {
                        proxy.clear_toxics();
                    } else {
                        let _ = proxy.add_toxic(toxic(Stream::Upstream));
                        let _ = proxy.add_toxic(toxic(Stream::Downstream));
                    }
                    write.write_all(chunk).await.unwrap();
                }
                write.shutdown().await.unwrap();
            };
            let both = async { tokio::join!(writing, read.read_to_end(&mut received)) };
            timeout(DEADLINE, both).await.expect("all bytes within the deadline").1.unwrap();
            assert!(received == sent, "{} bytes went in, {} other ones came out", sent.len(), received.len());
        });
    }
}
