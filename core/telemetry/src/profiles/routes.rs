//! What can be looked at over HTTP.

use std::fmt::Write as _;

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use seaworthy_errors::{Error, Public, http_codes};
use serde::Deserialize;
use serde_json::{Value, json};

use super::protection::{Protection, protect};
use crate::{
    codes, logging,
    timeline::{Timeline, Timelines},
};

/// The routes below `/debug`, for those whom the protection admits:
///
/// - `/debug/timelines`: the latest and the slowest timelines, as text, or as JSON with `?format=json`
/// - `/debug/timelines/{request_id}`: one as text, or with `?format=chrome` for a trace viewer
/// - `/debug/log/level`: what is logged; `PUT` changes it (`info,shop=debug`), for a while with `?seconds=300`
/// - `/debug/profile/cpu?seconds=5&frequency=99&format=pprof|svg|folded` (feature `profiles`)
/// - `/debug/profile/allocations?seconds=5` (feature `profiles`)
///
/// ```
/// use seaworthy_telemetry::{profiles::{self, Protection}, timeline::Timelines};
///
/// let timelines = Timelines::new(Default::default());
/// // Closed, so all 404, where SEAWORTHY_DEBUG_TOKEN is not set.
/// let debug: axum::Router = profiles::routes(Protection::from_env()?, &timelines);
/// # drop(debug);
/// # Ok::<(), profiles::ProtectionError>(())
/// ```
pub fn routes(protection: Protection, timelines: &Timelines) -> Router {
    let routes = Router::new()
        .route("/debug/timelines", get(list))
        .route("/debug/timelines/{request_id}", get(one))
        .with_state(timelines.clone())
        .route("/debug/log/level", get(level).put(set_level));
    #[cfg(feature = "profiles")]
    let routes = routes
        .route("/debug/profile/cpu", get(profiles::cpu))
        .route("/debug/profile/allocations", get(profiles::allocations));
    routes.route_layer(middleware::from_fn_with_state(protection, protect))
}

#[derive(Deserialize)]
struct Form {
    format: Option<String>,
}

async fn list(State(timelines): State<Timelines>, Query(form): Query<Form>) -> Response {
    let (latest, slowest) = (timelines.latest(), timelines.slowest());
    match form.format.as_deref() {
        None | Some("text") => {
            let mut text = String::new();
            for (title, timelines) in [("Latest", latest), ("Slowest", slowest)] {
                // Writing to a string can't fail.
                _ = writeln!(text, "{title}:");
                for timeline in timelines {
                    let Timeline { name, status, request_id, .. } = &*timeline;
                    let ms = timeline.time.as_secs_f64() * 1000.0;
                    _ = writeln!(text, "{ms:>12.3} ms  {status:<10} {name}  {request_id}");
                }
            }
            text.into_response()
        }
        Some("json") => {
            let short = |timeline: &Timeline| {
                json!({
                    "name": timeline.name, "status": timeline.status, "request_id": timeline.request_id,
                    "trace_id": timeline.trace_id, "ms": timeline.time.as_secs_f64() * 1000.0,
                    "entries": timeline.entries.len(),
                })
            };
            let all = |timelines: &[std::sync::Arc<Timeline>]| -> Vec<Value> {
                timelines.iter().map(|timeline| short(timeline)).collect()
            };
            Json(json!({"latest": all(&latest), "slowest": all(&slowest)})).into_response()
        }
        Some(other) => unknown_format(other, "text, json"),
    }
}

async fn one(
    State(timelines): State<Timelines>,
    Path(request_id): Path<String>,
    Query(form): Query<Form>,
) -> Response {
    let Some(timeline) = timelines.find(&request_id) else {
        let why = "there is no timeline of that request: it was not recorded, or newer ones took its place";
        return Error::new(&http_codes::NOT_FOUND).public(why).into_response();
    };
    match form.format.as_deref() {
        None | Some("text") => timeline.to_text().into_response(),
        Some("chrome") => {
            let name = [(header::CONTENT_DISPOSITION, "attachment; filename=\"timeline.json\"")];
            (name, Json(timeline.to_chrome())).into_response()
        }
        Some(other) => unknown_format(other, "text, chrome"),
    }
}

