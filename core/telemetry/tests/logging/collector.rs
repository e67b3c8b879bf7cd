//! A collector that takes OpenTelemetry logs, and how the pipeline gets along with it.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header::CONNECTION},
    response::{AppendHeaders, IntoResponse as _, Response},
    routing::post,
};
use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsServiceRequest, common::v1::any_value::Value, logs::v1::LogRecord,
};
use seaworthy_telemetry::{
    logging::Logging,
    settings::{Settings, Strategy},
    trace::{Context, Work},
};
use tokio::task::AbortHandle;
use tracing::{dispatcher, error, info, info_span};

use crate::collect::eventually;

const SOON: Duration = Duration::from_secs(10);

#[derive(Clone, Default)]
struct Shared {
    requests: Arc<Mutex<Vec<(HeaderMap, String)>>>,
    /// What it answers next; then 200.
    answers: Arc<Mutex<VecDeque<(StatusCode, &'static str)>>>,
}

pub(crate) struct Collector {
    pub(crate) url: String,
    shared: Shared,
    server: AbortHandle,
}

async fn take(State(shared): State<Shared>, headers: HeaderMap, body: String) -> Response {
    shared.requests.lock().unwrap().push((headers, body));
    let answer = shared.answers.lock().unwrap().pop_front();
    // No connection outlives its request, so none is left when the collector ends.
    (AppendHeaders([(CONNECTION, "close")]), answer.unwrap_or((StatusCode::OK, "{}"))).into_response()
}

impl Collector {
    pub(crate) async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap()).await
    }

    async fn start_at(address: SocketAddr) -> Self {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Shared::default();
        let router = Router::new().route("/v1/logs", post(take)).with_state(shared.clone());
        let serve = async move { axum::serve(listener, router).await.unwrap() };
        Collector { url, shared, server: tokio::spawn(serve).abort_handle() }
    }

    /// Ends it, and waits until nothing listens there any more.
    fn end(self, address: SocketAddr) {
        drop(self);
        eventually("the collector is gone", || std::net::TcpStream::connect(address).is_err());
    }

    pub(crate) fn bodies(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().iter().map(|(_, body)| body.clone()).collect()
    }

    fn records(&self) -> Vec<LogRecord> {
        let requests = self.bodies();
        let parsed =
            requests.iter().map(|body| serde_json::from_str::<ExportLogsServiceRequest>(body).unwrap());
        let logs = parsed.flat_map(|request| request.resource_logs);
        logs.flat_map(|logs| logs.scope_logs).flat_map(|logs| logs.log_records).collect()
    }

    fn answers(&self, answers: &[(StatusCode, &'static str)]) {
        self.shared.answers.lock().unwrap().extend(answers);
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn settings(url: &str) -> Settings {
    Settings::new("shop").strategy(Strategy::Otlp).otlp_endpoint(url)
}

fn attribute(record: &LogRecord, key: &str) -> Option<Value> {
    record.attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_understands_the_lines() {
    let collector = Collector::start().await;
    let settings = settings(&collector.url).otlp_header("authorization", "Bearer own");
    let (logging, dispatch) = Logging::build(&settings).unwrap();
    let context = Context::from_caller(None, Some("order-42"));
    let _default = dispatcher::set_default(&dispatch);
    let run = async {
        let span = info_span!("checkout", route = "/orders");
        span.in_scope(|| {
            error!(
                attempt = 2_u64,
                share = 0.5,
                whole = 1.0,
                odd = f64::NAN,
                big = u64::MAX,
                ok = true,
                note = "x",
                "failed"
            )
        });
    };
    Work::new("test", context.clone()).run(run).await;
    info!("second");
    assert!(logging.handle().flush(SOON));
    let records = collector.records();
    assert_eq!(records.len(), 2, "one batch, and nothing twice");
    let record = &records[0];
    assert_eq!((record.severity_number, record.severity_text.as_str()), (17, "ERROR"));
    assert_eq!(record.body.clone().unwrap().value, Some(Value::StringValue("failed".to_owned())));
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!((hex(&record.trace_id), hex(&record.span_id)), (context.trace_id(), context.span_id()));
    assert_eq!(record.flags, 1);
    assert!(record.time_unix_nano > 1_700_000_000_000_000_000);
    for (key, value) in [
        ("attempt", Value::IntValue(2)),
        ("share", Value::DoubleValue(0.5)),
        ("whole", Value::DoubleValue(1.0)),
        ("odd", Value::StringValue("NaN".to_owned())),
        ("big", Value::StringValue(u64::MAX.to_string())),
        ("ok", Value::BoolValue(true)),
        ("note", Value::StringValue("[redacted]".to_owned())),
        ("checkout.route", Value::StringValue("/orders".to_owned())),
        ("request_id", Value::StringValue("order-42".to_owned())),
    ] {
        assert_eq!(attribute(record, key), Some(value), "{key}");
    }
    assert!(collector.bodies()[0].contains(r#""service.name""#));
    let headers = collector.shared.requests.lock().unwrap()[0].0.clone();
    assert_eq!(
        (&headers["authorization"], &headers["content-type"]),
        (&"Bearer own".parse().unwrap(), &"application/json".parse().unwrap())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_may_go_and_come_back_and_no_line_is_lost() {
    let collector = Collector::start().await;
    let address: SocketAddr = collector.url.strip_prefix("http://").unwrap().parse().unwrap();
    let (logging, dispatch) = Logging::build(&settings(&collector.url)).unwrap();
    let log = |message: &str| dispatcher::with_default(&dispatch, || info!("{message}"));
    collector.answers(&[(StatusCode::SERVICE_UNAVAILABLE, ""), (StatusCode::TOO_MANY_REQUESTS, "")]);
    log("first");
    assert!(logging.handle().flush(SOON));
    assert_eq!(collector.bodies().len(), 3, "tried until it was taken");
    collector.end(address);
    log("second");
    assert!(!logging.handle().flush(Duration::from_millis(300)), "it is waiting for the collector");
    let collector = Collector::start_at(address).await;
    assert!(logging.handle().flush(SOON));
    let arrived = collector.records();
    assert_eq!(arrived.len(), 1, "{arrived:?}");
    assert_eq!(logging.handle().counters(), Default::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_a_collector_refuses_are_counted() {
    let collector = Collector::start().await;
    let (logging, dispatch) = Logging::build(&settings(&collector.url)).unwrap();
    let rejected = r#"{"partialSuccess":{"rejectedLogRecords":"1"}}"#;
    collector.answers(&[(StatusCode::BAD_REQUEST, ""), (StatusCode::OK, rejected)]);
    dispatcher::with_default(&dispatch, || {
        for _ in 0..2 {
            info!("one");
            info!("two");
            assert!(logging.handle().flush(SOON));
        }
    });
    assert_eq!(logging.handle().counters().failed, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_does_not_wait_for_a_collector_that_is_gone() {
    // Bound and not listened on: connections are refused, and nobody else gets the port.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let (logging, dispatch) = Logging::build(&settings(&url)).unwrap();
    let handle = logging.handle();
    dispatcher::with_default(&dispatch, || info!("lost"));
    drop(logging);
    assert_eq!(handle.counters().failed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_do_not_wait_for_a_full_batch() {
    let collector = Collector::start().await;
    let (_logging, dispatch) = Logging::build(&settings(&collector.url)).unwrap();
    dispatcher::with_default(&dispatch, || info!("alone"));
    eventually("the line arrives", || !collector.bodies().is_empty());
}
