//! The queues on Postgres that a Rust team would pick, as contenders beside `seaworthy-queue`.
//!
//! Each is set up for its best: claims and completions in batches where it offers them, and its own way of telling idle workers.

mod apalis;
mod graphile;
mod mq;

pub use apalis::Apalis;
pub use graphile::Graphile;
pub use mq::SqlxMq;
