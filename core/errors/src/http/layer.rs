//! The layer that leaves no error without problem details.

use std::{
    convert::Infallible,
    error::Error as StdError,
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, Location},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, HttpBody},
    http::{HeaderMap, Request, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use http_body_util::BodyExt as _;
use tokio::time::timeout;
use tower_layer::Layer;
use tower_service::Service;

use super::problem::{Carried, Problem};
use crate::{Error, Reports, boundary::panicked, bounded, http_codes};

/// Turns every 4xx and 5xx of an axum application into problem details, catches panics, and ends requests that take too long.
///
/// Put it outside of the routes and the layers whose errors it is to see, with `Router::layer`, after the last route and the last `merge`. An answer that has a content type
/// of its own, other than plain text, is left as it is: a health check may answer 503 with JSON. Plain texts, such as those with
/// which extractors refuse, are not shown to clients, since they can repeat what they were given; they become the private source.
#[derive(Debug, Clone)]
pub struct ProblemLayer {
    settings: Arc<Settings>,
}

#[derive(Clone)]
struct Settings {
    type_base: String,
    timeout: Option<Duration>,
    reports: Option<Reports>,
    on_fault: Option<OnFault>,
}

type OnFault = Arc<dyn Fn(&Error) + Send + Sync>;

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("type_base", &self.type_base)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl ProblemLayer {
    /// A layer without a time limit. Errors that are the service's fault are logged.
    pub fn new() -> Self {
        let type_base = Problem::TYPE_BASE.to_owned();
        ProblemLayer {
            settings: Arc::new(Settings { type_base, timeout: None, reports: None, on_fault: None }),
        }
    }

    /// Answers 504 when the rest of the application takes longer than this to begin its answer, and stops it.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.set(|settings| settings.timeout = Some(timeout))
    }

    /// What a code is appended to, to make a problem's type. The default is `/problems/`, where
    /// [`problem_types`](super::problem_types) can explain it.
    pub fn type_base(self, base: impl Into<String>) -> Self {
        let base = base.into();
        self.set(|settings| settings.type_base = base)
    }

    /// Reports the errors that are the service's fault, instead of logging them.
    pub fn reports(self, reports: Reports) -> Self {
        self.set(|settings| settings.reports = Some(reports))
    }

    /// Calls this for every error that is the service's fault, for example to count it by its code. It must be quick.
    pub fn on_fault(self, hook: impl Fn(&Error) + Send + Sync + 'static) -> Self {
        self.set(|settings| settings.on_fault = Some(Arc::new(hook)))
    }

    fn set(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

impl Default for ProblemLayer {
    fn default() -> Self {
        ProblemLayer::new()
    }
}

impl<S> Layer<S> for ProblemLayer {
    type Service = ProblemService<S>;

    fn layer(&self, inner: S) -> ProblemService<S> {
        ProblemService { inner, settings: self.settings.clone() }
    }
}

/// What [`ProblemLayer`] makes of a service.
#[derive(Debug, Clone)]
pub struct ProblemService<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S> Service<Request<Body>> for ProblemService<S>
where
    S: Service<Request<Body>, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The one that was polled to readiness is the one to call.
        let fresh = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        let settings = self.settings.clone();
        let request_id = request_id(request.headers());
        Box::pin(async move {
            // A service may panic when it is called, before it has a future.
            let running = AssertUnwindSafe(async move { inner.call(request).await }).catch_unwind();
            let ended = match settings.timeout {
                Some(limit) => timeout(limit, running).await.map_err(|_| limit),
                None => Ok(running.await),
            };
            Ok(match ended {
                Ok(Ok(Ok(response))) => settings.complete(response, request_id.as_deref()).await,
                Ok(Ok(Err(never))) => match never {},
                Ok(Err(panic)) => {
                    settings.answer(panicked(&*panic, Location::caller()), request_id.as_deref())
                }
                Err(limit) => {
                    let late = Error::new(&http_codes::TIMEOUT).with("deadline_ms", limit.as_millis() as u64);
                    settings.answer(late, request_id.as_deref())
                }
            })
        })
    }
}

