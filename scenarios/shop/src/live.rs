//! News for WebSocket clients: each ends with the true state of every order that it watches.

use std::{
    collections::{HashMap, HashSet},
    pin::pin,
    time::{Duration, Instant},
};

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use futures_util::StreamExt;
use seaworthy_telemetry::{
    lifecycle::Draining,
    metrics::{Connection, MessageKind, WebSocketMetrics},
};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use tokio::{
    sync::broadcast,
    time::{sleep, timeout},
};
use tracing::{info, warn};
use uuid::Uuid;

use crate::{
    bug::Bug,
    orders::{self, OrderState},
    relay::CHANNEL,
};

/// Orders that one client may watch.
pub const MAX_WATCHED: usize = 10_000;

/// News that a slow client may have waiting; beyond that it reads the state anew.
const BACKLOG: usize = 1024;
/// How long a read of the true state may take before it is tried again.
const READ_DEADLINE: Duration = Duration::from_secs(2);
/// How long a client may take to read what it is sent.
const SEND_DEADLINE: Duration = Duration::from_secs(10);
/// How long a client may take to say goodbye.
const GOODBYE_DEADLINE: Duration = Duration::from_secs(1);
/// After how long without news Redis is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(2);
/// A pause between tries.
const PAUSE: Duration = Duration::from_millis(100);

/// What a client sends: the orders that it wants to hear of, beside those that it watches already.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Watch {
    /// The orders' ids.
    pub watch: Vec<Uuid>,
}

/// What every connection hears.
#[derive(Debug, Clone)]
enum News {
    Changed(OrderState),
    /// Something may have been missed.
    Reconnected,
}

/// Passes on what Redis says, to any number of WebSocket connections.
#[derive(Debug, Clone)]
pub struct Hub {
    news: broadcast::Sender<News>,
    draining: Draining,
    metrics: WebSocketMetrics,
}

impl Hub {
    /// A hub that listens to Redis for as long as the returned future runs, and says goodbye to its clients when the server drains.
    pub fn new(
        redis: redis::Client,
        draining: Draining,
        metrics: WebSocketMetrics,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let hub = Hub { news: broadcast::Sender::new(BACKLOG), draining, metrics };
        (hub.clone(), hub.listen(redis))
    }

    async fn listen(self, redis: redis::Client) {
        loop {
            if let Err(error) = self.listen_once(&redis).await {
                warn!(%error, "no news from Redis");
            }
            sleep(PAUSE).await;
        }
    }

    async fn listen_once(&self, redis: &redis::Client) -> Result<(), redis::RedisError> {
        const CONNECT_DEADLINE: Duration = Duration::from_secs(1);
        let late = |_| redis::RedisError::from((redis::ErrorKind::Io, "no connection in time"));
        let subscription = timeout(CONNECT_DEADLINE, redis.get_async_pubsub()).await.map_err(late)??;
        let (mut requests, mut messages) = subscription.split();
        timeout(CONNECT_DEADLINE, requests.subscribe(CHANNEL)).await.map_err(late)??;
        info!("listening to Redis");
        // From here on nothing is missed; what came before has to be looked up. Nobody listening is fine.
        if !Bug::PublishOnce.is_planted() {
            let _ = self.news.send(News::Reconnected);
        }
        loop {
            match timeout(SILENCE, messages.next()).await {
                Ok(Some(message)) => match serde_json::from_slice(message.get_payload_bytes()) {
                    Ok(change) => drop(self.news.send(News::Changed(change))),
                    Err(error) => warn!(%error, "news that is none"),
                },
                Ok(None) => return Ok(()),
                // A subscriber sends nothing, so it would never notice that the other side is gone.
                Err(_) => {
                    drop(timeout(CONNECT_DEADLINE, requests.ping::<redis::Value>()).await.map_err(late)??)
                }
            }
        }
    }

    /// Serves one WebSocket connection until the client goes.
    pub async fn serve(&self, pool: PgPool, socket: WebSocket) {
        let counted = self.metrics.opened();
        let client = Client { pool, socket, counted, seen: HashMap::new(), stale: HashSet::new() };
        client.run(self.news.subscribe(), &self.draining).await;
    }
}

