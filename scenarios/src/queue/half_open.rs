//! A worker's connections go dead without a word.

use std::time::Duration;

use seaworthy_harness::{BoxError, Postgres, Profile, Scenario, Service, Stack, Toxic, Voyage, check};
use tokio::time::sleep;

use super::{
    Flaw, QueueScenarios,
    ledger::{Ledger, Producer},
    rescues::{rescued_within, rescues},
    worker::Hand,
};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Jobs per second.
const RATE: f64 = 60.0;
/// How long a job takes. All of them together are more than two workers can have at once, so that the third has some whenever it vanishes.
const TAKES: Duration = ms(300);
/// The worker whose connections go dead. It alone works through the proxy.
const VICTIM: &str = "worker-1";
const HEARTBEAT: Duration = ms(500);
const LEASE_TIMEOUT: Duration = ms(2_000);
const JOB_TIMEOUT: Duration = ms(1_500);
/// A statement of a worker may take a third of its lease timeout.
const STATEMENT: Duration = ms(LEASE_TIMEOUT.as_millis() as u64 / 3);
/// A worker that hears nothing notices with its next heartbeat but one.
const NOTICE_LIMIT: Duration = ms((HEARTBEAT.as_millis() + 2 * STATEMENT.as_millis()) as u64);
/// Others take its jobs back once it was silent for too long, and no completion of it is on its way.
const RESCUE_LIMIT: Duration = ms((LEASE_TIMEOUT.as_millis() + JOB_TIMEOUT.as_millis() + 2_000) as u64);

pub(super) fn scenario(of: &QueueScenarios) -> Scenario {
    let of = of.clone();
    let summary = "A worker's connections to Postgres go dead without a word: first the server vanishes, then the network swallows everything.";
    Scenario::new("queue-half-open", summary).sail(move |voyage| sail(of.clone(), voyage))
}

async fn sail(of: QueueScenarios, voyage: Voyage) -> Result<(), BoxError> {
    let mut builder = Stack::builder().postgres(Postgres::new());
    for name in [VICTIM, "worker-2", "worker-3"] {
        let lease_timeout_ms =
            if of.has(Flaw::NoRescue) { 3_600_000 } else { LEASE_TIMEOUT.as_millis() as u64 };
        let hand = Hand {
            takes_ms: TAKES.as_millis() as u64,
            heartbeat_ms: HEARTBEAT.as_millis() as u64,
            lease_timeout_ms,
            job_timeout_ms: JOB_TIMEOUT.as_millis() as u64,
            ..Hand::new(name)
        };
        let program = of.program.clone();
        builder = builder.app(name, move |stack| {
            let postgres = stack.postgres();
            hand.app(&program, if name == VICTIM { postgres.url() } else { postgres.direct_url() })
        });
    }
    let stack = voyage.start(builder).await?;
    let ledger = Ledger::open(stack).await?;
    let producer = Producer::new(&stack.postgres().direct_url())?;
    let load = voyage.workload(Profile::constant(RATE, ms(10_000)));
    let load = load.operation("enqueue", 1, move |call| {
        let (producer, key) = (producer.clone(), call.number() as i64);
        call.key(key.to_string());
        async move { producer.send(key).await }
    });
    let (_, noticed) = tokio::try_join!(async { Ok(voyage.sail(&load).await?) }, go_dead(&voyage))?;

    ledger.check(&voyage, ms(20_000)).await?;
    voyage.check(check::within("the worker notices a connection that went dead", noticed, NOTICE_LIMIT));
    let windows = voyage.windows();
    let vanished: Vec<_> = windows.iter().map(|window| (VICTIM.to_owned(), window.from)).collect();
    let (began, recorded) = (ledger.began(voyage.history()).await?, ledger.recorded(voyage.history()).await?);
    voyage.check(rescued_within("others run its jobs", &rescues(&vanished, &began, &recorded), RESCUE_LIMIT));
    let last = windows.iter().map(|window| window.to).max().unwrap_or_default();
    let back = began.iter().filter(|line| line.worker == VICTIM && line.at > last).count() as u64;
    voyage.check(check::exercised("the worker came back", back, "jobs were begun by it after that"));
    Ok(())
}

/// First the server vanishes from the worker's view, then nothing passes in either direction any more, so that the server keeps the worker's transactions open. Says how long the
/// worker took to notice the first.
async fn go_dead(voyage: &Voyage) -> Result<Option<Duration>, BoxError> {
    const LAST: Duration = ms(3_000);
    let (postgres, victim) = (voyage.stack().postgres(), voyage.stack().service(VICTIM)?);
    let proxy = postgres.proxy().ok_or("Postgres is behind no proxy")?;
    sleep(ms(1_500)).await;
    let fault = voyage.own_fault(VICTIM, "half-open connections");
    proxy.add_toxic(Toxic::half_open().named("half_open"))?;
    let noticed = notices(voyage, &victim, LAST).await;
    sleep(LAST.saturating_sub(noticed.unwrap_or(LAST))).await;
    proxy.remove_toxic("half_open")?;
    drop(fault);
    sleep(ms(1_000)).await;
    let fault = voyage.own_fault(VICTIM, "blackhole");
    proxy.add_toxic(Toxic::blackhole().named("blackhole"))?;
    sleep(LAST).await;
    proxy.remove_toxic("blackhole")?;
    drop(fault);
    Ok(noticed)
}

/// How long it takes until the worker says that it had no answer.
async fn notices(voyage: &Voyage, victim: &Service, limit: Duration) -> Option<Duration> {
    let since = voyage.history().now();
    while voyage.history().now() < since + limit {
        if victim.said("no answer within").await {
            return Some(voyage.history().now() - since);
        }
        sleep(ms(20)).await;
    }
    None
}
