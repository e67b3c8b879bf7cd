//! The log of what the seed decided, for comparing runs.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{
    fields::{Fields, first_value},
    refusal::Refusal,
    request::Body,
};
use crate::Proxies;

/// The most decisions that the log can be told to keep over HTTP.
pub const MAX_DECISIONS: usize = 100_000;

/// Every decision on a line of its own, as JSON.
pub(super) async fn show(State(proxies): State<Proxies>) -> Response {
    let missed = proxies.decisions().missed().to_string();
    let headers = [(header::CONTENT_TYPE.as_str(), "application/x-ndjson"), ("x-missed-decisions", &missed)];
    // A full log takes a while, in which other calls must not wait.
    let lines = tokio::task::spawn_blocking(move || proxies.decisions().to_json_lines());
    match lines.await {
        Ok(lines) => (headers, lines).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Starts the log anew, with `limit` decisions at most.
pub(super) async fn record(State(proxies): State<Proxies>, Body(body): Body) -> Result<StatusCode, Refusal> {
    let fields = Fields::of(first_value(&body)?, "the body")?;
    let limit = fields.whole("limit")?.ok_or_else(|| Refusal::missing("limit"))?;
    let fits = usize::try_from(limit).ok().filter(|limit| *limit <= MAX_DECISIONS);
    let limit = fits
        .ok_or_else(|| Refusal::bad_body(format!("`limit` must be at most {MAX_DECISIONS}, not {limit}")))?;
    proxies.decisions().record(limit);
    Ok(StatusCode::NO_CONTENT)
}
