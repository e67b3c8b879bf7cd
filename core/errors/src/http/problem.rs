//! An error as problem details.

use std::sync::Arc;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value as Json, json};

use crate::{Code, Error};

/// Renders errors as `application/problem+json`, after RFC 9457.
///
/// Beside the standard's members there are `code`; `request_id` where it is known; `retry_after` in seconds where that is known; and
/// for an aggregate `errors`, each with its code, detail and count, `errors_total` with the exact number, and `errors_omitted` when some
/// of them had no room.
#[derive(Debug, Clone)]
pub struct Problem<'a> {
    type_base: &'a str,
    request_id: Option<&'a str>,
    instance: Option<&'a str>,
}

impl<'a> Problem<'a> {
    /// The largest body, in bytes, however many errors there are.
    pub const MAX_BODY: usize = 64 * 1024;
    /// What a code is appended to, to make the problem's type, unless [`ProblemLayer::type_base`](crate::http::ProblemLayer::type_base)
    /// says otherwise.
    pub const TYPE_BASE: &'static str = "/problems/";

    /// A rendering with types below this base, for example `https://example.com/problems/`.
    pub fn new(type_base: &'a str) -> Self {
        Problem { type_base, request_id: None, instance: None }
    }

    /// Names the request.
    pub fn request_id(mut self, id: Option<&'a str>) -> Self {
        self.request_id = id;
        self
    }

    /// Names the occurrence: a URI reference.
    pub fn instance(mut self, instance: Option<&'a str>) -> Self {
        self.instance = instance;
        self
    }

    /// The URI of a code's type.
    pub fn type_uri(&self, code: &Code) -> String {
        format!("{}{}", self.type_base, code.id)
    }

    /// The body.
    pub fn body(&self, error: &Error) -> String {
        let mut body = self.members(error);
        body.insert("status".to_owned(), json!(error.http_status()));
        let optional = [
            ("instance", self.instance.map(|instance| json!(instance))),
            ("request_id", self.request_id.map(|id| json!(id))),
            ("retry_after", retry_after(error).map(|seconds| json!(seconds))),
        ];
        body.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        if !error.children().is_empty() {
            self.add_children(&mut body, error);
        }
        Json::Object(body).to_string()
    }

    fn members(&self, error: &Error) -> Map<String, Json> {
        let code = error.code();
        let mut members = Map::new();
        members.insert("type".to_owned(), json!(self.type_uri(code)));
        members.insert("title".to_owned(), json!(code.title));
        members.insert("code".to_owned(), json!(code.id));
        if let Some(text) = error.public_text() {
            members.insert("detail".to_owned(), json!(text.as_str()));
        }
        members
    }

    fn add_children(&self, body: &mut Map<String, Json>, error: &Error) {
        /// Room for the members that come after the children.
        const REST: usize = 256;
        let mut room = Self::MAX_BODY.saturating_sub(Json::Object(body.clone()).to_string().len() + REST);
        let mut shown = Vec::new();
        let mut counted = 0;
        for child in error.children() {
            let mut members = self.members(&child.error);
            members.insert("count".to_owned(), json!(child.count));
            let member = Json::Object(members);
            let size = member.to_string().len() + 1;
            if size > room {
                break;
            }
            room -= size;
            counted += child.count;
            shown.push(member);
        }
        body.insert("errors".to_owned(), Json::Array(shown));
        body.insert("errors_total".to_owned(), json!(error.count()));
        if counted < error.count() {
            body.insert("errors_omitted".to_owned(), json!(error.count() - counted));
        }
    }

    /// The whole answer.
    pub fn response(&self, error: &Error) -> Response {
        let status = StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, self.body(error)).into_response();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry_after(error) {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// Whole seconds, rounded up: a client that comes too early comes twice.
fn retry_after(error: &Error) -> Option<u64> {
    error.retry_advice().after().map(|wait| wait.as_millis().div_ceil(1000) as u64)
}

impl IntoResponse for Error {
    /// The answer, which also carries the error itself for [`ProblemLayer`](crate::http::ProblemLayer) to complete and report.
    fn into_response(self) -> Response {
        let mut response = Problem::new(Problem::TYPE_BASE).response(&self);
        response.extensions_mut().insert(Carried(Arc::new(std::sync::Mutex::new(Some(self)))));
        response
    }
}

/// An error on its way through the layers.
#[derive(Debug, Clone)]
pub(crate) struct Carried(Arc<std::sync::Mutex<Option<Error>>>);

impl Carried {
    pub(crate) fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }
}
