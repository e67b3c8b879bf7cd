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
use serde_json::json;
use sqlx::PgPool;
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    codes::{NO_SUCH_ORDER, OUTCOME_UNKNOWN, REGISTRY, UNREADABLE},
    live::Hub,
    orders::{self, NewOrder, OrderState},
    relay,
};

/// How long a request may take; its client gives up soon after.
const REQUEST_DEADLINE: Duration = Duration::from_secs(2);
/// How long the readiness check of one service may take.
const CHECK_DEADLINE: Duration = Duration::from_secs(1);

/// The largest message of a WebSocket client, in bytes: enough for all the orders that it may watch.
const MAX_MESSAGE: usize = 512 * 1024;

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) pool: PgPool,
    pub(crate) redis: redis::Client,
    pub(crate) hub: Hub,
}

pub(crate) fn router(server: Server) -> Router {
    Router::new()
        .route("/orders", post(place_order))
        .route("/orders/{id}", get(show_order))
        .route("/ws", get(watch_orders))
        .route("/livez", get(async || "ok"))
        .route("/readyz", get(ready))
        .merge(problem_types(&REGISTRY))
        .with_state(server)
        .layer(ProblemLayer::new())
}

async fn place_order(State(server): State<Server>, Json(order): Json<NewOrder>) -> Result<Response, Error> {
    let placed = timeout(REQUEST_DEADLINE, orders::place(&server.pool, &order)).await;
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

/// Ready when both services answer a real query.
async fn ready(State(server): State<Server>) -> Response {
    let postgres =
        async { sqlx::query("select 1").execute(&server.pool).await.map_err(|error| error.to_string()) };
    let redis = async {
        let mut connection = relay::connect(&server.redis).await.map_err(|error| error.to_string())?;
        let pong: Result<String, _> = redis::cmd("PING").query_async(&mut connection).await;
        pong.map_err(|error| error.to_string())
    };
    let (postgres, redis) = tokio::join!(timeout(CHECK_DEADLINE, postgres), timeout(CHECK_DEADLINE, redis));
    let say = |failure: Option<String>| failure.unwrap_or_else(|| "ok".to_owned());
    let late = || format!("no answer within {CHECK_DEADLINE:?}");
    let postgres = postgres.map_or_else(|_| Some(late()), Result::err);
    let redis = redis.map_or_else(|_| Some(late()), Result::err);
    let status =
        if postgres.is_none() && redis.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "postgres": say(postgres), "redis": say(redis) }))).into_response()
}
