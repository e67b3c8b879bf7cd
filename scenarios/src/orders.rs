//! Orders for the load, and the client that places them.

use std::time::Duration;

use fake::faker::name::en::Name;
use rand::Rng;
use reqwest::StatusCode;
use seaworthy_factories::{Factory, Record};
use seaworthy_harness::Outcome;
use seaworthy_shop::orders::NewOrder;
use uuid::{Builder, Uuid};

/// Realistic orders, the same ones from the same seed.
pub(crate) struct OrderFactory;

impl Factory for OrderFactory {
    type Output = NewOrder;
    const NAME: &'static str = "order";

    fn make(&self, record: &Record) -> NewOrder {
        const ITEMS: [&str; 6] = ["anchor", "compass", "lantern", "rope", "sail", "sextant"];
        let mut id = [0; 16];
        record.random("id").fill_bytes(&mut id);
        NewOrder {
            id: Builder::from_random_bytes(id).into_uuid(),
            customer: record.fake("customer", Name()),
            item: ITEMS[record.fake::<usize, _>("item", 0..ITEMS.len())].to_owned(),
            quantity: record.fake("quantity", 1..10),
        }
    }
}

/// Places orders over HTTP, one try each, so that the history says what each request met.
#[derive(Debug, Clone)]
pub(crate) struct Customer {
    http: reqwest::Client,
    url: String,
}

impl Customer {
    pub(crate) fn new(shop_url: &str, deadline: Duration) -> Self {
        let http = reqwest::Client::builder().connect_timeout(deadline).build();
        Customer { http: http.unwrap_or_default(), url: format!("{shop_url}/orders") }
    }

    /// Places the order and says what became of it, as far as a client can know.
    pub(crate) async fn place(self, order: NewOrder) -> (Uuid, Outcome) {
        let outcome = match self.http.post(&self.url).json(&order).send().await {
            Ok(response) if response.status().is_success() => Outcome::Ok,
            Ok(response) => {
                let status = response.status();
                let said = format!("{status}: {}", response.text().await.unwrap_or_default());
                // The shop says 504 when it can't know whether the order was committed.
                if status == StatusCode::GATEWAY_TIMEOUT {
                    Outcome::Unknown(said)
                } else {
                    Outcome::Failed(said)
                }
            }
            Err(error) if error.is_connect() => Outcome::Failed(error.to_string()),
            Err(error) => Outcome::Unknown(error.to_string()),
        };
        (order.id, outcome)
    }
}
