//! Recordings on real connections: nothing of what passes is different for being listened to.

use std::time::Duration;

use seaworthy_fault_proxy::{Protocol, Proxies, Proxy, ProxyConfig, Tap, Toxic, What};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(20);
const ALL: [Protocol; 3] = [Protocol::Postgres, Protocol::Redis, Protocol::WebSocket];

/// A proxy in front of a server that sends back what it gets.
async fn echo() -> Proxy {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = ProxyConfig::new("echo", server.local_addr().unwrap().to_string());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = server.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = socket.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
                let _ = to.shutdown().await;
            });
        }
    });
    Proxies::with_seed(7).create(config).await.unwrap()
}

async fn echoed(proxy: &Proxy, sent: Vec<u8>) -> Vec<u8> {
    let client = TcpStream::connect(proxy.listen()).await.unwrap();
    let (mut from, mut to) = client.into_split();
    let sending = tokio::spawn(async move {
        to.write_all(&sent).await.unwrap();
        to.shutdown().await.unwrap();
    });
    let mut echoed = Vec::new();
    timeout(DEADLINE, from.read_to_end(&mut echoed)).await.expect("all of it in time").unwrap();
    sending.await.unwrap();
    echoed
}

/// Bytes that look like nothing, or like a protocol at first.
fn letters() -> Vec<Vec<u8>> {
    let noise = |start: &[u8], length: u32| {
        let noise = (0..length).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8);
        start.iter().copied().chain(noise).collect::<Vec<u8>>()
    };
    let startup = [&[0, 0, 0, 9, 0, 3, 0, 0, 0][..], b"Q\0\0\0\x0dselect 1\0"].concat();
    vec![
        noise(b"", 3 * 1024 * 1024),
        noise(&startup, 100_000),
        noise(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n", 100_000),
        noise(b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n\x81\x03abc", 100_000),
        b"PING\r\n".repeat(50_000),
        Vec::new(),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_byte_is_changed_for_being_listened_to() {
    let proxy = echo().await;
    let recordings = ALL.map(|protocol| proxy.record(Tap::on(protocol).entries(10)));
    for sent in letters() {
        assert!(echoed(&proxy, sent.clone()).await == sent, "without toxics");
    }
    proxy.add_toxic(Toxic::slicer(1000, 200, Duration::ZERO)).unwrap();
    for sent in letters() {
        assert!(echoed(&proxy, sent.clone()).await == sent, "with a toxic");
    }
    assert!(recordings.iter().all(|recording| !recording.all().entries.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_has_the_connections_made_after_it_began_and_ends_when_it_is_dropped() {
    let proxy = echo().await;
    let mut before = TcpStream::connect(proxy.listen()).await.unwrap();
    before.write_all(b"+").await.unwrap();
    before.read_u8().await.unwrap();
    let recording = proxy.record(Protocol::Redis);
    let other = proxy.record(Protocol::Redis);
    before.write_all(b"GET early\r\n").await.unwrap();
    before.read_exact(&mut [0; 11]).await.unwrap();
    let mut live = TcpStream::connect(proxy.listen()).await.unwrap();
    live.write_all(b"GET a\r\n").await.unwrap();
    live.read_exact(&mut [0; 7]).await.unwrap();
    drop(recording.clone());
    drop(other);
    live.write_all(b"GET b\r\n").await.unwrap();
    live.read_exact(&mut [0; 7]).await.unwrap();
    let entries = recording.all().entries;
    let keys: Vec<String> = entries
        .iter()
        .filter_map(|entry| match &entry.what {
            What::Command(command) => command.key.as_ref().map(ToString::to_string),
            _ => None,
        })
        .collect();
    assert_eq!(keys[0], "a");
    assert!(!keys.contains(&"early".to_owned()), "{keys:?}");
    assert!(entries.iter().all(|entry| entry.connection == 1 && entry.at >= recording.began()));
}
