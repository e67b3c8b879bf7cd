//! The page that a scraper reads.

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
    routing::get,
};

use super::Metrics;

/// `/metrics`, in the OpenMetrics format for whoever accepts it, in Prometheus' text format for everybody else.
pub fn routes<S: Clone + Send + Sync + 'static>(metrics: Metrics) -> Router<S> {
    Router::new().route("/metrics", get(page)).with_state(metrics)
}

async fn page(State(metrics): State<Metrics>, headers: HeaderMap) -> Response {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let open_metrics = accepted.flat_map(|value| value.split(',')).any(|form| {
        let (form, parameters) = form.split_once(';').unwrap_or((form, ""));
        let weight = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("q="));
        let refused = weight.is_some_and(|weight| weight.parse() == Ok(0.0_f32));
        form.trim().eq_ignore_ascii_case("application/openmetrics-text") && !refused
    });
    let (form, page) = if open_metrics {
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", metrics.to_open_metrics())
    } else {
        ("text/plain; version=0.0.4; charset=utf-8", metrics.to_prometheus())
    };
    ([(header::CONTENT_TYPE, form), (header::CACHE_CONTROL, "no-store")], page).into_response()
}
