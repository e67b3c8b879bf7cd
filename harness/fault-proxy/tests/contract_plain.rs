//! What the API answers besides JSON about proxies and toxics: version, refusals without a body, metrics, decisions.

mod table;

use seaworthy_fault_proxy::{
    Proxies,
    api::{self, Api, Settings},
};
use table::{Table, running_api};

#[tokio::test]
async fn the_log_of_decisions_can_be_had() {
    let table = Table::new().await;
    table.check("POST /decisions {} => 400 missing required field: limit").await;
    table.check("POST /decisions {\"limit\":100001} => 400 bad request body: `limit` must be at most 100000, not 100001").await;
    table.check("POST /decisions {\"limit\":10} => 204").await;
    let echo = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = echo.local_addr().unwrap();
    let line = format!(
        r#"POST /proxies {{"name":"p","listen":"localhost:$A","upstream":"{upstream}","toxics":[{{"type":"noop","toxicity":0.5}}]}} => 201 "*""#
    );
    table.check(&line).await;
    let _client = tokio::net::TcpStream::connect(("127.0.0.1", table.ports[0].1)).await.unwrap();
    let url = format!("http://{}/decisions", table.api.address());
    let asking = async {
        loop {
            let response = table.client.get(&url).send().await.unwrap();
            assert_eq!(response.headers()["x-missed-decisions"], "0");
            let text = response.text().await.unwrap();
            if !text.is_empty() {
                return text;
            }
        }
    };
    let text = tokio::time::timeout(std::time::Duration::from_secs(10), asking).await.unwrap();
    assert!(
        text.starts_with(r#"{"proxy":"p","connection":0,"stream":"downstream","toxic":"noop_downstream","#),
        "{text}"
    );
}

async fn raw(api: &Api, request: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut socket = tokio::net::TcpStream::connect(api.address()).await.unwrap();
    let request = format!("{request}\r\nhost: x\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn answers_outside_of_the_contracts_json_are_those_of_toxiproxy() {
    let api = running_api().await;
    #[track_caller]
    fn check(answer: &str, status: u16, headers: &[&str], body: &str) {
        let (head, got) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        let head = head.to_ascii_lowercase();
        for header in headers.iter().chain(&["x-toxiproxy-request-id: ", "server: seaworthy-fault-proxy/"]) {
            assert!(head.contains(header), "{header} is not in {head}");
        }
        assert_eq!(got, body);
    }
    let plain = ["content-type: text/plain; charset=utf-8", "x-content-type-options: nosniff"];
    for path in ["/", "/nowhere", "/proxies/", "/proxies/x/toxics/", "/proxies/x/toxics/y/z", "/metrics"] {
        check(&raw(&api, &format!("GET {path} HTTP/1.1")).await, 404, &plain, "404 page not found\n");
    }
    for (method, path) in
        [("PUT", "/proxies"), ("DELETE", "/proxies"), ("GET", "/populate"), ("GET", "/reset")]
    {
        check(&raw(&api, &format!("{method} {path} HTTP/1.1")).await, 405, &[], "");
    }
    let version = raw(&api, "GET /version HTTP/1.1").await;
    check(&version, 200, &["content-type: application/json;charset=utf-8"], "{\"version\": \"2.12.0\"}\n");
    let browser = raw(&api, "GET /proxies HTTP/1.1\r\nuser-agent: Mozilla/5.0 (X11)").await;
    check(&browser, 403, &plain, "User agent not allowed\n");
    let tool = raw(&api, "GET /proxies HTTP/1.1\r\nuser-agent: Wget/2.1 Mozilla/5.0").await;
    check(&tool, 200, &["content-type: application/json"], "{}");
    let not_text = raw(&api, "GET /proxies/%ff HTTP/1.1").await;
    let error = "{\"error\":\"bad request path: it is not UTF-8\",\"status\":400}\n";
    check(&not_text, 400, &plain, error);
}

#[tokio::test]
async fn metrics_have_the_names_of_toxiproxy_and_are_there_only_when_asked_for() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let echo = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = echo.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = echo.accept().await.unwrap();
        socket.read_exact(&mut [0; 5]).await.unwrap();
        socket.write_all(b"pong!!!").await.unwrap();
        socket.read_to_end(&mut Vec::new()).await
    });
    let proxies = Proxies::with_seed(1);
    let config = seaworthy_fault_proxy::ProxyConfig::new("a \"name\"\\", upstream.to_string());
    let proxy = proxies.create(config).await.unwrap();
    let settings = Settings::default().proxy_metrics().more_metrics(|| "more 1\n".to_owned());
    let api = api::serve_with(proxies, "127.0.0.1:0".parse().unwrap(), settings).await.unwrap();

    let mut client = tokio::net::TcpStream::connect(proxy.listen()).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    client.read_exact(&mut [0; 7]).await.unwrap();
    let labels = |direction| {
        let listener = proxy.listen();
        format!(r#"direction="{direction}",listener="{listener}",proxy="a \"name\"\\",upstream="{upstream}""#)
    };
    let wanted = [
        ("received", "downstream", 7),
        ("received", "upstream", 5),
        ("sent", "downstream", 7),
        ("sent", "upstream", 5),
    ];
    let wanted: Vec<String> = wanted
        .into_iter()
        .map(|(what, stream, bytes)| {
            format!("toxiproxy_proxy_{what}_bytes_total{{{}}} {bytes}", labels(stream))
        })
        .collect();
    let asking = async {
        loop {
            let answer = raw(&api, "GET /metrics HTTP/1.1").await;
            assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{answer}");
            assert!(answer.contains("# TYPE toxiproxy_proxy_sent_bytes_total counter\n"), "{answer}");
            assert!(answer.ends_with("more 1\n"), "{answer}");
            if wanted.iter().all(|line| answer.lines().any(|told| told == line)) {
                return;
            }
        }
    };
    let wait = tokio::time::timeout(std::time::Duration::from_secs(10), asking);
    wait.await.unwrap_or_else(|_| panic!("never saw {wanted:#?}"));
}
