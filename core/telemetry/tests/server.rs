//! A server that is told to stop, as its clients meet it.

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{
        ConnectInfo, WebSocketUpgrade,
        ws::{CloseFrame, Message, close_code},
    },
    routing::get,
};
use futures_util::StreamExt;
use seaworthy_telemetry::lifecycle::{Drained, Draining, Error, Server};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_tungstenite::connect_async;

/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(10);

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    drained: JoinHandle<Drained>,
}

async fn run(server: Server) -> Running {
    let bound = server.bind().await.unwrap();
    let address = bound.local_addr();
    let (stop, told) = oneshot::channel::<()>();
    let drained = tokio::spawn(bound.serve(async move { drop(told.await) }));
    Running { address, stop, drained }
}

impl Running {
    async fn stop(self) -> Drained {
        self.stop.send(()).unwrap();
        timeout(LIMIT, self.drained).await.unwrap().unwrap()
    }
}

fn on_a_free_port(router: Router) -> Server {
    Server::new(router).address("127.0.0.1:0")
}

/// A socket that stays open whatever becomes of the servers on it.
fn shared_socket() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

async fn ask(stream: &mut TcpStream, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
}

/// What the server sends until its answer is complete or it closes the connection.
async fn answer(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let mut bytes = [0; 4096];
    while !text.ends_with("hello") {
        match timeout(LIMIT, stream.read(&mut bytes)).await.unwrap() {
            Ok(0) => break,
            Ok(length) => text.push_str(&String::from_utf8_lossy(&bytes[..length])),
            Err(error) => panic!("after {text:?}: {error}"),
        }
    }
    text
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(timeout(LIMIT, stream.read(&mut [0])).await.unwrap(), Ok(0) | Err(_))
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let give_up = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < give_up, "{what} did not come");
        sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_clients_lose_nothing_over_many_restarts() {
    const RESTARTS: u64 = 12;
    const CLIENTS: u64 = 8;
    let socket = shared_socket();
    let url = format!("http://{}/", socket.local_addr().unwrap());
    let start = || {
        let router = Router::new().route("/", get(async || "hello"));
        let server = Server::new(router).listener(socket.try_clone().unwrap());
        run(server.linger(Duration::from_millis(100)))
    };
    let over = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (over, answered, url) = (over.clone(), answered.clone(), url.clone());
            tokio::spawn(async move {
                let http = reqwest::Client::new();
                while !over.load(Ordering::Relaxed) {
                    let text = http.get(&url).send().await.unwrap().text().await.unwrap();
                    assert_eq!(text, "hello");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut serving = start().await;
    for _ in 0..RESTARTS {
        let seen = answered.load(Ordering::Relaxed);
        until("load", || answered.load(Ordering::Relaxed) > seen + 5 * CLIENTS).await;
        let next = start().await;
        let drained = std::mem::replace(&mut serving, next).stop().await;
        assert_eq!(drained.cut, 0);
    }
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_server_answers_what_it_has_and_closes_what_is_idle() {
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = {
        let (begun, go_on) = (begun.clone(), go_on.clone());
        async move || {
            begun.notify_one();
            go_on.notified().await;
            "hello"
        }
    };
    let router = Router::new().route("/slow", get(slow)).route("/", get(async || "hello"));
    let socket = shared_socket();
    let red = Arc::new(AtomicBool::new(false));
    let turn_red = {
        let red = red.clone();
        move || red.store(true, Ordering::Relaxed)
    };
    let server = Server::new(router).listener(socket.try_clone().unwrap()).on_drain(turn_red);
    let running = run(server.linger(Duration::from_secs(1))).await;
    let address = running.address;

    let mut kept = TcpStream::connect(address).await.unwrap();
    ask(&mut kept, "/").await;
    let before = answer(&mut kept).await;
    assert!(before.starts_with("HTTP/1.1 200") && !before.contains("connection: close"), "{before}");
    let mut idle = TcpStream::connect(address).await.unwrap();
    ask(&mut idle, "/").await;
    answer(&mut idle).await;
    let mut busy = TcpStream::connect(address).await.unwrap();
    ask(&mut busy, "/slow").await;
    begun.notified().await;

    let stopping = tokio::spawn(running.stop());
    until("readiness turns red", || red.load(Ordering::Relaxed)).await;
    ask(&mut kept, "/").await;
    let after = answer(&mut kept).await;
    assert!(after.starts_with("HTTP/1.1 200") && after.contains("connection: close"), "{after}");
    assert!(is_closed(&mut kept).await);
    let mut queued = TcpStream::connect(address).await.unwrap();
    ask(&mut queued, "/").await;
    assert!(is_closed(&mut idle).await);
    go_on.notify_one();
    let slow = answer(&mut busy).await;
    assert!(slow.ends_with("hello"), "{slow}");
    assert_eq!(stopping.await.unwrap(), Drained { finished: 3, cut: 0 });

    // What knocked in the meantime waited for the next server.
    let router = Router::new().route("/", get(async || "hello"));
    let next = run(Server::new(router).listener(socket)).await;
    assert!(answer(&mut queued).await.starts_with("HTTP/1.1 200"));
    next.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_alone_accepts_until_the_news_is_everywhere() {
    let router = Router::new().route("/", get(async || "hello"));
    let draining = Draining::new();
    let server = on_a_free_port(router).linger(Duration::from_millis(500)).draining(draining.clone());
    let running = run(server).await;
    let address = running.address;
    let stopping = tokio::spawn(running.stop());
    timeout(LIMIT, draining.begun()).await.unwrap();
    let mut late = TcpStream::connect(address).await.unwrap();
    ask(&mut late, "/").await;
    let said = answer(&mut late).await;
    assert!(said.starts_with("HTTP/1.1 200") && said.contains("connection: close"), "{said}");
    assert_eq!(stopping.await.unwrap(), Drained { finished: 1, cut: 0 });
    assert_eq!(TcpStream::connect(address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_busy_at_the_deadline_is_cut_and_counted() {
    let begun = Arc::new(Notify::new());
    let told = begun.clone();
    let endless = async move || {
        told.notify_one();
        std::future::pending::<&'static str>().await
    };
    let router = Router::new().route("/", get(endless));
    let short = Duration::from_millis(50);
    let running = run(on_a_free_port(router).linger(short).deadline(2 * short)).await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    ask(&mut client, "/").await;
    begun.notified().await;
    assert_eq!(running.stop().await, Drained { finished: 0, cut: 1 });
    assert!(is_closed(&mut client).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_socket_says_goodbye_and_one_that_does_not_listen_is_cut() {
    let polite = async |draining: Draining, upgrade: WebSocketUpgrade| {
        upgrade.on_upgrade(async move |mut socket| {
            draining.begun().await;
            let goodbye = CloseFrame { code: close_code::RESTART, reason: "restart".into() };
            let _ = socket.send(Message::Close(Some(goodbye))).await;
        })
    };
    let deaf = async |upgrade: WebSocketUpgrade| {
        upgrade.on_upgrade(async move |mut socket| while socket.recv().await.is_some() {})
    };
    let router = Router::new().route("/polite", get(polite)).route("/deaf", get(deaf));
    let short = Duration::from_millis(50);
    let running = run(on_a_free_port(router).linger(short).deadline(4 * short)).await;
    let url = format!("ws://{}", running.address);
    let (mut polite, _) = connect_async(format!("{url}/polite")).await.unwrap();
    let (mut deaf, _) = connect_async(format!("{url}/deaf")).await.unwrap();
    let drained = tokio::spawn(running.stop());
    let said = timeout(LIMIT, polite.next()).await.unwrap().unwrap().unwrap();
    let tokio_tungstenite::tungstenite::Message::Close(Some(frame)) = said else { panic!("{said:?}") };
    assert_eq!(u16::from(frame.code), close_code::RESTART);
    drop(polite);
    let said = timeout(LIMIT, deaf.next()).await.unwrap();
    assert!(matches!(said, None | Some(Err(_))), "{said:?}");
    assert_eq!(drained.await.unwrap(), Drained { finished: 1, cut: 1 });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_no_request_is_closed() {
    let router = Router::new().route("/", get(async || "hello"));
    let running = run(on_a_free_port(router).header_timeout(Duration::from_millis(50))).await;
    let mut slow = TcpStream::connect(running.address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nhost: te").await.unwrap();
    assert!(is_closed(&mut slow).await);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_wait_their_turn() {
    let whoami = async |ConnectInfo(peer): ConnectInfo<SocketAddr>| format!("{} says hello", peer.port());
    let running = run(on_a_free_port(Router::new().route("/", get(whoami))).max_connections(1)).await;
    let mut first = TcpStream::connect(running.address).await.unwrap();
    ask(&mut first, "/").await;
    assert!(answer(&mut first).await.contains(&first.local_addr().unwrap().port().to_string()));
    let mut second = TcpStream::connect(running.address).await.unwrap();
    ask(&mut second, "/").await;
    let waits = timeout(Duration::from_millis(100), second.read(&mut [0])).await;
    assert!(waits.is_err(), "the second connection was served beside the first");
    drop(first);
    assert!(answer(&mut second).await.contains("HTTP/1.1 200"));
    drop(second);
    running.stop().await;
}

#[tokio::test]
async fn an_address_that_can_not_be_listened_on_is_named() {
    let taken = shared_socket();
    let address = taken.local_addr().unwrap().to_string();
    let error = Server::new(Router::new()).address(&address).bind().await.unwrap_err();
    assert!(matches!(error, Error::AddressInUse { .. }) && error.to_string().contains(&address), "{error}");
    let error = Server::new(Router::new()).address("the moon").bind().await.unwrap_err();
    assert!(matches!(error, Error::Listen { .. }) && error.to_string().contains("the moon"), "{error}");
}
