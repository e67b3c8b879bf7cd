//! Answers that say why a request was refused, in Toxiproxy's form.

use std::io;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::Error;

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    status: StatusCode,
    text: String,
}

/// The reason of a refusal, on its way to the log.
#[derive(Debug, Clone)]
pub(super) struct Reason(pub(super) String);

#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
    status: u16,
}

#[derive(Serialize)]
struct PopulateBody<'a, P> {
    error: &'a str,
    status: u16,
    proxies: Option<&'a [P]>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Refusal { status, text: text.into() }
    }

    pub(super) fn bad(text: impl Into<String>) -> Self {
        Refusal::new(StatusCode::BAD_REQUEST, text)
    }

    pub(super) fn bad_body(why: impl std::fmt::Display) -> Self {
        Refusal::bad(format!("bad request body: {why}"))
    }

    pub(super) fn missing(field: &str) -> Self {
        Refusal::bad(format!("missing required field: {field}"))
    }

    /// Says which element of a list it is about, counted from 1.
    pub(super) fn at(mut self, what: &str, number: usize) -> Self {
        self.text = format!("{} at {what} {number}", self.text);
        self
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The answer to `/populate`, which says how far it came.
    pub(super) fn with_proxies<P: Serialize>(self, proxies: &[P]) -> Response {
        let proxies = (!proxies.is_empty()).then_some(proxies);
        let body = PopulateBody { error: &self.text, status: self.status.as_u16(), proxies };
        let mut response = (self.status, axum::Json(body)).into_response();
        response.extensions_mut().insert(Reason(self.text));
        response
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match &error {
            Error::ProxyNotFound(_) => Refusal::new(StatusCode::NOT_FOUND, "proxy not found"),
            Error::ToxicNotFound { .. } => Refusal::new(StatusCode::NOT_FOUND, "toxic not found"),
            Error::ProxyExists(_) => Refusal::new(StatusCode::CONFLICT, "proxy already exists"),
            Error::ToxicExists { .. } => Refusal::new(StatusCode::CONFLICT, "toxic already exists"),
            Error::Toxicity(_) | Error::Attribute { .. } | Error::Text { .. } | Error::TooMany { .. } => {
                Refusal::bad_body(error)
            }
            Error::Address { why, .. } => {
                Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, format!("listen tcp: {why}"))
            }
            Error::Listen { address, source, .. } => Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("listen tcp {address}: bind: {}", system_text(source)),
            ),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = Body { error: &self.text, status: self.status.as_u16() };
        let body = serde_json::to_string(&body).unwrap_or_default() + "\n";
        let mut response = plain(self.status, body);
        response.extensions_mut().insert(Reason(self.text));
        response
    }
}

/// An answer in plain text that no browser takes for anything else.
pub(super) fn plain(status: StatusCode, body: impl Into<String>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (status, headers, body.into()).into_response()
}

/// What the operating system said, in Go's spelling, since clients compare it: `address already in use`.
fn system_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
