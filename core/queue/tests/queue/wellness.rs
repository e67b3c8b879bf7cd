//! Whether workers are well, and how many jobs they run at once.

use std::time::{Duration, Instant};

use seaworthy_harness::Env;
use seaworthy_queue::NewJob;
use seaworthy_telemetry::health::{Health, Status};

use crate::database::{self, DEADLINE, queue_in, until, worker};

async fn until_it_is(health: &Health, status: Status) {
    let give_up = Instant::now() + DEADLINE;
    loop {
        let seen = &health.components().await[0];
        if seen.status == status {
            return;
        }
        assert!(Instant::now() < give_up, "{seen:?} instead of {status}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_worker_is_well_until_it_has_stopped(env: Env) {
    let (queue, _) = queue_in(&env).await;
    let working = worker(&queue).start();
    let every = Duration::from_millis(1);
    let health =
        Health::builder("shop").check_with("worker", |check| check.every(every), working.check()).build();
    until_it_is(&health, Status::Pass).await;
    assert!(working.drain(DEADLINE).await);
    until_it_is(&health, Status::Fail).await;
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_worker_runs_more_jobs_at_once_when_they_wait_for_long(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let working = worker(&queue)
        .scale(1..=16)
        .scale_above(Duration::from_millis(10))
        .handle("work", |job| async {
            tokio::time::sleep(Duration::from_millis(40)).await;
            Ok(job.done())
        })
        .start();
    assert_eq!(working.concurrency(), 1);
    let jobs: Vec<NewJob> = (0..300).map(|number| NewJob::new("work", &number).unwrap()).collect();
    let mut tx = pool.begin().await.unwrap();
    queue.enqueue_many(&mut tx, &jobs).await.unwrap();
    tx.commit().await.unwrap();
    until(&queue, "completion", |stats| stats.completed == 300).await;
    assert!(working.concurrency() > 2, "{}", working.concurrency());
    assert!(working.drain(DEADLINE).await);
}

/// TEMPORARY: WAL per job.
#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn temporary_wal(env: Env) {
    const JOBS: usize = 20_000;
    let (queue, pool) = queue_in(&env).await;
    for (what, statement) in [
        ("with all", "select 1"),
        ("without the index", "drop index seaworthy_queue.done_batch_at"),
        ("neither", "create or replace function pg_temp.x() returns int language sql as 'select 1'"),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(statement.to_owned())).execute(&pool).await.unwrap();
        let lsn = || {
            sqlx::query_scalar::<_, f64>("select (pg_current_wal_insert_lsn() - '0/0')::float8")
                .fetch_one(&pool)
        };
        let before = lsn().await.unwrap();
        let jobs: Vec<NewJob> = (0..JOBS).map(|number| NewJob::new("work", &number).unwrap()).collect();
        let mut tx = pool.begin().await.unwrap();
        queue.enqueue_many(&mut tx, &jobs).await.unwrap();
        tx.commit().await.unwrap();
        let enqueued = lsn().await.unwrap();
        let done = queue.stats().await.unwrap().completed + JOBS as i64;
        let working = worker(&queue).handle("work", |job| async { Ok(job.done()) }).start();
        let began = Instant::now();
        until(&queue, "completion", |stats| stats.completed == done).await;
        let after = lsn().await.unwrap();
        let parts: i64 = sqlx::query_scalar("select count(*) from seaworthy_queue.done_batch")
            .fetch_one(&pool)
            .await
            .unwrap();
        eprintln!(
            "WAL {what}: enqueue {:.0}, work {:.0}, in {:?}, parts {parts}",
            (enqueued - before) / JOBS as f64,
            (after - enqueued) / JOBS as f64,
            began.elapsed()
        );
        assert!(working.drain(DEADLINE).await);
    }
}
