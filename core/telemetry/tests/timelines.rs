//! Where the time of a request went.

mod database;

use std::time::Duration;

use database::pool;
use seaworthy_telemetry::{
    queries,
    timeline::{self, Kind, Settings, Timeline, Timelines},
    trace::{Context, Work},
};
use sqlx::PgPool;
use tracing::{Dispatch, Instrument as _, instrument::WithSubscriber as _};
use tracing_subscriber::layer::SubscriberExt as _;

fn subscriber(timelines: &Timelines) -> Dispatch {
    let queries = queries::Settings::default().start().unwrap();
    Dispatch::new(tracing_subscriber::registry().with(queries.layer()).with(timelines.layer()))
}

fn work(id: &str, timelines: &Timelines) -> std::sync::Arc<Work> {
    Work::new("GET /orders", Context::from_caller(None, Some(id))).with_timeline(timelines)
}

#[tracing::instrument(skip_all)]
async fn orders(pool: &PgPool) {
    timeline::mark("cache miss");
    sqlx::query("select 'secret' as orders").execute(pool).await.unwrap();
    prices(pool).instrument(tracing::info_span!("prices")).await;
    let detail = tracing::debug_span!("detail");
    detail.in_scope(|| ());
}

async fn prices(pool: &PgPool) {
    sqlx::query("select n from generate_series(1, 2) n").fetch_all(pool).await.unwrap();
    sqlx::query("select pg_sleep(0.03)").execute(pool).await.unwrap();
}

