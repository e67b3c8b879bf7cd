//! What was given up can be looked at, tried again, and forgotten.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use seaworthy_harness::Env;
use seaworthy_queue::{Failure, Flow, JobId, NewJob, Stats};

use crate::database::{self, DEADLINE, enqueue, queue_in, until, worker};

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_replay_is_a_new_job_that_points_to_the_old_one(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let is_mended = Arc::new(AtomicBool::new(false));
    let mended = is_mended.clone();
    let working = worker(&queue)
        .handle("mail", move |job| {
            let is_mended = mended.load(Ordering::Relaxed);
            async move {
                assert_eq!(job.args::<String>()?, "to ann");
                if is_mended { Ok(job.done()) } else { Err(Failure::discard("no such host")) }
            }
        })
        .start();
    let old = enqueue(&queue, &pool, NewJob::new("mail", &"to ann").unwrap().max_attempts(7)).await;
    until(&queue, "a dead letter", |stats| stats.dead == 1).await;
    let letters = queue.dead_letters_of("mail", 10).await.unwrap();
    assert_eq!((letters.len(), letters[0].id, letters[0].error.as_str()), (1, old, "no such host"));
    assert!(queue.dead_letters_of("other", 10).await.unwrap().is_empty());

    is_mended.store(true, Ordering::Relaxed);
    let replayed = queue.replay(&[old, JobId(4_711)]).await.unwrap();
    assert_eq!((replayed.len(), replayed[0].0), (1, old));
    until(&queue, "completion", |stats| stats.completed == 1 && stats.dead == 0).await;
    let (pointer, attempts): (i64, i16) =
        sqlx::query_as("select replay_of, max_attempts from seaworthy_queue.job where id = $1")
            .bind(replayed[0].1.0)
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!((pointer, attempts), (old.0, 7));
    assert!(queue.replay(&[old]).await.unwrap().is_empty(), "it is replayed once");
    assert!(working.drain(DEADLINE).await);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn what_is_purged_is_gone_with_what_waited_for_it(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let mut tx = pool.begin().await.unwrap();
    let job = |kind: &str| NewJob::new(kind, &()).unwrap();
    let chain = queue.enqueue_flow(&mut tx, &Flow::chain([job("bad"), job("next")])).await.unwrap();
    tx.commit().await.unwrap();
    let working = worker(&queue).handle("bad", |_| async { Err(Failure::discard("bad")) }).start();
    until(&queue, "a dead letter", |stats| stats.dead == 1).await;
    assert!(working.drain(DEADLINE).await);
    assert_eq!(queue.purge(&chain).await.unwrap(), 1);
    assert_eq!(queue.stats().await.unwrap(), Stats { cancelled: 1, ..Stats::default() });
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn jobs_that_nobody_can_read_or_knows_end_there_and_are_not_lost(env: Env) {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Mail {
        to: String,
    }
    impl seaworthy_queue::Job for Mail {
        const KIND: &str = "mail";
    }

    let (queue, pool) = queue_in(&env).await;
    for job in [
        NewJob::new("mail", &["not", "a mail"]).unwrap(),
        NewJob::new("unheard of", &()).unwrap(),
        NewJob::of(&Mail { to: "ann".into() }).unwrap(),
    ] {
        enqueue(&queue, &pool, job.max_attempts(2)).await;
    }
    let working = worker(&queue)
        .handle_job(|mail: Mail, job| async move {
            assert_eq!(mail.to, "ann");
            job.progress(1, 2, "half").await?;
            Ok(job.done_with(&mail.to.len())?)
        })
        .start();
    let stats = until(&queue, "all ends", |stats| stats.dead == 2 && stats.completed == 1).await;
    assert_eq!(stats, Stats { dead: 2, completed: 1, ..Stats::default() });
    let mut letters = queue.dead_letters(10).await.unwrap();
    letters.sort_by_key(|letter| letter.id);
    assert_eq!(letters.iter().map(|letter| letter.attempts).collect::<Vec<_>>(), [1, 2]);
    assert!(letters[0].error.contains("not what its handler expects"), "{letters:?}");
    assert!(letters[1].error.contains("no handler for jobs of kind `unheard of`"), "{letters:?}");
    assert_eq!(queue.result::<usize>(JobId(3)).await.unwrap(), Some(3));
    assert_eq!(queue.result::<usize>(JobId(1)).await.unwrap(), None);
    let progress = queue.progress(JobId(3)).await.unwrap().unwrap();
    assert_eq!((progress.done, progress.total, progress.note.as_str()), (1, 2, "half"));
    assert!(working.drain(DEADLINE).await);
}
