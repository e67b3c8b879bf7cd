//! A WebSocket client that watches orders, and reconnects when it loses its connection.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use seaworthy_shop::{live::Watch, orders::OrderState};
use tokio::{sync::mpsc, task::JoinHandle, time::sleep};
use tokio_tungstenite::{connect_async, tungstenite::Message};
use uuid::Uuid;

/// A pause before the next try to connect.
const PAUSE: Duration = Duration::from_millis(50);

/// A client that sees the last state of each order that it watches.
pub(crate) struct Watcher {
    wishes: mpsc::UnboundedSender<Uuid>,
    seen: Arc<Mutex<HashMap<Uuid, OrderState>>>,
    task: JoinHandle<()>,
}

impl Watcher {
    /// A client of the shop at this `http://` URL.
    pub(crate) fn start(shop_url: &str) -> Self {
        let (wishes, inbox) = mpsc::unbounded_channel();
        let seen = Arc::<Mutex<HashMap<Uuid, OrderState>>>::default();
        let url = format!("{}/ws", shop_url.replacen("http://", "ws://", 1));
        let task = tokio::spawn(watch(url, inbox, seen.clone()));
        Watcher { wishes, seen, task }
    }

    /// Watches this order from now on.
    pub(crate) fn watch(&self, order: Uuid) {
        // The task ends only with us.
        let _ = self.wishes.send(order);
    }

    /// The last state that was seen of an order.
    pub(crate) fn last_seen(&self, order: Uuid) -> Option<String> {
        lock(&self.seen).get(&order).map(|state| state.state.clone())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(
    url: String,
    mut inbox: mpsc::UnboundedReceiver<Uuid>,
    seen: Arc<Mutex<HashMap<Uuid, OrderState>>>,
) {
    let mut watched = Vec::new();
    loop {
        if let Ok((socket, _)) = connect_async(&url).await {
            let (mut to, mut from) = socket.split();
            let mut open = watched.is_empty() || to.send(ask(watched.clone())).await.is_ok();
            while open {
                tokio::select! {
                    wish = inbox.recv() => match wish {
                        Some(order) => {
                            watched.push(order);
                            open = to.send(ask(vec![order])).await.is_ok();
                        }
                        None => return,
                    },
                    message = from.next() => match message {
                        Some(Ok(Message::Text(text))) => {
                            if let Ok(state) = serde_json::from_str::<OrderState>(text.as_str()) {
                                lock(&seen).insert(state.id, state);
                            }
                        }
                        Some(Ok(Message::Close(_)) | Err(_)) | None => open = false,
                        Some(Ok(_)) => {}
                    },
                }
            }
        }
        sleep(PAUSE).await;
    }
}

fn ask(orders: Vec<Uuid>) -> Message {
    let text = serde_json::to_string(&Watch { watch: orders }).unwrap_or_default();
    Message::text(text)
}

fn lock(seen: &Mutex<HashMap<Uuid, OrderState>>) -> MutexGuard<'_, HashMap<Uuid, OrderState>> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
