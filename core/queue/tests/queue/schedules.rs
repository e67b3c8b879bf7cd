//! Jobs that begin later, and those that come too late.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use seaworthy_harness::Env;
use seaworthy_queue::{NewJob, Stats};

use crate::database::{self, DEADLINE, enqueue, queue_in, until, worker};

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_job_runs_when_its_time_has_come_and_not_before(env: Env) {
    const DELAY: Duration = Duration::from_millis(150);
    let (queue, pool) = queue_in(&env).await;
    let ran = Arc::new(Mutex::new(Vec::new()));
    let noted = ran.clone();
    let working = worker(&queue)
        .handle("note", move |job| {
            noted.lock().unwrap().push((job.args::<String>().unwrap(), Instant::now()));
            async { Ok(job.done()) }
        })
        .start();
    let began = Instant::now();
    let job = |name: &str| NewJob::new("note", &name).unwrap();
    enqueue(&queue, &pool, job("later").run_in(DELAY)).await;
    enqueue(&queue, &pool, job("then").run_at(SystemTime::now() + 2 * DELAY)).await;
    enqueue(&queue, &pool, job("past").run_at(SystemTime::now() - DELAY)).await;
    enqueue(&queue, &pool, job("far").run_in(Duration::MAX)).await;
    until(&queue, "three completions", |stats| stats.completed == 3).await;
    let ran: Vec<(String, Duration)> =
        ran.lock().unwrap().iter().map(|(name, at)| (name.clone(), *at - began)).collect();
    let names: Vec<&str> = ran.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["past", "later", "then"]);
    assert!(ran[1].1 >= DELAY, "{ran:?}");
    assert_eq!(queue.stats().await.unwrap().scheduled, 1);
    assert!(working.drain(DEADLINE).await);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_job_that_is_not_begun_in_time_is_recorded_and_not_run(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let brief = Duration::from_millis(1);
    let late = NewJob::new("work", &"late").unwrap().expires_in(brief).run_in(10 * brief);
    enqueue(&queue, &pool, late).await;
    enqueue(&queue, &pool, NewJob::new("work", &"in time").unwrap().expires_in(DEADLINE)).await;
    let working = worker(&queue)
        .handle("work", |job| async move {
            assert_eq!(job.args::<String>()?, "in time");
            Ok(job.done())
        })
        .start();
    let stats = until(&queue, "both ends", |stats| stats.completed + stats.expired == 2).await;
    assert_eq!(stats, Stats { completed: 1, expired: 1, ..Stats::default() });
    assert!(working.drain(DEADLINE).await);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_flood_of_urgent_jobs_does_not_keep_the_others_waiting_for_ever(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    for (name, priority) in [("low", 1), ("normal", 0), ("urgent", -1)] {
        enqueue(&queue, &pool, NewJob::new("note", &name).unwrap().priority(priority)).await;
    }
    // The first one has waited for more than two steps' worth.
    sqlx::query("update seaworthy_queue.ready set rank = rank - 150000 where id = (select min(id) from seaworthy_queue.ready)")
        .execute(&pool)
        .await
        .unwrap();
    let noted = order.clone();
    let working = worker(&queue)
        .concurrency(1)
        .handle("note", move |job| {
            noted.lock().unwrap().push(job.args::<String>().unwrap());
            async { Ok(job.done()) }
        })
        .start();
    until(&queue, "completion", |stats| stats.completed == 3).await;
    assert_eq!(*order.lock().unwrap(), ["low", "urgent", "normal"]);
    assert!(working.drain(DEADLINE).await);
}
