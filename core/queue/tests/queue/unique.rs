//! Jobs of which there may be one only.

use std::{sync::Arc, time::Duration};

use seaworthy_harness::Env;
use seaworthy_queue::{Failure, NewJob, Queue, Unique};
use sqlx::PgPool;
use tokio::sync::Notify;

use crate::database::{self, DEADLINE, queue_in, until, worker};

async fn offer(queue: &Queue, pool: &PgPool, job: &NewJob) -> (i64, bool) {
    let mut tx = pool.begin().await.unwrap();
    let enqueued = queue.offer(&mut tx, job).await.unwrap();
    tx.commit().await.unwrap();
    (enqueued.id.0, enqueued.is_new)
}

fn report(key: &str) -> NewJob {
    NewJob::new("report", &()).unwrap().max_attempts(1).unique(Unique::while_unfinished(key))
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn there_is_one_until_it_is_over_however_it_ends(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let (first, is_new) = offer(&queue, &pool, &report("march")).await;
    assert!(is_new);
    assert_eq!(offer(&queue, &pool, &report("march")).await, (first, false));
    assert!(offer(&queue, &pool, &report("april")).await.1, "another key");
    let other_kind = NewJob::new("mail", &()).unwrap().unique(Unique::while_unfinished("march"));
    assert!(offer(&queue, &pool, &other_kind).await.1, "another kind");
    assert_eq!(queue.stats().await.unwrap().ready, 3);

    let (started, released) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begun, wait) = (started.clone(), released.clone());
    let working = worker(&queue)
        .handle("mail", |job| async { Ok(job.done()) })
        .handle("report", move |job| {
            let (begun, wait, is_first) = (begun.clone(), wait.clone(), job.id().0 == first);
            async move {
                if is_first {
                    begun.notify_one();
                    wait.notified().await;
                    return Ok(job.done());
                }
                Err(Failure::discard("no such month"))
            }
        })
        .start();
    started.notified().await;
    assert_eq!(offer(&queue, &pool, &report("march")).await, (first, false), "while it runs");
    until(&queue, "a dead letter", |stats| stats.dead == 1).await;
    assert!(offer(&queue, &pool, &report("april")).await.1, "one that was given up is over");
    released.notify_one();
    until(&queue, "completion", |stats| stats.completed == 2).await;
    assert!(offer(&queue, &pool, &report("march")).await.1, "one that is completed is over");
    assert!(working.drain(DEADLINE).await);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_key_of_a_transaction_that_was_rolled_back_is_free(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let mut tx = pool.begin().await.unwrap();
    assert!(queue.offer(&mut tx, &report("march")).await.unwrap().is_new);
    tx.rollback().await.unwrap();
    assert!(offer(&queue, &pool, &report("march")).await.1);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn there_is_one_in_each_period_even_if_it_is_over_before(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let working = worker(&queue).handle("digest", |job| async { Ok(job.done()) }).start();
    let digest =
        NewJob::new("digest", &()).unwrap().unique(Unique::once_per(Duration::from_secs(3600), "ann"));
    let (first, is_new) = offer(&queue, &pool, &digest).await;
    assert!(is_new);
    until(&queue, "completion", |stats| stats.completed == 1).await;
    assert_eq!(offer(&queue, &pool, &digest).await, (first, false));
    sqlx::query("update seaworthy_queue.unique_key set until = clock_timestamp() - interval '1 second'")
        .execute(&pool)
        .await
        .unwrap();
    assert!(offer(&queue, &pool, &digest).await.1, "in the next period");
    assert!(working.drain(DEADLINE).await);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn many_producers_at_once_enqueue_one(env: Env) {
    const PRODUCERS: usize = 8;
    let (queue, pool) = queue_in(&env).await;
    let producers = (0..PRODUCERS).map(|_| {
        let (queue, pool) = (queue.clone(), pool.clone());
        tokio::spawn(async move { offer(&queue, &pool, &report("march")).await })
    });
    let mut outcomes = Vec::new();
    for producer in producers.collect::<Vec<_>>() {
        outcomes.push(producer.await.unwrap());
    }
    assert_eq!(outcomes.iter().filter(|(_, is_new)| *is_new).count(), 1, "{outcomes:?}");
    assert!(outcomes.iter().all(|(id, _)| *id == outcomes[0].0), "{outcomes:?}");
    assert_eq!(queue.stats().await.unwrap().ready, 1);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn of_many_in_one_call_the_first_with_a_key_counts(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let jobs = [report("a"), NewJob::new("mail", &()).unwrap(), report("a"), report("b")];
    let mut tx = pool.begin().await.unwrap();
    let ids = queue.enqueue_many(&mut tx, &jobs).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(ids[0], ids[2]);
    assert_eq!(queue.stats().await.unwrap().ready, 3);
}

fn refresh() -> NewJob {
    NewJob::new("refresh", &()).unwrap().unique(Unique::while_waiting("ann"))
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn while_one_runs_or_waits_to_be_tried_again_another_one_can_wait(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let (started, released) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begun, wait) = (started.clone(), released.clone());
    let (first, is_new) = offer(&queue, &pool, &refresh()).await;
    assert!(is_new);
    assert_eq!(offer(&queue, &pool, &refresh()).await, (first, false), "it waits");
    let working = worker(&queue)
        .concurrency(1)
        .handle("refresh", move |job| {
            let (begun, wait) = (begun.clone(), wait.clone());
            async move {
                begun.notify_one();
                wait.notified().await;
                if job.id().0 == first && job.attempt() == 1 {
                    return Err(Failure::retry_after(Duration::from_secs(3_600), "later"));
                }
                Ok(job.done())
            }
        })
        .start();
    started.notified().await;
    let (second, is_new) = offer(&queue, &pool, &refresh()).await;
    assert!(is_new && second != first, "while it runs");
    assert_eq!(offer(&queue, &pool, &refresh()).await, (second, false));
    released.notify_one();
    started.notified().await;
    until(&queue, "a wait for another try", |stats| stats.scheduled == 1).await;
    assert!(offer(&queue, &pool, &refresh()).await.1);
    released.notify_one();
    started.notified().await;
    released.notify_one();
    until(&queue, "completion", |stats| stats.completed == 2).await;
    assert!(working.drain(DEADLINE).await);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn one_that_waits_begins_after_those_who_were_told_of_it_have_committed(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    sqlx::query("create table change (number bigint)").execute(&pool).await.unwrap();
    let (first, _) = offer(&queue, &pool, &refresh()).await;
    let mut tx = pool.begin().await.unwrap();
    let told = queue.offer(&mut tx, &refresh()).await.unwrap();
    assert_eq!((told.id.0, told.is_new), (first, false));
    let seen = pool.clone();
    let working = worker(&queue)
        .handle("other", |job| async { Ok(job.done()) })
        .handle("refresh", move |job| {
            let pool = seen.clone();
            async move {
                let changes: i64 = sqlx::query_scalar("select count(*) from change").fetch_one(&pool).await?;
                Ok(job.done_with(&changes)?)
            }
        })
        .start();
    // Other jobs of the same claim don't wait for it.
    offer(&queue, &pool, &NewJob::new("other", &()).unwrap()).await;
    until(&queue, "the other one", |stats| stats.completed == 1).await;
    sqlx::query("insert into change values (1)").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    until(&queue, "completion", |stats| stats.completed == 2).await;
    assert_eq!(queue.result::<i64>(seaworthy_queue::JobId(first)).await.unwrap(), Some(1));
    assert!(working.drain(DEADLINE).await);
}
