//! How the API is served.

use std::{fmt, sync::Arc, time::Duration};

use axum::http::{Method, StatusCode};

/// What can be set about the API. The defaults are those of [`serve`](super::serve).
#[derive(Clone)]
pub struct Settings {
    pub(super) proxy_metrics: bool,
    pub(super) more_metrics: Option<fn() -> String>,
    pub(super) log: Option<Log>,
    pub(super) max_connections: usize,
    pub(super) header_timeout: Duration,
    pub(super) body_timeout: Duration,
}

pub(super) type Log = Arc<dyn Fn(&Answered<'_>) + Send + Sync>;

/// A request that was answered.
#[derive(Debug)]
#[non_exhaustive]
pub struct Answered<'a> {
    /// The id that the client got as `X-Toxiproxy-Request-Id`.
    pub id: &'a str,
    /// The request's method.
    pub method: &'a Method,
    /// The request's path, as it was sent.
    pub path: &'a str,
    /// The answer's status.
    pub status: StatusCode,
    /// Why the request was refused, if it was.
    pub reason: Option<&'a str>,
    /// How long the answer took.
    pub took: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            proxy_metrics: false,
            more_metrics: None,
            log: None,
            max_connections: 512,
            header_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(15),
        }
    }
}

impl Settings {
    /// Serves the bytes that each proxy moved under `/metrics`, which does not exist otherwise.
    pub fn proxy_metrics(mut self) -> Self {
        self.proxy_metrics = true;
        self
    }

    /// Adds these lines, in Prometheus' text format, to `/metrics`.
    pub fn more_metrics(mut self, lines: fn() -> String) -> Self {
        self.more_metrics = Some(lines);
        self
    }

    /// Tells of every request that was answered. It must not block.
    pub fn log(mut self, log: impl Fn(&Answered<'_>) + Send + Sync + 'static) -> Self {
        self.log = Some(Arc::new(log));
        self
    }

    /// Serves so many connections at once (512 by default); those beyond are answered with 503.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections;
        self
    }

    /// Closes a connection on which the head of the next request has not arrived for so long (60 s by default).
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.header_timeout = timeout;
        self
    }

    /// Refuses a request whose body has not arrived for so long (15 s by default).
    pub fn body_timeout(mut self, timeout: Duration) -> Self {
        self.body_timeout = timeout;
        self
    }

    pub(super) fn any_metrics(&self) -> bool {
        self.proxy_metrics || self.more_metrics.is_some()
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { proxy_metrics, max_connections, header_timeout, body_timeout, .. } = self;
        f.debug_struct("Settings")
            .field("proxy_metrics", proxy_metrics)
            .field("max_connections", max_connections)
            .field("header_timeout", header_timeout)
            .field("body_timeout", body_timeout)
            .finish_non_exhaustive()
    }
}
