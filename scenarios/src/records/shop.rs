//! The shop's orders, and what becomes of them.

use std::time::Duration;

use fake::faker::name::raw::Name;
use rand::Rng;
use seaworthy_factories::{Bursts, Factory, Moment, Record};
use serde::Serialize;
use uuid::Uuid;

/// What the shop sells, the best-selling first.
const ITEMS: [&str; 6] = ["rope", "lantern", "compass", "sail", "anchor", "sextant"];
/// The begin of 2026, in seconds after 1970.
const OPENED: Duration = Duration::from_secs(1_767_225_600);
/// For how long orders come in.
const SEASON: Duration = Duration::from_secs(90 * 86_400);

/// An order as the shop keeps it: the best-selling items the most, and many of them in bursts.
#[derive(Debug, Clone, PartialEq, Serialize, Factory)]
#[factory(table = "shop.orders")]
#[factory(state(fulfilled(state = "fulfilled", version = 2)))]
pub struct Order {
    /// The order's id.
    #[factory(key)]
    pub id: Uuid,
    /// Who ordered.
    #[factory(localized = Name)]
    pub customer: String,
    /// What.
    #[factory(value = ITEMS[record.zipf("item", ITEMS.len() as u64, 1.07) as usize].to_owned())]
    pub item: String,
    /// How many.
    #[factory(fake = 1..10)]
    pub quantity: i32,
    /// `placed` or `fulfilled`.
    #[factory(value = "placed")]
    pub state: String,
    /// Grows with every change.
    #[factory(value = 1)]
    pub version: i32,
    /// When it was placed.
    #[factory(value = Moment::after_1970(OPENED) + record.burst("created_at", &Bursts::over(SEASON)))]
    pub created_at: Moment,
}

/// That an order was fulfilled, with a label as large as the shop's.
#[derive(Debug, Clone, PartialEq, Serialize, Factory)]
#[factory(table = "shop.fulfilment")]
pub struct Fulfilment {
    /// Counted.
    #[factory(key)]
    pub id: i64,
    /// The order.
    #[factory(parent = Order)]
    pub order_id: Uuid,
    /// The picture of the shipping label.
    #[factory(with = label)]
    pub label: Vec<u8>,
}

fn label(record: &Record) -> Vec<u8> {
    let mut picture = vec![0; 6_400];
    record.random("label").fill_bytes(&mut picture);
    picture
}

/// A change of an order that is still to be published.
#[derive(Debug, Clone, PartialEq, Serialize, Factory)]
#[factory(table = "shop.outbox")]
pub struct News {
    /// Counted.
    #[factory(key)]
    pub id: i64,
    /// The order.
    #[factory(parent = Order)]
    pub order_id: Uuid,
    /// The state that it is in.
    #[factory(value = "placed")]
    pub state: String,
    /// The order's version then.
    #[factory(value = 1)]
    pub version: i32,
}
