//! What is true in the end: read past every proxy, from the shop's own tables.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use seaworthy_queue::{Queue, Stats};
use sqlx::{
    Connection, PgConnection, PgPool, Row,
    postgres::{PgPoolOptions, PgRow},
};
use tokio::time::sleep;
use uuid::Uuid;

use crate::watcher::Watcher;

/// How long watchers may take to hear the last news.
const NEWS_LIMIT: Duration = Duration::from_secs(5);
/// A pause between two looks.
const LOOK: Duration = Duration::from_millis(25);

/// A direct view of the shop's database.
#[derive(Debug, Clone)]
pub(crate) struct Truth {
    pool: PgPool,
}

impl Truth {
    pub(crate) async fn connect(direct_url: &str) -> Result<Self, sqlx::Error> {
        let pool = PgPoolOptions::new().max_connections(2).acquire_timeout(Duration::from_secs(5));
        Ok(Truth { pool: pool.connect(direct_url).await? })
    }

    /// The state of every order.
    async fn states(&self) -> Result<HashMap<Uuid, String>, sqlx::Error> {
        let rows = sqlx::query("select id, state from shop.orders").fetch_all(&self.pool).await?;
        rows.into_iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }

    /// Every fulfilment that was recorded: the order, and how long ago by the server's clock.
    pub(crate) async fn fulfilments(&self) -> Result<Vec<(Uuid, Duration)>, sqlx::Error> {
        sqlx::query(
            "select order_id, extract(epoch from clock_timestamp() - at)::float8 as ago from shop.fulfilment order by id",
        )
        .try_map(|row: PgRow| {
            let ago: f64 = row.try_get("ago")?;
            Ok((row.try_get("order_id")?, Duration::from_secs_f64(ago.max(0.0))))
        })
        .fetch_all(&self.pool)
        .await
    }

    /// How many of these orders are not fulfilled.
    pub(crate) async fn unfulfilled(&self, orders: &[Uuid]) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar(
            "select count(*) from unnest($1::uuid[]) as wanted (id)
             where not exists (select from shop.orders where orders.id = wanted.id and state = 'fulfilled')",
        )
        .bind(orders)
        .fetch_one(&self.pool)
        .await
    }

    /// What the watchers saw last of each order, beside what is true, once the last news had time to arrive.
    pub(crate) async fn watched(
        &self,
        watchers: &[Watcher],
    ) -> Result<Vec<(String, Option<String>, String)>, sqlx::Error> {
        let states = self.states().await?;
        let give_up = Instant::now() + NEWS_LIMIT;
        loop {
            let last = |order: &Uuid| watchers.iter().find_map(|watcher| watcher.last_seen(*order));
            let seen: Vec<_> =
                states.iter().map(|(order, state)| (order.to_string(), last(order), state.clone())).collect();
            let agree = seen.iter().all(|(_, seen, state)| seen.as_ref() == Some(state));
            if agree || Instant::now() > give_up {
                return Ok(seen);
            }
            sleep(LOOK).await;
        }
    }

    /// What the queue counts.
    pub(crate) async fn queue(&self) -> Result<Stats, seaworthy_queue::Error> {
        Queue::new(self.pool.clone()).stats().await
    }
}

/// A connection that is opened before the faults and does nothing: when Postgres crashes, even if it recovers by itself, the
/// connection breaks.
#[derive(Debug)]
pub(crate) struct Canary {
    connection: PgConnection,
}

impl Canary {
    pub(crate) async fn connect(direct_url: &str) -> Result<Self, sqlx::Error> {
        Ok(Canary { connection: PgConnection::connect(direct_url).await? })
    }

    /// Whether the connection is the one that was opened.
    pub(crate) async fn still_lives(mut self) -> bool {
        let answer = sqlx::query("select 1").execute(&mut self.connection);
        tokio::time::timeout(Duration::from_secs(5), answer).await.is_ok_and(|answer| answer.is_ok())
    }
}
