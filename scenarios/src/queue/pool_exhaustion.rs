//! Handlers use up the application's pool, and hold it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use seaworthy_harness::{
    BoxError, Failure, Postgres, Profile, Scenario, Stack, Voyage,
    check::{self, Objective},
    reports::{Check, Verdict},
};
use seaworthy_queue::{NewJob, Queue, Worker};
use sqlx::PgPool;
use tokio::time::{sleep, timeout};

use super::{
    QueueScenarios,
    ledger::{self, Ledger},
};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Connections of the application.
const POOL: u32 = 4;
/// How long a handler holds one: longer than a worker may be silent.
const HOLD: Duration = ms(3_000);
/// After how long without a heartbeat the worker is taken for dead.
const LEASE_TIMEOUT: Duration = ms(1_500);
/// How soon a job must be claimed, run and recorded meanwhile.
const ANSWER: Duration = ms(1_000);
/// Jobs per second that need no connection.
const RATE: f64 = 20.0;

pub(super) fn scenario(_: &QueueScenarios) -> Scenario {
    let summary = "Handlers use up the application's connections, and hold them for longer than a worker may be silent.";
    Scenario::new("queue-pool-exhaustion", summary).sail(sail)
}

async fn sail(voyage: Voyage) -> Result<(), BoxError> {
    let stack = voyage.start(Stack::builder().postgres(Postgres::new())).await?;
    let ledger = Ledger::open(stack).await?;
    // Those who want a connection wait for it as long as it takes.
    let url = stack.postgres().url();
    let application = ledger::pool(&url, "application", POOL, HOLD * 3)?;
    let (holding, hoarder) = (Arc::new(AtomicU32::new(0)), application.clone());
    let counted = holding.clone();
    let worker = Worker::new(Queue::new(application.clone()))
        .concurrency(16)
        .heartbeat(LEASE_TIMEOUT / 5, LEASE_TIMEOUT)
        .poll(ms(20))
        .handle("hoard", move |job| {
            let (pool, holding) = (hoarder.clone(), counted.clone());
            async move {
                let connection = pool.acquire().await?;
                holding.fetch_add(1, Ordering::Relaxed);
                sleep(HOLD).await;
                holding.fetch_sub(1, Ordering::Relaxed);
                drop(connection);
                Ok(job.done())
            }
        })
        .handle("answer", |job| async move { Ok(job.done_with(&true)?) })
        .start();

    let asking = ledger.queue.clone();
    let load = voyage.workload(Profile::constant(RATE, HOLD + ms(1_500))).deadline(ANSWER * 5);
    let load = load.operation("answer", 1, move |_| {
        let queue = asking.clone();
        // To its end, so that no connection is left within a transaction.
        async move { tokio::spawn(ask(queue)).await.map_err(Failure::unknown)? }
    });
    let exhausted = exhaust(&voyage, &ledger.queue, &application, &holding);
    let (_, was_exhausted) = tokio::try_join!(async { Ok(voyage.sail(&load).await?) }, exhausted)?;
    worker.drain(HOLD * 2).await;

    let operations = voyage.history().operations();
    let windows = voyage.windows();
    let meanwhile = operations.iter().filter(|operation| {
        windows.iter().any(|window| window.from < operation.intended && operation.ended < window.to)
    });
    let stats = ledger.queue.stats().await?;
    voyage.check(
        Objective::availability(1.0).check("every job ends, though no connection is to be had", &operations),
    );
    voyage.check(
        Objective::latency(0.99, ANSWER)
            .at_least(50)
            .check("jobs are claimed, run and recorded in time", &operations),
    );
    let dead: Vec<String> = (0..stats.rescued).map(|_| "a job was taken back".to_owned()).collect();
    voyage.check(check::none("the worker is not taken for dead", &dead));
    let verdict = if was_exhausted { Verdict::Held } else { Verdict::Unknown };
    let detail = format!("all {POOL} connections were held, and nobody got another one");
    voyage.check(Check::new("the pool was used up", verdict, detail));
    voyage.check(check::exercised(
        "there was work meanwhile",
        meanwhile.count() as u64,
        "jobs were answered",
    ));
    Ok(())
}

/// Enqueues a job, and waits until its result is there.
async fn ask(queue: Queue) -> Result<(), Failure> {
    let told = |error: seaworthy_queue::Error| Failure::unknown(error);
    let job = queue.push(&NewJob::new("answer", &()).map_err(told)?).await.map_err(told)?;
    let answered = async {
        loop {
            if queue.result::<bool>(job).await.map_err(told)?.is_some() {
                return Ok(());
            }
            sleep(ms(10)).await;
        }
    };
    timeout(ANSWER * 4, answered).await.map_err(Failure::unknown)?
}

/// Has handlers take every connection, and says whether there was none left.
async fn exhaust(
    voyage: &Voyage,
    queue: &Queue,
    pool: &PgPool,
    holding: &AtomicU32,
) -> Result<bool, BoxError> {
    sleep(ms(500)).await;
    for _ in 0..POOL {
        queue.push(&NewJob::new("hoard", &())?).await?;
    }
    while holding.load(Ordering::Relaxed) < POOL && voyage.history().now() < HOLD {
        sleep(ms(5)).await;
    }
    let fault = voyage.own_fault("application", "its pool is used up");
    let is_exhausted = pool.try_acquire().is_none() && holding.load(Ordering::Relaxed) == POOL;
    while holding.load(Ordering::Relaxed) == POOL {
        sleep(ms(5)).await;
    }
    drop(fault);
    Ok(is_exhausted)
}
