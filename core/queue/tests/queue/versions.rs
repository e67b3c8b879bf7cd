//! Old and new workers and producers side by side.

use std::time::Duration;

use seaworthy_harness::Env;
use seaworthy_queue::{Failure, Job, JobState, NewJob, Stats};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::database::{self, DEADLINE, enqueue, queue_in, until, worker};

#[derive(Serialize, Deserialize)]
struct OldShip {
    order: i64,
}

impl Job for OldShip {
    const KIND: &str = "ship";
}

#[derive(Serialize, Deserialize)]
struct Ship {
    orders: Vec<i64>,
}

impl Job for Ship {
    const KIND: &str = "ship";
    const VERSION: u8 = 3;

    fn upcast(version: u8, mut args: Value) -> Result<Value, serde_json::Error> {
        if version == 1 {
            args = json!({ "order_list": [args.get("order")] });
        }
        Ok(json!({ "orders": args.get("order_list") }))
    }
}

#[derive(Serialize, Deserialize)]
struct SecondShip {
    order_list: Vec<i64>,
}

impl Job for SecondShip {
    const KIND: &str = "ship";
    const VERSION: u8 = 2;
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn arguments_of_every_older_version_are_read(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    for job in [
        NewJob::of(&OldShip { order: 1 }).unwrap(),
        NewJob::of(&SecondShip { order_list: vec![2, 3] }).unwrap(),
        NewJob::of(&Ship { orders: vec![4] }).unwrap(),
    ] {
        enqueue(&queue, &pool, job).await;
    }
    // Copied, as thousands are.
    let many: Vec<NewJob> = (0..300).map(|_| NewJob::of(&Ship { orders: vec![] }).unwrap()).collect();
    let mut tx = pool.begin().await.unwrap();
    queue.enqueue_many(&mut tx, &many).await.unwrap();
    tx.commit().await.unwrap();
    let working = worker(&queue)
        .handle_job(|ship: Ship, job| async move {
            let expected: &[i64] = match (job.version(), job.id().0) {
                (1, _) => &[1],
                (2, _) => &[2, 3],
                (3, 3) => &[4],
                (3, _) => &[],
                (other, _) => return Err(Failure::discard(format!("version {other}"))),
            };
            assert_eq!(ship.orders, expected);
            Ok(job.done())
        })
        .start();
    let stats = until(&queue, "completion", |stats| stats.completed + stats.dead == 303).await;
    assert_eq!(stats, Stats { completed: 303, ..Stats::default() });
    assert!(working.drain(DEADLINE).await);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn arguments_of_a_newer_version_wait_for_a_newer_worker(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let old = worker(&queue).handle_job(|_: OldShip, job| async { Ok(job.done()) }).start();
    let id = enqueue(&queue, &pool, NewJob::of(&Ship { orders: vec![9] }).unwrap().max_attempts(1)).await;
    until(&queue, "a return", |stats| stats.scheduled == 1).await;
    let story = queue.job(id).await.unwrap().unwrap();
    assert_eq!(
        (story.version, story.job.state, story.job.attempt),
        (3, JobState::Scheduled, Some(1)),
        "it has all its attempts"
    );
    let waits = story.job.run_at.unwrap().duration_since(story.job.created_at).unwrap();
    assert!(waits > Duration::from_secs(2), "the old worker does not get it again at once: {waits:?}");
    assert!(old.drain(DEADLINE).await);

    let new = worker(&queue).handle_job(|ship: Ship, job| async move {
        assert_eq!((ship.orders.as_slice(), job.attempt()), ([9].as_slice(), 1));
        Ok(job.done())
    });
    let new = new.start();
    sqlx::query("update seaworthy_queue.scheduled set run_at = clock_timestamp()")
        .execute(&pool)
        .await
        .unwrap();
    until(&queue, "completion", |stats| stats.completed == 1).await;
    let story = queue.job(id).await.unwrap().unwrap();
    let outcomes: Vec<&str> = story.attempts.iter().map(|one| one.outcome.as_str()).collect();
    assert_eq!(outcomes, ["returned", "completed"]);
    let why = story.attempts[0].why.as_deref().unwrap();
    assert_eq!(
        why,
        "version 3 of a `ship` job is newer than version 1, which this worker knows: it waits for a newer worker"
    );
    assert!(new.drain(DEADLINE).await);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn arguments_that_can_not_be_read_are_a_dead_letter_at_once_and_a_replay_keeps_their_version(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let working = worker(&queue).handle_job(|_: Ship, job| async { Ok(job.done()) }).start();
    let same = enqueue(&queue, &pool, NewJob::of(&Ship { orders: vec![] }).unwrap()).await;
    until(&queue, "completion", |stats| stats.completed == 1).await;
    let old = NewJob::new("ship", &"not even an order").unwrap();
    let dead = enqueue(&queue, &pool, old).await;
    until(&queue, "a dead letter", |stats| stats.dead == 1).await;
    let letter = &queue.dead_letters(1).await.unwrap()[0];
    assert_eq!((letter.id, letter.attempts), (dead, 1));
    assert!(letter.error.contains("not what its handler expects"), "{letter:?}");
    assert_eq!(queue.job(same).await.unwrap().unwrap().version, 3);
    assert!(working.drain(DEADLINE).await);

    let failing = worker(&queue).handle("ship", |_| async { Err(Failure::discard("no")) }).start();
    let new = enqueue(&queue, &pool, NewJob::of(&Ship { orders: vec![] }).unwrap()).await;
    until(&queue, "a dead letter", |stats| stats.dead == 2).await;
    assert!(failing.drain(DEADLINE).await);
    let replayed = queue.replay(&[new]).await.unwrap()[0].1;
    assert_eq!(queue.job(replayed).await.unwrap().unwrap().version, 3);
}
