//! Realistic records for tests and load, the same ones from the same seed: in Postgres, Redis and files, one or a million.
//!
//! ```
//! use fake::faker::{internet::en::SafeEmail, name::en::Name};
//! use seaworthy_factories::Factory;
//!
//! #[derive(Debug, PartialEq, Factory)]
//! #[factory(table = "users")]
//! #[factory(state(admin(role = "admin")))]
//! struct User {
//!     #[factory(key)]
//!     id: i64,
//!     #[factory(fake = Name())]
//!     name: String,
//!     #[factory(fake = SafeEmail(), unique)]
//!     email: String,
//!     #[factory(weighted = [("member", 9), ("author", 1)])]
//!     role: String,
//! }
//!
//! #[derive(Debug, Factory)]
//! #[factory(table = "orders")]
//! struct Order {
//!     #[factory(key)]
//!     id: i64,
//!     #[factory(parent = User)]
//!     user_id: i64,
//!     #[factory(fake = 100..10_000)]
//!     cents: i32,
//! }
//!
//! # fn main() -> Result<(), seaworthy_factories::Error> {
//! // Without a database …
//! let admin = UserFactory::new().admin().make()?;
//! assert_eq!(admin.role, "admin");
//! let users = UserFactory::new().count(10).make()?;
//! assert_eq!(users, UserFactory::new().count(10).make()?);
//! # Ok(())
//! # }
//!
//! // … and with one.
//! async fn fill(db: &sqlx::PgPool) -> Result<(), seaworthy_factories::Error> {
//!     let users = UserFactory::new().count(10).create(db).await?;
//!     let orders = OrderFactory::new().count(1_000).for_each(&users).create(db).await?;
//!     assert_eq!(orders.len(), 10_000);
//!     Ok(())
//! }
//! ```
//!
//! - **Reproducible.** Every value is a function of the root seed, the factory's name, the record's number and the field's name, and of nothing
//!   else: a new field, another factory or another order of calls leaves every other value as it was.
//! - **All or nothing.** A call writes in one transaction, or in a part of the caller's. What is wrong is told with the factory, the field and the record.
//! - **In bulk.** Parents before children, keys taken ahead, then binary `COPY`: a few statements for each table however many rows there are.

#[doc(hidden)]
pub mod __private;
mod builder;
mod columns;
mod distribution;
mod error;
mod factory;
mod files;
#[cfg(feature = "redis")]
mod hashes;
mod lint;
mod locale;
mod model;
mod moment;
mod node;
mod numbers;
mod parents;
mod plan;
mod postgres;
mod record;
mod simpler;
#[cfg(feature = "proptest")]
mod strategy;
mod unique;

pub use builder::{Buildable, Builder, Many, One, Quantity};
pub use columns::ColumnType;
pub use distribution::Bursts;
pub use error::{Error, Row};
pub use factory::Factory;
pub use lint::{Lint, LintFailure, States};
pub use locale::Locale;
pub use model::{BelongsTo, Key, Model};
pub use moment::Moment;
pub use parents::{ByPopularity, Parents, Source, by_popularity};
pub use postgres::Progress;
pub use record::{Random, Record, Seed};
/// Writes a record's [`Model`], and its factory: `UserFactory` for `User`.
pub use seaworthy_factories_derive::Factory;
#[cfg(feature = "proptest")]
pub use strategy::{FactoryStrategy, RecordTree};
pub use unique::UniqueSpace;

/// The guide's examples run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/factories.md")]
mod guide {}
