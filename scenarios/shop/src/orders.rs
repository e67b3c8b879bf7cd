//! Placing orders and looking at them.

use seaworthy_queue::{NewJob, Queue};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgPool, Row};
use uuid::Uuid;

use crate::bug::Bug;

/// An order as a client sends it. The client chooses the id, so that it can repeat a request whose answer got lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewOrder {
    /// The order's id.
    pub id: Uuid,
    /// Who ordered.
    pub customer: String,
    /// What.
    pub item: String,
    /// How many, more than zero.
    pub quantity: i32,
}

/// Where an order stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderState {
    /// The order's id.
    pub id: Uuid,
    /// `placed` or `fulfilled`.
    pub state: String,
    /// Grows with every change.
    pub version: i32,
}

/// Why an order was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// The order can't be fulfilled as it is.
    #[error("the order is not valid: {0}")]
    Invalid(String),
    /// The order was not written.
    #[error("the order was not placed: {0}")]
    NotPlaced(#[source] seaworthy_queue::Error),
    /// The commit was sent and its answer got lost: the order may be there. Repeating the request is safe.
    #[error("the order may or may not be placed, repeat the request: {0}")]
    Unknown(#[source] sqlx::Error),
}

impl From<sqlx::Error> for OrderError {
    fn from(error: sqlx::Error) -> Self {
        OrderError::NotPlaced(error.into())
    }
}

/// Writes the order, its first news and its fulfilment job in one transaction. An order that is there already is left as
/// it is.
///
/// # Errors
///
/// [`OrderError`] says whether the order can be there.
pub async fn place(pool: &PgPool, order: &NewOrder) -> Result<(), OrderError> {
    if order.quantity < 1 {
        return Err(OrderError::Invalid(format!("quantity is {}, and must be at least 1", order.quantity)));
    }
    if order.item.trim().is_empty() {
        return Err(OrderError::Invalid("item is empty".to_owned()));
    }
    if order.item.contains('\0') || order.customer.contains('\0') {
        return Err(OrderError::Invalid("a text has a NUL character".to_owned()));
    }
    if Bug::AcknowledgeBeforeCommit.is_planted() {
        let (pool, order) = (pool.clone(), order.clone());
        tokio::spawn(async move { write(&pool, &order).await });
        return Ok(());
    }
    write(pool, order).await
}

async fn write(pool: &PgPool, order: &NewOrder) -> Result<(), OrderError> {
    let mut tx = pool.begin().await?;
    let inserted = sqlx::query(
        "insert into shop.orders (id, customer, item, quantity, state, version) values ($1, $2, $3, $4, 'placed', 1)
         on conflict (id) do nothing",
    )
    .bind(order.id)
    .bind(&order.customer)
    .bind(&order.item)
    .bind(order.quantity)
    .execute(&mut *tx)
    .await?;
    if inserted.rows_affected() == 1 {
        let news = OrderState { id: order.id, state: "placed".to_owned(), version: 1 };
        announce(&mut tx, &news).await?;
        let mut job = NewJob::new("fulfil", &order.id).map_err(OrderError::NotPlaced)?;
        if Bug::NoRetry.is_planted() {
            job = job.max_attempts(1);
        }
        let queue = Queue::new(pool.clone());
        queue.enqueue(&mut tx, &job).await.map_err(OrderError::NotPlaced)?;
    }
    tx.commit().await.map_err(|error| match &error {
        // Postgres says itself that it did not commit; but for a connection that failed or a server that was stopped.
        sqlx::Error::Database(refusal)
            if !refusal
                .code()
                .is_some_and(|code| ["08", "57", "58"].iter().any(|class| code.starts_with(class))) =>
        {
            OrderError::NotPlaced(error.into())
        }
        _ => OrderError::Unknown(error),
    })
}

/// Leaves a change of state for the relay, in the transaction that makes it.
pub(crate) async fn announce(tx: &mut PgConnection, news: &OrderState) -> Result<(), sqlx::Error> {
    sqlx::query("insert into shop.outbox (order_id, state, version) values ($1, $2, $3)")
        .bind(news.id)
        .bind(&news.state)
        .bind(news.version)
        .execute(tx)
        .await?;
    Ok(())
}

/// The states of these orders, in no order; unknown ones are left out.
///
/// # Errors
///
/// When Postgres does not answer.
pub async fn states(pool: &PgPool, ids: &[Uuid]) -> Result<Vec<OrderState>, sqlx::Error> {
    sqlx::query("select id, state, version from shop.orders where id = any($1)")
        .bind(ids)
        .try_map(|row: sqlx::postgres::PgRow| {
            Ok(OrderState {
                id: row.try_get("id")?,
                state: row.try_get("state")?,
                version: row.try_get("version")?,
            })
        })
        .fetch_all(pool)
        .await
}
