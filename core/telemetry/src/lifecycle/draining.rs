//! The word that a server is about to end, for whoever has to say goodbye.

use std::{convert::Infallible, sync::Arc};

use axum::{extract::FromRequestParts, http::request::Parts};
use tokio::sync::watch;

/// How far a server is on its way to its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    #[default]
    Serving,
    /// Every answer says `Connection: close`.
    Lingering,
    /// Idle connections are closed.
    Closing,
    /// Every connection is closed.
    Cut,
}

/// Tells when its server begins to drain. Cheap to clone; all clones are the same.
///
/// Handlers of long connections take it as an extractor and say goodbye when it comes:
///
/// ```
/// use axum::{extract::{WebSocketUpgrade, ws::{CloseFrame, Message, close_code}}, response::Response};
/// use seaworthy_telemetry::lifecycle::Draining;
///
/// async fn echo(draining: Draining, upgrade: WebSocketUpgrade) -> Response {
///     upgrade.on_upgrade(async move |mut socket| loop {
///         let message = tokio::select! {
///             message = socket.recv() => message,
///             () = draining.begun() => {
///                 let goodbye = CloseFrame { code: close_code::RESTART, reason: "restart".into() };
///                 let _ = socket.send(Message::Close(Some(goodbye))).await;
///                 return;
///             }
///         };
///         let Some(Ok(message)) = message else { return };
///         let _ = socket.send(message).await;
///     })
/// }
/// # let _: axum::Router = axum::Router::new().route("/", axum::routing::get(echo));
/// ```
///
/// Without a [`Server`](super::Server) around the handler, as in a test of the handler alone, it never comes.
#[derive(Debug, Clone, Default)]
pub struct Draining {
    phase: Arc<watch::Sender<Phase>>,
}

impl Draining {
    /// A word that has not been given yet, for [`Server::draining`](super::Server::draining).
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the server drains.
    pub fn has_begun(&self) -> bool {
        self.has_reached(Phase::Lingering)
    }

    /// Waits until the server drains.
    pub async fn begun(&self) {
        self.reached(Phase::Lingering).await;
    }

    pub(super) fn has_reached(&self, phase: Phase) -> bool {
        *self.phase.borrow() >= phase
    }

    pub(super) fn reached(&self, phase: Phase) -> impl Future<Output = ()> + Send + 'static {
        // The sender is kept, so that the wait never ends for want of one.
        let (sender, mut phases) = (self.phase.clone(), self.phase.subscribe());
        async move {
            let _ = phases.wait_for(|now| *now >= phase).await;
            drop(sender);
        }
    }

    /// Goes on to this phase; never back.
    pub(super) fn advance(&self, phase: Phase) {
        self.phase.send_if_modified(|now| std::mem::replace(now, phase.max(*now)) < phase);
    }
}

impl<S: Sync> FromRequestParts<S> for Draining {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Draining>().cloned().unwrap_or_default())
    }
}
