//! Jobs that belong together, and what is done when they are over.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use proptest::prelude::*;
use seaworthy_harness::Env;
use seaworthy_queue::{
    Batch, BatchId, BatchProgress, Debounce, Failure, Limit, NewJob, Queue, Stats, Unique, Worker,
};
use sqlx::PgPool;
use tokio::sync::Notify;

use crate::database::{
    self, DEADLINE, enqueue, pretend_workers_died, queue_in, rescue_from_workers_that_seem_dead, until,
    worker,
};

fn part(what: &str) -> NewJob {
    NewJob::new("part", &what).unwrap().max_attempts(3)
}

fn note(what: &str) -> NewJob {
    NewJob::new("note", &what).unwrap()
}

/// With a callback of each kind.
fn batch() -> Batch {
    Batch::new("import").then(note("then")).catch(note("catch")).finally(note("finally"))
}

type Notes = Arc<Mutex<BTreeMap<String, u32>>>;

/// A worker that does what the parts say, and notes which callbacks ran how often.
fn noting(queue: &Queue) -> (Worker, Notes) {
    let notes = Notes::default();
    let list = notes.clone();
    let worker = worker(queue)
        .handle("part", |job| async move {
            match job.args::<String>()?.as_str() {
                "fails" => Err(Failure::retry("no luck")),
                "panics" => panic!("oh no"),
                "recovers" if job.attempt() < 3 => Err(Failure::retry("not yet")),
                "hangs" => std::future::pending().await,
                _ => Ok(job.done()),
            }
        })
        .handle("note", move |job| {
            *list.lock().unwrap().entry(job.args::<String>().unwrap()).or_default() += 1;
            async { Ok(job.done()) }
        });
    (worker, notes)
}

fn once(names: &[&str]) -> BTreeMap<String, u32> {
    names.iter().map(|name| ((*name).to_owned(), 1)).collect()
}

