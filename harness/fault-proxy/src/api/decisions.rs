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

/// The most decisions that can be asked for over HTTP.
const MAX_RECORDED: u64 = 1_000_000;

/// Every decision on a line of its own, as JSON.
pub(super) async fn show(State(proxies): State<Proxies>) -> Response {
    let missed = proxies.decisions().missed().to_string();
    let headers = [(header::CONTENT_TYPE.as_str(), "application/x-ndjson"), ("x-missed-decisions", &missed)];
    (headers, proxies.decisions().to_json_lines()).into_response()
}

/// Starts the log anew, with `limit` decisions at most.
pub(super) async fn record(State(proxies): State<Proxies>, Body(body): Body) -> Result<StatusCode, Refusal> {
    let fields = Fields::of(first_value(&body)?, "the body")?;
    let limit = fields.whole("limit")?.ok_or_else(|| Refusal::missing("limit"))?;
    if limit > MAX_RECORDED {
        return Err(Refusal::bad_body(format!("`limit` must be at most {MAX_RECORDED}, not {limit}")));
    }
    proxies.decisions().record(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(StatusCode::NO_CONTENT)
}
