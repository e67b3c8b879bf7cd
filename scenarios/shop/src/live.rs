//! News for WebSocket clients: each ends with the true state of every order that it watches.

use std::{collections::HashMap, time::Duration};

use axum::extract::ws::{Message, WebSocket};
use futures_util::StreamExt;
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
}

impl Hub {
    /// A hub that listens to Redis for as long as the returned future runs.
    pub fn new(redis: redis::Client) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let hub = Hub { news: broadcast::Sender::new(BACKLOG) };
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
        let mut subscription = timeout(CONNECT_DEADLINE, redis.get_async_pubsub()).await.map_err(late)??;
        timeout(CONNECT_DEADLINE, subscription.subscribe(CHANNEL)).await.map_err(late)??;
        info!("listening to Redis");
        // From here on nothing is missed; what came before has to be looked up. Nobody listening is fine.
        if !Bug::PublishOnce.is_planted() {
            let _ = self.news.send(News::Reconnected);
        }
        let mut messages = subscription.on_message();
        while let Some(message) = messages.next().await {
            match serde_json::from_slice(message.get_payload_bytes()) {
                Ok(change) => drop(self.news.send(News::Changed(change))),
                Err(error) => warn!(%error, "news that is none"),
            }
        }
        Ok(())
    }

    /// Serves one WebSocket connection until the client goes.
    pub async fn serve(&self, pool: PgPool, socket: WebSocket) {
        let client = Client { pool, socket, seen: HashMap::new(), stale: Vec::new() };
        client.run(self.news.subscribe()).await;
    }
}

/// One connection: which version of which order it has seen.
struct Client {
    pool: PgPool,
    socket: WebSocket,
    seen: HashMap<Uuid, i32>,
    /// Orders whose true state is still to be read.
    stale: Vec<Uuid>,
}

impl Client {
    async fn run(mut self, mut news: broadcast::Receiver<News>) {
        let mut open = true;
        while open {
            if !self.stale.is_empty() {
                open = self.catch_up().await;
            }
            open &= tokio::select! {
                message = self.socket.recv() => match message {
                    Some(Ok(Message::Text(text))) => self.watch(text.as_str()).await,
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
            };
        }
    }

    /// Tells the true state of what may be out of date. While Postgres does not say, it stays so.
    async fn catch_up(&mut self) -> bool {
        let Ok(Ok(states)) = timeout(READ_DEADLINE, orders::states(&self.pool, &self.stale)).await else {
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
            Ok(Watch { watch }) if self.seen.len() + watch.len() <= MAX_WATCHED => {
                for order in watch {
                    self.seen.entry(order).or_insert(0);
                    self.stale.push(order);
                }
                true
            }
            Ok(_) => self.refuse(&format!("a client may watch {MAX_WATCHED} orders at most")).await,
            Err(error) => self.refuse(&format!("expected {{\"watch\": [id, …]}}: {error}")).await,
        }
    }

    async fn tell(&mut self, state: OrderState) -> bool {
        let Some(seen) = self.seen.get_mut(&state.id).filter(|seen| **seen < state.version) else {
            return true;
        };
        *seen = state.version;
        match serde_json::to_string(&state) {
            Ok(text) => self.socket.send(Message::Text(text.into())).await.is_ok(),
            Err(_) => true,
        }
    }

    async fn refuse(&mut self, why: &str) -> bool {
        let text = serde_json::json!({ "error": why }).to_string();
        self.socket.send(Message::Text(text.into())).await.is_ok()
    }
}
