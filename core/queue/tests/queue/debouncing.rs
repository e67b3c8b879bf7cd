//! One job for many requests.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use seaworthy_harness::Env;
use seaworthy_queue::{Cancelled, Debounce, Flow, Limit, NewJob, Queue, Stats, Unique};
use sqlx::PgPool;

use crate::database::{self, DEADLINE, queue_in, until, worker};

const HOUR: Duration = Duration::from_secs(3_600);

fn index(version: u32, calm: Debounce) -> NewJob {
    NewJob::new("index", &version).unwrap().debounce(calm)
}

async fn offer(queue: &Queue, pool: &PgPool, job: &NewJob) -> (i64, bool) {
    let mut tx = pool.begin().await.unwrap();
    let enqueued = queue.offer(&mut tx, job).await.unwrap();
    tx.commit().await.unwrap();
    (enqueued.id.0, enqueued.is_new)
}

/// As if this time had passed.
async fn pass(pool: &PgPool, time: Duration) {
    sqlx::query("update seaworthy_queue.debounce set first_at = first_at - $1 * interval '1 second', run_at = run_at - $1 * interval '1 second'")
        .bind(time.as_secs_f64())
        .execute(pool)
        .await
        .unwrap();
}

async fn waits(pool: &PgPool) -> f64 {
    sqlx::query_scalar(
        "select extract(epoch from run_at - clock_timestamp())::float8 from seaworthy_queue.debounce",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn the_newest_arguments_win_and_each_request_puts_the_job_off_up_to_a_bound(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let calm = || Debounce::quiet_for(HOUR, "document 42").at_most(2 * HOUR);
    let (first, is_new) = offer(&queue, &pool, &index(1, calm())).await;
    assert!(is_new);
    assert!(offer(&queue, &pool, &index(1, Debounce::quiet_for(HOUR, "document 43"))).await.1, "another key");
    sqlx::query("delete from seaworthy_queue.debounce where key like '%43'").execute(&pool).await.unwrap();
    pass(&pool, HOUR / 2).await;
    assert_eq!(offer(&queue, &pool, &index(2, calm())).await, (first, false));
    assert!(waits(&pool).await > 3_000.0, "it is put off");
    pass(&pool, HOUR).await;
    assert_eq!(queue.promote_due().await.unwrap(), 1, "nobody asked for an hour");
    assert_eq!(queue.stats().await.unwrap(), Stats { ready: 1, ..Stats::default() });

    let (second, is_new) = offer(&queue, &pool, &index(3, calm())).await;
    assert!(is_new && second != first, "the key is free as soon as the job waits for a worker");
    pass(&pool, HOUR / 10 * 9).await;
    offer(&queue, &pool, &index(4, calm())).await;
    pass(&pool, HOUR / 10 * 9).await;
    offer(&queue, &pool, &index(5, calm())).await;
    assert!(waits(&pool).await < 1_000.0, "two hours after the first request at the latest");
    pass(&pool, HOUR / 4).await;
    queue.promote_due().await.unwrap();

    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    let working = worker(&queue)
        .handle("index", move |job| {
            noted.lock().unwrap().push((job.id().0, job.args::<u32>().unwrap()));
            async { Ok(job.done()) }
        })
        .start();
    until(&queue, "completion", |stats| stats.completed == 2).await;
    // Both can run at the same time.
    seen.lock().unwrap().sort_unstable();
    assert_eq!(*seen.lock().unwrap(), [(first, 2), (second, 5)]);
    assert!(working.drain(DEADLINE).await);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_worker_begins_it_by_itself_and_a_rolled_back_request_changes_nothing(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let brief = || Debounce::quiet_for(Duration::from_millis(50), "a");
    offer(&queue, &pool, &index(1, Debounce::quiet_for(HOUR, "a").at_most(Duration::from_millis(50)))).await;
    let mut tx = pool.begin().await.unwrap();
    queue.offer(&mut tx, &index(2, brief())).await.unwrap();
    tx.rollback().await.unwrap();
    let working = worker(&queue)
        .handle("index", |job| async move {
            assert_eq!(job.args::<u32>()?, 1);
            Ok(job.done())
        })
        .start();
    let stats = until(&queue, "completion", |stats| stats.completed == 1).await;
    assert_eq!(stats, Stats { completed: 1, ..Stats::default() });
    assert!(working.drain(DEADLINE).await);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn many_requests_at_once_are_one_job_also_with_several_keys_in_any_order(env: Env) {
    const PRODUCERS: usize = 8;
    let (queue, pool) = queue_in(&env).await;
    let producers = (0..PRODUCERS).map(|number| {
        let (queue, pool) = (queue.clone(), pool.clone());
        tokio::spawn(async move {
            let mut jobs = vec![
                index(1, Debounce::quiet_for(HOUR, "a")),
                NewJob::new("plain", &()).unwrap(),
                index(1, Debounce::quiet_for(HOUR, "b")),
                index(2, Debounce::quiet_for(HOUR, "a")),
            ];
            if number % 2 == 0 {
                jobs.reverse();
            }
            let mut tx = pool.begin().await.unwrap();
            let mut ids = queue.enqueue_many(&mut tx, &jobs).await.unwrap();
            tx.commit().await.unwrap();
            if number % 2 == 0 {
                ids.reverse();
            }
            ids
        })
    });
    let mut seen = Vec::new();
    for producer in producers.collect::<Vec<_>>() {
        seen.push(producer.await.unwrap());
    }
    assert!(
        seen.iter().all(|ids| ids[0] == seen[0][0] && ids[3] == seen[0][0] && ids[2] == seen[0][2]),
        "{seen:?}"
    );
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.ready, stats.scheduled), (PRODUCERS as i64, 2));
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn it_is_cancelled_and_limited_like_any_other_job(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    queue.set_limit("customer", Limit::at_once(1)).await.unwrap();
    let calm = || Debounce::quiet_for(HOUR, "a");
    let (id, _) = offer(&queue, &pool, &index(1, calm())).await;
    assert_eq!(queue.cancel(seaworthy_queue::JobId(id)).await.unwrap(), Cancelled::Queued);
    assert_eq!(queue.stats().await.unwrap(), Stats { cancelled: 1, ..Stats::default() });
    for key in ["a", "b"] {
        let calm = Debounce::quiet_for(Duration::ZERO, key);
        offer(&queue, &pool, &index(1, calm).limited_by("customer", "ann")).await;
    }
    queue.promote_due().await.unwrap();
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.ready, stats.limited), (1, 1));
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_debounced_job_is_nothing_else_besides(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let calm = || Debounce::quiet_for(HOUR, "a");
    let mut tx = pool.begin().await.unwrap();
    let cases = [
        (index(1, calm()).unique(Unique::while_unfinished("a")), "is unique, and can't be debounced"),
        (index(1, calm()).run_in(HOUR), "is scheduled, and can't be debounced"),
    ];
    for (job, says) in cases {
        let error = queue.enqueue(&mut tx, &job).await.unwrap_err();
        assert_eq!(error.code().id, "QUEUE-0043");
        assert!(error.to_string().contains(says), "{error}");
    }
    let flow = Flow::chain([index(1, calm()), NewJob::new("next", &()).unwrap()]);
    assert_eq!(flow.check().unwrap_err().code().id, "QUEUE-0043");
}
