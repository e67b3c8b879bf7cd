//! Secrets are planted wherever they turn up in a service; none may arrive, whatever the strategy.
//!
//! A program of its own logs them, with the settings of its environment, as a service would: this test program again, which is
//! told to run [`sing`] alone.

use std::{
    io::Read as _,
    net::UdpSocket,
    os::unix::net::UnixDatagram,
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use seaworthy_harness::{Postgres, ProviderChoice, Stack};
use seaworthy_telemetry::{
    logging::Logging,
    settings::Settings,
    trace::{Context, Work},
};
use sqlx::{Connection as _, Executor as _, PgConnection};
use tracing::{Instrument as _, debug, error, info, info_span, warn};

use crate::collect::Folder;

const DATABASE: &str = "CANARIES_DATABASE";

/// Secrets that do not have the word in them.
const OTHERS: &[&str] = &[
    "eyJhbGciOiJIUzI1NiJ9",
    "4111111111111111",
    "4111 1111 1111 1111",
    "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC",
    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKEY",
];

/// What must arrive, so that silence does not pass.
const HARMLESS: &[&str] = &[
    "a harmless message",
    "/orders/{id}",
    "insert into people",
    "duplicate key value violates unique constraint",
    "invalid input syntax for type integer",
    "no answer from",
    "a thread panicked",
    "checkout",
    "from the crate log",
    "order-42",
    "the last line",
];

#[derive(Debug)]
#[expect(dead_code, reason = "read by `Debug`")]
struct Config {
    host: &'static str,
    password: Option<&'static str>,
    api_key: String,
}

#[derive(Debug, thiserror::Error)]
#[error("no answer from https://shop:canary-userinfo@pay.test/v1?key=canary-query")]
struct NoAnswer(#[source] std::io::Error);

fn headers_and_urls() {
    let headers = [
        ("authorization", "Bearer canaryBearer1"),
        ("cookie", "sid=canary-cookie; theme=canary-theme"),
        ("x-api-key", "canary-key"),
    ];
    info!(?headers, url = "https://u:canary@x.test/?q=canary", "request with {headers:?}");
    info!("Authorization: Basic Y2FuYXJ5OmNhbmFyeQ==canary1, then Cookie: sid=canary; a=canary");
    info!("X-Api-Key: canary-key\r\nhost: shop.test");
    info!(
        route = "/orders/{id}",
        reason = "GET /orders?email=canary@example.com&token=canary",
        "a harmless message"
    );
}

fn payloads_and_errors() {
    let json =
        r#"{"email":"canary@example.com","password":"canary-\"quoted\"","card":"4111111111111111","n":1}"#;
    info!(args = json, payload = %json, body = ?json, number = 4111111111111111_u64, "job {json} and {json:?}");
    let config = Config { host: "db", password: Some("canary)"), api_key: "canary".to_owned() };
    error!(error = ?config, ?config, "with {config:?}");
    let error = NoAnswer(std::io::Error::other("password=canary-cause refused"));
    error!(error = &error as &dyn std::error::Error, err = %error, error.chain = ?error, "failed: {error}");
    let decoding = serde_json::from_str::<Vec<u64>>("[\"canary-type\"]").unwrap_err();
    error!(error = %decoding, "the arguments of a job are wrong: {decoding}");
    for other in OTHERS {
        warn!(reason = other, "found -----BEGIN PRIVATE KEY-----\n{other}\n-----END PRIVATE KEY-----");
        warn!("found {other} in a text, and {other}.eyJzdWIiOiJjYW5hcnkifQ.canary");
    }
    tracing_log::log::warn!("from the crate log: token=canary");
}

async fn statements(url: &str) {
    let mut database = PgConnection::connect(url).await.unwrap();
    let _ =
        database.execute("create temp table people (email text primary key, age int check (age > 0))").await;
    for _ in 0..2 {
        let result = database.execute("insert into people (email) values ('canary')").await;
        if let Err(error) = result {
            error!(%error, err = ?error, "not stored: {error} {error:?}");
        }
    }
    for statement in [
        "insert into people (email, age) values ('canary-check', -1)",
        "select 'canary-cast'::int",
        "select $tag$canary$tag$, E'canary\\'canary', 'a''canary' from people where email = 'canary' and 1 = 1",
        "do $$ begin raise exception 'told' using detail = 'canary-detail'; end $$",
    ] {
        if let Err(error) = database.execute(statement).await {
            error!(error = &error as &dyn std::error::Error, "{statement} failed: {error:?}");
        }
    }
    let bound = sqlx::query("select ($1::text)::int").bind("canary-bound").execute(&mut database).await;
    let error = bound.unwrap_err();
    error!(%error, err = ?error, "a bound value is wrong: {error}");
}

/// Logs the canaries, if it is asked to by the environment.
#[test]
#[ignore = "run by the test below, in a process of its own"]
fn sing() {
    let Ok(url) = std::env::var(DATABASE) else { return };
    let logging = Logging::start(&Settings::from_env().unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let span = info_span!(
        "checkout",
        user = "canary-user",
        session = 12,
        route = "/orders/{id}",
        reason = "Cookie: a=canary"
    );
    let work = Work::new("POST /orders", Context::from_caller(None, Some("order-42")));
    runtime.block_on(
        work.run(
            async {
                headers_and_urls();
                payloads_and_errors();
                statements(&url).await;
                let _ =
                    thread::spawn(|| panic!("no answer from redis://:canary-panic@cache, password=canary"))
                        .join();
                // What the first sending might log would come with the second.
                assert!(logging.handle().flush(Duration::from_secs(10)));
                debug!("the last line");
            }
            .instrument(span),
        ),
    );
    assert_eq!(logging.handle().counters().dropped, 0);
    drop(logging);
}

/// Runs the singer with these settings.
fn sung(url: &str, settings: &[(&str, &str)]) -> Output {
    let mut singer = Command::new(std::env::current_exe().unwrap());
    singer.args(["--exact", "canaries::sing", "--ignored", "--nocapture"]).env(DATABASE, url);
    singer.env("SEAWORTHY_LOG_LEVEL", "debug").env("SEAWORTHY_LOG_ALLOW", "city").env("RUST_BACKTRACE", "0");
    let output = singer.envs(settings.iter().copied()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn check(strategy: &str, heard: &str) {
    for harmless in HARMLESS {
        assert!(heard.contains(harmless), "{strategy} has no `{harmless}`:\n{heard}");
    }
    let line =
        |secret: &str| heard.lines().find(|line| line.to_lowercase().contains(secret)).map(str::to_owned);
    // The name of this file and of its module are in every line.
    let heard_lower = heard.to_lowercase().replace("canaries", "");
    assert!(!heard_lower.contains("canary"), "{strategy}: {:?}", line("canary"));
    for secret in OTHERS {
        assert!(!heard.contains(secret), "{strategy}: {:?}", line(&secret.to_lowercase()));
    }
    assert!(!heard.contains('\u{1b}'), "{strategy} has colours without a terminal");
}

/// Receives until it is told to stop.
fn listen(
    mut receive: impl FnMut(&mut [u8]) -> std::io::Result<usize> + Send + 'static,
) -> (Arc<AtomicBool>, JoinHandle<String>) {
    let end = Arc::new(AtomicBool::new(false));
    let told = end.clone();
    let run = move || {
        let (mut heard, mut buffer) = (String::new(), vec![0; 1 << 17]);
        loop {
            // In this order, so that what has been sent is read before the end.
            let last = told.load(Ordering::SeqCst);
            match receive(&mut buffer) {
                Ok(length) => heard += &(String::from_utf8_lossy(&buffer[..length]) + "\n"),
                Err(_) if last => return heard,
                Err(_) => {}
            }
        }
    };
    (end, thread::spawn(run))
}

fn all_files(folder: &Folder) -> (String, usize) {
    let (mut heard, mut compressed) = (String::new(), 0);
    for entry in std::fs::read_dir(&folder.0).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        if path.extension().is_some_and(|extension| extension == "gz") {
            compressed += 1;
            flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut heard).unwrap();
        } else {
            heard += &String::from_utf8(bytes).unwrap();
        }
    }
    (heard, compressed)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_strategy_shows_a_secret_and_each_shows_the_rest() {
    let provider = ProviderChoice::from_env().unwrap();
    let stack = Stack::builder().provider(provider).postgres(Postgres::new()).start().await.unwrap();
    let url = stack.postgres().direct_url();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();

    let output = sung(&url, &[("SEAWORTHY_LOG", "pretty")]);
    check("pretty", &text(output.stderr));

    let output = sung(&url, &[("SEAWORTHY_LOG", "json")]);
    let heard = text(output.stdout);
    check("json", &heard);
    assert!(!text(output.stderr).contains("canary"));
    for line in heard.lines().filter(|line| line.starts_with('{')) {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }

    let folder = Folder::new();
    let dir = folder.0.join("files");
    let files = [
        ("SEAWORTHY_LOG", "files"),
        ("SEAWORTHY_LOG_DIR", dir.to_str().unwrap()),
        ("SEAWORTHY_LOG_MAX_SIZE", "4KiB"),
    ];
    let output = sung(&url, &files);
    let (heard, compressed) = all_files(&Folder(dir));
    check("files", &(heard + &text(output.stderr)));
    assert!(compressed > 0, "rotated files were looked into");

    let path = folder.0.join("journal");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let (end, heard) = listen(move |buffer| socket.recv(buffer));
    sung(&url, &[("SEAWORTHY_LOG", "journald"), ("SEAWORTHY_LOG_JOURNALD", path.to_str().unwrap())]);
    end.store(true, Ordering::SeqCst);
    check("journald", &heard.join().unwrap());

    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = format!("udp://{}", socket.local_addr().unwrap());
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let (end, heard) = listen(move |buffer| socket.recv(buffer));
    sung(&url, &[("SEAWORTHY_LOG", "syslog"), ("SEAWORTHY_LOG_SYSLOG", &address)]);
    end.store(true, Ordering::SeqCst);
    check("syslog", &heard.join().unwrap());

    #[cfg(feature = "otlp")]
    {
        let collector = crate::collector::Collector::start().await;
        let headers = ("SEAWORTHY_LOG_OTLP_HEADERS", "authorization=Bearer collectors-own");
        let endpoint = ("SEAWORTHY_LOG_OTLP_ENDPOINT", collector.url.as_str());
        let output = sung(&url, &[("SEAWORTHY_LOG", "otlp"), endpoint, headers]);
        assert!(!text(output.stderr).contains("collectors-own"));
        let heard = collector.bodies().join("\n");
        check("otlp", &heard);
        assert!(
            !heard.contains("hyper") && !heard.contains("reqwest"),
            "sending logs is not logged, for that would never end: {heard}"
        );
    }
    stack.stop().await;
}