async fn recorded(timelines: &Timelines) -> std::sync::Arc<Timeline> {
    let pool = pool().await;
    let work = work("order-42", timelines);
    let request = async {
        timeline::mark("first");
        orders(&pool).await;
        work.set_status("200");
    };
    work.run(request).with_subscriber(subscriber(timelines)).await;
    timelines.latest()[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeline_shows_what_lies_in_what() {
    let timeline = recorded(&Timelines::new(Settings::default())).await;
    insta::with_settings!({filters => [
        (r"\d+\.\d{3} ms", "[ms]"),
        (r" +\[ms\]", " [ms]"),
        (r"\|[ █◆]{40}\|", "|bar|"),
        (r"trace [0-9a-f]{32}", "trace [id]"),
        (r"timelines.rs:\d+", "timelines.rs:[line]"),
    ]}, {
        insta::assert_snapshot!(timeline.to_text(), @"
        GET /orders  200 [ms]
        request order-42  trace [id]
               start         time
         [ms]              |bar| first
         [ms] [ms] |bar| orders
         [ms]              |bar|   cache miss
         [ms] [ms] |bar|   select ? as orders (1 row, from tests/timelines.rs:[line] (timelines::orders))
         [ms] [ms] |bar|   prices
         [ms] [ms] |bar|     select n from generate_series(?, ?) n (2 rows, from tests/timelines.rs:[line] (timelines::prices))
         [ms] [ms] |bar|     select pg_sleep(?) (1 row, from tests/timelines.rs:[line] (timelines::prices))
        ");
    });
    let of = |name: &str| timeline.entries.iter().find(|entry| &*entry.name == name).unwrap();
    let (outer, inner, query) = (of("orders"), of("prices"), of("select pg_sleep(?)"));
    assert!(outer.start <= inner.start && inner.start <= query.start);
    assert!(query.time >= Duration::from_millis(30) && query.time <= inner.time && inner.time <= outer.time);
    assert!(outer.time <= timeline.time);
    let Kind::Span { busy, ended } = inner.kind else { panic!("{inner:?}") };
    assert!(ended && busy < inner.time - Duration::from_millis(10), "it waited most of its time: {busy:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_viewer_can_open_it() {
    let timelines = Timelines::new(Settings::default());
    let chrome = recorded(&timelines).await.to_chrome().to_string();
    let chrome: serde_json::Value = serde_json::from_str(&chrome).unwrap();
    let events = chrome["traceEvents"].as_array().unwrap();
    let phases: Vec<_> = events.iter().map(|event| event["ph"].as_str().unwrap()).collect();
    assert_eq!(phases, ["M", "X", "i", "X", "i", "X", "X", "X", "X"]);
    for event in events.iter().filter(|event| event["ph"] == "X") {
        assert!(event["ts"].as_f64().unwrap() >= 0.0 && event["dur"].as_f64().unwrap() > 0.0, "{event}");
        assert!(event["pid"].is_u64() && event["tid"].is_u64() && event["name"].is_string(), "{event}");
    }
    assert_eq!(chrome["otherData"]["request_id"], "order-42");
    assert!(!chrome.to_string().contains("secret"), "{chrome}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_and_panicked_work_has_a_timeline_too() {
    let timelines = Timelines::new(Settings::default());
    let cancelled = work("cancelled", &timelines);
    let endless = async move {
        let span = tracing::info_span!("endless");
        cancelled.run(std::future::pending::<()>().instrument(span)).await;
    };
    let cut = tokio::time::timeout(Duration::from_millis(5), endless);
    cut.with_subscriber(subscriber(&timelines)).await.unwrap_err();
    let panicked = work("panicked", &timelines);
    tokio::spawn(async move { panicked.run(async { panic!("on purpose") }).await }).await.unwrap_err();

    let status = |id| timelines.find(id).unwrap().status.clone();
    assert_eq!((status("cancelled").as_str(), status("panicked").as_str()), ("cancelled", "panicked"));
    let Kind::Span { ended, .. } = timelines.find("cancelled").unwrap().entries[0].kind else { panic!() };
    assert!(ended, "a span of work that is dropped ends before it");
    assert!(timelines.find("another").is_none());
}

#[tokio::test]
async fn a_span_that_outlives_its_work_is_shown_as_not_ended() {
    let timelines = Timelines::new(Settings::default());
    let inside = async { work("open", &timelines).run(async { tracing::info_span!("background") }).await };
    let span = inside.with_subscriber(subscriber(&timelines)).await;
    drop(span);
    let text = timelines.latest()[0].to_text();
    assert!(text.contains("background (not ended)"), "{text}");
}

#[tokio::test]
async fn a_timeline_and_its_store_are_bounded() {
    let timelines = Timelines::new(Settings::default().kept(3).entries(10));
    for number in 0..8_u64 {
        let wait = Duration::from_millis(if number == 2 { 40 } else { 0 });
        let many = async {
            for _ in 0..25 {
                timeline::mark("again");
            }
            tokio::time::sleep(wait).await;
        };
        work(&format!("order-{number}"), &timelines).run(many).await;
    }
    let ids = |timelines: Vec<std::sync::Arc<Timeline>>| -> Vec<String> {
        timelines.iter().map(|timeline| timeline.request_id.clone()).collect()
    };
    assert_eq!(ids(timelines.latest()), ["order-7", "order-6", "order-5"]);
    assert_eq!(timelines.slowest().len(), 3);
    assert_eq!(ids(timelines.slowest())[0], "order-2");
    let timeline = timelines.find("order-2").expect("a slow one stays");
    assert_eq!((timeline.entries.len(), timeline.left_out), (10, 15));
    assert!(timeline.to_text().contains("15 more that there was no room for"));
}

#[tokio::test]
async fn every_nth_work_is_recorded_once_that_is_installed() {
    let timelines = Timelines::new(Settings::default().every(3));
    timelines.install().unwrap();
    let error = Timelines::new(Settings::default()).install().unwrap_err();
    assert!(error.to_string().starts_with("timelines are installed already"), "{error}");
    for _ in 0..9 {
        Work::new("one of nine", Context::new()).run(async {}).await;
    }
    // Work of other tests takes turns too, so it is not known which of them are recorded.
    let nine = timelines.latest().iter().filter(|timeline| timeline.name == "one of nine").count();
    assert!((1..=8).contains(&nine), "{nine}");
}
