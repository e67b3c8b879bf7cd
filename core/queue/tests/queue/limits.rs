//! So many at once of each key.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use seaworthy_harness::Env;
use seaworthy_queue::{AtLimit, Cancelled, Failure, JobId, Limit, NewJob, Queue, RunningWorker, Stats};
use sqlx::PgPool;
use tokio::sync::{Notify, Semaphore};

use crate::{
    database::{self, DEADLINE, enqueue, queue_in, until, worker},
    gauge::Gauge,
};

pub(crate) fn job(key: impl serde::Serialize + ToString) -> NewJob {
    NewJob::new("work", &key).unwrap().limited_by("customer", key.to_string())
}

pub(crate) async fn push_all(queue: &Queue, pool: &PgPool, jobs: &[NewJob]) -> Vec<JobId> {
    let mut tx = pool.begin().await.unwrap();
    let ids = queue.enqueue_many(&mut tx, jobs).await.unwrap();
    tx.commit().await.unwrap();
    ids
}

/// Nothing is left of the gates.
pub(crate) async fn leaves_nothing(pool: &PgPool) {
    let left: (i64, i64) = sqlx::query_as(
        "select (select count(*) from seaworthy_queue.slot), (select count(*) from seaworthy_queue.gated)",
    )
    .fetch_one(pool)
    .await
    .unwrap();
    assert_eq!(left, (0, 0), "slots, and jobs at gates");
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn no_more_of_a_key_run_at_once_than_its_limit_says_over_all_workers(env: Env) {
    const JOBS: usize = 60;
    let (queue, pool) = queue_in(&env).await;
    queue.set_limit("customer", Limit::at_once(2)).await.unwrap();
    let jobs: Vec<NewJob> = (0..JOBS).map(|number| job(["ann", "bob", "eve"][number % 3])).collect();
    push_all(&queue, &pool, &jobs).await;
    assert_eq!(queue.stats().await.unwrap(), Stats { limited: JOBS as i64, ..Stats::default() });
    let gauge = Arc::new(Gauge::default());
    let all_in = Arc::new(Semaphore::new(0));
    let workers: Vec<RunningWorker> = (0..3)
        .map(|_| {
            let (gauge, all_in) = (gauge.clone(), all_in.clone());
            let handle = move |job: seaworthy_queue::LeasedJob| {
                let (gauge, all_in) = (gauge.clone(), all_in.clone());
                async move {
                    let _inside = gauge.enter(&job.args::<String>()?);
                    all_in.acquire().await.unwrap().forget();
                    Ok(job.done())
                }
            };
            worker(&queue).handle("work", handle).start()
        })
        .collect();
    // Two of each key, and not one more however long they take.
    let stats = until(&queue, "two of each", |stats| stats.leased == 6).await;
    assert_eq!((stats.limited, stats.ready), (JOBS as i64 - 6, 0));
    assert_eq!(queue.at_limit("customer", "ann").await.unwrap(), AtLimit { waiting: 18, let_through: 2 });
    let two_each: HashMap<String, i64> = ["ann", "bob", "eve"].map(|key| (key.to_owned(), 2)).into();
    let give_up = Instant::now() + DEADLINE;
    while gauge.most() != two_each {
        assert!(Instant::now() < give_up, "{gauge:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    all_in.add_permits(JOBS);
    until(&queue, "completion", |stats| stats.completed == JOBS as i64).await;
    assert_eq!(gauge.most(), two_each);
    for worker in workers {
        assert!(worker.drain(DEADLINE).await);
    }
    leaves_nothing(&pool).await;
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn the_slot_of_a_job_is_free_however_the_job_ends(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    queue.set_limit("customer", Limit::at_once(1)).await.unwrap();
    let started = Arc::new(Notify::new());
    let begun = started.clone();
    let working = {
        let pool = pool.clone();
        worker(&queue)
            .job_timeout(Duration::from_secs(5))
            .handle("work", move |job| {
                let (begun, pool) = (begun.clone(), pool.clone());
                async move {
                    match job.args::<String>()?.as_str() {
                        "discards" => Err(Failure::discard("no")),
                        "retries" if job.attempt() < 3 => Err(Failure::retry("not yet")),
                        "panics" => panic!("oh no"),
                        "hangs" => {
                            begun.notify_one();
                            std::future::pending().await
                        }
                        "in a transaction" => {
                            let mut tx = pool.begin().await?;
                            let done = job.complete_in_tx(&mut tx).await?;
                            tx.commit().await?;
                            Ok(done)
                        }
                        _ => Ok(job.done()),
                    }
                }
            })
            .start()
    };
    let make = |what: &str| NewJob::new("work", &what).unwrap().limited_by("customer", "ann").max_attempts(3);
    let ends = ["completes", "discards", "retries", "panics", "in a transaction"];
    for what in ends {
        enqueue(&queue, &pool, make(what)).await;
    }
    enqueue(&queue, &pool, make("expires").expires_in(Duration::ZERO)).await;
    until(&queue, "six ends", |stats| stats.completed == 3 && stats.dead == 2 && stats.expired == 1).await;
    let hanging = enqueue(&queue, &pool, make("hangs")).await;
    started.notified().await;
    let waiting = enqueue(&queue, &pool, make("never begins")).await;
    assert_eq!(queue.cancel(waiting).await.unwrap(), Cancelled::Queued, "at the gate");
    assert_eq!(queue.cancel(hanging).await.unwrap(), Cancelled::Running);
    until(&queue, "the end of both", |stats| stats.cancelled == 2).await;
    enqueue(&queue, &pool, make("completes")).await;
    until(&queue, "another one", |stats| stats.completed == 4).await;
    assert!(working.drain(DEADLINE).await);
    leaves_nothing(&pool).await;
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn what_waits_at_a_gate_expires_and_takes_no_slot(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    queue.set_limit("customer", Limit::at_once(1)).await.unwrap();
    let started = Arc::new(Notify::new());
    let begun = started.clone();
    let working = worker(&queue)
        .handle("work", move |_| {
            begun.notify_one();
            std::future::pending()
        })
        .start();
    enqueue(&queue, &pool, job("ann")).await;
    started.notified().await;
    enqueue(&queue, &pool, job("ann").expires_in(Duration::from_millis(1))).await;
    let stats = until(&queue, "expiry", |stats| stats.expired == 1).await;
    assert_eq!(stats, Stats { leased: 1, expired: 1, ..Stats::default() });
    assert_eq!(queue.at_limit("customer", "ann").await.unwrap(), AtLimit { waiting: 0, let_through: 1 });
    drop(working);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_limit_can_be_raised_lowered_and_removed_while_jobs_wait(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    queue.set_limit("customer", Limit::at_once(1)).await.unwrap();
    push_all(&queue, &pool, &(0..10).map(|_| job("ann")).collect::<Vec<_>>()).await;
    let through = async |wanted: u64| {
        queue.promote_due().await.unwrap();
        assert_eq!(
            queue.at_limit("customer", "ann").await.unwrap(),
            AtLimit { waiting: 10 - wanted, let_through: wanted }
        );
    };
    through(1).await;
    queue.set_limit("customer", Limit::at_once(4)).await.unwrap();
    through(4).await;
    queue.set_limit("customer", Limit::at_once(2)).await.unwrap();
    through(4).await;
    queue.set_limit("customer", Limit::at_once(6).per(Duration::from_secs(3_600), 1)).await.unwrap();
    through(5).await;
    assert!(queue.remove_limit("customer").await.unwrap());
    assert!(!queue.remove_limit("customer").await.unwrap());
    through(10).await;
    let working = worker(&queue).handle("work", |job| async { Ok(job.done()) }).start();
    until(&queue, "completion", |stats| stats.completed == 10).await;
    assert!(working.drain(DEADLINE).await);
    leaves_nothing(&pool).await;
    let gates: i64 =
        sqlx::query_scalar("select count(*) from seaworthy_queue.gate").fetch_one(&pool).await.unwrap();
    assert_eq!(gates, 0, "a key that nobody uses is forgotten");
    let mut tx = pool.begin().await.unwrap();
    let refused = queue.enqueue(&mut tx, &job("ann")).await.unwrap_err();
    assert_eq!(refused.code().id, "QUEUE-0041");
    queue.enqueue(&mut tx, &NewJob::new("work", &()).unwrap()).await.expect("the transaction goes on");
}

#[test]
fn limits_that_make_no_sense_are_refused_with_the_reason() {
    let second = Duration::from_secs(1);
    let cases = [
        ("zero", Limit::at_once(0), "allows no job at once"),
        ("zero", Limit::rate(second, 0), "allows no job in its time"),
        ("zero", Limit::rate(second, 1).burst(0), "allows no job in a burst"),
        ("many", Limit::at_once(u64::MAX), "are more than 1000000"),
        ("many", Limit::rate(second, 1_000_001), "are more than 1000000"),
        ("time", Limit::rate(Duration::ZERO, 1), "between a millisecond and"),
        ("time", Limit::rate(Duration::MAX, 1), "between a millisecond and"),
        ("fast", Limit::rate(Duration::from_millis(1), 1_001), "more than one in a microsecond"),
        ("burst", Limit::at_once(1).burst(3), "a burst and no rate"),
        ("", Limit::at_once(1), "its name"),
        ("a\0b", Limit::at_once(1), "its name"),
    ];
    for (name, limit, says) in cases {
        let error = limit.check(name).unwrap_err();
        assert_eq!(error.code().id, "QUEUE-0040");
        assert!(error.to_string().contains(says), "{error}");
    }
    assert!(Limit::at_once(4).per(second, 100).burst(10).check("stripe").is_ok());
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn keys_that_can_t_be_stored_are_refused_and_the_transaction_goes_on(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    queue.set_limit("customer", Limit::at_once(1)).await.unwrap();
    let mut tx = pool.begin().await.unwrap();
    for (key, code) in [("x".repeat(513), "QUEUE-0042"), ("a\0".to_owned(), "QUEUE-0042")] {
        let wrong = NewJob::new("work", &()).unwrap().limited_by("customer", key);
        assert_eq!(queue.enqueue(&mut tx, &wrong).await.unwrap_err().code().id, code);
    }
    queue.enqueue(&mut tx, &job("x".repeat(512))).await.unwrap();
    tx.commit().await.unwrap();
}
