//! The same seed gives the same decisions, however connections come and whatever else happens.

use std::{collections::BTreeMap, time::Duration};

use seaworthy_fault_proxy::{Decided, Decision, Proxies, ProxyConfig, Redis, Stream, Toxic, ToxicKind};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(30);
const CONNECTIONS: usize = 1000;

async fn echo_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = socket.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    address.to_string()
}

/// Three commands and their echoes; how far it gets is the toxics' business.
async fn talk(address: std::net::SocketAddr) -> std::io::Result<()> {
    let mut client = TcpStream::connect(address).await?;
    for _ in 0..3 {
        client.write_all(b"PING 0123456789\r\n").await?;
        client.read_exact(&mut [0; 17]).await?;
    }
    Ok(())
}

/// The decisions over all connections, `at_once` of them at a time.
async fn decisions(upstream: &str, seed: u64, at_once: usize) -> (Vec<Decision>, String) {
    let proxies = Proxies::with_seed(seed);
    let proxy = proxies.create(ProxyConfig::new("echo", upstream)).await.unwrap();
    proxies.decisions().record(100_000);
    let jitter = Duration::from_micros(300);
    proxy.add_toxic(Toxic::new(ToxicKind::Latency { latency: jitter, jitter }).toxicity(0.5)).unwrap();
    proxy.add_toxic(Toxic::stall(0.2, jitter).on(Stream::Upstream)).unwrap();
    proxy.add_toxic(Toxic::corrupt(0.02).toxicity(0.3)).unwrap();
    proxy.add_toxic(Toxic::delay(Redis::command("PING"), jitter).nth(2).toxicity(0.5)).unwrap();
    let mut talking = JoinSet::new();
    for n in 0..CONNECTIONS {
        if talking.len() >= at_once {
            let _ = talking.join_next().await;
        }
        // Toxics that come and go do not change what others decide.
        if n % 100 == 50 {
            proxy.add_toxic(Toxic::new(ToxicKind::Noop)).unwrap();
            proxy.remove_toxic("noop_downstream").unwrap();
        }
        talking.spawn(timeout(Duration::from_secs(5), talk(proxy.listen())));
    }
    while talking.join_next().await.is_some() {}
    let log = proxies.decisions();
    assert_eq!(log.missed(), 0);
    (log.decisions(), log.to_json_lines())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_decide_alike_one_by_one_and_fifty_at_a_time() {
    let upstream = echo_server().await;
    let runs = async {
        let one_by_one = decisions(&upstream, 42, 1).await;
        let at_once = decisions(&upstream, 42, 50).await;
        (one_by_one, at_once, decisions(&upstream, 43, 50).await)
    };
    let (one_by_one, at_once, other_seed) = timeout(DEADLINE, runs).await.expect("all within the deadline");
    let of = |decisions: &[Decision], wanted: fn(&Decided) -> bool| {
        decisions.iter().filter(|decision| wanted(&decision.decided)).count()
    };
    let applies = |decided: &Decided| matches!(decided, Decided::Applies(true));
    let yes = of(&one_by_one.0, applies);
    // Shares of 0.5, 0.3 and 0.5 of a thousand.
    assert!((1150..1450).contains(&yes), "{yes} toxics apply");
    assert!(of(&one_by_one.0, |decided| matches!(decided, Decided::DelayMicros(_))) > 1000);
    assert!(of(&one_by_one.0, |decided| matches!(decided, Decided::Flip(_))) > 100);
    assert!(of(&one_by_one.0, |decided| matches!(decided, Decided::Message("delay"))) > 400);
    if let Some((one, other)) = one_by_one.1.lines().zip(at_once.1.lines()).find(|(one, other)| one != other)
    {
        panic!("the same seed decided `{one}` and `{other}`");
    }
    assert_eq!(one_by_one.0.len(), at_once.0.len());
    assert!(one_by_one.1 != other_seed.1, "another seed decided alike");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_bounded_and_reads_as_json() {
    let upstream = echo_server().await;
    let proxies = Proxies::with_seed(1);
    let proxy = proxies.create(ProxyConfig::new("echo", upstream)).await.unwrap();
    proxy.add_toxic(Toxic::reset_peer().toxicity(0.5)).unwrap();
    for _ in 0..3 {
        let _ = timeout(DEADLINE, talk(proxy.listen())).await.unwrap();
    }
    assert!(proxies.decisions().decisions().is_empty(), "nobody asked for a log");
    proxies.decisions().record(4);
    for _ in 0..6 {
        let _ = timeout(DEADLINE, talk(proxy.listen())).await.unwrap();
    }
    let log = proxies.decisions();
    assert_eq!((log.decisions().len(), log.missed()), (4, 2));
    let numbers: BTreeMap<u64, &str> = log.decisions().iter().map(|one| (one.connection, "")).collect();
    assert_eq!(numbers.into_keys().collect::<Vec<u64>>(), [3, 4, 5, 6]);
    let lines = log.to_json_lines();
    let first = lines.lines().next().unwrap();
    let start = r#"{"proxy":"echo","connection":3,"stream":"downstream","toxic":"reset_peer_downstream","at":0,"decided":{"applies":"#;
    assert!(first.starts_with(start), "{first}");
}
