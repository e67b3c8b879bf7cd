//! The shop's HTTP face.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::{Path, State, WebSocketUpgrade},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::json;
use sqlx::PgPool;
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    live::Hub,
    orders::{self, NewOrder, OrderError},
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
        .with_state(server)
}

async fn place_order(State(server): State<Server>, Json(order): Json<NewOrder>) -> Response {
    match timeout(REQUEST_DEADLINE, orders::place(&server.pool, &order)).await {
        Ok(Ok(())) => (StatusCode::CREATED, Json(json!({ "id": order.id }))).into_response(),
        Ok(Err(error @ OrderError::Invalid(_))) => problem(StatusCode::UNPROCESSABLE_ENTITY, &error),
        Ok(Err(error @ OrderError::NotPlaced(_))) => problem(StatusCode::SERVICE_UNAVAILABLE, &error),
        Ok(Err(error @ OrderError::Unknown(_))) => problem(StatusCode::GATEWAY_TIMEOUT, &error),
        Err(_) => {
            problem(StatusCode::GATEWAY_TIMEOUT, &"the order may or may not be placed, repeat the request")
        }
    }
}

async fn show_order(State(server): State<Server>, Path(id): Path<Uuid>) -> Response {
    match timeout(REQUEST_DEADLINE, orders::states(&server.pool, &[id])).await {
        Ok(Ok(states)) => match states.into_iter().next() {
            Some(state) => Json(state).into_response(),
            None => problem(StatusCode::NOT_FOUND, &format!("there is no order {id}")),
        },
        Ok(Err(error)) => {
            tracing::warn!(%error, "an order could not be read");
            problem(StatusCode::SERVICE_UNAVAILABLE, &"the orders can't be read right now")
        }
        Err(_) => problem(StatusCode::GATEWAY_TIMEOUT, &"the orders can't be read in time"),
    }
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

fn problem(status: StatusCode, error: &dyn std::fmt::Display) -> Response {
    (status, Json(json!({ "error": error.to_string() }))).into_response()
}
