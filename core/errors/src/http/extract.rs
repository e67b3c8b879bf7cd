//! Extractors that say where a request is wrong, without repeating what is in it.

use std::error::Error as StdError;

use axum::{
    extract::{
        FromRequest, FromRequestParts, Request,
        path::ErrorKind,
        rejection::{JsonRejection, PathRejection, QueryRejection},
    },
    http::request::Parts,
    response::{IntoResponse, Response},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, Public, http_codes};

/// As `axum::Json`; a refusal names the place in the body that is wrong: the field, the line and the column.
#[derive(Debug, Clone, Copy, Default)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        let axum::Json(value) = axum::Json::from_request(request, state).await?;
        Ok(Json(value))
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// As `axum::extract::Path`; a refusal names the parameter that is wrong.
#[derive(Debug, Clone, Copy)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let axum::extract::Path(value) = axum::extract::Path::from_request_parts(parts, state).await?;
        Ok(Path(value))
    }
}

/// As `axum::extract::Query`; a refusal names the parameter that is wrong, where it is known.
#[derive(Debug, Clone, Copy)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let axum::extract::Query(value) = axum::extract::Query::from_request_parts(parts, state).await?;
        Ok(Query(value))
    }
}

impl From<JsonRejection> for Error {
    #[track_caller]
    fn from(refusal: JsonRejection) -> Self {
        let error = Error::new(http_codes::of_status(refusal.status().as_u16()));
        let error = match json_error(&refusal) {
            Some(source) => error.public(place_in_json(source)),
            None => error,
        };
        // What is wrong with the form of the body is told in words that repeat nothing of it; with a value, in words that repeat it.
        match refusal {
            JsonRejection::JsonDataError(wrong) => with_expected(error, &wrong.body_text()),
            refusal => error.caused_by(refusal),
        }
    }
}

/// What serde_json said, somewhere among the sources of a refusal, and the field. Its own text is not for clients: it repeats values.
fn json_error(refusal: &JsonRejection) -> Option<(&serde_json::Error, Option<String>)> {
    let first: &(dyn StdError + 'static) = refusal;
    std::iter::successors(Some(first), |error: &&(dyn StdError + 'static)| (*error).source()).find_map(
        |error| {
            let with_path = error.downcast_ref::<serde_path_to_error::Error<serde_json::Error>>();
            let with_path = with_path.map(|error| (error.inner(), Some(error.path().to_string())));
            with_path.or_else(|| Some((error.downcast_ref::<serde_json::Error>()?, None)))
        },
    )
}

fn place_in_json((error, path): (&serde_json::Error, Option<String>)) -> Public {
    use serde_json::error::Category;
    let text = error.to_string();
    let what = match error.classify() {
        Category::Syntax => "the body is not valid JSON",
        Category::Eof => "the body ends too early",
        Category::Data | Category::Io => match missing_field(&text) {
            Some(field) => &format!("the field `{field}` is missing"),
            None => "a value does not have the expected form",
        },
    };
    let at = path.filter(|path| path != ".").map_or_else(String::new, |path| format!(" at `{path}`"));
    Public::exposing(format_args!("{what}{at} (line {}, column {})", error.line(), error.column()))
}

/// The name in serde's words for a missing field, which is a literal of the program.
fn missing_field(text: &str) -> Option<&str> {
    text.strip_prefix("missing field `")?.split('`').next()
}

/// Takes from serde's words for a value that does not fit what was expected in its place, which is the program's; what comes before it repeats the value, and has no place in a log.
fn with_expected(error: Error, text: &str) -> Error {
    const BEFORE: &str = ", expected ";
    match text.rfind(BEFORE) {
        Some(at) => error.with("expected", text[at + BEFORE.len()..].to_owned()),
        None => error,
    }
}

impl From<PathRejection> for Error {
    #[track_caller]
    fn from(refusal: PathRejection) -> Self {
        let error = Error::new(http_codes::of_status(refusal.status().as_u16()));
        let PathRejection::FailedToDeserializePathParams(wrong) = &refusal else {
            return error.caused_by(refusal);
        };
        let error = match wrong.kind() {
            ErrorKind::ParseErrorAtKey { key, .. } | ErrorKind::DeserializeError { key, .. } => {
                error.public(Public::exposing(format_args!("`{key}` in the address is not valid")))
            }
            _ => error.public("a part of the address is not valid"),
        };
        match wrong.kind() {
            ErrorKind::ParseErrorAtKey { expected_type, .. }
            | ErrorKind::ParseErrorAtIndex { expected_type, .. }
            | ErrorKind::ParseError { expected_type, .. } => error.with("expected", *expected_type),
            ErrorKind::DeserializeError { message, .. } | ErrorKind::Message(message) => {
                with_expected(error, message)
            }
            _ => error.caused_by(refusal),
        }
    }
}

impl From<QueryRejection> for Error {
    #[track_caller]
    fn from(refusal: QueryRejection) -> Self {
        let error = Error::new(http_codes::of_status(refusal.status().as_u16()));
        with_expected(error.public("the query of the address is not valid"), &refusal.body_text())
    }
}
