//! The shop's HTTP face.

use std::time::Duration;

use axum::{
    Router,
    extract::{State, WebSocketUpgrade},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use seaworthy_errors::{
    Error,
    http::{Json, Path, ProblemLayer, problem_types},
};
use seaworthy_queue::Queue;
use seaworthy_telemetry::{
    health::{self, Health},
    metrics, profiles,
    requests::RequestLayer,
};
use serde_json::json;
use sqlx::PgPool;
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    codes::{NO_SUCH_ORDER, OUTCOME_UNKNOWN, REGISTRY, UNREADABLE},
    live::Hub,
    orders::{self, NewOrder, OrderState},
    telemetry::Telemetry,
};

/// How long a request may take; its client gives up soon after.
const REQUEST_DEADLINE: Duration = Duration::from_secs(2);
/// The largest message of a WebSocket client, in bytes: enough for all the orders that it may watch.
const MAX_MESSAGE: usize = 512 * 1024;

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) pool: PgPool,
    pub(crate) queue: Queue,
    pub(crate) hub: Hub,
}

pub(crate) fn router(server: Server, telemetry: &Telemetry, health: Health) -> Router {
    let counted = telemetry.metrics.clone();
    let problems = ProblemLayer::new()
        .reports(telemetry.reports.clone())
        .on_fault(move |error| counted.error(error.code()));
    let requests = RequestLayer::new(telemetry.metrics.clone())
        .timelines(telemetry.timelines.clone(), telemetry.protection.clone());
    Router::new()
        .route("/orders", post(place_order))
        .route("/orders/{id}", get(show_order))
        .route("/ws", get(watch_orders))
        .merge(problem_types(&REGISTRY))
        .with_state(server)
        .merge(about(telemetry, health))
        .layer(problems)
        .layer(requests)
}

/// What orchestrators, scrapers and engineers ask a process of the shop.
pub(crate) fn about(telemetry: &Telemetry, health: Health) -> Router {
    Router::new()
        .merge(health::routes(health))
        .merge(metrics::routes(telemetry.metrics.clone()))
        .merge(profiles::routes(telemetry.protection.clone(), &telemetry.timelines))
}

async fn place_order(State(server): State<Server>, Json(order): Json<NewOrder>) -> Result<Response, Error> {
    let placed = timeout(REQUEST_DEADLINE, orders::place(&server.pool, &server.queue, &order)).await;
    placed.unwrap_or_else(|_| Err(Error::new(&OUTCOME_UNKNOWN)))?;
    Ok((StatusCode::CREATED, Json(json!({ "id": order.id }))).into_response())
}

async fn show_order(State(server): State<Server>, Path(id): Path<Uuid>) -> Result<Json<OrderState>, Error> {
    let found = timeout(REQUEST_DEADLINE, orders::states(&server.pool, &[id])).await;
    let states = found.unwrap_or_else(|_| Err(Error::new(&UNREADABLE)))?;
    states.into_iter().next().map(Json).ok_or_else(|| Error::new(&NO_SUCH_ORDER))
}

async fn watch_orders(State(server): State<Server>, upgrade: WebSocketUpgrade) -> Response {
    upgrade
        .max_message_size(MAX_MESSAGE)
        .on_upgrade(async move |socket| server.hub.serve(server.pool, socket).await)
}
