//! So many of each key in some time.

use std::time::Duration;

use seaworthy_harness::Env;
use seaworthy_queue::Limit;

use crate::{
    database::{self, DEADLINE, queue_in, until, worker},
    limits::{job, push_all},
};

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_rate_is_never_exceeded_and_what_was_not_looked_at_in_time_is_made_up_for(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    // In ten milliseconds one, and three at once after a quiet time.
    queue.set_limit("customer", Limit::rate(Duration::from_secs(1), 100).burst(3)).await.unwrap();
    push_all(&queue, &pool, &(0..200).map(|_| job("ann")).collect::<Vec<_>>()).await;
    let working = worker(&queue).handle("work", |job| async { Ok(job.done()) }).start();
    let due = "select due_at from seaworthy_queue.gate";
    until(&queue, "the first", |stats| stats.completed >= 3).await;
    let first: f64 = sqlx::query_scalar(due).fetch_one(&pool).await.unwrap();
    let seen: i64 = 200 - queue.stats().await.unwrap().limited;
    until(&queue, "completion", |stats| stats.completed == 200).await;
    assert!(working.drain(DEADLINE).await);
    // When the second hundred was over: each job took its hundredth of a second, none took more.
    let (last, now): (f64, f64) = sqlx::query_as(
        "select due_at, extract(epoch from clock_timestamp())::float8 from seaworthy_queue.gate",
    )
    .fetch_optional(&pool)
    .await
    .unwrap()
    .unwrap_or((f64::NAN, 0.0));
    if last.is_nan() {
        // A slow machine: it is forgotten already.
        return;
    }
    assert!(last - first >= (200 - seen) as f64 * 0.01 - 1e-3, "{first} {last} {seen}");
    assert!(last <= now + 0.03 + 1e-3, "three ahead at most: {last} {now}");
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn after_a_time_without_workers_no_more_begin_at_once_than_half_a_second_s_worth(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    queue.set_limit("customer", Limit::rate(Duration::from_secs(1), 20)).await.unwrap();
    push_all(&queue, &pool, &(0..100).map(|_| job("ann")).collect::<Vec<_>>()).await;
    // As if somebody had looked all the time for an hour, and no worker had come.
    for _ in 0..50 {
        queue.promote_due().await.unwrap();
        sqlx::query(
            "update seaworthy_queue.gate set due_at = due_at - 60, next_at = next_at - interval '1 minute'",
        )
        .execute(&pool)
        .await
        .unwrap();
        sqlx::query("insert into seaworthy_queue.gate_event values ('customer', 'ann')")
            .execute(&pool)
            .await
            .unwrap();
    }
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.ready, stats.limited), (10, 90));
}