impl Settings {
    /// The response, or problem details in its place if it is an error without any.
    async fn complete(&self, mut response: Response, request_id: Option<&str>) -> Response {
        if !is_error(response.status()) {
            return response;
        }
        if let Some(error) = response.extensions_mut().remove::<Carried>().and_then(|carried| carried.take())
        {
            let complete = self.answer(error, request_id);
            return keep_headers(complete, response.headers());
        }
        if has_a_form_of_its_own(response.headers()) {
            return response;
        }
        let (parts, body) = response.into_parts();
        let mut error = Error::new(http_codes::of_status(parts.status.as_u16()));
        if let Some(text) = short_text(body).await {
            error = error.caused_by(PlainAnswer(text));
        }
        let mut complete = self.answer(error, request_id);
        // A status that no code has keeps its number.
        *complete.status_mut() = parts.status;
        keep_headers(complete, &parts.headers)
    }

    /// Problem details for an error that ends here: it is reported, or logged.
    fn answer(&self, error: Error, request_id: Option<&str>) -> Response {
        let response = Problem::new(&self.type_base).request_id(request_id).response(&error);
        if let Some(hook) = self.on_fault.as_ref().filter(|_| error.is_server_fault()) {
            hook(&error);
        }
        match &self.reports {
            Some(reports) if error.is_server_fault() => reports.send(error),
            _ if error.is_server_fault() => {
                tracing::error!(code = error.code().id, error = %error.details(), "a request failed");
            }
            _ => tracing::debug!(code = error.code().id, error = %error.details(), "a request was refused"),
        }
        response
    }
}

fn is_error(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

/// The id that whoever is in front of the service, or a layer outside of this one, gave to the request.
fn request_id(headers: &HeaderMap) -> Option<String> {
    const LONGEST: usize = 128;
    let id = headers.get("x-request-id")?.to_str().ok()?;
    let plain = id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'<');
    (plain && !id.is_empty() && id.len() <= LONGEST).then(|| id.to_owned())
}

/// Whether somebody chose how this error looks.
fn has_a_form_of_its_own(headers: &HeaderMap) -> bool {
    let Some(form) = headers.get(header::CONTENT_TYPE) else { return false };
    let form = form.to_str().unwrap_or_default().to_ascii_lowercase();
    !form.starts_with("text/plain") && !form.starts_with("application/octet-stream")
}

/// What the response said of itself stays, for example `Allow`; what it said of its body goes with that.
fn keep_headers(mut response: Response, old: &HeaderMap) -> Response {
    for (name, value) in old {
        let of_the_body = [
            header::CONTENT_TYPE,
            header::CONTENT_LENGTH,
            header::CONTENT_ENCODING,
            header::TRANSFER_ENCODING,
        ];
        if !of_the_body.contains(name) && !response.headers().contains_key(name) {
            response.headers_mut().append(name, value.clone());
        }
    }
    response
}

/// The body's text, if it is there at once and short: that of a refusal. A stream is not waited for.
async fn short_text(body: Body) -> Option<String> {
    const LONGEST: u64 = 4096;
    if body.size_hint().exact().is_none_or(|size| size == 0 || size > LONGEST) {
        return None;
    }
    let bytes = body.collect().now_or_never()?.ok()?.to_bytes();
    Some(bounded::text(String::from_utf8_lossy(&bytes), LONGEST as usize))
}

/// What an answer would have said in plain text.
#[derive(Debug)]
struct PlainAnswer(String);

impl fmt::Display for PlainAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for PlainAnswer {}

impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl IntoResponse for &Error {
    fn into_response(self) -> Response {
        Problem::new(Problem::TYPE_BASE).response(self)
    }
}
