//! Reports reach an address, and an address that is gone or refuses is counted.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, http::HeaderMap, http::StatusCode, routing::post};
use seaworthy_errors::{Error, Reports, Webhook, http_codes};

#[tokio::test]
async fn a_webhook_gets_the_report_and_its_failures_are_counted() {
    let seen: Arc<Mutex<Vec<(String, serde_json::Value)>>> = Arc::default();
    let keep = seen.clone();
    let router = Router::new()
        .route(
            "/hook",
            post(async move |headers: HeaderMap, axum::Json(report): axum::Json<serde_json::Value>| {
                keep.lock().unwrap().push((headers["authorization"].to_str().unwrap().to_owned(), report));
            }),
        )
        .route("/full", post(async || StatusCode::INSUFFICIENT_STORAGE));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = gone.local_addr().unwrap();
    drop(gone);
    tokio::spawn(async move { axum::serve(listener, router).await });

    let reports = Reports::builder()
        .to(Webhook::new(format!("http://{address}/hook")).authorization("Bearer t0ken"))
        .to(Webhook::new(format!("http://{address}/full")))
        .to(Webhook::new(format!("http://{nobody}/hook")))
        .start();
    reports.send(Error::new(&http_codes::BAD_GATEWAY).with("upstream", "stock"));
    assert!(reports.flush(Duration::from_secs(10)).await);

    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].0, "Bearer t0ken");
    assert_eq!(seen[0].1["code"], "HTTP-0502");
    assert_eq!(seen[0].1["context"]["upstream"], "stock");
    let counts = reports.counts();
    assert_eq!((counts.delivered, counts.failed), (1, 2));
}
