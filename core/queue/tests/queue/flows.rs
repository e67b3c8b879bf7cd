//! Jobs that wait for others.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use seaworthy_harness::Env;
use seaworthy_queue::{Failure, Flow, JobId, NewJob, Queue, Stats, Unique, Worker};
use sqlx::PgPool;

use crate::database::{self, DEADLINE, at_rest, queue_in, until, worker};

async fn enqueue(queue: &Queue, pool: &PgPool, flow: &Flow) -> Vec<JobId> {
    let mut tx = pool.begin().await.unwrap();
    let ids = queue.enqueue_flow(&mut tx, flow).await.unwrap();
    tx.commit().await.unwrap();
    ids
}

fn step(name: impl serde::Serialize) -> NewJob {
    NewJob::new("step", &name).unwrap()
}

/// A worker that notes which steps it completes, in their order.
fn noting(queue: &Queue) -> (Worker, Arc<Mutex<Vec<JobId>>>) {
    let noted = Arc::new(Mutex::new(Vec::new()));
    let list = noted.clone();
    let worker = worker(queue).handle("step", move |job| {
        list.lock().unwrap().push(job.id());
        async { Ok(job.done()) }
    });
    (worker, noted)
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn dependencies_are_honoured(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let mut flow = Flow::new();
    let [top, left, right, bottom] = ["top", "left", "right", "bottom"].map(|name| flow.add(step(name)));
    flow.after(top, left).after(top, right).after(left, bottom).after(right, bottom).after(right, bottom);
    let ids = enqueue(&queue, &pool, &flow).await;
    assert_eq!(queue.stats().await.unwrap(), Stats { ready: 1, blocked: 3, ..Stats::default() });
    let (worker, noted) = noting(&queue);
    let working = worker.start();
    until(&queue, "the flow", |stats| stats.completed == 4).await;
    assert!(working.drain(DEADLINE).await);
    let order = noted.lock().unwrap().clone();
    assert_eq!((order.len(), order[0], order[3]), (4, ids[0], ids[3]));
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn parents_that_end_at_the_same_time_release_each_child_once(env: Env) {
    const PARENTS: usize = 20;
    const CHILDREN: usize = 40;
    let (queue, pool) = queue_in(&env).await;
    let mut flow = Flow::new();
    let parents: Vec<_> = (0..PARENTS).map(|number| flow.add(step(number))).collect();
    for number in 0..CHILDREN {
        let child = flow.add(step(number));
        parents.iter().for_each(|parent| {
            flow.after(*parent, child);
        });
    }
    enqueue(&queue, &pool, &flow).await;
    let (worker, noted) = noting(&queue);
    // Each completes its jobs in a transaction of its own.
    let workers: Vec<_> = (0..3).map(|_| worker.clone().concurrency(4).start()).collect();
    until(&queue, "the flow", |stats| stats.completed == (PARENTS + CHILDREN) as i64).await;
    for worker in workers {
        assert!(worker.drain(DEADLINE).await);
    }
    let mut order = noted.lock().unwrap().clone();
    order.sort();
    order.dedup();
    assert_eq!(order.len(), PARENTS + CHILDREN);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn completing_in_a_transaction_releases_children_with_it(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    enqueue(&queue, &pool, &Flow::chain([step(1), step(2), step(3)])).await;
    let database = pool.clone();
    let working = worker(&queue)
        .handle("step", move |job| {
            let pool = database.clone();
            async move {
                let is_first_try = job.attempt() == 1;
                let mut tx = pool.begin().await?;
                let done = job.complete_in_tx(&mut tx).await?;
                if is_first_try {
                    tx.rollback().await?;
                    return Err(Failure::retry("not this time"));
                }
                tx.commit().await?;
                Ok(done)
            }
        })
        .start();
    let stats = until(&queue, "the chain", |stats| stats.completed == 3).await;
    assert_eq!(stats, Stats { completed: 3, ..Stats::default() });
    assert!(working.drain(DEADLINE).await);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn what_waits_for_a_dead_letter_goes_on_when_that_is_replayed(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let ids = enqueue(&queue, &pool, &Flow::chain([step("bad"), step("next")])).await;
    let working = worker(&queue)
        .handle("step", |job| async move {
            if job.args::<String>()? == "bad" && job.id().0 < 3 {
                return Err(Failure::discard("bad"));
            }
            Ok(job.done())
        })
        .start();
    let stats = until(&queue, "a dead letter", |stats| stats.dead == 1).await;
    assert_eq!(stats, Stats { dead: 1, blocked: 1, ..Stats::default() });
    let replayed = queue.replay(&[ids[0]]).await.unwrap();
    assert_eq!(replayed.len(), 1);
    let stats = until(&queue, "the chain", |stats| stats.completed == 2).await;
    assert_eq!(stats, Stats { completed: 2, ..Stats::default() });
    assert!(working.drain(DEADLINE).await);
}

#[test]
fn jobs_that_wait_for_each_other_are_refused_before_anything_is_written() {
    let mut flow = Flow::new();
    let [fetch, import, report] =
        ["fetch", "import", "report"].map(|kind| flow.add(NewJob::new(kind, &()).unwrap()));
    flow.after(fetch, import).after(import, report).after(report, import);
    let mut with_unique = Flow::new();
    with_unique.add(NewJob::new("daily", &()).unwrap().unique(Unique::while_unfinished("today")));
    let cases = [
        (flow, "QUEUE-0007", "in a circle, or for one: import, report"),
        (with_unique, "QUEUE-0008", "`daily`"),
    ];
    for (flow, code, says) in cases {
        let error = flow.check().unwrap_err();
        assert_eq!(error.code().id, code);
        assert!(error.to_string().contains(says), "{error}");
    }
    assert!(Flow::chain([step(1), step(2)]).check().is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5))]

    /// Whatever waits for whatever, each job runs after all that it waits for, though handlers fail now and then.
    #[seaworthy_harness::test(schema = database::schema(), connections = 24)]
    fn every_job_runs_once_and_after_its_parents(
        edges in prop::collection::vec((0_usize..15, 0_usize..15), 0..40),
    ) {
        let env = Env::current().fresh();
        env.block_on(async {
            let (queue, pool) = queue_in(&env).await;
            let mut flow = Flow::new();
            let steps: Vec<_> = (0..15).map(|number| flow.add(step(number))).collect();
            let edges: Vec<(usize, usize)> =
                edges.iter().filter(|(one, other)| one != other).map(|(one, other)| (*one.min(other), *one.max(other))).collect();
            for (parent, child) in &edges {
                flow.after(steps[*parent], steps[*child]);
            }
            let ids = enqueue(&queue, &pool, &flow).await;
            let noted = Arc::new(Mutex::new(Vec::new()));
            let list = noted.clone();
            let working = worker(&queue).concurrency(4).handle("step", move |job| {
                let list = list.clone();
                async move {
                    if job.attempt() == 1 && job.id().0 % 3 == 0 {
                        return Err(Failure::retry("not this time"));
                    }
                    list.lock().unwrap().push(job.id());
                    Ok(job.done())
                }
            }).start();
            let stats = until(&queue, "the flow", |stats| at_rest(stats) && stats.blocked == 0).await;
            assert_eq!(stats.completed, 15);
            assert!(working.drain(DEADLINE).await);
            let order = noted.lock().unwrap().clone();
            let at = |step: usize| order.iter().position(|id| *id == ids[step]).unwrap();
            assert_eq!(order.len(), 15);
            assert!(edges.iter().all(|(parent, child)| at(*parent) < at(*child)), "{order:?}");
        });
    }
}