/// One connection: which version of which order it has seen.
struct Client {
    pool: PgPool,
    socket: WebSocket,
    counted: Connection,
    seen: HashMap<Uuid, i32>,
    /// Orders whose true state is still to be read.
    stale: HashSet<Uuid>,
}

impl Client {
    async fn run(mut self, mut news: broadcast::Receiver<News>, draining: &Draining) {
        let mut open = true;
        let mut draining = pin!(draining.begun());
        while open {
            if !self.stale.is_empty() {
                open = self.catch_up().await;
            }
            open &= tokio::select! {
                message = self.socket.recv() => match message {
                    Some(Ok(Message::Text(text))) => {
                        self.counted.received(MessageKind::Text);
                        self.watch(text.as_str()).await
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => false,
                    Some(Ok(_)) => true,
                },
                heard = news.recv() => match heard {
                    Ok(News::Changed(change)) => self.tell(change).await,
                    Ok(News::Reconnected) | Err(broadcast::error::RecvError::Lagged(_)) => {
                        self.stale = self.seen.keys().copied().collect();
                        true
                    }
                    Err(broadcast::error::RecvError::Closed) => false,
                },
                () = sleep(PAUSE), if !self.stale.is_empty() => true,
                () = &mut draining => return self.say_goodbye().await,
            };
        }
    }

    /// Closes the connection in order, so that the client knows at once that it may connect again.
    async fn say_goodbye(mut self) {
        let goodbye = CloseFrame { code: close_code::RESTART, reason: "the shop restarts".into() };
        let goodbye = async {
            self.socket.send(Message::Close(Some(goodbye))).await?;
            while self.socket.recv().await.transpose()?.is_some() {}
            Ok::<_, axum::Error>(())
        };
        // A client that does not answer is cut.
        let _ = timeout(GOODBYE_DEADLINE, goodbye).await;
    }

    /// Tells the true state of what may be out of date. While Postgres does not say, it stays so.
    async fn catch_up(&mut self) -> bool {
        let stale: Vec<Uuid> = self.stale.iter().copied().collect();
        let Ok(Ok(states)) = timeout(READ_DEADLINE, orders::states(&self.pool, &stale)).await else {
            return true;
        };
        self.stale.clear();
        for state in states {
            if !self.tell(state).await {
                return false;
            }
        }
        true
    }

    async fn watch(&mut self, text: &str) -> bool {
        match serde_json::from_str::<Watch>(text) {
            Ok(Watch { watch }) => {
                let new: HashSet<Uuid> =
                    watch.into_iter().filter(|order| !self.seen.contains_key(order)).collect();
                if self.seen.len() + new.len() <= MAX_WATCHED {
                    self.seen.extend(new.iter().map(|order| (*order, 0)));
                    self.stale.extend(new);
                    return true;
                }
                self.refuse(&format!("a client may watch {MAX_WATCHED} orders at most")).await
            }
            Err(error) => self.refuse(&format!("expected {{\"watch\": [id, …]}}: {error}")).await,
        }
    }

    async fn tell(&mut self, state: OrderState) -> bool {
        let Some(seen) = self.seen.get_mut(&state.id).filter(|seen| **seen < state.version) else {
            return true;
        };
        *seen = state.version;
        match serde_json::to_string(&state) {
            Ok(text) => self.send(text).await,
            Err(_) => true,
        }
    }

    async fn refuse(&mut self, why: &str) -> bool {
        self.send(serde_json::json!({ "error": why }).to_string()).await
    }

    /// Whether the client took it: one that reads nothing for long is gone.
    async fn send(&mut self, text: String) -> bool {
        let began = Instant::now();
        let sent = timeout(SEND_DEADLINE, self.socket.send(Message::Text(text.into()))).await;
        let taken = sent.is_ok_and(|sent| sent.is_ok());
        match taken {
            true => self.counted.sent(MessageKind::Text, began.elapsed()),
            false => self.counted.failed(),
        }
        taken
    }
}
