//! What only Postgres can do is refused elsewhere, and the refusal says what to do instead.

use seaworthy_harness::Env;
use seaworthy_queue::{Flow, NewJob, Queue, Stats};
use tokio::sync::mpsc::unbounded_channel;

use crate::world::{DEADLINE, schema};

#[seaworthy_harness::test(schema = schema(), connections = 8)]
async fn jobs_are_not_enqueued_or_completed_in_a_transaction_that_they_are_not_a_part_of(env: Env) {
    let pool = env.postgres().await.pool().clone();
    let queue = Queue::in_memory();
    let job = NewJob::new("work", &()).unwrap();
    let mut tx = pool.begin().await.unwrap();
    let flow = Flow::chain([job.clone()]);
    let refusals = [
        (queue.enqueue(&mut tx, &job).await.unwrap_err(), "`push`"),
        (queue.offer(&mut tx, &job).await.unwrap_err(), "`push`"),
        (queue.enqueue_many(&mut tx, &[]).await.unwrap_err(), "`push_many`"),
        (queue.enqueue_flow(&mut tx, &flow).await.unwrap_err(), "`push_flow`"),
    ];
    for (error, instead) in refusals {
        assert_eq!(error.code().id, "QUEUE-0022");
        assert!(error.to_string().contains(instead), "{error}");
    }
    assert_eq!(queue.stats().await.unwrap(), Stats::default());

    let (seen, mut inbox) = unbounded_channel();
    let database = pool.clone();
    let working = seaworthy_queue::Worker::new(queue.clone())
        .handle("work", move |job| {
            let (pool, seen) = (database.clone(), seen.clone());
            async move {
                let mut tx = pool.begin().await?;
                let refused = job.complete_in_tx(&mut tx).await.unwrap_err();
                seen.send(refused.to_string())?;
                Err(refused)?
            }
        })
        .start();
    queue.push(&job).await.unwrap();
    let refusal = tokio::time::timeout(DEADLINE, inbox.recv()).await.unwrap().unwrap();
    assert!(refusal.contains("`memory`") && refusal.contains("`LeasedJob::done`"), "{refusal}");
    assert!(working.drain(DEADLINE).await);
}
