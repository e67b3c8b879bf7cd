//! So many at once, and so many in some time.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use proptest::prelude::*;
use seaworthy_harness::Env;
use seaworthy_queue::{
    AtLimit, Cancelled, Failure, JobId, Limit, NewJob, Queue, RunningWorker, Stats, Worker,
};
use sqlx::{PgPool, types::Uuid};
use tokio::sync::{Notify, Semaphore};

use crate::database::{self, DEADLINE, enqueue, queue_in, until, worker};

fn job(key: impl serde::Serialize + ToString) -> NewJob {
    NewJob::new("work", &key).unwrap().limited_by("customer", key.to_string())
}

async fn push_all(queue: &Queue, pool: &PgPool, jobs: &[NewJob]) -> Vec<JobId> {
    let mut tx = pool.begin().await.unwrap();
    let ids = queue.enqueue_many(&mut tx, jobs).await.unwrap();
    tx.commit().await.unwrap();
    ids
}

/// Nothing is left of the gates.
async fn leaves_nothing(pool: &PgPool) {
    let left: (i64, i64) = sqlx::query_as(
        "select (select count(*) from seaworthy_queue.slot), (select count(*) from seaworthy_queue.gated)",
    )
    .fetch_one(pool)
    .await
    .unwrap();
    assert_eq!(left, (0, 0), "slots, and jobs at gates");
}

/// How many run at once, and how many did at most.
#[derive(Debug, Default)]
struct Gauge {
    now: Mutex<HashMap<String, (i64, i64)>>,
}

impl Gauge {
    fn enter(self: &Arc<Self>, key: &str) -> Inside {
        let mut all = self.now.lock().unwrap();
        let (now, most) = all.entry(key.to_owned()).or_default();
        *now += 1;
        *most = (*most).max(*now);
        Inside { gauge: self.clone(), key: key.to_owned() }
    }

    fn most(&self) -> HashMap<String, i64> {
        self.now.lock().unwrap().iter().map(|(key, (_, most))| (key.clone(), *most)).collect()
    }
}

/// A handler that runs; also one that is stopped leaves.
struct Inside {
    gauge: Arc<Gauge>,
    key: String,
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.gauge.now.lock().unwrap().get_mut(&self.key).unwrap().0 -= 1;
    }
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

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_rate_is_never_exceeded_and_what_was_not_looked_at_in_time_is_made_up_for(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    // In ten milliseconds one, and three at once after a quiet time.
    queue.set_limit("customer", Limit::rate(Duration::from_secs(1), 100).burst(3)).await.unwrap();
    push_all(&queue, &pool, &(0..200).map(|_| job("ann")).collect::<Vec<_>>()).await;
    let working = worker(&queue).handle("work", |job| async { Ok(job.done()) }).start();
    let due = "select due_at from seaworthy_queue.gate";
    until(&queue, "the first", |stats| stats.completed >= 3).await;
    let first: f64 = sqlx::query_scalar(due).fetch_one(&pool).await.unwrap();
    let seen: i64 = 200 - queue.stats().await.unwrap().limited;
    until(&queue, "completion", |stats| stats.completed == 200).await;
    assert!(working.drain(DEADLINE).await);
    // When the second hundred was over: each job took its hundredth of a second, none took more.
    let (last, now): (f64, f64) = sqlx::query_as(
        "select due_at, extract(epoch from clock_timestamp())::float8 from seaworthy_queue.gate",
    )
    .fetch_optional(&pool)
    .await
    .unwrap()
    .unwrap_or((f64::NAN, 0.0));
    if last.is_nan() {
        // A slow machine: it is forgotten already.
        return;
    }
    assert!(last - first >= (200 - seen) as f64 * 0.01 - 1e-3, "{first} {last} {seen}");
    assert!(last <= now + 0.03 + 1e-3, "three ahead at most: {last} {now}");
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn after_a_time_without_workers_no_more_begin_at_once_than_half_a_second_s_worth(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    queue.set_limit("customer", Limit::rate(Duration::from_secs(1), 20)).await.unwrap();
    push_all(&queue, &pool, &(0..100).map(|_| job("ann")).collect::<Vec<_>>()).await;
    // As if somebody had looked all the time for an hour, and no worker had come.
    for _ in 0..50 {
        queue.promote_due().await.unwrap();
        sqlx::query(
            "update seaworthy_queue.gate set due_at = due_at - 60, next_at = next_at - interval '1 minute'",
        )
        .execute(&pool)
        .await
        .unwrap();
        sqlx::query("insert into seaworthy_queue.gate_event values ('customer', 'ann')")
            .execute(&pool)
            .await
            .unwrap();
    }
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.ready, stats.limited), (10, 90));
}

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
