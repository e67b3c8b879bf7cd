//! What handlers take from a request, refused in Toxiproxy's form when it is not there.

use std::time::Duration;

use axum::{
    body::{Bytes, to_bytes},
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::{StatusCode, request::Parts},
};
use serde::de::DeserializeOwned;

use super::{MAX_BODY, refusal::Refusal};

/// The names in the path, decoded.
pub(super) struct Named<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(names)| Named(names)).map_err(|_| Refusal::bad("bad request path: it is not UTF-8"))
    }
}

/// The body: not too large, and there in time.
pub(super) struct Body(pub(super) Bytes);

/// How long a body may take, as an extension of the request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience(pub(super) Duration);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let patience = request.extensions().get().map_or(Duration::MAX, |&Patience(patience)| patience);
        let late = |_| Refusal::new(StatusCode::REQUEST_TIMEOUT, "the request body did not arrive in time");
        let read = tokio::time::timeout(patience, to_bytes(request.into_body(), MAX_BODY));
        read.await.map_err(late)?.map(Body).map_err(|error| match is_too_large(&error) {
            true => Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the request body is larger than {MAX_BODY} bytes"),
            ),
            false => Refusal::bad_body(error),
        })
    }
}

fn is_too_large(error: &axum::Error) -> bool {
    let source = std::error::Error::source(error);
    source.is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
}
