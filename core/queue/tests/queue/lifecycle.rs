//! What a team relies on when it uses the queue.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use proptest::prelude::*;
use seaworthy_harness::Env;
use seaworthy_queue::{Backoff, Error, Failure, NewJob, Stats};
use tokio::sync::Notify;

use crate::database::{
    self, DEADLINE, at_rest, enqueue, pretend_workers_died, queue_in, rescue_from_workers_that_seem_dead,
    until, worker,
};

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_job_goes_from_queue_to_completion_with_its_arguments(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let (seen, mut inbox) = tokio::sync::mpsc::unbounded_channel();
    let worker = worker(&queue)
        .handle("greet", move |job| {
            let seen = seen.clone();
            async move {
                seen.send((job.attempt(), job.args::<String>()?))?;
                Ok(job.done())
            }
        })
        .start();
    enqueue(&queue, &pool, NewJob::new("greet", &"hello").unwrap()).await;
    assert_eq!(inbox.recv().await, Some((1, "hello".to_owned())));
    let stats = until(&queue, "completion", |stats| stats.completed == 1).await;
    assert_eq!(stats, Stats { completed: 1, ..Stats::default() });
    assert!(worker.drain(DEADLINE).await);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_job_exists_if_and_only_if_its_transaction_commits(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let job = NewJob::new("noop", &()).unwrap();
    let mut tx = pool.begin().await.unwrap();
    queue.enqueue(&mut tx, &job).await.unwrap();
    assert_eq!(queue.stats().await.unwrap().ready, 0);
    tx.rollback().await.unwrap();
    assert_eq!(queue.stats().await.unwrap().ready, 0);
    enqueue(&queue, &pool, job).await;
    assert_eq!(queue.stats().await.unwrap().ready, 1);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn many_jobs_get_their_numbers_in_order_and_run_once_each_on_several_workers(env: Env) {
    const JOBS: usize = 500;
    let (queue, pool) = queue_in(&env).await;
    let jobs: Vec<NewJob> = (0..JOBS).map(|number| NewJob::new("count", &number).unwrap()).collect();
    let mut tx = pool.begin().await.unwrap();
    let ids = queue.enqueue_many(&mut tx, &jobs).await.unwrap();
    tx.commit().await.unwrap();
    assert!(ids.is_sorted());
    let runs: Arc<Vec<AtomicU32>> = Arc::new((0..JOBS).map(|_| AtomicU32::new(0)).collect());
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let runs = runs.clone();
            let count = move |job: seaworthy_queue::LeasedJob| {
                let runs = runs.clone();
                async move {
                    runs[job.args::<usize>()?].fetch_add(1, Ordering::Relaxed);
                    Ok(job.done())
                }
            };
            worker(&queue).handle("count", count).start()
        })
        .collect();
    until(&queue, "completion", |stats| stats.completed == JOBS as i64).await;
    for worker in workers {
        assert!(worker.drain(DEADLINE).await);
    }
    assert!(runs.iter().all(|runs| runs.load(Ordering::Relaxed) == 1));
    assert_eq!(queue.stats().await.unwrap().completed, JOBS as i64);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn jobs_with_a_lower_priority_number_run_first(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    for priority in [5, -1, 3, 0] {
        enqueue(&queue, &pool, NewJob::new("note", &priority).unwrap().priority(priority)).await;
    }
    let (seen, mut inbox) = tokio::sync::mpsc::unbounded_channel();
    let worker = worker(&queue)
        .concurrency(1)
        .handle("note", move |job| {
            let seen = seen.clone();
            async move {
                seen.send(job.args::<i16>()?)?;
                Ok(job.done())
            }
        })
        .start();
    let mut order = Vec::new();
    for _ in 0..4 {
        order.extend(inbox.recv().await);
    }
    assert_eq!(order, [-1, 0, 3, 5]);
    assert!(worker.drain(DEADLINE).await);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn failed_jobs_retry_and_those_that_keep_failing_reach_the_dead_letters(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let worker = worker(&queue)
        .job_timeout(Duration::from_millis(50))
        .handle("recovers", |job| async move {
            if job.attempt() < 3 { Err(Failure::retry("not yet")) } else { Ok(job.done()) }
        })
        .handle("fails", |_| async { Err(Failure::retry("no luck\0")) })
        .handle("hopeless", |_| async { Err(Failure::discard("never")) })
        .handle("panics", |_| async { panic!("oh no") })
        .handle("hangs", |_| std::future::pending())
        .handle("misread", |job| async move {
            job.args::<u8>().map(|_| ()).map_err(Failure::from).map(|()| job.done())
        })
        .start();
    let kinds = ["recovers", "fails", "hopeless", "panics", "hangs", "misread", "unheard-of"];
    for kind in kinds {
        enqueue(&queue, &pool, NewJob::new(kind, &"text").unwrap().max_attempts(3)).await;
    }
    let stats = until(&queue, "the end of every job", at_rest).await;
    assert_eq!((stats.completed, stats.dead), (1, 6));
    assert!(worker.drain(DEADLINE).await);

    let mut dead = queue.dead_letters(10).await.unwrap();
    dead.sort_by(|a, b| a.kind.cmp(&b.kind));
    let dead: Vec<_> =
        dead.iter().map(|dead| (dead.kind.as_str(), dead.attempts, dead.error.as_str())).collect();
    assert_eq!(
        dead,
        [
            ("fails", 3, "no luck\u{fffd}"),
            ("hangs", 3, "TASK-0002: the handler took longer than 50ms"),
            ("hopeless", 1, "never"),
            (
                "misread",
                3,
                "the arguments of a `misread` job are not what its handler expects: invalid type: string \"text\", expected u8 at line 1 column 6"
            ),
            ("panics", 3, "TASK-0001: the handler panicked: oh no"),
            ("unheard-of", 3, "this worker has no handler for jobs of kind `unheard-of`"),
        ]
    );
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn retries_wait_exponentially_longer(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let slow = Backoff::exponential(Duration::from_secs(1000), Duration::from_secs(100_000));
    let worker =
        worker(&queue).backoff(slow).handle("fails", |_| async { Err(Failure::retry("no")) }).start();
    enqueue(&queue, &pool, NewJob::new("fails", &()).unwrap()).await;
    for attempt in 1..=3_u32 {
        until(&queue, "a retry", |stats| stats.scheduled == 1).await;
        let wait: f64 = sqlx::query_scalar(
            "select extract(epoch from run_at - clock_timestamp())::float8 from seaworthy_queue.scheduled",
        )
        .fetch_one(&pool)
        .await
        .unwrap();
        let whole = 1000.0 * f64::from(1 << (attempt - 1));
        assert!((whole / 2.0 - 25.0..=whole).contains(&wait), "after attempt {attempt}: {wait} s");
        let attempted = i16::try_from(attempt).unwrap() + 1;
        sqlx::query("update seaworthy_queue.scheduled set run_at = clock_timestamp()")
            .execute(&pool)
            .await
            .unwrap();
        let give_up = Instant::now() + DEADLINE;
        loop {
            let next: Option<i16> = sqlx::query_scalar(
                "select attempt from seaworthy_queue.scheduled where run_at > clock_timestamp() + interval '1 minute'",
            )
            .fetch_optional(&pool)
            .await
            .unwrap();
            if next == Some(attempted + 1) {
                break;
            }
            assert!(Instant::now() < give_up, "attempt {attempted} did not come");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    assert!(worker.drain(DEADLINE).await);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_zombie_changes_nothing_and_its_job_runs_again(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    sqlx::query("create table effect (job bigint)").execute(&pool).await.unwrap();
    let (started, released) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (outcomes, mut inbox) = tokio::sync::mpsc::unbounded_channel();
    let slow = {
        let (pool, started, released) = (pool.clone(), started.clone(), released.clone());
        worker(&queue).handle("slow", move |job| {
            let (pool, started, released) = (pool.clone(), started.clone(), released.clone());
            let outcomes = outcomes.clone();
            async move {
                let (id, attempt) = (job.id().0, job.attempt());
                if attempt == 1 {
                    started.notify_one();
                    released.notified().await;
                }
                let mut tx = pool.begin().await?;
                sqlx::query("insert into effect values ($1)").bind(id).execute(&mut *tx).await?;
                let completed = job.complete_in_tx(&mut tx).await;
                outcomes.send((attempt, matches!(completed, Err(Error::Fenced { .. }))))?;
                let done = completed?;
                tx.commit().await?;
                Ok(done)
            }
        })
    };
    let worker = slow.start();
    enqueue(&queue, &pool, NewJob::new("slow", &()).unwrap()).await;
    started.notified().await;
    rescue_from_workers_that_seem_dead(&queue, &pool, 1).await;

    // The same process goes on under a new identity and runs the job again, while the zombie still sits there.
    assert_eq!(inbox.recv().await, Some((2, false)));
    until(&queue, "completion", |stats| stats.completed == 1).await;
    released.notify_one();
    assert_eq!(inbox.recv().await, Some((1, true)));
    assert!(worker.drain(DEADLINE).await);

    let effects: i64 = sqlx::query_scalar("select count(*) from effect").fetch_one(&pool).await.unwrap();
    assert_eq!(effects, 1);
    let stats = queue.stats().await.unwrap();
    assert_eq!(stats, Stats { completed: 1, rescued: 1, ..Stats::default() });
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_worker_that_is_dropped_loses_nothing_and_its_last_attempt_ends_in_the_dead_letters(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let started = Arc::new(Notify::new());
    let hanging = {
        let started = started.clone();
        worker(&queue).handle("work", move |_| {
            started.notify_one();
            std::future::pending()
        })
    };
    enqueue(&queue, &pool, NewJob::new("work", &()).unwrap()).await;
    let crashed = hanging.clone().start();
    started.notified().await;
    drop(crashed);
    rescue_from_workers_that_seem_dead(&queue, &pool, 1).await;
    assert_eq!(queue.rescue().await.unwrap(), 0, "what was rescued once is not rescued again");

    let finishing = worker(&queue).handle("work", |job| async { Ok(job.done()) }).start();
    until(&queue, "completion", |stats| stats.completed == 1).await;
    assert!(finishing.drain(DEADLINE).await);

    enqueue(&queue, &pool, NewJob::new("work", &()).unwrap().max_attempts(1)).await;
    let crashed = hanging.start();
    started.notified().await;
    drop(crashed);
    rescue_from_workers_that_seem_dead(&queue, &pool, 2).await;
    assert_eq!(queue.stats().await.unwrap(), Stats { completed: 1, dead: 1, rescued: 2, ..Stats::default() });
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_claim_whose_answer_got_lost_is_returned_by_the_worker_that_made_it(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let heartbeat = Duration::from_millis(20);
    let worker =
        worker(&queue).heartbeat(heartbeat, DEADLINE).handle("work", |job| async { Ok(job.done()) }).start();
    until(&queue, "a worker", |_| true).await;
    let give_up = Instant::now() + DEADLINE;
    let id: sqlx::types::Uuid = loop {
        let id =
            sqlx::query_scalar("select id from seaworthy_queue.worker").fetch_optional(&pool).await.unwrap();
        if let Some(id) = id {
            break id;
        }
        assert!(Instant::now() < give_up, "the worker did not register");
    };
    // The trace that such a claim leaves: a job that is leased to a living worker which does not know of it.
    let mut tx = pool.begin().await.unwrap();
    let job = queue.enqueue(&mut tx, &NewJob::new("work", &()).unwrap()).await.unwrap();
    sqlx::query("delete from seaworthy_queue.ready where id = $1")
        .bind(job.0)
        .execute(&mut *tx)
        .await
        .unwrap();
    sqlx::query(
        "insert into seaworthy_queue.lease_batch (token, worker, job_ids, attempts)
         values (gen_random_uuid(), $1, array[$2], array[1])",
    )
    .bind(id)
    .bind(job.0)
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    until(&queue, "completion", |stats| stats.completed == 1 && stats.rescued == 1).await;
    assert!(worker.drain(DEADLINE).await);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_drain_finishes_what_runs_and_leaves_the_rest(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let (started, released) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let worker = {
        let (started, released) = (started.clone(), released.clone());
        let handler = move |job: seaworthy_queue::LeasedJob| {
            let (started, released) = (started.clone(), released.clone());
            async move {
                started.notify_one();
                released.notified().await;
                Ok(job.done())
            }
        };
        worker(&queue).concurrency(1).handle("work", handler).start()
    };
    for _ in 0..2 {
        enqueue(&queue, &pool, NewJob::new("work", &()).unwrap()).await;
    }
    started.notified().await;
    let (drained, ()) = tokio::join!(worker.drain(DEADLINE), async { released.notify_one() });
    assert!(drained);
    assert_eq!(queue.stats().await.unwrap(), Stats { completed: 1, ready: 1, ..Stats::default() });
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_drain_past_its_deadline_says_so_and_returns_the_jobs(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let started = Arc::new(Notify::new());
    let worker = {
        let started = started.clone();
        let handler = move |_| {
            started.notify_one();
            std::future::pending()
        };
        worker(&queue).handle("hangs", handler).start()
    };
    enqueue(&queue, &pool, NewJob::new("hangs", &()).unwrap()).await;
    started.notified().await;
    assert!(!worker.drain(Duration::from_millis(20)).await);
    assert_eq!(queue.stats().await.unwrap(), Stats { ready: 1, rescued: 1, ..Stats::default() });
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_job_that_is_said_to_be_done_and_was_not_committed_runs_again(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let worker = {
        let pool = pool.clone();
        let forgetful = move |job: seaworthy_queue::LeasedJob| {
            let pool = pool.clone();
            async move {
                let first = job.attempt() == 1;
                let mut tx = pool.begin().await?;
                let done = job.complete_in_tx(&mut tx).await?;
                if first {
                    tx.rollback().await?
                } else {
                    tx.commit().await?
                }
                Ok(done)
            }
        };
        worker(&queue).handle("work", forgetful).start()
    };
    enqueue(&queue, &pool, NewJob::new("work", &()).unwrap()).await;
    let stats = until(&queue, "completion", |stats| stats.completed == 1).await;
    assert_eq!(stats.rescued, 1);
    assert!(worker.drain(DEADLINE).await);
    assert!(at_rest(&queue.stats().await.unwrap()));
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_transaction_that_hangs_after_its_completion_is_ended_and_the_job_is_rescued(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let (started, hanging) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let worker = {
        let (pool, started, hanging) = (pool.clone(), started.clone(), hanging.clone());
        let handler = move |job: seaworthy_queue::LeasedJob| {
            let (pool, started, hanging) = (pool.clone(), started.clone(), hanging.clone());
            async move {
                if job.attempt() > 1 {
                    return Ok(job.done());
                }
                // A transaction of a task that nobody stops: what a process that was frozen leaves on the server.
                let mut tx = pool.begin().await?;
                let done = job.complete_in_tx(&mut tx).await?;
                tokio::spawn(async move {
                    started.notify_one();
                    hanging.notified().await;
                    drop(tx);
                });
                std::future::pending::<()>().await;
                Ok(done)
            }
        };
        worker(&queue).job_timeout(Duration::from_millis(300)).handle("work", handler).start()
    };
    enqueue(&queue, &pool, NewJob::new("work", &()).unwrap()).await;
    started.notified().await;
    until(&queue, "completion", |stats| stats.completed == 1).await;
    hanging.notify_one();
    assert!(worker.drain(DEADLINE).await);
}

#[test]
fn arguments_that_no_worker_could_read_are_refused_before_anything_is_written() {
    let mut deep = serde_json::Value::Null;
    for _ in 0..200 {
        deep = serde_json::json!([deep]);
    }
    let cases = [
        (NewJob::new("deep", &deep).unwrap_err(), "QUEUE-0003", "recursion limit"),
        (NewJob::new("nul", &serde_json::json!({"a": ["b\0"]})).unwrap_err(), "QUEUE-0006", "NUL"),
        (NewJob::new("nul", &serde_json::json!({"a\0": 1})).unwrap_err(), "QUEUE-0006", "NUL"),
    ];
    for (error, code, says) in cases {
        assert_eq!(error.code().id, code);
        assert!(error.to_string().contains(says), "{error}");
    }
    assert!(NewJob::new("fine", &"a backslash: \\u0000").is_ok());
}

#[test]
fn arguments_that_are_too_large_are_refused_before_anything_is_written() {
    let error = NewJob::new("big", &"x".repeat(NewJob::MAX_ARGUMENTS)).unwrap_err();
    assert_eq!(error.code().id, "QUEUE-0004");
    assert!(error.to_string().contains("1048578 bytes, more than the 1048576 allowed"), "{error}");
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn migrations_from_many_processes_at_once_are_one_migration(env: Env) {
    let (queue, _) = queue_in(&env).await;
    let racing = (0..4).map(|_| {
        let queue = queue.clone();
        tokio::spawn(async move { queue.migrate().await })
    });
    for one in racing.collect::<Vec<_>>() {
        one.await.unwrap().unwrap();
    }
}

/// What a job's handler does, attempt by attempt.
#[derive(Debug, Clone, Copy)]
enum Script {
    Succeeds { after_failures: i16 },
    Panics { times: i16 },
    Discards,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// Whatever handlers do and whoever is declared dead meanwhile, every job ends once: completed or dead.
    #[seaworthy_harness::test(schema = database::schema(), connections = 24)]
    fn every_job_comes_to_exactly_one_end(
        scripts in prop::collection::vec(
            prop_oneof![
                (0_i16..4).prop_map(|after_failures| Script::Succeeds { after_failures }),
                (0_i16..4).prop_map(|times| Script::Panics { times }),
                Just(Script::Discards),
            ],
            1..25,
        ),
        deaths in 0_usize..3,
    ) {
        let env = Env::current().fresh();
        env.block_on(async {
            let (queue, pool) = queue_in(&env).await;
            let all = Arc::new(scripts.clone());
            let working = worker(&queue).concurrency(4).handle("scripted", move |job| {
                let script = job.args::<usize>().map(|number| all[number]);
                async move {
                    match script? {
                        Script::Succeeds { after_failures } if job.attempt() <= after_failures => Err(Failure::retry("again")),
                        Script::Panics { times } if job.attempt() <= times => panic!("again"),
                        Script::Discards => Err(Failure::discard("never")),
                        _ => Ok(job.done()),
                    }
                }
            }).start();
            for number in 0..scripts.len() {
                enqueue(&queue, &pool, NewJob::new("scripted", &number).unwrap()).await;
                if number < deaths {
                    pretend_workers_died(&pool).await;
                    queue.rescue().await.unwrap();
                }
            }
            let stats = until(&queue, "the end of every job", at_rest).await;
            let dead = scripts.iter().filter(|script| matches!(script, Script::Discards)).count();
            assert_eq!((stats.completed, stats.dead), ((scripts.len() - dead) as i64, dead as i64));
            assert!(working.drain(DEADLINE).await);
        });
    }
}
