//! Workers whatever their handlers do to the database, and however jobs come in.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use seaworthy_harness::Env;
use seaworthy_queue::{NewJob, Stats, Worker};
use sqlx::{Executor as _, postgres::PgPoolOptions};
use tokio::sync::Notify;

use crate::database::{self, DEADLINE, enqueue, queue_in, until, worker};

fn work() -> NewJob {
    NewJob::new("work", &()).unwrap()
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn handlers_that_use_up_the_pool_do_not_keep_their_worker_from_living(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let (heartbeat, lease) = (Duration::from_millis(50), Duration::from_millis(400));
    let started = Arc::new(Notify::new());
    let (database, begun) = (pool.clone(), started.clone());
    let working = worker(&queue)
        .heartbeat(heartbeat, lease)
        .handle("hoards", move |job| {
            let (pool, started) = (database.clone(), begun.clone());
            async move {
                let mut hoard = Vec::new();
                while let Some(connection) = pool.try_acquire() {
                    hoard.push(connection);
                }
                while hoard.len() < pool.options().get_max_connections() as usize {
                    hoard.push(pool.acquire().await?);
                }
                started.notify_one();
                // Beyond the lease: without heartbeats, it would be lost.
                tokio::time::sleep(3 * lease).await;
                Ok(job.done())
            }
        })
        .start();
    enqueue(&queue, &pool, NewJob::new("hoards", &()).unwrap()).await;
    started.notified().await;
    let stats = until(&queue, "completion", |stats| stats.completed == 1).await;
    assert_eq!(stats, Stats { completed: 1, ..Stats::default() });
    assert!(working.drain(DEADLINE).await);
}

/// What a `BEGIN` whose caller was dropped leaves in a pool: everybody's statements on that connection end with a transaction that nobody commits.
#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_transaction_that_somebody_left_open_in_the_pool_does_not_reach_the_worker(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let options = pool.connect_options().as_ref().clone();
    let poisoned = PgPoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    poisoned.execute("begin").await.unwrap();
    let theirs = seaworthy_queue::Queue::new(poisoned.clone());
    let database = pool.clone();
    let working = worker(&theirs)
        .handle("work", move |job| {
            let pool = database.clone();
            async move {
                let mut tx = pool.begin().await?;
                let done = job.complete_in_tx(&mut tx).await?;
                tx.commit().await?;
                Ok(done)
            }
        })
        .start();
    enqueue(&queue, &pool, work()).await;
    let stats = until(&queue, "completion", |stats| stats.completed == 1).await;
    assert_eq!(stats, Stats { completed: 1, ..Stats::default() });
    assert!(working.drain(DEADLINE).await);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn an_idle_worker_is_woken(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let idle = Worker::new(queue.clone()).poll(Duration::from_secs(3600));
    let working = idle.handle("work", |job| async { Ok(job.done()) }).start();
    enqueue(&queue, &pool, work()).await;
    queue.wake("default");
    until(&queue, "completion", |stats| stats.completed == 1).await;
    queue.push(&work()).await.unwrap();
    until(&queue, "completion", |stats| stats.completed == 2).await;
    assert!(working.drain(DEADLINE).await);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn heavier_queues_are_served_more_often_and_none_is_forgotten(env: Env) {
    const JOBS: usize = 150;
    let (queue, pool) = queue_in(&env).await;
    let mut tx = pool.begin().await.unwrap();
    for name in ["heavy", "light"] {
        let jobs: Vec<NewJob> =
            (0..JOBS).map(|_| NewJob::new("work", &name).unwrap().on_queue(name)).collect();
        queue.enqueue_many(&mut tx, &jobs).await.unwrap();
    }
    tx.commit().await.unwrap();
    let heavy = Arc::new(AtomicUsize::new(0));
    let light_before_heavy_was_done = Arc::new(AtomicUsize::new(0));
    let (counted, light) = (heavy.clone(), light_before_heavy_was_done.clone());
    let working = worker(&queue)
        .on_queues([("heavy", 9), ("light", 1)])
        .concurrency(1)
        .handle("work", move |job| {
            if job.queue() == "heavy" {
                counted.fetch_add(1, Ordering::Relaxed);
            } else if counted.load(Ordering::Relaxed) < JOBS {
                light.fetch_add(1, Ordering::Relaxed);
            }
            // Slow enough that nothing is claimed ahead.
            async {
                tokio::time::sleep(Duration::from_millis(1)).await;
                Ok(job.done())
            }
        })
        .start();
    until(&queue, "completion", |stats| stats.completed == 2 * JOBS as i64).await;
    let light = light_before_heavy_was_done.load(Ordering::Relaxed);
    assert!(light < JOBS / 2, "{light} light ones ran while heavy ones waited");
    assert!(working.drain(DEADLINE).await);
}

/// Jobs that can run now have a statement of their own: what is in the database must be what the one for all jobs leaves.
#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_thousand_jobs_are_stored_as_one_is(env: Env) {
    const JOBS: usize = 1_000;
    let (queue, pool) = queue_in(&env).await;
    let job = |number: usize| {
        let job = NewJob::new("work", &serde_json::json!({"a": [number, "é\n\t\\\"", null, 0.5]})).unwrap();
        job.on_queue(format!("queue {}", number % 3)).priority(number as i16 - 500).max_attempts(3)
    };
    let jobs: Vec<NewJob> = (0..JOBS).map(job).collect();
    let mut tx = pool.begin().await.unwrap();
    let plain = queue.enqueue_many(&mut tx, &jobs).await.unwrap();
    let expiring: Vec<NewJob> =
        jobs.iter().map(|job| job.clone().expires_in(Duration::from_secs(3600))).collect();
    let other = queue.enqueue_many(&mut tx, &expiring).await.unwrap();
    tx.commit().await.unwrap();
    assert!(plain.is_sorted() && other.is_sorted());
    let differ: i64 = sqlx::query_scalar(
        "select count(*) from unnest($1::bigint[], $2::bigint[]) as ids (a, b)
         join seaworthy_queue.job one on one.id = a join seaworthy_queue.job other on other.id = b
         join seaworthy_queue.ready r on r.id = one.id join seaworthy_queue.ready s on s.id = other.id
         where (one.queue, one.kind, one.args::text, one.priority, one.max_attempts, one.flags, one.trace)
            is distinct from (other.queue, other.kind, other.args::text, other.priority, other.max_attempts, other.flags, other.trace)
            or r.queue <> s.queue or r.attempt <> s.attempt
            or r.rank <> seaworthy_queue.rank(one.created_at, one.priority) or s.rank <> seaworthy_queue.rank(other.created_at, other.priority)
            or abs(extract(epoch from one.created_at - other.created_at)) > 30",
    )
    .bind(plain.iter().map(|id| id.0).collect::<Vec<_>>())
    .bind(other.iter().map(|id| id.0).collect::<Vec<_>>())
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(differ, 0);
    assert_eq!(queue.stats().await.unwrap().ready, 2 * JOBS as i64);
}

/// Connections to the database of this pool, this one among them.
async fn connections(pool: &sqlx::PgPool) -> i64 {
    let count = sqlx::query_scalar(
        "select count(*) from pg_stat_activity where datname = current_database() and backend_type = 'client backend'",
    );
    count.fetch_one(pool).await.unwrap()
}

#[seaworthy_harness::test(schema = database::schema(), connections = 32)]
async fn many_workers_of_a_process_share_connections_and_let_them_go(env: Env) {
    const WORKERS: usize = 24;
    const JOBS: usize = 480;
    let (queue, pool) = queue_in(&env).await;
    let ran = Arc::new(AtomicUsize::new(0));
    let counted = ran.clone();
    // Found by notification alone.
    let one = Worker::new(queue.clone()).poll(DEADLINE).concurrency(1).handle("work", move |job| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move { Ok(job.done()) }
    });
    let working: Vec<_> = (0..WORKERS).map(|_| one.clone().start()).collect();
    let jobs = vec![work(); JOBS];
    for jobs in jobs.chunks(JOBS / 4) {
        queue.push_many(jobs).await.unwrap();
    }
    let stats = until(&queue, "every job", |stats| stats.completed == JOBS as i64).await;
    assert_eq!((stats.dead, ran.load(Ordering::Relaxed)), (0, JOBS));
    // 16 of the workers, and those of this test.
    let most = 16 + i64::from(pool.size());
    let open = connections(&pool).await;
    assert!(open <= most, "{open} connections of {WORKERS} workers");

    for worker in working {
        assert!(worker.drain(DEADLINE).await);
    }
    let give_up = std::time::Instant::now() + DEADLINE;
    while connections(&pool).await > i64::from(pool.size()) {
        assert!(
            std::time::Instant::now() < give_up,
            "connections of workers that have ended are still there"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn workers_hear_of_work_again_after_they_have_lost_the_connection_that_listens(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let one = Worker::new(queue.clone()).poll(DEADLINE).handle("work", |job| async move { Ok(job.done()) });
    let working = [one.clone().start(), one.start()];
    for round in 1..=3 {
        queue.push(&work()).await.unwrap();
        until(&queue, "completion", |stats| stats.completed == round).await;
        sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and query ilike 'listen%'")
            .execute(&pool)
            .await
            .unwrap();
    }
    for worker in working {
        assert!(worker.drain(DEADLINE).await);
    }
}
