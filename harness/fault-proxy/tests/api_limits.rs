//! What the API does not let happen: no call hangs, and nothing grows without end.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use seaworthy_fault_proxy::{
    MAX_ADDRESS, MAX_NAME, MAX_PROXIES, MAX_TOXICS, Proxies, ProxyConfig, Toxic,
    api::{self, Api, MAX_BODY, Settings},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const DEADLINE: Duration = Duration::from_secs(10);

async fn api_with(proxies: Proxies, settings: Settings) -> Api {
    api::serve_with(proxies, "127.0.0.1:0".parse().unwrap(), settings).await.unwrap()
}

async fn running_api() -> Api {
    api_with(Proxies::with_seed(1), Settings::default()).await
}

async fn send(api: &Api, method: &str, path: &str, body: impl Into<String>) -> (u16, String) {
    let url = format!("http://{}{path}", api.address());
    let request = reqwest::Client::new().request(method.parse().unwrap(), url).body(body.into());
    let response = tokio::time::timeout(DEADLINE, request.send()).await.expect("an answer in time").unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// An upstream that takes no connection: its queue is full.
async fn black_hole() -> (TcpListener, Vec<TcpStream>, String) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap().into_std().unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(Ok(socket)) =
        tokio::time::timeout(Duration::from_millis(50), TcpStream::connect(address)).await
    {
        waiting.push(socket);
    }
    (listener, waiting, address.to_string())
}

async fn echo_server() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
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

