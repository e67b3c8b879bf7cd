//! What is true in the end: read past every proxy, from the shop's own tables.

use std::{collections::HashMap, time::Duration};

use seaworthy_queue::{Queue, Stats};
use sqlx::{
    Connection, PgConnection, PgPool, Row,
    postgres::{PgPoolOptions, PgRow},
};
use uuid::Uuid;

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
    pub(crate) async fn states(&self) -> Result<HashMap<Uuid, String>, sqlx::Error> {
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

    /// How many clients are connected to the server.
    pub(crate) async fn connections(&self) -> Result<i64, sqlx::Error> {
        let counted = "select count(*) from pg_stat_activity where backend_type = 'client backend'";
        sqlx::query_scalar(counted).fetch_one(&self.pool).await
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
