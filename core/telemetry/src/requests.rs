//! Requests over HTTP: each gets its ids, is counted and timed, and leaves a line in the log.
//!
//! ```
//! use axum::{Router, routing::get};
//! use seaworthy_telemetry::{metrics::{self, Metrics}, requests::RequestLayer};
//!
//! let metrics = Metrics::new("shop", "1.2.0");
//! let app: Router = Router::new()
//!     .route("/orders/{id}", get(async || "an order"))
//!     .merge(metrics::routes(metrics.clone()))
//!     .layer(RequestLayer::new(metrics));
//! # let _ = app;
//! ```

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
    time::{Duration, Instant},
};

use axum::{
    extract::MatchedPath,
    http::{HeaderName, HeaderValue, Method, Request, Response},
};
use tower_layer::Layer;
use tower_service::Service;
use tracing::info;

use crate::{
    metrics::Metrics,
    profiles::Protection,
    timeline::{self, Timelines},
    trace::{Context, Work},
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What nginx calls a client that did not wait.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Runs every request as a [`Work`] with the ids that its client sent, or fresh ones; counts and times it; and writes a line when it is
/// answered. The answer carries `x-request-id` and `traceparent`.
///
/// Put it outside of all other layers with `Router::layer`, after the last route and the last `merge`, so that a request that no route
/// matches is counted too, as `unmatched`. Neither the path nor the query goes into a line or a label: they can hold ids and secrets.
#[derive(Debug, Clone)]
pub struct RequestLayer {
    metrics: Metrics,
    timelines: Option<(Timelines, Protection)>,
}

impl RequestLayer {
    /// A layer that counts into these metrics.
    pub fn new(metrics: Metrics) -> Self {
        RequestLayer { metrics, timelines: None }
    }

    /// Records a timeline of every request whose header [`timeline::HEADER`] has a token that the protection admits.
    pub fn timelines(mut self, timelines: Timelines, protection: Protection) -> Self {
        self.timelines = Some((timelines, protection));
        self
    }

    fn work(&self, name: String, context: Context, token: Option<&str>) -> Arc<Work> {
        let work = Work::new(name, context);
        let wanted = self.timelines.as_ref().zip(token);
        match wanted.filter(|((_, protection), token)| protection.admits(token)) {
            Some(((timelines, _), _)) => work.with_timeline(timelines),
            None => work,
        }
    }
}

impl<S> Layer<S> for RequestLayer {
    type Service = RequestService<S>;

    fn layer(&self, inner: S) -> RequestService<S> {
        RequestService { inner, layer: self.clone() }
    }
}

/// What [`RequestLayer`] makes of a service.
#[derive(Debug, Clone)]
pub struct RequestService<S> {
    inner: S,
    layer: RequestLayer,
}

impl<S, B, R> Service<Request<B>> for RequestService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let header = |name: &HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
        let context = Context::from_caller(header(&TRACEPARENT), header(&REQUEST_ID));
        let route =
            request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
        let id = HeaderValue::from_str(context.request_id()).ok();
        let name = format!("{} {route}", request.method());
        let work = self.layer.work(name, context, header(&HeaderName::from_static(timeline::HEADER)));
        if let Some(id) = &id {
            // For whoever answers with it, or passes it on.
            request.headers_mut().insert(REQUEST_ID, id.clone());
        }
        let answering = Answering {
            began: Instant::now(),
            method: request.method().clone(),
            route,
            work,
            metrics: self.layer.metrics.clone(),
            status: None,
        };
        answering.metrics.http().in_flight().inc();
        let running = self.inner.call(request);
        Box::pin(async move {
            let mut answering = answering;
            let work = answering.work.clone();
            let answered = async {
                let outcome = running.await;
                if let Ok(response) = &outcome {
                    work.set_status(response.status().as_str());
                }
                outcome
            };
            let mut outcome = work.run(answered).await;
            if let Ok(response) = &mut outcome {
                answering.status = Some(response.status().as_u16());
                response.headers_mut().extend(id.map(|id| (REQUEST_ID, id)));
                let traceparent = HeaderValue::from_str(&work.context().traceparent()).ok();
                response.headers_mut().extend(traceparent.map(|value| (TRACEPARENT, value)));
            }
            outcome
        })
    }
}

/// A request that is being answered. Dropped without a status when its client leaves.
struct Answering {
    began: Instant,
    method: Method,
    route: String,
    work: Arc<Work>,
    metrics: Metrics,
    status: Option<u16>,
}

impl Drop for Answering {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        let status = self.status.unwrap_or(CLIENT_CLOSED_REQUEST);
        let http = self.metrics.http();
        http.in_flight().dec();
        let trace_id = self.work.context().trace_id();
        http.answered(self.method.as_str(), &self.route, status, took, Some(trace_id));
        if !is_probe(&self.route) {
            self.work.within(|| self.write_line(status, took));
        }
    }
}

impl Answering {
    fn write_line(&self, status: u16, took: Duration) {
        let (method, route) = (self.method.as_str(), self.route.as_str());
        let elapsed_ms = (took.as_secs_f64() * 1e6).round() / 1e3;
        info!(method, route, status, elapsed_ms, "answered");
    }
}

/// What is asked every few seconds, and would fill the log.
fn is_probe(route: &str) -> bool {
    ["/livez", "/readyz", "/startupz", "/health", "/metrics"].contains(&route)
}
