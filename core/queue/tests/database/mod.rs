//! A queue in the database of a test.

use seaworthy_harness::{Env, env::Schema};
use seaworthy_queue::Queue;
use sqlx::PgPool;

/// A database with the queue's tables.
pub(crate) fn schema() -> Schema {
    Schema::new().migrator(Queue::migrations())
}

pub(crate) async fn queue_in(env: &Env) -> (Queue, PgPool) {
    let pool = env.postgres().await.pool().clone();
    (Queue::new(pool.clone()), pool)
}
