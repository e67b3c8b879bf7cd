//! Orders for the load, and the client that places them.

use std::time::Duration;

use fake::faker::name::en::Name;
use rand::Rng;
use reqwest::StatusCode;
use seaworthy_factories::{Factory, Record};
use seaworthy_harness::{Failure, Outcome};
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

/// Half of the time for which a server that restarts still answers.
const IDLE: Duration = Duration::from_millis(150);

/// Places orders over HTTP, one try each, so that the history says what each request met.
#[derive(Debug, Clone)]
pub(crate) struct Customer {
    http: reqwest::Client,
    url: String,
}

impl Customer {
    pub(crate) fn new(shop_url: &str, deadline: Duration) -> Self {
        // A connection that was idle for longer may be closed by a shop that restarts, just when a request is on its way; no server can help
        // that, and so a careful client does not use it again.
        let http = reqwest::Client::builder().connect_timeout(deadline).pool_idle_timeout(IDLE).build();
        Customer { http: http.unwrap_or_default(), url: format!("{shop_url}/orders") }
    }

    /// Looks at the order, which must be there.
    pub(crate) async fn look_up(&self, order: Uuid) -> Outcome {
        let answer = self.http.get(format!("{}/{order}", self.url)).send().await;
        match answer {
            Ok(response) if response.status().is_success() => match response.bytes().await {
                Ok(_) => Outcome::Ok,
                Err(error) => Outcome::Failed(error.to_string()),
            },
            Ok(response) => Outcome::Failed(response.status().to_string()),
            Err(error) => Outcome::Failed(error.to_string()),
        }
    }

    /// Places the order; an error says what became of it, as far as a client can know.
    pub(crate) async fn place(self, order: NewOrder) -> Result<(), Failure> {
        let response = self.http.post(&self.url).json(&order).send().await?;
        if response.status().is_success() {
            return Ok(());
        }
        let status = response.status();
        let said = format!("{status}: {}", why(&response.text().await.unwrap_or_default()));
        // The shop says 504 when it can't know whether the order was committed.
        Err(if status == StatusCode::GATEWAY_TIMEOUT {
            Failure::Unknown(said)
        } else {
            Failure::Refused(said)
        })
    }
}

/// What a problem says, without what differs from one request to the next.
fn why(body: &str) -> String {
    let problem: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    match (problem["code"].as_str(), problem["title"].as_str()) {
        (Some(code), Some(title)) => format!("{code} {title}"),
        _ => body.to_owned(),
    }
}
