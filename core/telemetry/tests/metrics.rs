//! What a scraper reads: complete, well-formed, and bounded whatever clients send.

mod every_family;
mod promtool;

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    http::{Method, Request, StatusCode},
    routing::{get, post},
};
use http_body_util::BodyExt as _;
use seaworthy_telemetry::{
    metrics::{self, CacheOutcome, MAX_SERIES, Metrics},
    profiles::Protection,
    requests::RequestLayer,
    timeline::{self, Timelines},
    trace,
};
use tower::ServiceExt as _;

#[test]
fn promtool_finds_nothing_wrong_with_a_page_that_has_every_family() {
    let page = every_family::metrics().to_prometheus();
    promtool::accepts(&["check", "metrics"], Some(&page));
}

#[test]
fn both_formats_have_a_help_a_type_and_a_unit_for_every_family() {
    let metrics = every_family::metrics();
    let of_the_process = |line: &&str| !line.contains("process_") && !line.contains("_bucket");
    let open = metrics.to_open_metrics();
    insta::assert_snapshot!(open.lines().filter(of_the_process).filter(|line| line.starts_with('#')).collect::<Vec<_>>().join("\n"), @"
    # HELP build_info The service and its version, always 1.
    # TYPE build_info gauge
    # HELP errors Errors that were the service's fault, by their code.
    # TYPE errors counter
    # HELP http_requests Requests that were answered, or given up by their client (499).
    # TYPE http_requests counter
    # HELP http_request_duration_seconds Time from a request's head to the head of its answer.
    # TYPE http_request_duration_seconds histogram
    # UNIT http_request_duration_seconds seconds
    # HELP http_requests_in_flight Requests that are being answered now.
    # TYPE http_requests_in_flight gauge
    # HELP websocket_connections_open WebSocket connections that are open now.
    # TYPE websocket_connections_open gauge
    # HELP websocket_connections WebSocket connections that were opened.
    # TYPE websocket_connections counter
    # HELP websocket_messages Messages over WebSocket connections.
    # TYPE websocket_messages counter
    # HELP websocket_send_duration_seconds Time until a message was taken by the connection.
    # TYPE websocket_send_duration_seconds histogram
    # UNIT websocket_send_duration_seconds seconds
    # HELP websocket_errors WebSocket connections that ended with an error.
    # TYPE websocket_errors counter
    # HELP queue_jobs_enqueued Jobs that were enqueued, whether or not their transaction was committed.
    # TYPE queue_jobs_enqueued counter
    # HELP queue_jobs_finished Attempts at jobs that ended, by how they ended.
    # TYPE queue_jobs_finished counter
    # HELP queue_job_duration_seconds Time that a handler took.
    # TYPE queue_job_duration_seconds histogram
    # UNIT queue_job_duration_seconds seconds
    # HELP queue_job_wait_seconds Time from the enqueueing of a job to its first attempt.
    # TYPE queue_job_wait_seconds histogram
    # UNIT queue_job_wait_seconds seconds
    # HELP queue_jobs_running Jobs that this process runs now.
    # TYPE queue_jobs_running gauge
    # HELP queue_depth_jobs Jobs by where they are.
    # TYPE queue_depth_jobs gauge
    # UNIT queue_depth_jobs jobs
    # HELP queue_oldest_job_age_seconds How long the oldest job that can run has waited.
    # TYPE queue_oldest_job_age_seconds gauge
    # UNIT queue_oldest_job_age_seconds seconds
    # HELP queue_workers_wanted Workers that a queue could use now, for whoever starts and stops them.
    # TYPE queue_workers_wanted gauge
    # HELP cache_requests Questions to a cache, by what it said.
    # TYPE cache_requests counter
    # HELP cache_load_duration_seconds Time that it took to make a value that was missing.
    # TYPE cache_load_duration_seconds histogram
    # UNIT cache_load_duration_seconds seconds
    # HELP cache_entries Values that a cache holds.
    # TYPE cache_entries gauge
    # HELP cache_size_bytes What the values of a cache take.
    # TYPE cache_size_bytes gauge
    # UNIT cache_size_bytes bytes
    # HELP cache_evictions Values that a cache gave up for lack of room.
    # TYPE cache_evictions counter
    # HELP postgres_pool_acquire_duration_seconds Time until a connection of the pool was free.
    # TYPE postgres_pool_acquire_duration_seconds histogram
    # UNIT postgres_pool_acquire_duration_seconds seconds
    # HELP postgres_pool_timeouts Times that no connection of the pool was free in time.
    # TYPE postgres_pool_timeouts counter
    # HELP postgres_statements Statements that ended, by the word that they begin with.
    # TYPE postgres_statements counter
    # HELP postgres_statement_duration_seconds Time that a statement took.
    # TYPE postgres_statement_duration_seconds histogram
    # UNIT postgres_statement_duration_seconds seconds
    # HELP log_lines_dropped Lines of the log for which there was no room in its queue.
    # TYPE log_lines_dropped counter
    # HELP log_lines_failed Lines of the log that its destination did not take.
    # TYPE log_lines_failed counter
    # HELP log_lines_sampled_out Lines of the log that sampling left out.
    # TYPE log_lines_sampled_out counter
    # HELP postgres_pool_connections Connections of a pool, by whether they are in use.
    # TYPE postgres_pool_connections gauge
    # HELP postgres_pool_max_connections How many connections a pool may have.
    # TYPE postgres_pool_max_connections gauge
    # EOF
    ");
    assert!(open.contains(r##"le="0.005",method="GET",route="/orders/{id}"} 1 # {trace_id="0af7651916cd43dd8448eb211c80319c"} 0.003"##), "{open}");
    assert!(open.ends_with("# EOF\n"));
    let text = metrics.to_prometheus();
    assert!(!text.contains("# EOF") && !text.contains("# UNIT") && !text.contains("trace_id"), "{text}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let family =
            ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
        assert!(
            text.contains(&format!("# HELP {family} ")) && text.contains(&format!("# TYPE {family} ")),
            "{line}"
        );
    }
}

#[test]
fn nothing_that_comes_from_outside_makes_more_series_than_a_family_may_have() {
    let metrics = Metrics::new("shop", "1.2.0");
    for number in 0..20_000 {
        let invented = format!("{number}-{}\n\u{0}", "x".repeat(100));
        metrics.queue().enqueued("default", &invented, 1);
        metrics.cache().asked(&invented, CacheOutcome::Miss);
        metrics.http().answered(&invented, "unmatched", (number % 60_000) as u16, Duration::ZERO, None);
    }
    let page = metrics.to_prometheus();
    let series = |name: &str| page.lines().filter(|line| line.starts_with(name)).collect::<Vec<_>>();
    assert_eq!(series("queue_jobs_enqueued_total{").len(), MAX_SERIES + 1);
    assert_eq!(series("cache_requests_total{").len(), MAX_SERIES + 1);
    assert!(series("http_requests_total{").len() < 40, "unknown statuses and methods have few names");
    let other = series(r#"queue_jobs_enqueued_total{queue="other",kind="other"}"#);
    assert_eq!(
        other,
        [format!(r#"queue_jobs_enqueued_total{{queue="other",kind="other"}} {}"#, 20_000 - MAX_SERIES)]
    );
    assert!(page.lines().all(|line| line.len() < 400 && !line.contains('\u{0}')));
}

fn app(metrics: &Metrics) -> Router {
    let nested =
        Router::new().route("/orders/{id}", get(async || trace::current().unwrap().request_id().to_owned()));
    Router::new()
        .nest("/api", nested)
        .route("/slow", post(std::future::pending::<()>))
        .route("/fails", get(async || StatusCode::SERVICE_UNAVAILABLE))
        .merge(metrics::routes(metrics.clone()))
        .layer(RequestLayer::new(metrics.clone()))
}

fn request(method: Method, path: &str) -> Request<Body> {
    Request::builder().method(method).uri(path).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn a_request_is_counted_by_its_route_and_carries_its_ids() {
    let metrics = Metrics::new("shop", "1.2.0");
    let mut with_ids = request(Method::GET, "/api/orders/42?token=hunter2");
    with_ids.headers_mut().insert("x-request-id", "order-42".parse().unwrap());
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    with_ids.headers_mut().insert("traceparent", trace.parse().unwrap());
    let response = app(&metrics).oneshot(with_ids).await.unwrap();
    assert_eq!(response.headers()["x-request-id"], "order-42");
    assert!(
        response.headers()["traceparent"]
            .to_str()
            .unwrap()
            .starts_with("00-0af7651916cd43dd8448eb211c80319c-")
    );
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "order-42");

    for path in ["/fails", "/nothing/1", "/nothing/2", "/api/nothing"] {
        app(&metrics).oneshot(request(Method::GET, path)).await.unwrap();
    }
    let leaving = app(&metrics).oneshot(request(Method::POST, "/slow"));
    assert!(tokio::time::timeout(Duration::from_millis(10), leaving).await.is_err(), "the client leaves");

    let page = metrics.to_prometheus();
    let counted: Vec<&str> = page.lines().filter(|line| line.starts_with("http_requests_")).collect();
    insta::assert_snapshot!({ let mut counted = counted; counted.sort(); counted.join("\n") }, @r#"
    http_requests_in_flight 0
    http_requests_total{method="GET",route="/api/orders/{id}",status="200"} 1
    http_requests_total{method="GET",route="/fails",status="503"} 1
    http_requests_total{method="GET",route="unmatched",status="404"} 3
    http_requests_total{method="POST",route="/slow",status="499"} 1
    "#);
    assert!(!page.contains("hunter2"));
}

#[tokio::test]
async fn a_scraper_gets_the_format_that_it_accepts() {
    let metrics = every_family::metrics();
    for (accept, form) in [
        (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        (
            "application/openmetrics-text;version=1.0.0;q=0, text/plain",
            "text/plain; version=0.0.4; charset=utf-8",
        ),
        ("text/plain", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
    ] {
        let mut scrape = request(Method::GET, "/metrics");
        scrape.headers_mut().insert("accept", accept.parse().unwrap());
        let response = app(&metrics).oneshot(scrape).await.unwrap();
        assert_eq!(response.headers()["content-type"], form, "{accept}");
    }
}

#[tokio::test]
async fn a_request_with_the_right_token_leaves_a_timeline() {
    const TOKEN: &str = "a-token-for-the-debug-routes";
    let timelines = Timelines::new(timeline::Settings::default());
    let layer = RequestLayer::new(Metrics::new("shop", "1.2.0"));
    let layer = layer.timelines(timelines.clone(), Protection::token(TOKEN).unwrap());
    let app = Router::new().route("/orders/{id}", get(async || timeline::mark("cache miss"))).layer(layer);
    for token in [None, Some("another-token-altogether"), Some(TOKEN)] {
        let mut wanted = request(Method::GET, "/orders/42");
        wanted.headers_mut().extend(token.map(|token| {
            (timeline::HEADER.parse::<axum::http::HeaderName>().unwrap(), token.parse().unwrap())
        }));
        app.clone().oneshot(wanted).await.unwrap();
    }
    let latest = timelines.latest();
    assert_eq!(latest.len(), 1);
    assert_eq!((latest[0].name.as_str(), latest[0].status.as_str()), ("GET /orders/{id}", "200"));
}
