//! What is written beside the queue's own tables: what was asked for, begun and recorded. And what must hold of it, whatever broke meanwhile.

use std::{
    collections::HashSet,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use seaworthy_harness::{BoxError, Failure, History, Outcome, Stack, Voyage, check};
use seaworthy_queue::{Done, LeasedJob, NewJob, Queue, Stats};
use sqlx::{
    Connection as _, PgPool, Row,
    postgres::{PgConnectOptions, PgPoolOptions, PgRow},
};
use tokio::time::sleep;

use crate::seen::most_frequent_refusals;

/// A pause between two looks at the truth.
const LOOK: Duration = Duration::from_millis(50);
/// How long clients wait for a connection.
pub(super) const CONNECT: Duration = Duration::from_secs(1);
/// What else a producer does that commits its row first and then enqueues the job.
const MEANWHILE: Duration = Duration::from_millis(50);
/// The kind of the ledger's jobs.
pub(super) const KIND: &str = "record";

/// Nothing in it keeps a job from being recorded twice: that is what the queue is for.
/// One transaction, as Postgres runs statements that come together.
const TABLES: &str = "
    select pg_advisory_xact_lock(7265646765);
    create schema if not exists ledger;
    create table if not exists ledger.wanted (key bigint primary key, at timestamptz not null default clock_timestamp());
    create table if not exists ledger.began (key bigint not null, worker text not null,
        at timestamptz not null default clock_timestamp(), workers_clock timestamptz not null);
    create table if not exists ledger.recorded (key bigint not null, worker text not null,
        at timestamptz not null default clock_timestamp())";

/// Creates the ledger's tables and the queue's. Safe from many processes at once.
pub(super) async fn migrate(pool: &PgPool) -> Result<(), BoxError> {
    sqlx::raw_sql(TABLES).execute(pool).await?;
    Ok(Queue::new(pool.clone()).migrate().await?)
}

/// A pool whose connections Postgres knows by this name, and for which nobody waits longer than this.
pub(super) fn pool(url: &str, name: &str, most: u32, wait: Duration) -> Result<PgPool, sqlx::Error> {
    let options = url.parse::<PgConnectOptions>()?.application_name(name);
    Ok(PgPoolOptions::new().max_connections(most).acquire_timeout(wait).connect_lazy_with(options))
}

/// A pool on another database of the same server.
pub(super) fn pool_of(url: &str, database: &str) -> Result<PgPool, sqlx::Error> {
    let options = url.parse::<PgConnectOptions>()?.database(database);
    Ok(PgPoolOptions::new().max_connections(8).acquire_timeout(CONNECT).connect_lazy_with(options))
}

/// Enqueues jobs, each in one transaction with its row.
#[derive(Debug, Clone)]
pub(super) struct Producer {
    pool: PgPool,
    queue: Queue,
    is_apart: bool,
}

impl Producer {
    pub(super) fn new(url: &str) -> Result<Self, sqlx::Error> {
        let pool = pool(url, "producer", 8, CONNECT)?;
        Ok(Producer { queue: Queue::new(pool.clone()), pool, is_apart: false })
    }

    /// One that commits the row first, by mistake.
    pub(super) fn apart(mut self, is_apart: bool) -> Self {
        self.is_apart = is_apart;
        self
    }

    /// Asks for this key to be recorded. To its end, also when its client has no time left: a transaction that is dropped half-begun would stay
    /// open on a connection that somebody else gets.
    pub(super) async fn send(&self, key: i64) -> Result<(), Failure> {
        let producer = self.clone();
        tokio::spawn(async move { producer.write(key).await }).await.map_err(Failure::unknown)?
    }

    async fn write(&self, key: i64) -> Result<(), Failure> {
        let job = NewJob::new(KIND, &key).map_err(Failure::refused)?;
        let mut connection = self.pool.acquire().await?;
        let mut tx = connection.begin().await?;
        sqlx::query("insert into ledger.wanted (key) values ($1)").bind(key).execute(&mut *tx).await?;
        if self.is_apart {
            tx.commit().await?;
            sleep(MEANWHILE).await;
            tx = connection.begin().await?;
        }
        self.queue.enqueue(&mut tx, &job).await.map_err(failure)?;
        tx.commit().await?;
        self.queue.wake("default");
        Ok(())
    }
}

fn failure(error: seaworthy_queue::Error) -> Failure {
    match error {
        seaworthy_queue::Error::Database(error) => error.into(),
        other => Failure::refused(other),
    }
}

/// The handler: takes its time, then records the key together with the completion of the job.
pub(super) async fn record(
    pool: &PgPool,
    worker: &str,
    takes: Duration,
    job: LeasedJob,
) -> Result<Done, seaworthy_queue::Failure> {
    let key = begin(pool, worker, &job).await?;
    sleep(takes).await;
    let mut tx = pool.begin().await?;
    write_down(&mut tx, worker, key).await?;
    let done = job.complete_in_tx(&mut tx).await?;
    tx.commit().await?;
    Ok(done)
}

/// The handler as it must not be: whoever has lost the lease meanwhile has recorded the key all the same.
pub(super) async fn record_unfenced(
    pool: &PgPool,
    worker: &str,
    takes: Duration,
    job: LeasedJob,
) -> Result<Done, seaworthy_queue::Failure> {
    let key = begin(pool, worker, &job).await?;
    let mut tx = pool.begin().await?;
    write_down(&mut tx, worker, key).await?;
    tx.commit().await?;
    sleep(takes).await;
    Ok(job.done())
}

async fn begin(pool: &PgPool, worker: &str, job: &LeasedJob) -> Result<i64, seaworthy_queue::Failure> {
    let key: i64 = job.args()?;
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    sqlx::query("insert into ledger.began (key, worker, workers_clock) values ($1, $2, to_timestamp($3))")
        .bind(key)
        .bind(worker)
        .bind(clock)
        .execute(pool)
        .await?;
    Ok(key)
}

async fn write_down(tx: &mut sqlx::PgConnection, worker: &str, key: i64) -> Result<(), sqlx::Error> {
    sqlx::query("insert into ledger.recorded (key, worker) values ($1, $2)")
        .bind(key)
        .bind(worker)
        .execute(tx)
        .await?;
    Ok(())
}

/// A line of the ledger: which key, by which worker, and when, from the history's start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) key: i64,
    pub(super) worker: String,
    pub(super) at: Duration,
}

