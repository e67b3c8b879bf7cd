//! The HTTP API, as Toxiproxy's clients see it.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use seaworthy_fault_proxy::{
    Proxies,
    api::{self, Api},
};

async fn running_api() -> Api {
    api::serve(Proxies::with_seed(1), "127.0.0.1:0".parse().unwrap()).await.unwrap()
}

/// A server that sends back the bytes that it gets, one connection at a time.
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

/// Each line is a request, the status it must get, and a text that the answer must contain. They run in order
/// against one server.
#[tokio::test]
async fn routes_statuses_and_errors_are_those_of_toxiproxy() {
    let api = running_api().await;
    let client = reqwest::Client::new();
    let steps = [
        ("GET", "/version", "", 200, r#"{"version": ""#),
        ("GET", "/proxies", "", 200, "{}"),
        ("POST", "/proxies", "{", 400, "bad request body"),
        ("POST", "/proxies", "{}", 400, "missing required field: name"),
        ("POST", "/proxies", r#"{"name":"db"}"#, 400, "missing required field: upstream"),
        ("POST", "/proxies", r#"{"name":"db","upstream":"127.0.0.1:1"}"#, 201, r#""enabled":true"#),
        ("POST", "/proxies", r#"{"name":"db","upstream":"127.0.0.1:1"}"#, 409, "proxy already exists"),
        ("POST", "/proxies", r#"{"name":"x","listen":"256.0.0.1:1","upstream":"u:1"}"#, 500, "can't listen"),
        ("GET", "/proxies/db", "", 200, r#""toxics":[]"#),
        ("GET", "/proxies/nope", "", 404, r#"{"error":"proxy not found","status":404}"#),
        ("POST", "/proxies/db", r#"{"enabled":false}"#, 200, r#""enabled":false"#),
        ("PATCH", "/proxies/db", r#"{"upstream":"127.0.0.1:2"}"#, 200, r#""upstream":"127.0.0.1:2""#),
        ("POST", "/proxies/db/toxics", r#"{"type":"fog"}"#, 400, "invalid toxic type"),
        ("POST", "/proxies/db/toxics", r#"{"type":"noop","stream":"up"}"#, 400, "stream was invalid"),
        ("POST", "/proxies/db/toxics", r#"{"type":"noop","toxicity":2}"#, 400, "toxicity 2"),
        (
            "POST",
            "/proxies/db/toxics",
            r#"{"type":"latency","attributes":{"latency":-1}}"#,
            400,
            "bad request",
        ),
        (
            "POST",
            "/proxies/db/toxics",
            r#"{"type":"latency","attributes":{"latency":1.5}}"#,
            400,
            "bad request",
        ),
        (
            "POST",
            "/proxies/db/toxics",
            r#"{"type":"latency","attributes":{"latency":100,"unknown":1}}"#,
            200,
            r#"{"name":"latency_downstream","type":"latency","stream":"downstream","toxicity":1.0,"attributes":{"latency":100,"jitter":0}}"#,
        ),
        ("POST", "/proxies/db/toxics", r#"{"type":"latency"}"#, 409, "toxic already exists"),
        ("POST", "/proxies/db/toxics", r#"{"type":"timeout","stream":"UPSTREAM"}"#, 200, "timeout_upstream"),
        ("GET", "/proxies/db/toxics", "", 200, r#"[{"name":"timeout_upstream""#),
        (
            "PATCH",
            "/proxies/db/toxics/latency_downstream",
            r#"{"attributes":{"jitter":5}}"#,
            200,
            r#""latency":100,"jitter":5"#,
        ),
        ("DELETE", "/proxies/db/toxics/timeout_upstream", "", 204, ""),
        ("DELETE", "/proxies/db/toxics/timeout_upstream", "", 404, "toxic not found"),
        ("POST", "/reset", "", 204, ""),
        ("GET", "/proxies/db", "", 200, r#""enabled":true,"listen""#),
        ("GET", "/proxies/db/toxics", "", 200, "[]"),
        ("POST", "/populate", r#"[{"name":"a","upstream":"127.0.0.1:1"},{}]"#, 400, "name at proxy 2"),
        ("POST", "/populate", r#"[{"name":"b","upstream":"127.0.0.1:1"}]"#, 201, r#""proxies":[{"#),
        ("DELETE", "/proxies/db", "", 204, ""),
        ("DELETE", "/proxies/db", "", 404, "proxy not found"),
        ("PUT", "/proxies", "", 405, ""),
        ("GET", "/nowhere", "", 404, ""),
    ];
    for (method, path, body, status, contains) in steps {
        let url = format!("http://{}{path}", api.address());
        let request = client.request(method.parse().unwrap(), url).body(body);
        let response = request.send().await.unwrap();
        let got = response.status().as_u16();
        let text = response.text().await.unwrap();
        assert_eq!(got, status, "{method} {path} {body}: {text}");
        assert!(text.contains(contains), "{method} {path} {body}: `{text}` does not contain `{contains}`");
    }
}

#[tokio::test]
async fn a_browser_is_turned_away() {
    let api = running_api().await;
    let request = reqwest::Client::new().get(format!("http://{}/proxies", api.address()));
    let response = request.header("user-agent", "Mozilla/5.0").send().await.unwrap();
    assert_eq!(response.status().as_u16(), 403);
}

#[test]
fn the_toxiproxy_rust_client_drives_it() {
    // The client blocks, so it stays off the threads that serve the API.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let api = runtime.block_on(running_api());
    let client = toxiproxy_rust::client::Client::new(api.address());
    assert!(client.is_running());

    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let pack =
        toxiproxy_rust::proxy::ProxyPack::new("echo".into(), listen.clone(), echo_server().to_string());
    client.populate(vec![pack]).unwrap();
    let proxy = client.find_and_reset_proxy("echo").unwrap();

    proxy
        .with_latency("downstream".into(), 200, 0, 1.0)
        .apply(|| {
            assert_eq!(client.find_proxy("echo").unwrap().toxics().unwrap().len(), 1);
            let mut socket = TcpStream::connect(&listen).unwrap();
            let started = Instant::now();
            socket.write_all(b"ping").unwrap();
            socket.read_exact(&mut [0; 4]).unwrap();
            assert!(started.elapsed() >= Duration::from_millis(200));
        })
        .unwrap();
    assert!(proxy.toxics().unwrap().is_empty());

    proxy.with_down(|| assert!(TcpStream::connect(&listen).is_err())).unwrap();
    assert!(TcpStream::connect(&listen).is_ok());
    proxy.delete().unwrap();
    assert!(TcpStream::connect(&listen).is_err());
}
