//! A queue in the database of a test.

use std::time::{Duration, Instant};

use seaworthy_harness::{Env, env::Schema};
use seaworthy_queue::{Backoff, JobId, NewJob, Queue, Stats, Worker};
use sqlx::PgPool;

/// A database with the queue's tables.
pub(crate) fn schema() -> Schema {
    Schema::new().migrator(Queue::migrations())
}

pub(crate) async fn queue_in(env: &Env) -> (Queue, PgPool) {
    let pool = env.postgres().await.pool().clone();
    (Queue::new(pool.clone()), pool)
}

pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A worker that is quick enough for tests.
pub(crate) fn worker(queue: &Queue) -> Worker {
    let brief = Backoff::exponential(Duration::from_millis(2), Duration::from_millis(20));
    Worker::new(queue.clone()).poll(Duration::from_millis(2)).backoff(brief)
}

pub(crate) async fn enqueue(queue: &Queue, pool: &PgPool, job: NewJob) -> JobId {
    let mut tx = pool.begin().await.unwrap();
    let id = queue.enqueue(&mut tx, &job).await.unwrap();
    tx.commit().await.unwrap();
    id
}

/// Polls the counts until they are as wanted.
pub(crate) async fn until(queue: &Queue, what: &str, wanted: impl Fn(&Stats) -> bool) -> Stats {
    let give_up = Instant::now() + DEADLINE;
    loop {
        let stats = queue.stats().await.unwrap();
        if wanted(&stats) {
            return stats;
        }
        assert!(Instant::now() < give_up, "{what} did not happen: {stats:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn at_rest(stats: &Stats) -> bool {
    stats.ready + stats.scheduled + stats.leased == 0
}

/// Takes workers for dead until so many jobs were rescued in all: a heartbeat that is on its way may come in between, and
/// another worker may be the one that rescues.
pub(crate) async fn rescue_from_workers_that_seem_dead(queue: &Queue, pool: &PgPool, jobs: i64) {
    let give_up = Instant::now() + DEADLINE;
    while queue.stats().await.unwrap().rescued < jobs {
        assert!(Instant::now() < give_up, "{jobs} jobs were not rescued");
        pretend_workers_died(pool).await;
        queue.rescue().await.unwrap();
    }
}

/// Makes every worker look dead.
pub(crate) async fn pretend_workers_died(pool: &PgPool) {
    sqlx::query("update seaworthy_queue.worker set beat_at = beat_at - interval '1 hour'")
        .execute(pool)
        .await
        .unwrap();
}
