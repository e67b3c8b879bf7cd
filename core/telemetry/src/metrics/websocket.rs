//! WebSocket connections.

use std::time::Duration;

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::{Bounded, SECONDS};

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// Text.
    Text,
    /// Bytes.
    Binary,
    /// A ping, pong or close.
    Control,
}

impl MessageKind {
    fn as_str(self) -> &'static str {
        match self {
            MessageKind::Text => "text",
            MessageKind::Binary => "binary",
            MessageKind::Control => "control",
        }
    }
}

/// Metrics of WebSocket connections.
#[derive(Debug, Clone)]
pub struct WebSocketMetrics {
    open: Gauge,
    opened: Counter,
    messages: Bounded<Counter, 2>,
    send: Histogram,
    errors: Counter,
}

impl WebSocketMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let metrics = WebSocketMetrics {
            open: Gauge::default(),
            opened: Counter::default(),
            messages: Bounded::new(["direction", "kind"], Counter::default),
            send: Histogram::new(SECONDS),
            errors: Counter::default(),
        };
        registry.register(
            "websocket_connections_open",
            "WebSocket connections that are open now",
            metrics.open.clone(),
        );
        registry.register(
            "websocket_connections",
            "WebSocket connections that were opened",
            metrics.opened.clone(),
        );
        registry.register(
            "websocket_messages",
            "Messages over WebSocket connections",
            metrics.messages.family(),
        );
        registry.register_with_unit(
            "websocket_send_duration",
            "Time until a message was taken by the connection",
            Unit::Seconds,
            metrics.send.clone(),
        );
        registry.register(
            "websocket_errors",
            "WebSocket connections that ended with an error",
            metrics.errors.clone(),
        );
        metrics
    }

    /// A connection was opened; it counts as open until what this returns is dropped.
    pub fn opened(&self) -> Connection {
        self.open.inc();
        self.opened.inc();
        Connection { metrics: self.clone() }
    }
}

/// A WebSocket connection that is open.
#[derive(Debug)]
pub struct Connection {
    metrics: WebSocketMetrics,
}

impl Connection {
    /// A message was received.
    pub fn received(&self, kind: MessageKind) {
        self.metrics.messages.get(["received", kind.as_str()]).inc();
    }

    /// A message was sent, after this time.
    pub fn sent(&self, kind: MessageKind, took: Duration) {
        self.metrics.messages.get(["sent", kind.as_str()]).inc();
        self.metrics.send.observe(took.as_secs_f64());
    }

    /// The connection ended with an error.
    pub fn failed(&self) {
        self.metrics.errors.inc();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.metrics.open.dec();
    }
}
