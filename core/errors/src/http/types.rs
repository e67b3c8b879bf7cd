//! The pages that the types of problems lead to.

use axum::{
    Router,
    extract::Path,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;

use crate::{Error, Registry, http_codes};

/// Explains every code of the registry at `/problems/{code}`, as JSON, so that whoever follows a problem's `type` learns what it means and
/// what to do.
///
/// ```
/// use seaworthy_errors::{HTTP_CODES, Registry, http::problem_types};
///
/// static REGISTRY: Registry = Registry::new(&[HTTP_CODES]);
/// let app: axum::Router = axum::Router::new().merge(problem_types(&REGISTRY));
/// # let _ = app;
/// ```
pub fn problem_types<S: Clone + Send + Sync + 'static>(registry: &'static Registry) -> Router<S> {
    Router::new().route("/problems/{code}", get(async move |Path(id): Path<String>| explain(registry, &id)))
}

fn explain(registry: &Registry, id: &str) -> Response {
    let Some(code) = registry.find(id) else {
        return Error::new(&http_codes::NOT_FOUND).public("there is no such code").into_response();
    };
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let page = json!({
        "code": code.id,
        "kind": code.kind.name(),
        "status": code.http_status(),
        "title": code.title,
        "meaning": words(code.meaning),
        "example": code.example,
        "remedy": code.remedy,
        "retry": code.retry.is_worth_it(),
    });
    (StatusCode::OK, [(header::CACHE_CONTROL, "public, max-age=3600")], axum::Json(page)).into_response()
}
