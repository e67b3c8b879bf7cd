//! The server as a program: its command line, its file of proxies, and how it ends.

use std::{
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(10);

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seaworthy-fault-proxy"));
    command.args(arguments).env_remove("LOG_LEVEL").stdin(Stdio::null());
    command
}

/// A running server. It is killed with the test.
struct Server {
    child: Child,
    address: String,
    log: std::thread::JoinHandle<String>,
}

impl Server {
    fn start(command: &mut Command) -> Server {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut log = String::new();
        let address = loop {
            let mut line = String::new();
            assert!(lines.read_line(&mut line).unwrap() > 0, "it ended: {log}");
            log += &line;
            if let Some((_, rest)) = line.split_once("the API listens address=") {
                break rest.split_whitespace().next().unwrap().to_owned();
            }
        };
        let log = std::thread::spawn(move || {
            lines.read_to_string(&mut log).unwrap();
            log
        });
        Server { child, address, log }
    }

    fn on_a_free_port(arguments: &[&str]) -> Server {
        Server::start(&mut program(&[&["--port", "0"], arguments].concat()))
    }

    async fn get(&self, path: &str) -> String {
        let response = reqwest::get(format!("http://{}{path}", self.address)).await.unwrap();
        assert_eq!(response.status().as_u16(), 200, "{path}");
        response.text().await.unwrap()
    }

    async fn get_json(&self, path: &str) -> Value {
        serde_json::from_str(&self.get(path).await).unwrap()
    }

