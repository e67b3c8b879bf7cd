//! The endpoints that orchestrators and people ask.

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use humantime::format_rfc3339_millis;
use serde_json::{Map, Value, json};

use super::{Checked, Health, Status, worst};

/// `/livez`, `/readyz`, `/startupz`, `/health` and `/health/{group}`.
///
/// ```
/// use seaworthy_telemetry::health::{Health, routes};
///
/// let health = Health::builder("shop").build();
/// let app: axum::Router = axum::Router::new().merge(routes(health));
/// # let _ = app;
/// ```
pub fn routes<S: Clone + Send + Sync + 'static>(health: Health) -> Router<S> {
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/startupz", get(started))
        .route("/health", get(all))
        .route("/health/{group}", get(group))
        .with_state(health)
}

async fn live(State(health): State<Health>) -> Response {
    let stopped = health.stopped_pulses();
    let status = if stopped.is_empty() { Status::Pass } else { Status::Fail };
    let mut body = json!({ "status": status.as_str() });
    if !stopped.is_empty() {
        body["output"] = json!(format!("no sign of life from {}", stopped.join(", ")));
    }
    answer(status, &body)
}

async fn ready(State(health): State<Health>) -> Response {
    if health.is_draining() {
        return answer(Status::Fail, &json!({ "status": "fail", "output": "the service is about to stop" }));
    }
    let (_, components) = health.readiness().await;
    let status = worst(&components);
    answer(status, &brief(status, &components))
}

async fn started(State(health): State<Health>) -> Response {
    let status = if health.has_started().await { Status::Pass } else { Status::Fail };
    answer(status, &json!({ "status": status.as_str() }))
}

async fn all(State(health): State<Health>) -> Response {
    let components = health.components().await;
    answer(worst(&components), &full(&health, &components))
}

async fn group(State(health): State<Health>, Path(name): Path<String>) -> Response {
    match health.group(&name).await {
        Some(components) => answer(worst(&components), &full(&health, &components)),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn answer(status: Status, body: &Value) -> Response {
    let code = if status == Status::Fail { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/health+json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (code, headers, body.to_string()).into_response()
}

fn brief(status: Status, components: &[Checked]) -> Value {
    let states: Map<String, Value> =
        components.iter().map(|checked| (checked.name.to_owned(), json!(checked.status.as_str()))).collect();
    json!({ "status": status.as_str(), "components": states })
}

/// The form of draft-inadarei-api-health-check-06, with the last changes of each component.
fn full(health: &Health, components: &[Checked]) -> Value {
    let checks: Map<String, Value> =
        components.iter().map(|checked| (checked.name.to_owned(), json!([describe(checked)]))).collect();
    let mut body =
        json!({ "status": worst(components).as_str(), "serviceId": health.service(), "checks": checks });
    if health.is_draining() {
        body["notes"] = json!(["the service is about to stop"]);
    }
    body
}

fn describe(checked: &Checked) -> Value {
    let changes: Vec<Value> = checked
        .changes
        .iter()
        .map(|change| {
            json!({ "time": format_rfc3339_millis(change.at).to_string(), "status": change.to.as_str(), "output": change.text })
        })
        .collect();
    let mut entry = json!({
        "componentName": checked.name,
        "status": checked.status.as_str(),
        "required": checked.required,
        "time": format_rfc3339_millis(checked.at).to_string(),
        "changes": changes,
    });
    if let Some((value, unit)) = checked.observed {
        entry["observedValue"] = json!(value);
        entry["observedUnit"] = json!(unit);
    }
    if !checked.text.is_empty() {
        entry["output"] = json!(checked.text);
    }
    entry
}