/// The slowest of all calls, each made while clients of the proxy `p` wait for something.
async fn slowest_call(api: &Api) -> (Duration, String) {
    let calls = [
        ("GET", "/proxies", "", 200),
        ("GET", "/proxies/p", "", 200),
        ("POST", "/proxies/p/toxics", r#"{"name":"t","type":"latency","attributes":{"latency":60000}}"#, 200),
        ("PATCH", "/proxies/p/toxics/t", r#"{"attributes":{"jitter":5}}"#, 200),
        ("DELETE", "/proxies/p/toxics/t", "", 204),
        ("POST", "/proxies/p/toxics", r#"{"name":"b","type":"bandwidth","attributes":{"rate":0}}"#, 200),
        ("DELETE", "/proxies/p/toxics/b", "", 204),
        ("POST", "/proxies/p/toxics", r#"{"type":"slow_close","attributes":{"delay":60000}}"#, 200),
        ("POST", "/reset", "", 204),
        ("POST", "/populate", r#"[{"name":"q","upstream":"127.0.0.1:1"}]"#, 201),
        ("PATCH", "/proxies/p", r#"{"listen":"127.0.0.1:0"}"#, 200),
        ("PATCH", "/proxies/p", r#"{"enabled":false}"#, 200),
        ("PATCH", "/proxies/p", r#"{"enabled":true}"#, 200),
        ("DELETE", "/proxies/p", "", 204),
    ];
    let client = reqwest::Client::new();
    let mut slowest = (Duration::ZERO, String::new());
    for (method, path, body, wanted) in calls {
        let started = Instant::now();
        let url = format!("http://{}{path}", api.address());
        let request = client.request(method.parse().unwrap(), url).body(body);
        let response = tokio::time::timeout(DEADLINE, request.send()).await;
        let response = response.unwrap_or_else(|_| panic!("{method} {path} {body} hangs")).unwrap();
        assert_eq!(response.status().as_u16(), wanted, "{method} {path} {body}");
        slowest = slowest.max((started.elapsed(), format!("{method} {path} {body}")));
    }
    slowest
}

/// Calls answer within 100 ms on a quiet machine; this one may be busy, so that only hanging ones fail.
const LOOSE: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn no_call_waits_for_an_upstream_that_is_a_black_hole() {
    let proxies = Proxies::with_seed(1);
    let (_listener, _waiting, upstream) = black_hole().await;
    let proxy = proxies.create(ProxyConfig::new("p", upstream)).await.unwrap();
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = TcpStream::connect(proxy.listen()).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        clients.push(client);
    }
    let (slowest, call) = slowest_call(&api_with(proxies, Settings::default()).await).await;
    assert!(slowest < LOOSE, "{call} took {slowest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_waits_for_live_connections_however_many() {
    let proxies = Proxies::with_seed(1);
    let proxy = proxies.create(ProxyConfig::new("p", echo_server().await)).await.unwrap();
    let count = live_connections();
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = TcpStream::connect(proxy.listen()).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        clients.push(client);
    }
    // Bytes are on their way in both directions, and nobody reads what comes back.
    for client in &mut clients {
        let mut byte = [0];
        let answered = tokio::time::timeout(DEADLINE, client.read_exact(&mut byte));
        answered.await.expect("the connection lives").unwrap();
    }
    let (slowest, call) = slowest_call(&api_with(proxies, Settings::default()).await).await;
    assert!(slowest < LOOSE, "{call} took {slowest:?}");
}

/// A thousand, or as many as this process can hold: each takes five files here.
fn live_connections() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let most = line.and_then(|line| line.split_whitespace().nth(3)).and_then(|most| most.parse().ok());
    most.map_or(100, |most: usize| (most.saturating_sub(200) / 5).clamp(50, 1000))
}

#[tokio::test]
async fn a_body_has_a_limit() {
    let api = running_api().await;
    let (status, text) = send(&api, "POST", "/proxies", " ".repeat(MAX_BODY + 1)).await;
    assert_eq!(status, 413);
    assert_eq!(text, "{\"error\":\"the request body is larger than 1048576 bytes\",\"status\":413}\n");
    let filler = " ".repeat(MAX_BODY - 40);
    let fits = format!("{{\"name\":\"a\",\"upstream\":\"b:1\"}}{filler}");
    assert!(fits.len() <= MAX_BODY);
    assert_eq!(send(&api, "POST", "/proxies", fits).await.0, 201);
}

#[tokio::test]
async fn names_and_addresses_have_limits() {
    let api = running_api().await;
    let long = |length: usize| "x".repeat(length);
    let proxy = |name: String, upstream: String| json!({ "name": name, "upstream": upstream }).to_string();
    let cases = [
        ("/proxies", proxy(long(MAX_NAME), "u:1".into()), 201, ""),
        (
            "/proxies",
            proxy(long(MAX_NAME + 1), "u:1".into()),
            400,
            "the name of a proxy is 256 bytes long; at most 255",
        ),
        ("/proxies", proxy("a".into(), long(MAX_ADDRESS)), 201, ""),
        (
            "/proxies",
            proxy("b".into(), long(MAX_ADDRESS + 1)),
            400,
            "the upstream of a proxy is 513 bytes long",
        ),
        (
            "/proxies",
            json!({ "name": "c", "upstream": "u:1", "listen": long(MAX_ADDRESS + 1) }).to_string(),
            400,
            "the listening address of a proxy is 513 bytes long",
        ),
        ("/proxies/a", json!({ "listen": long(MAX_ADDRESS + 1) }).to_string(), 400, "the listening address"),
        (
            "/proxies/a",
            json!({ "upstream": long(MAX_ADDRESS + 1) }).to_string(),
            400,
            "the upstream of a proxy",
        ),
        (
            "/proxies/a/toxics",
            json!({ "name": long(MAX_NAME + 1), "type": "noop" }).to_string(),
            400,
            "the name of a toxic is 256 bytes long",
        ),
        ("/proxies/a/toxics", json!({ "name": long(MAX_NAME), "type": "noop" }).to_string(), 200, ""),
    ];
    for (path, body, status, contains) in cases {
        let (got, text) = send(&api, "POST", path, body.clone()).await;
        assert_eq!(got, status, "{path} {body}: {text}");
        assert!(text.contains(contains), "{text}");
    }
}

#[tokio::test]
async fn a_proxy_has_so_many_toxics_at_most() {
    let proxies = Proxies::with_seed(1);
    let mut config = ProxyConfig::new("p", "u:1");
    for number in 0..MAX_TOXICS {
        config = config.toxic(Toxic::new(seaworthy_fault_proxy::ToxicKind::Noop).named(number.to_string()));
    }
    proxies.create(config).await.unwrap();
    let api = api_with(proxies, Settings::default()).await;
    let (status, text) = send(&api, "POST", "/proxies/p/toxics", r#"{"type":"noop"}"#).await;
    assert_eq!(status, 400);
    let told = "bad request body: there can be at most 256 toxics on a proxy: delete some first";
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), json!({ "error": told, "status": 400 }));
    assert_eq!(send(&api, "DELETE", "/proxies/p/toxics/7", "").await.0, 204);
    assert_eq!(send(&api, "POST", "/proxies/p/toxics", r#"{"type":"noop"}"#).await.0, 200);
}

#[tokio::test]
async fn there_are_so_many_proxies_at_most() {
    // All of them wait for a port that is taken, so that they need no file each.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let proxies = Proxies::with_seed(1);
    let waiting = |name: String| ProxyConfig::new(name, "u:1").listen(&*listen).disabled();
    let (made, outcome) = proxies.populate((0..MAX_PROXIES).map(|n| waiting(n.to_string())).collect()).await;
    outcome.unwrap();
    assert_eq!(made.len(), MAX_PROXIES);
    let api = api_with(proxies, Settings::default()).await;
    let (status, text) = send(&api, "POST", "/proxies", r#"{"name":"more","upstream":"u:1"}"#).await;
    assert_eq!(status, 400, "{text}");
    assert!(text.contains("there can be at most 4096 proxies: delete some first"), "{text}");
}

#[tokio::test]
async fn connections_beyond_the_limit_are_told_so_at_once() {
    let api = api_with(Proxies::with_seed(1), Settings::default().max_connections(2)).await;
    let connect = || TcpStream::connect(api.address());
    let (mut first, _second) = (connect().await.unwrap(), connect().await.unwrap());
    let request = b"GET /version HTTP/1.1\r\nhost: x\r\n\r\n";
    // An answer shows that it has its place.
    first.write_all(request).await.unwrap();
    first.read_exact(&mut [0; 12]).await.unwrap();

    let mut third = connect().await.unwrap();
    third.write_all(request).await.unwrap();
    let mut answer = String::new();
    let read = tokio::time::timeout(DEADLINE, third.read_to_string(&mut answer));
    read.await.expect("an answer in time").unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(
        answer.ends_with("{\"error\":\"too many open connections to the API\",\"status\":503}\n"),
        "{answer}"
    );

    drop(first);
    let served = async {
        loop {
            let mut socket = connect().await.unwrap();
            socket.write_all(request).await.unwrap();
            let mut start = [0; 12];
            if socket.read_exact(&mut start).await.is_ok() && start == *b"HTTP/1.1 200" {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, served).await.expect("the place is free again");
}

#[tokio::test]
async fn requests_that_do_not_arrive_do_not_hold_a_place_for_ever() {
    let short = Duration::from_millis(50);
    let settings = Settings::default().header_timeout(short).body_timeout(short);
    let api = api_with(Proxies::with_seed(1), settings).await;
    for (sent, status) in [
        ("", ""),
        ("GET /version HTT", ""),
        ("POST /proxies HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{", "HTTP/1.1 408 "),
    ] {
        let mut socket = TcpStream::connect(api.address()).await.unwrap();
        socket.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = tokio::time::timeout(DEADLINE, socket.read_to_string(&mut answer));
        read.await.unwrap_or_else(|_| panic!("{sent:?} holds the connection")).unwrap();
        assert!(answer.starts_with(status), "{sent:?}: {answer}");
        assert_eq!(answer.is_empty(), status.is_empty(), "{sent:?}: {answer}");
    }
}
