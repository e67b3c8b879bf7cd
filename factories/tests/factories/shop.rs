//! The records that the tests make.

use fake::faker::{internet::en::SafeEmail, name::en::Name};
use seaworthy_factories::Factory;
use seaworthy_harness::env::Schema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub(crate) fn schema() -> Schema {
    Schema::new().sql(include_str!("schema.sql"))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, sqlx::Type)]
#[sqlx(type_name = "role", rename_all = "lowercase")]
pub(crate) enum Role {
    Member,
    Author,
    Admin,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) dark: bool,
    pub(crate) size: u8,
}

#[derive(Debug, Clone, PartialEq, Serialize, Factory)]
#[factory(table = "users")]
#[factory(state(
    admin(role = Role::Admin, age = 40),
    renamed = |user, record| user.name = format!("{} the {}th", user.name, record.number()),
))]
pub(crate) struct User {
    #[factory(key)]
    pub(crate) id: i64,
    #[factory(fake = Name())]
    pub(crate) name: String,
    #[factory(fake = SafeEmail(), unique)]
    pub(crate) email: String,
    #[factory(weighted = [(Role::Member, 9), (Role::Author, 1)])]
    pub(crate) role: Role,
    #[factory(value = vec![name.to_lowercase()])]
    pub(crate) tags: Vec<String>,
    #[factory(value = vec![role])]
    #[serde(skip)]
    pub(crate) roles: Vec<Role>,
    #[factory(with = |record| Settings { dark: record.fake("dark", fake::Faker), size: record.fake("size", 8..40) }, json)]
    pub(crate) settings: Settings,
    #[factory(value = Some(serde_json::json!([1, 2])))]
    pub(crate) raw: Option<serde_json::Value>,
    #[factory(fake = 18..100)]
    pub(crate) age: i16,
    #[factory(database)]
    pub(crate) initial: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Factory)]
#[factory(table = "orders")]
pub(crate) struct Order {
    #[factory(key)]
    pub(crate) id: i64,
    #[factory(parent = User)]
    pub(crate) user_id: i64,
    #[factory(parent = User, as = gift)]
    pub(crate) gift_for: Option<i64>,
    #[factory(fake = 100..10_000)]
    pub(crate) cents: i32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Factory)]
#[factory(table = "products")]
pub(crate) struct Product {
    #[factory(key)]
    pub(crate) id: Uuid,
    #[factory(unique = 1_000..10_000)]
    pub(crate) code: i32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Factory)]
#[factory(table = "line_items")]
pub(crate) struct LineItem {
    #[factory(parent = Order)]
    pub(crate) order_id: i64,
    #[factory(parent = Product)]
    pub(crate) product_id: Uuid,
    #[factory(fake = 1..5)]
    pub(crate) quantity: i32,
}

#[derive(Debug, Clone, PartialEq, Factory)]
#[factory(table = "categories")]
pub(crate) struct Category {
    #[factory(key)]
    pub(crate) id: i32,
    #[factory(value = "books")]
    pub(crate) name: String,
    #[factory(parent = Category)]
    pub(crate) parent_id: Option<i32>,
}

#[derive(Debug, Clone, PartialEq, Factory)]
#[factory(table = "product_lines")]
pub(crate) struct ProductLine {
    #[factory(key)]
    pub(crate) id: i64,
    #[factory(value = "lamps")]
    pub(crate) name: String,
}

#[derive(Debug, Clone, PartialEq, Factory)]
#[factory(table = "comments")]
pub(crate) struct Comment {
    #[factory(key)]
    pub(crate) id: i64,
    #[factory(parent(Order, ProductLine), kind = subject_type)]
    pub(crate) subject_id: i64,
    pub(crate) subject_type: String,
    #[factory(value = "Good.")]
    pub(crate) body: String,
}

#[derive(Debug, Clone, PartialEq, Factory)]
#[factory(table = "events")]
pub(crate) struct Event {
    #[factory(key)]
    pub(crate) id: i64,
    #[factory(fake = 2025..2027)]
    pub(crate) year: i32,
}
