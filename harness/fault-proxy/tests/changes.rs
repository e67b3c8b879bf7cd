//! What clients notice when proxies are created, changed, replaced and deleted.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use seaworthy_fault_proxy::{Error, Proxies, Proxy, ProxyChange, ProxyConfig, Toxic};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(10);

/// A server that tells its letter to whoever comes, and keeps the connection.
async fn server(letter: u8) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            socket.write_all(&[letter]).await.unwrap();
            open.push(socket);
        }
    });
    address.to_string()
}

/// Connects, and hears the server's letter.
async fn meet(address: impl Into<SocketAddr>, letter: u8) -> TcpStream {
    let mut socket = TcpStream::connect(address.into()).await.unwrap();
    let mut heard = [0];
    timeout(DEADLINE, socket.read_exact(&mut heard)).await.expect("a letter in time").unwrap();
    assert_eq!(heard, [letter]);
    socket
}

async fn ends(mut socket: TcpStream) {
    let mut rest = Vec::new();
    let _ = timeout(DEADLINE, socket.read_to_end(&mut rest)).await.expect("it ends in time");
}

/// Whether it lives on is seen by bytes that still come through.
async fn lives(proxy: &Proxy, socket: &mut TcpStream) {
    let before = proxy.traffic(seaworthy_fault_proxy::Stream::Upstream).sent;
    socket.write_all(b"still here").await.unwrap();
    let came = async {
        while proxy.traffic(seaworthy_fault_proxy::Stream::Upstream).sent < before + 10 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(DEADLINE, came).await.expect("the connection lives");
}

async fn a_free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_new_upstream_closes_live_connections_and_gets_the_new_ones() {
    let proxies = Proxies::with_seed(1);
    let proxy = proxies.create(ProxyConfig::new("p", server(b'a').await)).await.unwrap();
    let old = meet(proxy.listen(), b'a').await;
    proxies.change("p", ProxyChange::default().upstream(server(b'b').await)).await.unwrap();
    ends(old).await;
    meet(proxy.listen(), b'b').await;
}

#[tokio::test]
async fn a_new_address_closes_live_connections_and_keeps_the_toxics() {
    let proxies = Proxies::with_seed(1);
    let config = ProxyConfig::new("p", server(b'a').await).toxic(Toxic::limit_data(1));
    let proxy = proxies.create(config).await.unwrap();
    let (before, after) = (proxy.listen(), a_free_address().await);
    let old = meet(before, b'a').await;
    proxies.change("p", ProxyChange::default().listen(after.to_string())).await.unwrap();
    ends(old).await;
    assert!(TcpStream::connect(before).await.is_err());
    assert_eq!(proxy.listen(), after);
    assert_eq!(proxy.toxics(), [Toxic::limit_data(1)]);
    meet(after, b'a').await;
}

#[tokio::test]
async fn an_address_that_cant_be_had_leaves_the_proxy_where_it_was() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = taken.local_addr().map(|address| (address, taken)).unwrap();
    let proxies = Proxies::with_seed(1);
    let proxy = proxies.create(ProxyConfig::new("p", server(b'a').await)).await.unwrap();
    let listen = proxy.listen();
    let error = proxies.change("p", ProxyChange::default().listen(taken.0.to_string())).await.unwrap_err();
    assert!(matches!(error, Error::Listen { .. }), "{error}");
    assert_eq!((proxy.listen(), proxy.is_enabled()), (listen, true));
    meet(listen, b'a').await;

    let (made, outcome) =
        proxies.populate(vec![ProxyConfig::new("p", "u:1").listen(taken.0.to_string())]).await;
    assert!(made.is_empty() && matches!(outcome, Err(Error::Listen { .. })));
    meet(listen, b'a').await;
}

#[tokio::test]
async fn populating_leaves_a_proxy_of_the_same_addresses_its_connections_and_replaces_others() {
    let proxies = Proxies::with_seed(1);
    let upstream = server(b'a').await;
    let proxy = proxies.create(ProxyConfig::new("p", &*upstream)).await.unwrap();
    let mut live = meet(proxy.listen(), b'a').await;
    let same = ProxyConfig::new("p", &*upstream).listen(format!("localhost:{}", proxy.listen().port()));
    proxies.populate(vec![same]).await.1.unwrap();
    lives(&proxy, &mut live).await;

    let other = ProxyConfig::new("p", server(b'b').await).listen(proxy.listen().to_string());
    proxies.populate(vec![other]).await.1.unwrap();
    ends(live).await;
    meet(proxy.listen(), b'b').await;
}

#[tokio::test]
async fn toxics_given_with_the_proxy_meet_its_first_connection() {
    let proxies = Proxies::with_seed(1);
    let config = ProxyConfig::new("p", server(b'a').await).toxic(Toxic::limit_data(0));
    let proxy = proxies.create(config).await.unwrap();
    let mut socket = TcpStream::connect(proxy.listen()).await.unwrap();
    let mut heard = Vec::new();
    let _ = timeout(DEADLINE, socket.read_to_end(&mut heard)).await.expect("it is closed in time");
    assert!(heard.is_empty());
}

#[tokio::test]
async fn no_host_listens_for_both_families() {
    let proxies = Proxies::with_seed(1);
    let proxy = proxies.create(ProxyConfig::new("p", server(b'a').await).listen(":0")).await.unwrap();
    let port = proxy.listen().port();
    meet((Ipv4Addr::LOCALHOST, port), b'a').await;
    if proxy.listen().is_ipv6() {
        meet((Ipv6Addr::LOCALHOST, port), b'a').await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_create_one_proxy_at_once_one_does() {
    let proxies = Proxies::with_seed(1);
    let address = a_free_address().await.to_string();
    let mut racing = JoinSet::new();
    for _ in 0..50 {
        let (proxies, config) = (proxies.clone(), ProxyConfig::new("p", "u:1").listen(&*address));
        racing.spawn(async move { proxies.create(config).await.map(|_| ()) });
    }
    let outcomes = racing.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let refusals = outcomes.into_iter().filter_map(Result::err);
    refusals.for_each(|error| assert!(matches!(error, Error::ProxyExists(_)), "{error}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_many_do_to_one_proxy_at_once_leaves_it_whole() {
    let proxies = Proxies::with_seed(1);
    let upstream = server(b'a').await;
    let mut racing = JoinSet::new();
    for n in 0..60 {
        let (proxies, upstream) = (proxies.clone(), upstream.clone());
        racing.spawn(async move {
            let done = match n % 6 {
                0 => proxies.create(ProxyConfig::new("p", upstream)).await.map(|_| ()),
                1 => proxies.change("p", ProxyChange::default().listen("localhost:0")).await.map(|_| ()),
                2 => proxies.change("p", ProxyChange::default().enabled(false)).await.map(|_| ()),
                3 => proxies.reset().await,
                4 => proxies.populate(vec![ProxyConfig::new("p", upstream)]).await.1,
                _ => proxies.delete("p").await,
            };
            let refused = matches!(done, Ok(()) | Err(Error::ProxyExists(_) | Error::ProxyNotFound(_)));
            assert!(refused, "{done:?}");
        });
    }
    timeout(DEADLINE, racing.join_all()).await.expect("nobody hangs");
    let _ = proxies.delete("p").await;
    let proxy = proxies.create(ProxyConfig::new("p", upstream)).await.unwrap();
    meet(proxy.listen(), b'a').await;
    assert_eq!(proxies.list().len(), 1);
}
