//! Placing orders and looking at them.

use seaworthy_errors::{Error, Public, ResultExt as _};
use seaworthy_queue::{NewJob, Queue};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgPool, Row};
use uuid::Uuid;

use crate::{
    bug::Bug,
    codes::{INVALID_ORDER, NOT_PLACED, OUTCOME_UNKNOWN, UNREADABLE},
};

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

/// Writes the order, its first news and its fulfilment job in one transaction. An order that is there already is left as
/// it is.
///
/// # Errors
///
/// [`INVALID_ORDER`]; [`NOT_PLACED`], when the order is not there; [`OUTCOME_UNKNOWN`], when it may be.
pub async fn place(pool: &PgPool, queue: &Queue, order: &NewOrder) -> Result<(), Error> {
    check(order)?;
    if Bug::AcknowledgeBeforeCommit.is_planted() {
        let (pool, queue, order) = (pool.clone(), queue.clone(), order.clone());
        tokio::spawn(async move { write(&pool, &queue, &order).await });
        return Ok(());
    }
    write(pool, queue, order).await
}

fn check(order: &NewOrder) -> Result<(), Error> {
    let wrong = |text: Public| Err(Error::new(&INVALID_ORDER).public(text));
    if order.quantity < 1 {
        let quantity = order.quantity;
        return wrong(Public::exposing(format_args!("quantity is {quantity}, and must be at least 1")));
    }
    if order.item.trim().is_empty() {
        return wrong("item is empty".into());
    }
    if order.item.contains('\0') || order.customer.contains('\0') {
        return wrong("a text has a NUL character".into());
    }
    Ok(())
}

async fn write(pool: &PgPool, queue: &Queue, order: &NewOrder) -> Result<(), Error> {
    let mut tx = pool.begin().await.or_code(&NOT_PLACED)?;
    let inserted = sqlx::query(
        "insert into shop.orders (id, customer, item, quantity, state, version) values ($1, $2, $3, $4, 'placed', 1)
         on conflict (id) do nothing",
    )
    .bind(order.id)
    .bind(&order.customer)
    .bind(&order.item)
    .bind(order.quantity)
    .execute(&mut *tx)
    .await
    .or_code(&NOT_PLACED)?;
    if inserted.rows_affected() == 1 {
        let news = OrderState { id: order.id, state: "placed".to_owned(), version: 1 };
        announce(&mut tx, &news).await.or_code(&NOT_PLACED)?;
        let mut job = NewJob::new("fulfil", &order.id).or_code(&NOT_PLACED)?;
        if Bug::NoRetry.is_planted() {
            job = job.max_attempts(1);
        }
        queue.enqueue(&mut tx, &job).await.or_code(&NOT_PLACED)?;
    }
    tx.commit().await.map_err(|error| {
        let code = if postgres_refused(&error) { &NOT_PLACED } else { &OUTCOME_UNKNOWN };
        Error::new(code).caused_by(error)
    })
}

/// Whether Postgres says itself that it did not commit, as opposed to a connection that failed or a server that was stopped.
fn postgres_refused(error: &sqlx::Error) -> bool {
    const AWAY: [&str; 3] = ["08", "57", "58"];
    let class = |code: &str| AWAY.iter().any(|class| code.starts_with(class));
    matches!(error, sqlx::Error::Database(refusal) if !refusal.code().is_some_and(|code| class(&code)))
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
/// [`UNREADABLE`], when Postgres does not answer.
pub async fn states(pool: &PgPool, ids: &[Uuid]) -> Result<Vec<OrderState>, Error> {
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
        .or_code(&UNREADABLE)
}