async fn over(queue: &Queue, batch: BatchId) -> BatchProgress {
    let give_up = Instant::now() + DEADLINE;
    loop {
        let progress = queue.batch(batch).await.unwrap().unwrap();
        if progress.is_over {
            return progress;
        }
        assert!(Instant::now() < give_up, "the batch did not end: {progress:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn what_waits_for_a_batch_is_done_once_and_only_what_fits_its_end(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    // The parts, how many are completed and given up, and what is called.
    let cases: [(&[&str], u64, u64, &[&str]); 6] = [
        (&[], 0, 0, &["finally", "then"]),
        (&["works"], 1, 0, &["finally", "then"]),
        (&["works", "recovers", "works"], 3, 0, &["finally", "then"]),
        (&["works", "fails", "works"], 2, 1, &["catch", "finally"]),
        (&["fails", "fails", "panics"], 0, 3, &["catch", "finally"]),
        (&["works"; 300], 300, 0, &["finally", "then"]),
    ];
    for (parts, completed, dead, called) in cases {
        let (worker, notes) = noting(&queue);
        let workers = [worker.clone().start(), worker.start()];
        let id = queue.push_batch(&batch().jobs(parts.iter().map(|what| part(what)))).await.unwrap();
        let progress = over(&queue, id).await;
        until(&queue, "the callbacks", |stats| {
            stats.ready + stats.leased + stats.scheduled + stats.blocked == 0
        })
        .await;
        assert_eq!(*notes.lock().unwrap(), once(called), "{parts:?}");
        assert_eq!((progress.completed, progress.dead, progress.pending()), (completed, dead, 0));
        assert_eq!((progress.total, progress.is_cancelled), (parts.len() as u64, false));
        for worker in workers {
            assert!(worker.drain(DEADLINE).await);
        }
    }
    let drafts: i64 =
        sqlx::query_scalar("select count(*) from seaworthy_queue.draft").fetch_one(&pool).await.unwrap();
    assert_eq!(drafts, 0, "what was not called is forgotten");
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_batch_is_enqueued_as_a_whole_or_not_at_all(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let whole = batch().jobs((0..500).map(|_| part("works")));
    let mut tx = pool.begin().await.unwrap();
    let id = queue.enqueue_batch(&mut tx, &whole).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(queue.batch(id).await.unwrap(), None);
    let mut tx = pool.begin().await.unwrap();
    let wrong = whole.clone().jobs([part("works").limited_by("nobody", "knows")]);
    assert_eq!(queue.enqueue_batch(&mut tx, &wrong).await.unwrap_err().code().id, "QUEUE-0041");
    tx.rollback().await.unwrap();
    assert_eq!(queue.stats().await.unwrap(), Stats::default());
    let mut tx = pool.begin().await.unwrap();
    let id = queue.enqueue_batch(&mut tx, &whole).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(queue.batch(id).await.unwrap().unwrap().pending(), 500);
    assert_eq!(queue.stats().await.unwrap().ready, 500);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn jobs_that_add_jobs_to_their_batch_keep_it_from_ending(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let (worker, notes) = noting(&queue);
    let (adding, database) = (queue.clone(), pool.clone());
    let working = worker
        .handle("split", move |job| {
            let (queue, pool) = (adding.clone(), database.clone());
            async move {
                let depth: u8 = job.args()?;
                let batch = job.batch().await?.ok_or_else(|| Failure::discard("no batch"))?;
                let mut tx = pool.begin().await?;
                if depth > 0 {
                    let halves = [NewJob::new("split", &(depth - 1))?, NewJob::new("split", &(depth - 1))?];
                    queue.add_to_batch(&mut tx, batch, &halves).await?;
                }
                let is_first_try = job.attempt() == 1;
                let done = job.complete_in_tx(&mut tx).await?;
                if is_first_try && depth == 2 {
                    // What was added is gone with it.
                    tx.rollback().await?;
                    return Err(Failure::retry("not this time"));
                }
                tx.commit().await?;
                Ok(done)
            }
        })
        .start();
    let id = queue.push_batch(&batch().jobs([NewJob::new("split", &4_u8).unwrap()])).await.unwrap();
    let progress = over(&queue, id).await;
    assert_eq!((progress.total, progress.completed), (31, 31));
    until(&queue, "the callbacks", |stats| stats.completed == 33).await;
    assert_eq!(*notes.lock().unwrap(), once(&["finally", "then"]));
    let mut tx = pool.begin().await.unwrap();
    let late = queue.add_to_batch(&mut tx, id, &[part("works")]).await.unwrap_err();
    assert_eq!(late.code().id, "QUEUE-0044");
    assert!(working.drain(DEADLINE).await);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn an_open_batch_ends_after_it_is_closed_and_one_to_which_somebody_adds_after_he_is_done(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let (worker, notes) = noting(&queue);
    let working = worker.start();
    let id = queue.push_batch(&batch().keep_open()).await.unwrap();
    for _ in 0..2 {
        let mut tx = pool.begin().await.unwrap();
        queue.add_to_batch(&mut tx, id, &[part("works"), part("works")]).await.unwrap();
        tx.commit().await.unwrap();
    }
    until(&queue, "all parts", |stats| stats.completed == 4).await;
    queue.promote_due().await.unwrap();
    let mut adding = pool.begin().await.unwrap();
    queue.add_to_batch(&mut adding, id, &[part("works")]).await.unwrap();
    let progress = queue.batch(id).await.unwrap().unwrap();
    assert_eq!((progress.total, progress.pending(), progress.is_open), (4, 0, true));
    // Closing waits for those who add, so that none of them adds to a batch that has ended.
    let closing = tokio::spawn({
        let queue = queue.clone();
        async move { queue.close_batch(id).await }
    });
    for _ in 0..10 {
        queue.promote_due().await.unwrap();
    }
    assert!(!queue.batch(id).await.unwrap().unwrap().is_over);
    adding.commit().await.unwrap();
    assert!(closing.await.unwrap().unwrap());
    assert!(!queue.close_batch(id).await.unwrap(), "it is closed already");
    let progress = over(&queue, id).await;
    assert_eq!((progress.total, progress.completed, progress.is_open), (5, 5, false));
    until(&queue, "the callbacks", |stats| stats.completed == 7).await;
    assert_eq!(*notes.lock().unwrap(), once(&["finally", "then"]));
    assert!(working.drain(DEADLINE).await);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_cancelled_batch_stops_what_runs_and_what_waits_and_is_over_then(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    queue.set_limit("customer", Limit::at_once(1)).await.unwrap();
    let (worker, notes) = noting(&queue);
    let working = worker.concurrency(2).start();
    let parts = [
        part("hangs"),
        part("hangs"),
        part("works"),
        part("works").run_in(DEADLINE),
        part("hangs").limited_by("customer", "ann").run_in(DEADLINE),
    ];
    let id = queue.push_batch(&batch().jobs(parts)).await.unwrap();
    until(&queue, "two that run", |stats| stats.leased == 2).await;
    assert_eq!(queue.cancel_batch(id).await.unwrap(), 5);
    assert_eq!(queue.cancel_batch(id).await.unwrap(), 0, "it is cancelled already");
    let mut tx = pool.begin().await.unwrap();
    assert!(queue.add_to_batch(&mut tx, id, &[part("works")]).await.is_err());
    drop(tx);
    let progress = over(&queue, id).await;
    assert_eq!((progress.cancelled, progress.completed, progress.is_cancelled), (5, 0, true));
    until(&queue, "the callback", |stats| stats.completed == 1 && stats.cancelled == 5).await;
    assert_eq!(*notes.lock().unwrap(), once(&["finally"]));
    assert!(working.drain(DEADLINE).await);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn parts_that_expire_count_as_failed_and_limited_ones_as_any_other(env: Env) {
    let (queue, _) = queue_in(&env).await;
    queue.set_limit("customer", Limit::at_once(1)).await.unwrap();
    let (worker, notes) = noting(&queue);
    let working = worker.start();
    let parts = [part("works").expires_in(Duration::ZERO), part("works").limited_by("customer", "ann")];
    let id = queue.push_batch(&batch().jobs(parts)).await.unwrap();
    let progress = over(&queue, id).await;
    assert_eq!((progress.expired, progress.completed), (1, 1));
    until(&queue, "the callbacks", |stats| stats.completed == 3).await;
    assert_eq!(*notes.lock().unwrap(), once(&["catch", "finally"]));
    assert!(working.drain(DEADLINE).await);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_zombie_s_late_completion_is_not_counted(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let (started, released) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (worker, notes) = noting(&queue);
    let (begun, wait) = (started.clone(), released.clone());
    let working = worker
        .handle("slow", move |job| {
            let (begun, wait) = (begun.clone(), wait.clone());
            async move {
                if job.attempt() == 1 {
                    begun.notify_one();
                    wait.notified().await;
                    return Ok(job.done());
                }
                Err(Failure::discard("no"))
            }
        })
        .start();
    let id = queue.push_batch(&batch().jobs([NewJob::new("slow", &()).unwrap()])).await.unwrap();
    started.notified().await;
    rescue_from_workers_that_seem_dead(&queue, &pool, 1).await;
    let progress = over(&queue, id).await;
    released.notify_one();
    enqueue(&queue, &pool, part("works")).await;
    until(&queue, "what comes after", |stats| stats.completed == 3).await;
    assert!(working.drain(DEADLINE).await);
    assert_eq!((progress.dead, progress.completed), (1, 0));
    assert_eq!(queue.batch(id).await.unwrap().unwrap(), progress);
    assert_eq!(*notes.lock().unwrap(), once(&["catch", "finally"]));
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_part_has_to_be_sure_to_be_enqueued_and_a_callback_has_no_time_of_its_own(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let (unique, calm) = (Unique::while_unfinished("a"), Debounce::quiet_for(DEADLINE, "a"));
    let cases = [
        (batch().jobs([part("works").unique(unique.clone())]), "is unique, and can't be a part of a batch"),
        (
            batch().jobs([part("works").debounce(calm.clone())]),
            "is debounced, and can't be a part of a batch",
        ),
        (batch().then(note("then").unique(unique)), "is unique, and can't be a callback"),
        (batch().catch(note("catch").debounce(calm)), "is debounced, and can't be a callback"),
        (batch().finally(note("finally").run_in(DEADLINE)), "is scheduled, and can't be a callback"),
    ];
    for (batch, says) in cases {
        let mut tx = pool.begin().await.unwrap();
        let error = queue.enqueue_batch(&mut tx, &batch).await.unwrap_err();
        assert_eq!(error.code().id, "QUEUE-0043");
        assert!(error.to_string().contains(says), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5))]

    /// However parts end, and whoever is taken for dead meanwhile: the counts come out even and are never negative, and each callback is called once, or not at all.
    #[seaworthy_harness::test(schema = database::schema(), connections = 32)]
    fn callbacks_are_called_once_under_concurrent_ends_and_kills(
        batches in prop::collection::vec(prop::collection::vec(0_usize..4, 0..25), 1..5),
        deaths in 0_usize..4,
    ) {
        const WAYS: [&str; 4] = ["works", "fails", "panics", "recovers"];
        let env = Env::current().fresh();
        env.block_on(async {
            let (queue, pool) = queue_in(&env).await;
            let (worker, notes) = noting(&queue);
            let mut workers: Vec<_> = (0..3).map(|_| worker.clone().concurrency(4).start()).collect();
            let mut ids = Vec::new();
            for (number, parts) in batches.iter().enumerate() {
                let parts = parts.iter().map(|way| part(WAYS[*way]).max_attempts(if WAYS[*way] == "recovers" { 50 } else { 3 }));
                let batch = Batch::new("some")
                    .then(note(&format!("{number} then")))
                    .catch(note(&format!("{number} catch")))
                    .finally(note(&format!("{number} finally")))
                    .jobs(parts);
                ids.push(queue.push_batch(&batch).await.unwrap());
                if number < deaths {
                    // One is killed, and all seem to be.
                    drop(workers.pop());
                    workers.push(worker.clone().concurrency(4).start());
                    pretend_workers_died(&pool).await;
                    queue.rescue().await.unwrap();
                }
            }
            let mut called = Vec::new();
            for (number, (id, parts)) in ids.iter().zip(&batches).enumerate() {
                let progress = over(&queue, *id).await;
                assert_eq!(progress.total as usize, parts.len());
                assert_eq!(progress.pending(), 0);
                called.push(format!("{number} finally"));
                called.push(format!("{number} {}", if progress.dead == 0 { "then" } else { "catch" }));
            }
            let wanted = called.len() as i64 + sum(&queue, &ids).await;
            until(&queue, "the callbacks", |stats| stats.completed == wanted && stats.ready + stats.leased + stats.scheduled == 0).await;
            for worker in workers {
                assert!(worker.drain(DEADLINE).await);
            }
            let names: Vec<String> = notes.lock().unwrap().keys().cloned().collect();
            called.sort();
            assert_eq!(names, called);
            let jobs: i64 = sqlx::query_scalar("select count(*) from seaworthy_queue.job where kind = 'note'").fetch_one(&pool).await.unwrap();
            assert_eq!(jobs as usize, called.len(), "each is enqueued once");
            leaves_nothing(&pool).await;
        });
    }
}

/// Parts that were completed.
async fn sum(queue: &Queue, batches: &[BatchId]) -> i64 {
    let mut completed = 0;
    for batch in batches {
        completed += queue.batch(*batch).await.unwrap().unwrap().completed as i64;
    }
    completed
}

async fn leaves_nothing(pool: &PgPool) {
    let left: (i64, i64, i64) = sqlx::query_as(
        "select (select count(*) from seaworthy_queue.batch_member), (select count(*) from seaworthy_queue.batch_delta),
            (select count(*) from seaworthy_queue.draft)",
    )
    .fetch_one(pool)
    .await
    .unwrap();
    assert_eq!(left, (0, 0, 0), "members, deltas and drafts");
}
