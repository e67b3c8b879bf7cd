//! Whether Postgres answers.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use sqlx::PgPool;

use super::{Check, Outcome};

/// Asks Postgres a real question through the application's own pool, and tells a pool without a free connection from a database that is
/// away: the one is mended by a larger pool or faster statements, the other by mending the database.
#[derive(Debug, Clone)]
pub struct PostgresCheck {
    pool: PgPool,
}

impl PostgresCheck {
    /// Checks the database of this pool.
    pub fn new(pool: PgPool) -> Self {
        PostgresCheck { pool }
    }
}

#[async_trait]
impl Check for PostgresCheck {
    async fn check(&self) -> Outcome {
        let began = Instant::now();
        match sqlx::query("select 1").execute(&self.pool).await {
            Ok(_) => Outcome::pass().observed(milliseconds(began.elapsed()), "ms"),
            Err(sqlx::Error::PoolTimedOut)
                if self.pool.size() >= self.pool.options().get_max_connections() =>
            {
                let size = self.pool.size();
                Outcome::fail(format!("all {size} connections of the pool are in use"))
                    .observed(size.into(), "connections")
            }
            Err(error) => Outcome::fail("it does not answer").because(error),
        }
    }
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e5).round() / 100.0
}