    /// Sends the signal, and waits for the exit code and the log.
    fn end(mut self, signal: Signal) -> (Option<i32>, String) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
        let started = Instant::now();
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if started.elapsed() > DEADLINE => panic!("{signal} does not end it"),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        let log = std::mem::replace(&mut self.log, std::thread::spawn(String::new));
        (status.code(), log.join().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file of this text, removed with the test.
struct TextFile(PathBuf);

impl TextFile {
    fn new(text: &str) -> TextFile {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name =
            format!("seaworthy-proxies-{}-{}.json", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        TextFile(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TextFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Runs it where it must end by itself.
fn run(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = program(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[tokio::test]
async fn it_serves_on_loopback_and_ends_cleanly_when_told_to() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let server = Server::on_a_free_port(&[]);
        assert!(server.address.starts_with("127.0.0.1:"), "{}", server.address);
        assert_eq!(server.get("/proxies").await, "{}");
        // A client that keeps its connection open does not hold it up.
        let _idle = std::net::TcpStream::connect(&server.address).unwrap();
        let (code, log) = server.end(signal);
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains(&format!("ended_by=\"{signal}\"")), "{log}");
    }
}

#[tokio::test]
async fn the_file_of_proxies_is_taken_with_their_toxics() {
    let file = TextFile::new(
        r#"[
  {"name": "redis", "listen": "127.0.0.1:0", "upstream": "localhost:6379"},
  {"name": "db", "listen": "localhost:0", "upstream": "localhost:5432", "enabled": false,
   "toxics": [{"type": "latency", "toxicity": 0.5, "attributes": {"latency": 5}}], "comment": "ours"}
]"#,
    );
    let server = Server::on_a_free_port(&["-config", file.path()]);
    let proxies = server.get_json("/proxies").await;
    assert_eq!(proxies["redis"]["enabled"], json!(true));
    let toxic = json!([{"name": "latency_downstream", "type": "latency", "stream": "downstream", "toxicity": 0.5,
        "attributes": {"latency": 5, "jitter": 0}}]);
    let (listen, db) = (proxies["db"]["listen"].clone(), &proxies["db"]);
    let wanted = json!({"name": "db", "listen": listen, "upstream": "localhost:5432", "enabled": false, "toxics": toxic});
    assert_eq!(*db, wanted);
}

#[test]
fn a_broken_file_is_named_with_the_line_and_what_is_wrong() {
    #[track_caller]
    fn check(text: &str, wanted: &str) {
        let file = TextFile::new(text);
        let (code, _, told) = run(&["--port", "0", "--config", file.path()]);
        assert_eq!(code, 2, "{told}");
        assert_eq!(told, format!("error: {}{wanted}\n", file.path()));
    }
    let good = r#"{"name": "a", "upstream": "b:1"}"#;
    check("", ":1: EOF while parsing a value at line 1 column 0");
    check("[\n{\n\"name\" 5}]", ":3: expected `:` at line 3 column 8");
    check("{}", ":1: a list of proxies is needed");
    check("[\n\n{}]", ":3: missing required field: name at proxy 1");
    check(&format!("[{good},\n{{\"name\": \"b\"}}]"), ":2: missing required field: upstream at proxy 2");
    check(&format!("[{good},\n{good}]"), ":2: there is a proxy named `a` already at proxy 2");
    check("[{\"name\": 5}]", ":1: bad request body: `name` must be a string, not 5 at proxy 1");
    let toxics = "[{\"name\": \"a\", \"upstream\": \"b:1\", \"toxics\": [\n{\"type\": \"noop\"},\n{\"type\": \"fog\"}]}]";
    check(toxics, ":3: invalid toxic type at toxic 2 at proxy 1");
}

#[test]
fn what_the_machine_refuses_is_said_and_is_exit_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let port = address.port().to_string();

    let (code, _, told) = run(&["--port", &port]);
    assert_eq!(code, 1);
    let wanted =
        format!("error: the API can't listen on localhost:{port}: Address already in use (os error 98)");
    assert!(told.contains(&wanted), "{told}");

    let file = TextFile::new(&format!(r#"[{{"name": "a", "listen": "{address}", "upstream": "b:1"}}]"#));
    let (code, _, told) = run(&["--port", "0", "--config", file.path()]);
    assert_eq!(code, 1);
    let wanted = format!(
        "{}: proxy `a` can't listen on {address}: Address already in use (os error 98)\n",
        file.path()
    );
    assert!(told.ends_with(&wanted), "{told}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let (code, _, told) = run(&["--port", "0", "--config", "/nowhere/proxies.json"]);
    assert_eq!(
        (code, told.as_str()),
        (2, "error: /nowhere/proxies.json: No such file or directory (os error 2)\n")
    );
}

#[test]
fn the_version_names_the_api_that_it_speaks() {
    let (code, told, _) = run(&["-version"]);
    let version = env!("CARGO_PKG_VERSION");
    let wanted = format!("seaworthy-fault-proxy version {version} (with the API of Toxiproxy 2.12.0)\n");
    assert_eq!((code, told), (0, wanted));
}

#[tokio::test]
async fn metrics_are_there_when_a_flag_asks_for_them() {
    let server = Server::on_a_free_port(&["-proxy-metrics", "--runtime-metrics"]);
    let text = server.get("/metrics").await;
    let version = env!("CARGO_PKG_VERSION");
    for line in [
        "# TYPE toxiproxy_proxy_received_bytes_total counter".to_owned(),
        "# TYPE process_resident_memory_bytes gauge".to_owned(),
        format!("seaworthy_fault_proxy_build_info{{version=\"{version}\"}} 1"),
    ] {
        assert!(text.lines().any(|told| told == line), "`{line}` is not in {text}");
    }
    for name in ["process_resident_memory_bytes", "process_open_fds", "process_max_fds", "process_threads"] {
        let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
        let value: f64 =
            line.unwrap_or_else(|| panic!("no {name}")).split(' ').nth(1).unwrap().parse().unwrap();
        assert!(value > 0.0, "{name} is {value}");
    }
    let without = Server::on_a_free_port(&[]);
    let response = reqwest::get(format!("http://{}/metrics", without.address)).await.unwrap();
    assert_eq!(response.status().as_u16(), 404);
}

#[tokio::test]
async fn the_same_seed_takes_the_same_decisions() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = upstream.local_addr().unwrap();
    let file = TextFile::new(&format!(
        r#"[{{"name": "p", "upstream": "{to}", "toxics": [{{"type": "noop", "toxicity": 0.5}}]}}]"#
    ));
    let decisions = async |seed: &'static str| {
        let server =
            Server::on_a_free_port(&["--seed", seed, "--decisions", "1000", "--config", file.path()]);
        let listen = server.get_json("/proxies/p").await["listen"].as_str().unwrap().to_owned();
        let clients: Vec<_> = (0..50).map(|_| std::net::TcpStream::connect(&listen).unwrap()).collect();
        let started = Instant::now();
        loop {
            let log = server.get("/decisions").await;
            if log.lines().count() == clients.len() {
                return log;
            }
            assert!(started.elapsed() < DEADLINE, "only {log}");
        }
    };
    let (one, again, other) = (decisions("7").await, decisions("7").await, decisions("-7").await);
    assert_eq!(one, again);
    assert_ne!(one, other);
}

#[tokio::test]
async fn requests_are_logged_to_those_who_ask_for_it() {
    for (level, logs) in [("debug", true), ("info", false), ("loud", false)] {
        let server = Server::start(program(&["--port", "0"]).env("LOG_LEVEL", level));
        server.get("/proxies").await;
        let (_, log) = server.end(Signal::SIGTERM);
        assert_eq!(log.contains("method=GET path=\"/proxies\" status=200"), logs, "{log}");
        assert_eq!(log.contains("an unknown level"), level == "loud", "{log}");
    }
}