/// The ledger as it is in truth, read past every proxy.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    pub(super) pool: PgPool,
    pub(super) queue: Queue,
}

impl Ledger {
    pub(super) async fn open(stack: &Stack) -> Result<Self, BoxError> {
        let pool = pool(&stack.postgres().direct_url(), "ledger", 3, CONNECT)?;
        migrate(&pool).await?;
        Ok(Ledger { queue: Queue::new(pool.clone()), pool })
    }

    /// Every handler that was begun.
    pub(super) async fn began(&self, history: &History) -> Result<Vec<Line>, sqlx::Error> {
        self.lines(
            "select key, worker, extract(epoch from clock_timestamp() - at)::float8 as ago from ledger.began",
            history,
        )
        .await
    }

    /// Every key that was recorded.
    pub(super) async fn recorded(&self, history: &History) -> Result<Vec<Line>, sqlx::Error> {
        self.lines("select key, worker, extract(epoch from clock_timestamp() - at)::float8 as ago from ledger.recorded", history).await
    }

    async fn lines(&self, query: &'static str, history: &History) -> Result<Vec<Line>, sqlx::Error> {
        let rows = sqlx::query(query).fetch_all(&self.pool).await?;
        let now = history.now();
        let line = |row: &PgRow| {
            let ago: f64 = row.try_get("ago")?;
            let at = now.saturating_sub(Duration::from_secs_f64(ago.max(0.0)));
            Ok(Line { key: row.try_get("key")?, worker: row.try_get("worker")?, at })
        };
        rows.iter().map(line).collect()
    }

    /// Waits until every job has come to its end, and checks what must hold in every scenario, so that none can weaken it.
    pub(super) async fn check(&self, voyage: &Voyage, limit: Duration) -> Result<Stats, BoxError> {
        voyage.phase("waiting until every job has come to its end");
        let rested = self.rest(limit).await;
        let wanted: HashSet<i64> = self.keys("select key from ledger.wanted").await?.into_iter().collect();
        let recorded = self.keys("select key from ledger.recorded").await?;
        let present: HashSet<i64> = recorded.iter().copied().collect();
        let accepted = accepted(voyage.history());
        voyage.check(check::within("every job comes to its end", rested.map(|(_, took)| took), limit));
        voyage.check(check::nothing_lost("no accepted job is lost", &accepted, &present));
        voyage.check(check::nothing_twice("no job is recorded twice", &recorded));
        let alone = wanted.symmetric_difference(&present).map(i64::to_string).collect::<Vec<_>>();
        voyage.check(check::none("no row is without its job, and no job without its row", &alone));
        let dead = self.queue.dead_letters(10).await?;
        let dead: Vec<_> = dead.iter().map(|letter| format!("job {}: {}", letter.id, letter.error)).collect();
        voyage.check(check::none("no job is given up", &dead));
        let stats = rested.map_or_else(Stats::default, |(stats, _)| stats);
        voyage.number("Jobs accepted", accepted.len().to_string());
        voyage.number("Jobs recorded", recorded.len().to_string());
        voyage.number("Jobs taken back from dead workers", stats.rescued.to_string());
        for (why, times) in most_frequent_refusals(&voyage.history().operations()) {
            voyage.number(format!("Refused {times} times"), why);
        }
        Ok(stats)
    }

    async fn keys(&self, query: &'static str) -> Result<Vec<i64>, sqlx::Error> {
        sqlx::query_scalar(query).fetch_all(&self.pool).await
    }

    /// Waits until the queue has nothing left to do, so that whatever could still happen twice has happened.
    async fn rest(&self, limit: Duration) -> Option<(Stats, Duration)> {
        let started = Instant::now();
        while started.elapsed() < limit {
            match self.queue.stats().await {
                Ok(stats) if stats.ready + stats.scheduled + stats.blocked + stats.leased == 0 => {
                    return Some((stats, started.elapsed()));
                }
                _ => sleep(LOOK).await,
            }
        }
        None
    }
}

/// The keys that producers were told were accepted.
fn accepted(history: &History) -> Vec<i64> {
    let operations = history.operations().into_iter();
    operations
        .filter(|operation| operation.outcome == Outcome::Ok)
        .filter_map(|operation| operation.key.parse().ok())
        .collect()
}
