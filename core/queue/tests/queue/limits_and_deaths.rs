//! A limit holds whoever dies, seems to be dead, or is cut off.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use proptest::prelude::*;
use seaworthy_harness::Env;
use seaworthy_queue::{AtLimit, Failure, Limit, NewJob, Queue, RunningWorker, Worker};
use sqlx::{PgPool, types::Uuid};
use tokio::sync::Notify;

use crate::{
    database::{self, DEADLINE, enqueue, queue_in, until, worker},
    gauge::Gauge,
    limits::{job, leaves_nothing, push_all},
};

/// A worker, and under which number it lives.
struct Known {
    running: RunningWorker,
    id: Uuid,
    /// Its handlers have it too.
    alive: Arc<()>,
}

async fn start_known(pool: &PgPool, worker: Worker, alive: Arc<()>) -> Known {
    let ids = async || -> Vec<Uuid> {
        sqlx::query_scalar("select id from seaworthy_queue.worker").fetch_all(pool).await.unwrap()
    };
    let before = ids().await;
    let running = worker.start();
    loop {
        if let Some(id) = ids().await.into_iter().find(|id| !before.contains(id)) {
            return Known { running, id, alive };
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Kills a worker, and has the others notice.
async fn kill(queue: &Queue, pool: &PgPool, Known { running, id, alive }: Known) {
    drop(running);
    let give_up = Instant::now() + DEADLINE;
    while Arc::strong_count(&alive) > 1 {
        assert!(Instant::now() < give_up, "its handlers did not stop");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    sqlx::query("update seaworthy_queue.worker set beat_at = beat_at - interval '1 hour' where id = $1")
        .bind(id)
        .execute(pool)
        .await
        .unwrap();
    queue.rescue().await.unwrap();
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_dead_worker_s_jobs_keep_their_slots_until_they_are_rescued(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    queue.set_limit("customer", Limit::at_once(1)).await.unwrap();
    let started = Arc::new(Notify::new());
    let hanging = {
        let started = started.clone();
        worker(&queue).handle("work", move |_| {
            started.notify_one();
            std::future::pending()
        })
    };
    let (first, second) = (job("ann"), job("ann"));
    push_all(&queue, &pool, &[first, second]).await;
    let dying = start_known(&pool, hanging, Arc::default()).await;
    started.notified().await;
    drop(dying.running);
    let other = worker(&queue).handle("work", |job| async { Ok(job.done()) }).start();
    // It looks, and looks again.
    for _ in 0..20 {
        queue.promote_due().await.unwrap();
        assert_eq!(queue.at_limit("customer", "ann").await.unwrap(), AtLimit { waiting: 1, let_through: 1 });
    }
    assert_eq!(queue.stats().await.unwrap().completed, 0);
    sqlx::query("update seaworthy_queue.worker set beat_at = beat_at - interval '1 hour' where id = $1")
        .bind(dying.id)
        .execute(&pool)
        .await
        .unwrap();
    queue.rescue().await.unwrap();
    until(&queue, "both", |stats| stats.completed == 2).await;
    assert!(other.drain(DEADLINE).await);
    leaves_nothing(&pool).await;
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_zombie_s_late_completion_frees_no_slot(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    queue.set_limit("customer", Limit::at_once(1)).await.unwrap();
    let (started, released) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let outcome = Arc::new(Mutex::new(None));
    let (told, begun, wait, database) = (outcome.clone(), started.clone(), released.clone(), pool.clone());
    enqueue(&queue, &pool, job("ann")).await;
    let zombie = worker(&queue).handle("work", move |job| {
        let (told, begun, wait, pool) = (told.clone(), begun.clone(), wait.clone(), database.clone());
        async move {
            // A task that nobody stops: what a process that was frozen is like.
            tokio::spawn(async move {
                begun.notify_one();
                wait.notified().await;
                let mut tx = pool.begin().await.unwrap();
                let fenced = job.complete_in_tx(&mut tx).await.is_err();
                tx.commit().await.unwrap();
                *told.lock().unwrap() = Some(fenced);
            });
            std::future::pending().await
        }
    });
    let zombie = start_known(&pool, zombie, Arc::default()).await;
    started.notified().await;
    kill(&queue, &pool, zombie).await;
    // The job is somebody else's now.
    let running = Arc::new(Notify::new());
    let again = running.clone();
    let other = worker(&queue)
        .handle("work", move |_| {
            again.notify_one();
            std::future::pending()
        })
        .start();
    running.notified().await;
    released.notify_one();
    let give_up = Instant::now() + DEADLINE;
    while outcome.lock().unwrap().is_none() {
        assert!(Instant::now() < give_up);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(*outcome.lock().unwrap(), Some(true), "it is fenced");
    assert_eq!(queue.at_limit("customer", "ann").await.unwrap(), AtLimit { waiting: 0, let_through: 1 });
    drop(other);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    /// Whatever jobs do, and whoever is killed and rescued from meanwhile: never more than its limit of a key at once, and every job comes to its end.
    #[seaworthy_harness::test(schema = database::schema(), connections = 32)]
    fn never_more_than_its_limit_of_a_key_run_at_once_across_failures_kills_and_rescues(
        at_once in 1_u64..4,
        jobs in prop::collection::vec((0_usize..3, 0_u8..4), 10..60),
        kills in prop::collection::vec((0_usize..3, 1_u64..25), 0..5),
    ) {
        let env = Env::current().fresh();
        env.block_on(async {
            let (queue, pool) = queue_in(&env).await;
            queue.set_limit("customer", Limit::at_once(at_once)).await.unwrap();
            let gauge = Arc::new(Gauge::default());
            let make = |alive: &Arc<()>| {
                let (gauge, alive) = (gauge.clone(), alive.clone());
                // No heartbeat is missed but those of the killed.
                worker(&queue).heartbeat(Duration::from_millis(50), Duration::from_secs(600)).concurrency(6).handle("work", move |job| {
                    let (gauge, alive) = (gauge.clone(), alive.clone());
                    async move {
                        let _alive = alive;
                        let (key, way) = job.args::<(usize, u8)>()?;
                        let _inside = gauge.enter(&key.to_string());
                        tokio::time::sleep(Duration::from_millis(u64::from(way))).await;
                        match way {
                            1 if job.attempt() == 1 => Err(Failure::retry("again")),
                            2 if job.attempt() == 1 => panic!("again"),
                            3 => Err(Failure::discard("never")),
                            _ => Ok(job.done()),
                        }
                    }
                })
            };
            let mut workers = Vec::new();
            for _ in 0..3 {
                let alive = Arc::default();
                workers.push(start_known(&pool, make(&alive), alive).await);
            }
            let new: Vec<NewJob> = jobs
                .iter()
                .map(|(key, way)| NewJob::new("work", &(key, way)).unwrap().limited_by("customer", key.to_string()).max_attempts(100))
                .collect();
            let half = new.len() / 2;
            push_all(&queue, &pool, &new[..half]).await;
            for (which, after) in kills {
                tokio::time::sleep(Duration::from_millis(after)).await;
                let killed = workers.swap_remove(which);
                kill(&queue, &pool, killed).await;
                let alive = Arc::default();
                workers.push(start_known(&pool, make(&alive), alive).await);
            }
            push_all(&queue, &pool, &new[half..]).await;
            let total = jobs.len() as i64;
            let stats = until(&queue, "all ends", |stats| stats.completed + stats.dead == total).await;
            assert_eq!(stats.dead as usize, jobs.iter().filter(|(_, way)| *way == 3).count());
            for worker in workers {
                assert!(worker.running.drain(DEADLINE).await);
            }
            assert!(gauge.most().values().all(|most| *most <= at_once as i64), "{:?} of {at_once}", gauge.most());
            leaves_nothing(&pool).await;
        });
    }
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_worker_that_can_not_say_that_it_lives_stops_its_limited_jobs_before_others_begin_them(env: Env) {
    let (_, through_proxy) = queue_in(&env).await;
    let direct = PgPool::connect(&env.postgres().await.direct_url()).await.unwrap();
    let queue = Queue::new(direct.clone());
    queue.set_limit("customer", Limit::at_once(1)).await.unwrap();
    let gauge = Arc::new(Gauge::default());
    let (runs, is_free) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let make = |queue: &Queue| {
        let (gauge, runs, is_free) = (gauge.clone(), runs.clone(), is_free.clone());
        worker(queue).heartbeat(Duration::from_millis(100), Duration::from_secs(1)).handle(
            "work",
            move |job| {
                let (gauge, runs, is_free) = (gauge.clone(), runs.clone(), is_free.clone());
                async move {
                    let _inside = gauge.enter("ann");
                    runs.fetch_add(1, Ordering::Relaxed);
                    if !is_free.load(Ordering::Relaxed) {
                        std::future::pending::<()>().await;
                    }
                    Ok(job.done())
                }
            },
        )
    };
    let cut_off = make(&Queue::new(through_proxy)).start();
    enqueue(&queue, &direct, job("ann")).await;
    until(&queue, "a start", |stats| stats.leased == 1).await;
    let give_up = Instant::now() + DEADLINE;
    while runs.load(Ordering::Relaxed) == 0 {
        assert!(Instant::now() < give_up);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    is_free.store(true, Ordering::Relaxed);
    env.postgres_faults().down().to_the_end();
    let other = make(&queue).start();
    until(&queue, "completion", |stats| stats.completed == 1).await;
    assert_eq!(gauge.most(), [("ann".to_owned(), 1)].into(), "the first had stopped");
    assert!(other.drain(DEADLINE).await);
    drop(cut_off);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_blip_of_all_heartbeats_runs_a_job_of_a_limit_of_one_no_more_than_once_at_a_time(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    queue.set_limit("customer", Limit::at_once(1)).await.unwrap();
    // Workers that were given up and live on: what counts is who holds a lease that stands.
    let most = Arc::new(AtomicI64::new(0));
    let (seen, database) = (most.clone(), pool.clone());
    let make = worker(&queue).heartbeat(Duration::from_millis(20), Duration::from_secs(60)).handle("work", move |job| {
        let (seen, pool) = (seen.clone(), database.clone());
        async move {
            let standing: i64 = sqlx::query_scalar(
                "select count(*) from seaworthy_queue.lease_batch lease, unnest(lease.job_ids) id where not exists (
                    select from seaworthy_queue.done_batch done where done.token = lease.token and id = any(done.job_ids)
                )",
            )
            .fetch_one(&pool)
            .await?;
            seen.fetch_max(standing, Ordering::Relaxed);
            Ok(job.done())
        }
    });
    let workers: Vec<RunningWorker> = (0..4).map(|_| make.clone().start()).collect();
    let jobs = 24;
    for number in 0..jobs {
        push_all(&queue, &pool, &[job("ann").max_attempts(1_000)]).await;
        if number % 4 == 0 {
            database::pretend_workers_died(&pool).await;
            queue.rescue().await.unwrap();
        }
    }
    until(&queue, "completion", |stats| stats.completed == jobs).await;
    assert_eq!(most.load(Ordering::Relaxed), 1);
    for worker in workers {
        assert!(worker.drain(DEADLINE).await);
    }
    leaves_nothing(&pool).await;
}
