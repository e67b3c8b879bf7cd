//! The questions that every contender is asked.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use sqlx::PgPool;
use tokio::time::sleep;

use super::{Contender, Tally, Work};

/// Jobs that are enqueued at once.
pub const BATCH: u64 = 1000;
/// No turn takes longer.
const DEADLINE: Duration = Duration::from_secs(300);

/// What a backlog took that was there before its workers.
#[derive(Debug, Clone, Copy)]
pub struct Burst {
    /// Jobs a second, from the start of the workers until the end of the last job was recorded.
    pub per_second: f64,
    /// Bytes of write-ahead log a job, without what enqueuing took.
    pub wal_per_job: f64,
}

/// Enqueues so many jobs, then starts workers with these concurrencies.
///
/// # Errors
///
/// When the queue fails, loses jobs or runs some twice.
pub async fn burst(contender: &dyn Contender, jobs: u64, workers: &[usize]) -> anyhow::Result<Burst> {
    let work = Work::numbered(0..jobs);
    for batch in work.chunks(BATCH as usize) {
        contender.enqueue(batch).await?;
    }
    let wal = wal_position(contender.pool()).await?;
    let tally = Arc::new(Tally::default());
    let began = Instant::now();
    let mut running = Vec::new();
    for concurrency in workers {
        running.push(contender.start(*concurrency, tally.clone()).await?);
    }
    tally.reach(jobs, DEADLINE).await?;
    while contender.has_unfinished().await? {
        anyhow::ensure!(began.elapsed() < DEADLINE, "the ends of jobs are not recorded");
        sleep(Duration::from_millis(1)).await;
    }
    let took = began.elapsed();
    let wal = wal_position(contender.pool()).await? - wal;
    for worker in running {
        worker.stop().await?;
    }
    let sum = work.iter().map(|work| work.number).sum::<u64>();
    anyhow::ensure!(tally.jobs() == jobs && tally.sum() == sum, "{} jobs ran, not {jobs}", tally.jobs());
    Ok(Burst { per_second: jobs as f64 / took.as_secs_f64(), wal_per_job: wal as f64 / jobs as f64 })
}

/// Enqueues so many jobs in batches, and leaves them there.
///
/// # Errors
///
/// When the queue fails.
pub async fn enqueue(contender: &dyn Contender, jobs: u64) -> anyhow::Result<Burst> {
    let work = Work::numbered(0..jobs);
    let wal = wal_position(contender.pool()).await?;
    let began = Instant::now();
    for batch in work.chunks(BATCH as usize) {
        contender.enqueue(batch).await?;
    }
    let took = began.elapsed();
    let wal = wal_position(contender.pool()).await? - wal;
    Ok(Burst { per_second: jobs as f64 / took.as_secs_f64(), wal_per_job: wal as f64 / jobs as f64 })
}

/// How soon a job begins, in milliseconds, on a worker that has nothing else to do.
#[derive(Debug, Clone, Copy)]
pub struct Pickup {
    /// From when the producer began to enqueue it.
    pub from_call: f64,
    /// From when the producer knew that it was committed; zero when the handler was faster.
    pub from_commit: f64,
}

/// Enqueues so many jobs one by one, with pauses of a random length.
///
/// # Errors
///
/// When the queue fails.
pub async fn pickup(contender: &dyn Contender, jobs: u64) -> anyhow::Result<Vec<Pickup>> {
    const WARM: u64 = 20;
    let tally = Arc::new(Tally::default());
    let worker = contender.start(16, tally.clone()).await?;
    let mut random = ChaCha8Rng::seed_from_u64(jobs);
    let mut picked = Vec::new();
    for job in 1..=jobs + WARM {
        sleep(Duration::from_micros(random.random_range(20_000..60_000))).await;
        tally.aim(job);
        let called = Instant::now();
        contender.push(Work { number: job }).await?;
        let committed = Instant::now();
        let began = tally.reach(job, DEADLINE).await?;
        let millis = |since| began.saturating_duration_since(since).as_secs_f64() * 1e3;
        if job > WARM {
            picked.push(Pickup { from_call: millis(called), from_commit: millis(committed) });
        }
    }
    worker.stop().await?;
    Ok(picked)
}

/// How many bytes the server has ever written to its write-ahead log.
///
/// # Errors
///
/// When Postgres does not answer.
pub async fn wal_position(pool: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar("select (pg_current_wal_insert_lsn() - '0/0')::bigint").fetch_one(pool).await
}

/// The most memory that this process ever had, in MiB.
///
/// # Errors
///
/// Where there is no `/proc`.
pub fn peak_memory_mib() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    Ok(kib
        .ok_or_else(|| anyhow::anyhow!("the system does not say how much memory a process has"))?
        .parse::<f64>()?
        / 1024.0)
}
