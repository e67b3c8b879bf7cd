//! Factories of the framework's own records: those of the shop and of the queue, for tests, load, and `seaworthy seed`.
//!
//! ```no_run
//! use seaworthy_scenarios::records::{FulfilmentFactory, OrderFactory};
//!
//! # async fn example(db: &sqlx::PgPool) -> Result<(), seaworthy_factories::Error> {
//! let orders = OrderFactory::new().fulfilled().count(100).has(FulfilmentFactory::new()).create(db).await?;
//! # Ok(())
//! # }
//! ```

mod queue;
mod shop;

pub use queue::{DeadLetter, DeadLetterFactory, Job, JobFactory, ReadyJob, ReadyJobFactory};
pub use shop::{Fulfilment, FulfilmentFactory, News, NewsFactory, Order, OrderFactory};

use seaworthy_factories::Lint;

/// Every factory in every state, to be tried on the shop's database.
pub fn lint() -> Lint {
    Lint::new()
        .factory::<OrderFactory>()
        .factory::<FulfilmentFactory>()
        .factory::<NewsFactory>()
        .factory::<JobFactory>()
        .factory::<ReadyJobFactory>()
        .factory::<DeadLetterFactory>()
}
