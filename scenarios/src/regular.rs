//! Customers who hardly rest: each sends its next request a moment after it has the answer to its last.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use seaworthy_factories::{Factory, Seed};
use seaworthy_harness::{History, Operation, Outcome};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::orders::{Customer, OrderFactory};

/// How often a regular customer places an order: rarely enough for the workers to keep up on any machine.
const PLACE_EVERY: Duration = Duration::from_secs(1);
/// The moment between two requests: long enough that a few customers don't take the whole machine, and much shorter than a restart. A
/// machine without a processor to spare loses requests to their deadlines, and that is not what is asked here.
const BREATH: Duration = Duration::from_millis(200);
/// The first order of the first one; those of the open-loop load have smaller numbers.
const FIRST_ORDER: u64 = 1_000_000;

/// A customer with one connection of its own, which it keeps as long as the shop does.
pub(crate) struct Regular<'a> {
    /// Counted from 0.
    pub(crate) number: u64,
    pub(crate) seed: u64,
    pub(crate) customer: Customer,
    pub(crate) deadline: Duration,
    /// Where the orders that it places are recorded.
    pub(crate) orders: &'a History,
    /// Where its looks at them are recorded.
    pub(crate) lookups: &'a History,
}

impl Regular<'_> {
    /// Places orders, and looks at the last one all the time, until it is over. `on_order` hears of every order first.
    pub(crate) async fn visit(self, over: &AtomicBool, on_order: impl Fn(Uuid)) {
        let mut next = FIRST_ORDER * (self.number + 1);
        let mut placed: Option<(Uuid, Instant)> = None;
        while !over.load(Ordering::Relaxed) {
            let (history, kind, key, outcome, began) = match placed {
                Some((order, at)) if at.elapsed() < PLACE_EVERY => {
                    let began = self.lookups.now();
                    let outcome = timeout(self.deadline, self.customer.look_up(order)).await;
                    (self.lookups, "look-up", order, outcome, began)
                }
                _ => {
                    let order = OrderFactory.make_one(Seed(self.seed), next);
                    let (id, began) = (order.id, self.orders.now());
                    on_order(id);
                    let outcome = timeout(self.deadline, self.customer.clone().place(order)).await;
                    let outcome = outcome.map(|placed| placed.map_or_else(Outcome::from, |()| Outcome::Ok));
                    // One that was not placed can't be looked up.
                    placed = matches!(outcome, Ok(Outcome::Ok)).then(|| (id, Instant::now()));
                    next += 1;
                    (self.orders, "place-order", id, outcome, began)
                }
            };
            let operation = Operation::new(kind, key.to_string(), began).by(FIRST_ORDER * (self.number + 1));
            history.record(operation.ended(history.now(), outcome.unwrap_or(Outcome::TimedOut)));
            sleep(BREATH).await;
        }
    }
}
