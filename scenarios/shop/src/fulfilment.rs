//! The worker's side: fulfils orders.

use std::time::Duration;

use seaworthy_queue::{Done, Failure, LeasedJob};
use sqlx::{PgConnection, PgPool};
use tokio::time::sleep;
use uuid::Uuid;

use crate::{
    bug::Bug,
    orders::{OrderState, announce},
};

/// Packs an order, which takes its time, and records that it was fulfilled. The record, the order's new state, the news of it
/// and the completion of the job become true together, and only if the lease on the job still stands.
///
/// # Errors
///
/// Whatever kept the order from being recorded; the queue tries again.
pub async fn fulfil(pool: PgPool, packing: Duration, job: LeasedJob) -> Result<Done, Failure> {
    let order: Uuid = job.args()?;
    if Bug::NoFencing.is_planted() {
        let mut tx = pool.begin().await?;
        record(&mut tx, order).await?;
        tx.commit().await?;
        sleep(packing).await;
        return Ok(job.done());
    }
    sleep(packing).await;
    let mut tx = pool.begin().await?;
    record(&mut tx, order).await?;
    let done = job.complete_in_tx(&mut tx).await?;
    tx.commit().await?;
    Ok(done)
}

async fn record(tx: &mut PgConnection, order: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("insert into shop.fulfilment (order_id, label) values ($1, $2)")
        .bind(order)
        .bind(shipping_label())
        .execute(&mut *tx)
        .await?;
    let version: i32 = sqlx::query_scalar(
        "update shop.orders set state = 'fulfilled', version = version + 1 where id = $1 returning version",
    )
    .bind(order)
    .fetch_one(&mut *tx)
    .await?;
    announce(tx, &OrderState { id: order, state: "fulfilled".to_owned(), version }).await
}

/// Stands for the picture of a label: as large as one, and no easier to compress.
fn shipping_label() -> Vec<u8> {
    const PIECES: usize = 400;
    (0..PIECES).flat_map(|_| Uuid::new_v4().into_bytes()).collect()
}
