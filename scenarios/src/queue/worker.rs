//! A worker of the scenarios, in a process of its own or within the scenario's.

use std::{ffi::OsString, future::pending, path::Path, process::ExitCode, time::Duration};

use clap::Parser;
use seaworthy_harness::{App, BoxError};
use seaworthy_queue::{Backoff, Queue, RunningWorker, Worker};
use seaworthy_telemetry::{logging::Logging, settings::Settings};
use sqlx::PgPool;
use tokio::time::{Instant, sleep};

use super::ledger::{self, KIND};

/// What it says once it is at work.
const AT_WORK: &str = "a worker is at work";
/// How long a database that is away is waited for at the start.
const START_DEADLINE: Duration = Duration::from_secs(20);
/// A pause before the next try.
const PAUSE: Duration = Duration::from_millis(100);

/// How a worker works.
#[derive(Debug, Clone, Parser)]
#[command(name = "queue-worker")]
pub(super) struct Hand {
    /// Its name in the ledger.
    #[arg(long)]
    pub(super) name: String,
    /// Jobs at once.
    #[arg(long, default_value_t = 8)]
    pub(super) concurrency: usize,
    /// How long a job takes, in milliseconds.
    #[arg(long, default_value_t = 100)]
    pub(super) takes_ms: u64,
    /// How often it says that it is alive, in milliseconds.
    #[arg(long, default_value_t = 2_000)]
    pub(super) heartbeat_ms: u64,
    /// After how long without that it is taken for dead, in milliseconds.
    #[arg(long, default_value_t = 10_000)]
    pub(super) lease_timeout_ms: u64,
    /// How long a job may take, in milliseconds.
    #[arg(long, default_value_t = 60_000)]
    pub(super) job_timeout_ms: u64,
    /// Records without looking at the lease.
    #[arg(long)]
    pub(super) unfenced: bool,
}

impl Hand {
    /// With the queue's own settings.
    pub(super) fn new(name: impl Into<String>) -> Self {
        let (heartbeat_ms, lease_timeout_ms, job_timeout_ms) = (2_000, 10_000, 60_000);
        let (concurrency, takes_ms, unfenced) = (8, 100, false);
        Hand {
            name: name.into(),
            concurrency,
            takes_ms,
            heartbeat_ms,
            lease_timeout_ms,
            job_timeout_ms,
            unfenced,
        }
    }

    /// Works within this process.
    pub(super) fn start(&self, pool: PgPool) -> RunningWorker {
        let ms = Duration::from_millis;
        let (name, takes, is_unfenced) = (self.name.clone(), ms(self.takes_ms), self.unfenced);
        Worker::new(Queue::new(pool.clone()))
            .concurrency(self.concurrency)
            .heartbeat(ms(self.heartbeat_ms), ms(self.lease_timeout_ms))
            .job_timeout(ms(self.job_timeout_ms))
            .poll(ms(50))
            .backoff(Backoff::exponential(ms(100), ms(1_000)))
            .handle(KIND, move |job| {
                let (pool, name) = (pool.clone(), name.clone());
                async move {
                    if is_unfenced {
                        ledger::record_unfenced(&pool, &name, takes, job).await
                    } else {
                        ledger::record(&pool, &name, takes, job).await
                    }
                }
            })
            .start()
    }

    /// A process of this program that works on this database.
    pub(super) fn app(&self, program: &Path, url: String) -> App {
        let mut args = vec!["queue-worker".to_owned(), "--name".to_owned(), self.name.clone()];
        let numbers = [
            ("--concurrency", self.concurrency as u64),
            ("--takes-ms", self.takes_ms),
            ("--heartbeat-ms", self.heartbeat_ms),
            ("--lease-timeout-ms", self.lease_timeout_ms),
            ("--job-timeout-ms", self.job_timeout_ms),
        ];
        args.extend(numbers.into_iter().flat_map(|(name, number)| [name.to_owned(), number.to_string()]));
        args.extend(self.unfenced.then(|| "--unfenced".to_owned()));
        App::worker(program, AT_WORK).args(args).env("DATABASE_URL", url)
    }
}

/// Runs a worker with these arguments, its name first, until the process ends.
pub(crate) async fn run_worker(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let hand = match Hand::try_parse_from(args) {
        Ok(hand) => hand,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(2);
        }
    };
    match work(hand).await {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("queue-worker: {error}");
            ExitCode::FAILURE
        }
    }
}

enum Never {}

async fn work(hand: Hand) -> Result<Never, BoxError> {
    let _logging = Logging::start(&Settings::from_env()?)?;
    let url = std::env::var("DATABASE_URL").map_err(|_| "DATABASE_URL is not set")?;
    // As many as there are handlers, and some more: nobody waits for a connection here.
    let pool = ledger::pool(&url, "worker", hand.concurrency as u32 + 2, ledger::CONNECT)?;
    let give_up = Instant::now() + START_DEADLINE;
    while let Err(error) = ledger::migrate(&pool).await {
        if Instant::now() > give_up {
            return Err(error);
        }
        sleep(PAUSE).await;
    }
    let _worker = hand.start(pool);
    eprintln!("{AT_WORK}");
    pending().await
}
