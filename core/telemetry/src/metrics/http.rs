//! Requests over HTTP: rate, errors and duration.

use std::time::{Duration, SystemTime};

use prometheus_client::{
    metrics::{counter::Counter, exemplar::HistogramWithExemplars, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::{Bounded, SECONDS};

type Exemplar = [(&'static str, String); 1];

/// Metrics of requests over HTTP.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    requests: Bounded<Counter, 3>,
    duration: Bounded<HistogramWithExemplars<Exemplar>, 2>,
    in_flight: Gauge,
}

impl HttpMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let metrics = HttpMetrics {
            requests: Bounded::new(["method", "route", "status"], Counter::default),
            duration: Bounded::new(["method", "route"], || HistogramWithExemplars::new(SECONDS.into_iter())),
            in_flight: Gauge::default(),
        };
        registry.register(
            "http_requests",
            "Requests that were answered, or given up by their client (499)",
            metrics.requests.family(),
        );
        registry.register_with_unit(
            "http_request_duration",
            "Time from a request's head to the head of its answer",
            Unit::Seconds,
            metrics.duration.family(),
        );
        registry.register(
            "http_requests_in_flight",
            "Requests that are being answered now",
            metrics.in_flight.clone(),
        );
        metrics
    }

    /// A request was answered. `route` is the pattern that matched (`/orders/{id}`), or `unmatched`; never the path itself.
    pub fn answered(&self, method: &str, route: &str, status: u16, took: Duration, trace_id: Option<String>) {
        let method = known_method(method);
        self.requests.get([method, route, status_text(status)]).inc();
        let exemplar = trace_id.map(|id| [("trace_id", id)]);
        let now = exemplar.as_ref().map(|_| SystemTime::now());
        self.duration.get([method, route]).observe(took.as_secs_f64(), exemplar, now);
    }

    /// A request begins or ends.
    #[cfg(feature = "http")]
    pub(crate) fn in_flight(&self) -> &Gauge {
        &self.in_flight
    }
}

/// The methods of RFC 9110 and PATCH; a client can invent others.
fn known_method(method: &str) -> &'static str {
    const METHODS: [&str; 9] =
        ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    METHODS.into_iter().find(|known| *known == method).unwrap_or("OTHER")
}

fn status_text(status: u16) -> &'static str {
    /// What services answer with; the rest by its class.
    const STATUSES: [(u16, &str); 26] = [
        (101, "101"),
        (200, "200"),
        (201, "201"),
        (202, "202"),
        (204, "204"),
        (206, "206"),
        (301, "301"),
        (302, "302"),
        (304, "304"),
        (307, "307"),
        (400, "400"),
        (401, "401"),
        (403, "403"),
        (404, "404"),
        (405, "405"),
        (408, "408"),
        (409, "409"),
        (413, "413"),
        (415, "415"),
        (422, "422"),
        (429, "429"),
        (499, "499"),
        (500, "500"),
        (502, "502"),
        (503, "503"),
        (504, "504"),
    ];
    let exact = STATUSES.iter().find(|(known, _)| *known == status).map(|(_, text)| *text);
    exact.unwrap_or(match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    })
}
