//! A table of requests and their answers, one line a case.
//!
//! A line is `METHOD path body => status answer`. The answer of an error is its text; else it is JSON in which `"*"`
//! stands for anything, or nothing where the body must be empty. `$A` to `$D` are free ports, `$TAKEN` is one that
//! somebody listens on. The lines of a table run in order against one server.

use std::net::TcpListener;

use seaworthy_fault_proxy::{
    Proxies,
    api::{self, Api},
};
use serde_json::{Value, json};

pub(crate) async fn running_api() -> Api {
    api::serve(Proxies::with_seed(1), "127.0.0.1:0".parse().unwrap()).await.unwrap()
}

pub(crate) struct Table {
    pub(crate) api: Api,
    pub(crate) client: reqwest::Client,
    pub(crate) ports: Vec<(&'static str, u16)>,
    _taken: TcpListener,
}

impl Table {
    pub(crate) async fn new() -> Table {
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let (free, taken) = ([listen(), listen(), listen(), listen()], listen());
        let names = ["$A", "$B", "$C", "$D"].into_iter();
        let mut ports: Vec<_> = names.zip(free.iter().map(port)).collect();
        ports.push(("$TAKEN", port(&taken)));
        Table { api: running_api().await, client: reqwest::Client::new(), ports, _taken: taken }
    }

    #[allow(dead_code, reason = "not every test has a table of its own")]
    pub(crate) async fn check_all(lines: &str) {
        let table = Table::new().await;
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            table.check(line).await;
        }
    }

    pub(crate) async fn check(&self, line: &str) {
        let line = self
            .ports
            .iter()
            .fold(line.to_owned(), |line, (name, port)| line.replace(name, &port.to_string()));
        let (asked, wanted) = line.split_once(" =>").unwrap_or_else(|| panic!("no ` =>` in {line}"));
        let mut asked = asked.splitn(3, ' ');
        let (method, path) = (asked.next().unwrap(), asked.next().unwrap());
        let body = asked.next().unwrap_or_default().to_owned();
        let (status, answer) = wanted.trim().split_once(' ').unwrap_or((wanted.trim(), ""));
        let url = format!("http://{}{path}", self.api.address());
        let response = self.client.request(method.parse().unwrap(), url).body(body).send().await.unwrap();
        let headers = response.headers().clone();
        let got = response.status().as_u16();
        let text = response.text().await.unwrap();
        assert_eq!(got.to_string(), status, "{line}\n{text}");
        assert!(headers.contains_key("x-toxiproxy-request-id"), "{line}");
        let content_type = headers.get("content-type").map_or("", |value| value.to_str().unwrap());
        if got < 400 {
            if answer.is_empty() {
                assert_eq!(text, "", "{line}");
                return;
            }
            assert!(content_type.starts_with("application/json"), "{line}: {content_type}");
            let (got, wanted) = (serde_json::from_str(&text).unwrap(), serde_json::from_str(answer).unwrap());
            assert!(matches(&got, &wanted), "{line}\n     got {got}");
        } else if path == "/populate" {
            assert_eq!(content_type, "application/json", "{line}");
            let (got, wanted): (Value, Value) =
                (serde_json::from_str(&text).unwrap(), serde_json::from_str(answer).unwrap());
            assert!(matches(&got, &wanted), "{line}\n     got {got}");
            assert_eq!(got["status"].to_string(), status);
        } else {
            let wanted = json!({ "error": answer, "status": got });
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), wanted, "{line}");
            assert!(text.ends_with("}\n"), "{line}: {text}");
            assert_eq!(content_type, "text/plain; charset=utf-8", "{line}");
            assert_eq!(headers["x-content-type-options"], "nosniff", "{line}");
        }
    }
}

fn matches(got: &Value, wanted: &Value) -> bool {
    match (got, wanted) {
        (_, Value::String(any)) if any == "*" => true,
        (Value::Object(got), Value::Object(wanted)) => {
            got.len() == wanted.len()
                && wanted.iter().all(|(name, wanted)| got.get(name).is_some_and(|got| matches(got, wanted)))
        }
        (Value::Array(got), Value::Array(wanted)) => {
            got.len() == wanted.len() && got.iter().zip(wanted).all(|(got, wanted)| matches(got, wanted))
        }
        _ => got == wanted,
    }
}
