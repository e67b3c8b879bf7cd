//! What a crash of the server leaves.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use seaworthy_harness::{Env, Fault};
use seaworthy_queue::{JobId, NewJob, Stats};
use sqlx::PgPool;
use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};
use uuid::Uuid;

use crate::database::{self, DEADLINE, at_rest, enqueue, queue_in, until, worker};

/// How often the server is killed until a crash undoes a claim.
const CRASHES: i64 = 10;

#[seaworthy_harness::test(schema = database::schema(), connections = 8, durability = "on")]
async fn a_claim_that_a_crash_undid_is_fenced_and_its_job_is_done_by_the_next_one(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    for setting in ["alter system set wal_writer_delay = '10s'", "select pg_reload_conf()"] {
        sqlx::query(setting).execute(&pool).await.unwrap();
    }
    let (began, mut beginning) = mpsc::unbounded_channel();
    let (go_on, runs) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicU32::new(0)));
    let worker = {
        let (go_on, runs) = (go_on.clone(), runs.clone());
        let handler = move |job: seaworthy_queue::LeasedJob| {
            let (began, go_on, runs) = (began.clone(), go_on.clone(), runs.clone());
            async move {
                runs.fetch_add(1, Ordering::AcqRel);
                began.send(job.args::<String>()?)?;
                if job.args::<String>()? == "held up" {
                    go_on.acquire().await?.forget();
                }
                Ok(job.done())
            }
        };
        // No heartbeat writes the log to the disk in the meantime.
        worker(&queue)
            .heartbeat(Duration::from_secs(60), Duration::from_secs(300))
            .handle("held", handler)
            .start()
    };
    // Once this one is through, the worker has said that it lives.
    enqueue(&queue, &pool, NewJob::new("held", &"first").unwrap()).await;
    assert_eq!(beginning.recv().await.as_deref(), Some("first"));
    until(&queue, "the first job", |stats| stats.completed == 1).await;
    let db = env.postgres().await;
    // Whatever else the server writes to the disk before it dies takes the claim along, which then stands: that crash says nothing.
    for completed in 2..=CRASHES + 1 {
        let id = enqueue(&queue, &pool, NewJob::new("held", &"held up").unwrap()).await;
        assert_eq!(beginning.recv().await.as_deref(), Some("held up"));
        let claim = claim_of(&pool, id).await;
        let before = runs.load(Ordering::Acquire);
        db.service().inject(Fault::Kill).await.unwrap().heal().await.unwrap();
        let stands = stands(&pool, claim).await;
        if !stands {
            // It is claimed again, and held up until both runs go on.
            let again = timeout(DEADLINE, beginning.recv()).await.expect("the job is claimed again");
            assert_eq!(again.as_deref(), Some("held up"));
        }
        go_on.add_permits(if stands { 1 } else { 2 });
        let stats = until(&queue, "completion", |stats| at_rest(stats) && stats.completed == completed).await;
        assert_eq!(stats, Stats { completed, ..Stats::default() });
        if !stands {
            assert_eq!(runs.load(Ordering::Acquire), before + 1);
            assert!(worker.drain(DEADLINE).await);
            return;
        }
    }
    panic!("none of {CRASHES} crashes undid a claim");
}

/// The token under which the job was claimed.
async fn claim_of(pool: &PgPool, job: JobId) -> Uuid {
    sqlx::query_scalar("select token from seaworthy_queue.lease_batch where $1 = any(job_ids)")
        .bind(job.0)
        .fetch_one(pool)
        .await
        .unwrap()
}

/// Whether the claim is still known.
async fn stands(pool: &PgPool, claim: Uuid) -> bool {
    sqlx::query_scalar("select exists (select from seaworthy_queue.lease_batch where token = $1)")
        .bind(claim)
        .fetch_one(pool)
        .await
        .unwrap()
}
