//! What is over for long is forgotten, and nothing else.

use std::time::{Duration, Instant};

use seaworthy_harness::Env;
use seaworthy_queue::{Failure, NewJob, Retention, Unique};
use sqlx::PgPool;

use crate::database::{self, DEADLINE, enqueue, queue_in, until, worker};

/// Rows of the tables that grow with the history.
async fn rows(pool: &PgPool) -> [i64; 6] {
    let mut counts = [0; 6];
    for (count, table) in
        counts.iter_mut().zip(["job", "done_batch", "result", "progress", "unique_key", "dead_letter"])
    {
        *count =
            sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select count(*) from seaworthy_queue.{table}")))
                .fetch_one(pool)
                .await
                .unwrap();
    }
    counts
}

async fn until_rows(pool: &PgPool, expected: [i64; 6]) {
    let give_up = Instant::now() + DEADLINE;
    loop {
        let found = rows(pool).await;
        if found == expected {
            return;
        }
        assert!(Instant::now() < give_up, "{found:?} instead of {expected:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn make_older(pool: &PgPool, days: i32) {
    for (table, column) in
        [("done_batch", "at"), ("dead_letter", "at"), ("purged", "at"), ("unique_key", "until")]
    {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "update seaworthy_queue.{table} set {column} = {column} - make_interval(days => $1)"
        )))
        .bind(days)
        .execute(pool)
        .await
        .unwrap();
    }
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn history_jobs_results_progress_and_keys_are_forgotten_after_their_time(env: Env) {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let (queue, pool) = queue_in(&env).await;
    let working = worker(&queue)
        .handle("work", |job| async {
            job.progress(1, 1, "done").await?;
            Ok(job.done_with(&1)?)
        })
        .handle("bad", |_| async { Err(Failure::discard("bad")) })
        .start();
    let once = Unique::once_per(Duration::from_secs(3600), "key");
    enqueue(&queue, &pool, NewJob::new("work", &()).unwrap().unique(once)).await;
    let kept = enqueue(&queue, &pool, NewJob::new("bad", &()).unwrap()).await;
    let purged = enqueue(&queue, &pool, NewJob::new("bad", &()).unwrap()).await;
    let waiting = enqueue(&queue, &pool, NewJob::new("work", &()).unwrap().run_in(DAY)).await;
    until(&queue, "all ends", |stats| stats.completed == 1 && stats.dead == 2).await;
    queue.purge(&[purged]).await.unwrap();
    assert!(working.drain(DEADLINE).await);

    // With the leader's default, which is a week, nothing is old enough.
    make_older(&pool, 6).await;
    let forgetting = worker(&queue).start();
    until_rows(&pool, [4, 3, 1, 1, 0, 1]).await;
    assert!(forgetting.drain(DEADLINE).await);

    make_older(&pool, 2).await;
    let forgetting = worker(&queue).start();
    until_rows(&pool, [2, 0, 0, 0, 0, 1]).await;
    assert!(forgetting.drain(DEADLINE).await);
    assert!(queue.job(kept).await.unwrap().is_some(), "a dead letter keeps its job");
    assert!(queue.job(waiting).await.unwrap().is_some(), "what is not over stays, however old");

    let short = Retention::of_history(DAY).dead_letters(DAY);
    let forgetting = worker(&queue).retention(short).start();
    until_rows(&pool, [2, 0, 0, 0, 0, 0]).await;
    assert!(forgetting.drain(DEADLINE).await);
    make_older(&pool, 2).await;
    let forgetting = worker(&queue).retention(short).start();
    until_rows(&pool, [1, 0, 0, 0, 0, 0]).await;
    assert!(forgetting.drain(DEADLINE).await);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_long_history_goes_in_batches(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    sqlx::query(
        "with job as (
            insert into seaworthy_queue.job (queue, kind, args, priority, max_attempts) select 'default', 'work', '1', 0, 1 from generate_series(1, 20000) returning id
        )
        insert into seaworthy_queue.done_batch (token, part, outcome, job_ids, at)
        select gen_random_uuid(), 0, 'completed', array_agg(id), clock_timestamp() - interval '8 days' from job group by id / 40",
    )
    .execute(&pool)
    .await
    .unwrap();
    let forgetting = worker(&queue).start();
    until_rows(&pool, [0; 6]).await;
    assert!(forgetting.drain(DEADLINE).await);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn the_record_of_a_lease_that_is_open_stays(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    sqlx::query(
        "with worker as (
            insert into seaworthy_queue.worker (id, lease_timeout) values (gen_random_uuid(), interval '1 hour') returning id
        ), lease as (
            insert into seaworthy_queue.lease_batch (token, worker, job_ids, attempts) select gen_random_uuid(), id, array[1, 2], array[1, 1] from worker returning token
        ), other as (
            insert into seaworthy_queue.done_batch (token, part, outcome, job_ids, at) values (gen_random_uuid(), 0, 'completed', array[3], clock_timestamp() - interval '9 days')
        )
        insert into seaworthy_queue.done_batch (token, part, outcome, job_ids, at) select token, 0, 'completed', array[1], clock_timestamp() - interval '9 days' from lease",
    )
    .execute(&pool)
    .await
    .unwrap();
    let forgetting = worker(&queue).start();
    until_rows(&pool, [0, 1, 0, 0, 0, 0]).await;
    assert!(forgetting.drain(DEADLINE).await);
}