async fn level() -> Response {
    match logging::level() {
        Some(level) => level.into_response(),
        None => Error::from(logging::Error::NotStarted).into_response(),
    }
}

#[derive(Deserialize)]
struct Stay {
    seconds: Option<u64>,
}

async fn set_level(Query(Stay { seconds }): Query<Stay>, level: String) -> Response {
    let level = level.trim();
    let changed = match seconds {
        Some(seconds) => logging::set_level_for(level, std::time::Duration::from_secs(seconds)),
        None => logging::set_level(level),
    };
    match changed {
        Ok(()) => format!("{level}\n").into_response(),
        Err(error) => {
            let text = Public::exposing(&error);
            Error::from(error).public(text).into_response()
        }
    }
}

fn unknown_format(format: &str, known: &str) -> Response {
    bad_request(format_args!("format must be one of {known}, and is {format:?}"))
}

fn bad_request(text: impl std::fmt::Display) -> Response {
    Error::new(&codes::PROFILE_REQUEST).public(Public::exposing(text)).into_response()
}

#[cfg(feature = "profiles")]
mod profiles {
    use std::time::Duration;

    use super::*;
    use crate::profiles::{self, ProfileError};

    #[derive(Deserialize)]
    pub(super) struct Wish {
        seconds: Option<String>,
        frequency: Option<String>,
        format: Option<String>,
    }

    impl Wish {
        fn time(&self) -> Result<Duration, String> {
            number("seconds", self.seconds.as_deref(), 5).map(|seconds| Duration::from_secs(seconds.into()))
        }
    }

    fn number(name: &str, text: Option<&str>, default: u32) -> Result<u32, String> {
        let Some(text) = text else { return Ok(default) };
        text.parse().map_err(|_| format!("{name} must be a whole number, and is {text:?}"))
    }

    pub(super) async fn cpu(Query(wish): Query<Wish>) -> Result<Response, Response> {
        let format = wish.format.as_deref().unwrap_or("pprof");
        // A wrong word is told before a profile is taken for nothing.
        if !["pprof", "svg", "folded"].contains(&format) {
            return Err(unknown_format(format, "pprof, svg, folded"));
        }
        let frequency = number("frequency", wish.frequency.as_deref(), profiles::DEFAULT_FREQUENCY)
            .map_err(bad_request)?;
        let time = wish.time().map_err(bad_request)?;
        let profile = profiles::cpu(time, frequency).await.map_err(IntoResponse::into_response)?;
        let format = format.to_owned();
        let rendered = tokio::task::spawn_blocking(move || -> Result<Response, ProfileError> {
            Ok(match format.as_str() {
                "svg" => ([(header::CONTENT_TYPE, "image/svg+xml")], profile.flame_graph()).into_response(),
                "folded" => profile.folded().into_response(),
                _ => {
                    let name = (header::CONTENT_DISPOSITION, "attachment; filename=\"cpu.pb.gz\"");
                    let kind = (header::CONTENT_TYPE, "application/octet-stream");
                    ([kind, name], profile.pprof()?).into_response()
                }
            })
        });
        match rendered.await {
            Ok(rendered) => rendered.map_err(IntoResponse::into_response),
            Err(_) => Err(StatusCode::INTERNAL_SERVER_ERROR.into_response()),
        }
    }

    pub(super) async fn allocations(Query(wish): Query<Wish>) -> Result<Response, Response> {
        let time = wish.time().map_err(bad_request)?;
        let allocations = profiles::allocations(time).await.map_err(IntoResponse::into_response)?;
        Ok(Json(allocations).into_response())
    }

    impl IntoResponse for ProfileError {
        fn into_response(self) -> Response {
            // Whoever gets here has the token: the whole text is for them.
            let text = Public::exposing(&self);
            Error::from(self).public(text).into_response()
        }
    }
}
