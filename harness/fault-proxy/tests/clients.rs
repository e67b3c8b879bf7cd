//! The API as `toxiproxy_rust` drives it: every fault that it can set is read back, for it swallows refusals.

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use seaworthy_fault_proxy::{Proxies, Stream, ToxicKind, api};
use toxiproxy_rust::{client::Client, proxy::Proxy, proxy::ProxyPack, toxic::ToxicPack};

/// A server that sends back the bytes that it gets.
fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            std::thread::spawn(move || std::io::copy(&mut &socket, &mut &socket));
        }
    });
    address
}

/// Runs a test against a client whose server has one proxy, `echo`. The client blocks, so it runs off the API's threads.
async fn with_client(test: impl FnOnce(Client, Proxies, SocketAddr) + Send + 'static) {
    let proxies = Proxies::with_seed(1);
    let api = api::serve(proxies.clone(), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = api.address();
    let test = move || {
        let client = Client::new(address);
        let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let pack =
            ProxyPack::new("echo".into(), format!("localhost:{}", listen.port()), echo_server().to_string());
        let made = client.populate(vec![pack]).unwrap();
        assert_eq!(made.len(), 1);
        assert_eq!(made[0].proxy_pack.listen, listen.to_string());
        test(client, proxies, listen);
    };
    tokio::task::spawn_blocking(test).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_the_client_works() {
    with_client(|client, _, listen| {
        assert!(client.is_running());
        assert_eq!(client.version().unwrap(), "{\"version\": \"2.12.0\"}\n");
        assert_eq!(client.all().unwrap().keys().collect::<Vec<_>>(), ["echo"]);
        assert!(client.find_proxy("none").is_err());
        assert!(client.populate(vec![ProxyPack::new(String::new(), String::new(), String::new())]).is_err());

        let proxy = client.find_and_reset_proxy("echo").unwrap();
        proxy.disable().unwrap();
        assert!(!client.find_proxy("echo").unwrap().proxy_pack.enabled);
        assert!(TcpStream::connect(listen).is_err());
        client.reset().unwrap();
        assert!(client.find_proxy("echo").unwrap().proxy_pack.enabled);
        proxy.with_down(|| assert!(TcpStream::connect(listen).is_err())).unwrap();
        assert!(TcpStream::connect(listen).is_ok());

        proxy.delete().unwrap();
        assert!(TcpStream::connect(listen).is_err());
        assert!(client.all().unwrap().is_empty());
        assert!(client.populate(vec![]).unwrap().is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_that_the_client_can_set_is_read_back_as_it_was_set() {
    type Set = fn(&Proxy, String);
    type Case = (&'static str, Set, &'static [(&'static str, u32)], ToxicKind);
    let millis = Duration::from_millis;
    let cases: [Case; 6] = [
        (
            "latency",
            |proxy, stream| _ = proxy.with_latency(stream, 12, 3, 0.5),
            &[("latency", 12), ("jitter", 3)],
            ToxicKind::Latency { latency: millis(12), jitter: millis(3) },
        ),
        (
            "bandwidth",
            |proxy, stream| _ = proxy.with_bandwidth(stream, u32::MAX, 0.5),
            &[("rate", u32::MAX)],
            ToxicKind::Bandwidth { rate: u32::MAX.into() },
        ),
        (
            "slow_close",
            |proxy, stream| _ = proxy.with_slow_close(stream, 7, 0.5),
            &[("delay", 7)],
            ToxicKind::SlowClose { delay: millis(7) },
        ),
        (
            "timeout",
            |proxy, stream| _ = proxy.with_timeout(stream, 0, 0.5),
            &[("timeout", 0)],
            ToxicKind::Timeout { timeout: millis(0) },
        ),
        (
            "slicer",
            |proxy, stream| _ = proxy.with_slicer(stream, 1, 2, 3, 0.5),
            &[("average_size", 1), ("size_variation", 2), ("delay", 3)],
            ToxicKind::Slicer { average_size: 1, size_variation: 2, delay: Duration::from_micros(3) },
        ),
        (
            "limit_data",
            |proxy, stream| _ = proxy.with_limit_data(stream, 9, 0.5),
            &[("bytes", 9)],
            ToxicKind::LimitData { bytes: 9 },
        ),
    ];
    with_client(move |client, proxies, _| {
        let proxy = client.find_proxy("echo").unwrap();
        for (kind, set, attributes, meant) in cases {
            for stream in [Stream::Upstream, Stream::Downstream] {
                set(&proxy, stream.as_str().to_owned());
                let toxics = proxy.toxics().unwrap();
                let [ToxicPack { name, r#type, stream: told, toxicity, attributes: got }] = &toxics[..]
                else {
                    panic!("{kind} on {stream:?} is not there: {toxics:?}");
                };
                assert_eq!((r#type.as_str(), told.as_str(), *toxicity), (kind, stream.as_str(), 0.5));
                assert_eq!(*name, format!("{kind}_{}", stream.as_str()));
                let wanted = attributes.iter().map(|&(name, value)| (name.to_owned(), value));
                assert_eq!(*got, wanted.collect::<HashMap<_, _>>());

                let toxic = proxies.get("echo").unwrap().toxic(name).unwrap();
                assert_eq!((toxic.kind(), toxic.stream(), toxic.share()), (&meant, stream, 0.5));
                proxy.delete_all_toxics().unwrap();
                assert!(proxy.toxics().unwrap().is_empty());
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn latency_is_felt_while_it_is_applied_and_gone_afterwards() {
    with_client(|client, proxies, listen| {
        let proxy = client.find_proxy("echo").unwrap();
        let mut socket = TcpStream::connect(listen).unwrap();
        let mut round_trip = || {
            let started = Instant::now();
            socket.write_all(b"ping").unwrap();
            socket.read_exact(&mut [0; 4]).unwrap();
            started.elapsed()
        };
        let applied = proxy.with_latency("downstream".into(), 200, 0, 1.0).apply(|| {
            assert!(round_trip() >= Duration::from_millis(200));
        });
        applied.unwrap();
        assert!(proxies.get("echo").unwrap().toxics().is_empty());
        let fastest = (0..5).map(|_| round_trip()).min().unwrap();
        assert!(fastest < Duration::from_millis(200), "{fastest:?}");
    })
    .await;
}
