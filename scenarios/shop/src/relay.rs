//! Publishes the outbox through Redis: every change at least once, after the transaction that made it.

use std::time::Duration;

use redis::{AsyncConnectionConfig, aio::MultiplexedConnection};
use sqlx::{PgPool, Row};
use tokio::time::{sleep, timeout};
use tracing::warn;

use crate::{bug::Bug, orders::OrderState};

/// The Redis channel of changes.
pub const CHANNEL: &str = "shop:orders";

/// Changes that one transaction publishes at most.
const BATCH: i64 = 100;
/// How often the outbox is looked at when it was empty.
const POLL: Duration = Duration::from_millis(50);
/// A pause after Redis or Postgres failed.
const PAUSE: Duration = Duration::from_millis(100);
/// How long one round may take.
const ROUND_DEADLINE: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error("Postgres: {0}")]
    Postgres(#[from] sqlx::Error),
    #[error("Redis: {0}")]
    Redis(#[from] redis::RedisError),
    #[error("no answer within {ROUND_DEADLINE:?}")]
    Deadline,
}

/// Publishes for ever. Any number of relays share one outbox.
pub async fn run(pool: PgPool, redis: redis::Client) {
    let mut connection = None;
    let mut failing = false;
    loop {
        let round = timeout(ROUND_DEADLINE, publish_batch(&pool, &redis, &mut connection)).await;
        match round.unwrap_or(Err(RelayError::Deadline)) {
            Ok(changes) => {
                failing = false;
                if changes == 0 {
                    sleep(POLL).await;
                }
            }
            Err(error) => {
                // Once per outage is enough.
                if !failing {
                    warn!(%error, "changes can't be published and wait in the outbox");
                }
                failing = true;
                connection = None;
                sleep(PAUSE).await;
            }
        }
    }
}

async fn publish_batch(
    pool: &PgPool,
    redis: &redis::Client,
    connection: &mut Option<MultiplexedConnection>,
) -> Result<usize, RelayError> {
    // Mostly there is nothing, and one question tells; a transaction takes three.
    if !sqlx::query_scalar::<_, bool>("select exists (select from shop.outbox)").fetch_one(pool).await? {
        return Ok(0);
    }
    let mut tx = pool.begin().await?;
    let changes = sqlx::query(
        "with picked as materialized (
            select id from shop.outbox order by id limit $1 for update skip locked
        )
        delete from shop.outbox where id = any(array(select id from picked))
        returning order_id, state, version",
    )
    .bind(BATCH)
    .try_map(|row: sqlx::postgres::PgRow| {
        Ok(OrderState {
            id: row.try_get("order_id")?,
            state: row.try_get("state")?,
            version: row.try_get("version")?,
        })
    })
    .fetch_all(&mut *tx)
    .await?;
    if changes.is_empty() {
        return Ok(0);
    }
    if Bug::PublishOnce.is_planted() {
        tx.commit().await?;
        publish(redis, connection, &changes).await?;
        return Ok(changes.len());
    }
    // Published before the deletion is committed: a crash in between publishes twice, and listeners know the version.
    publish(redis, connection, &changes).await?;
    tx.commit().await?;
    Ok(changes.len())
}

async fn publish(
    redis: &redis::Client,
    connection: &mut Option<MultiplexedConnection>,
    changes: &[OrderState],
) -> Result<(), redis::RedisError> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(connect(redis).await?),
    };
    let mut pipeline = redis::pipe();
    for change in changes {
        let text = serde_json::to_string(change).map_err(|error| {
            redis::RedisError::from((
                redis::ErrorKind::Client,
                "a change has no JSON form",
                error.to_string(),
            ))
        })?;
        pipeline.publish(CHANNEL, text).ignore();
    }
    pipeline.query_async(connection).await
}

/// A connection on which no request waits for ever.
pub(crate) async fn connect(redis: &redis::Client) -> Result<MultiplexedConnection, redis::RedisError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_secs(1)))
        .set_response_timeout(Some(Duration::from_secs(1)));
    redis.get_multiplexed_async_connection_with_config(&config).await
}
