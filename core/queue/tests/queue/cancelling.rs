//! Jobs that nobody wants any more, and queues that stand still.

use std::sync::Arc;

use seaworthy_harness::Env;
use seaworthy_queue::{Cancelled, Flow, JobId, NewJob, Stats};
use tokio::sync::Notify;

use crate::database::{self, DEADLINE, enqueue, queue_in, until, worker};

fn work() -> NewJob {
    NewJob::new("work", &()).unwrap()
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_job_that_no_worker_has_is_cancelled_at_once_with_what_waits_for_it(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let ready = enqueue(&queue, &pool, work()).await;
    let scheduled = enqueue(&queue, &pool, work().run_in(DEADLINE)).await;
    let mut tx = pool.begin().await.unwrap();
    let chain = queue.enqueue_flow(&mut tx, &Flow::chain([work(), work(), work()])).await.unwrap();
    tx.commit().await.unwrap();
    for job in [ready, scheduled, chain[1]] {
        assert_eq!(queue.cancel(job).await.unwrap(), Cancelled::Queued);
        assert_eq!(queue.cancel(job).await.unwrap(), Cancelled::Over, "a second time");
    }
    assert_eq!(queue.cancel(JobId(4_711)).await.unwrap(), Cancelled::Over);
    assert_eq!(queue.stats().await.unwrap(), Stats { ready: 1, cancelled: 4, ..Stats::default() });
    let working = worker(&queue).handle("work", |job| async { Ok(job.done()) }).start();
    until(&queue, "completion", |stats| stats.completed == 1).await;
    assert!(working.drain(DEADLINE).await);
    assert_eq!(queue.cancel(chain[0]).await.unwrap(), Cancelled::Over);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_running_job_is_stopped_and_does_not_run_again(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let started = Arc::new(Notify::new());
    let begun = started.clone();
    let working = worker(&queue)
        .handle("work", move |_| {
            begun.notify_one();
            std::future::pending()
        })
        .start();
    let job = enqueue(&queue, &pool, work()).await;
    started.notified().await;
    assert_eq!(queue.cancel(job).await.unwrap(), Cancelled::Running);
    let stats = until(&queue, "the end", |stats| stats.cancelled == 1).await;
    assert_eq!(stats, Stats { cancelled: 1, ..Stats::default() });
    let asked: i64 = sqlx::query_scalar("select count(*) from seaworthy_queue.cancellation")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(asked, 0, "what was asked for is done");
    assert!(working.drain(DEADLINE).await);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_paused_queue_is_left_alone_until_it_is_resumed(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    assert!(queue.pause("mail").await.unwrap());
    assert!(!queue.pause("mail").await.unwrap(), "it is paused already");
    enqueue(&queue, &pool, work().on_queue("mail")).await;
    enqueue(&queue, &pool, work()).await;
    let working = worker(&queue)
        .on_queues([("mail", 1), ("default", 1)])
        .handle("work", |job| async { Ok(job.done()) })
        .start();
    let stats = until(&queue, "completion", |stats| stats.completed == 1).await;
    assert_eq!(stats.ready, 1);
    assert!(queue.resume("mail").await.unwrap());
    assert!(!queue.resume("mail").await.unwrap());
    until(&queue, "completion", |stats| stats.completed == 2).await;
    assert!(working.drain(DEADLINE).await);
}
