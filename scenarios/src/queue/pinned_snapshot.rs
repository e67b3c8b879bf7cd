//! A transaction holds a snapshot: nothing that was deleted since can be cleaned away, and a queue deletes all the time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use seaworthy_harness::{
    BoxError, Postgres, Scenario, Stack, Voyage, check,
    reports::{Check, Verdict},
};
use seaworthy_queue::{NewJob, Queue, RunningWorker, Worker};
use sqlx::{Executor as _, PgPool};
use tokio::time::{sleep, timeout};

use super::{
    QueueScenarios,
    ledger::{self, Ledger},
};

/// The share of its throughput that a queue keeps.
const SHARE: f64 = 0.8;
/// Jobs of a round.
const ROUND: usize = 3_000;
/// Rounds of each of the two databases that are compared.
const ROUNDS: usize = 15;
/// How often it is measured whether the share is kept, at most: what slows the queue down stays, and what else the machine does for a while does not.
const MEASUREMENTS: usize = 3;
/// How long a round may take.
const ROUND_LIMIT: Duration = Duration::from_secs(60);

pub(super) fn scenario(of: &QueueScenarios) -> Scenario {
    let held = Duration::from_secs(of.form.choose(6, 300));
    let summary = format!(
        "A transaction holds a snapshot for {} s while jobs come and go as fast as they can.",
        held.as_secs()
    );
    Scenario::new("queue-pinned-snapshot", summary).sail(move |voyage| sail(held, voyage))
}

/// Two databases of one server do the same work in turns, so that whatever else the machine does hits both. A snapshot holds back the cleaning of its own database alone.
async fn sail(held: Duration, voyage: Voyage) -> Result<(), BoxError> {
    let stack = voyage.start(Stack::builder().postgres(Postgres::new().durable(true))).await?;
    let ledger = Ledger::open(stack).await?;
    for name in ["pinned", "free"] {
        ledger.pool.execute(sqlx::AssertSqlSafe(format!("create database {name}"))).await?;
    }
    let direct_url = stack.postgres().direct_url();
    let (mut pinned, mut free) =
        (Yard::open(&direct_url, "pinned").await?, Yard::open(&direct_url, "free").await?);
    voyage.phase("measuring before");
    let before = compare(&mut pinned, &mut free).await?;

    let mut snapshot = pinned.pool.acquire().await?;
    snapshot
        .execute("begin isolation level repeatable read; select count(*) from seaworthy_queue.job")
        .await?;
    let fault = voyage.own_fault("postgres", "pinned snapshot");
    voyage.until("working under a pinned snapshot", voyage.history().now() + held);
    let since = Instant::now();
    while since.elapsed() < held {
        pinned.round().await?;
    }
    let dead: i64 =
        sqlx::query_scalar("select coalesce(sum(n_dead_tup), 0)::bigint from pg_stat_user_tables")
            .fetch_one(&pinned.pool)
            .await?;
    voyage.phase("measuring under a pinned snapshot");
    let mut under = 0.0_f64;
    for _ in 0..MEASUREMENTS {
        under = under.max(compare(&mut pinned, &mut free).await?);
        if under >= SHARE * before {
            break;
        }
    }
    drop(fault);
    snapshot.execute("rollback").await?;

    let kept = under / before;
    let verdict = if kept >= SHARE { Verdict::Held } else { Verdict::Violated };
    let detail = format!(
        "{:.0} % of before after {} jobs, of {:.0} %: beside a database without a snapshot, {:.2} before and {under:.2} then",
        kept * 100.0,
        pinned.sent,
        SHARE * 100.0,
        before
    );
    voyage.check(Check::new("throughput is kept", verdict, detail));
    let (sent, ran) = (pinned.sent + free.sent, pinned.done() + free.done());
    voyage.check(check::at_least("every job ran", ran, sent));
    voyage.check(check::exercised(
        "dead rows piled up",
        u64::try_from(dead).unwrap_or(0),
        "rows could not be cleaned away",
    ));
    voyage.number("Jobs under the snapshot", pinned.sent.to_string());
    Ok(())
}

/// How fast the first is, as a share of the second: the median of rounds in turns.
async fn compare(one: &mut Yard, other: &mut Yard) -> Result<f64, BoxError> {
    let mut shares = Vec::new();
    for _ in 0..ROUNDS {
        let (one, other) = (one.round().await?, other.round().await?);
        shares.push(other.as_secs_f64() / one.as_secs_f64());
    }
    shares.sort_by(f64::total_cmp);
    Ok(shares[ROUNDS / 2])
}

/// A database with a queue and a worker.
struct Yard {
    pool: PgPool,
    queue: Queue,
    ran: Arc<AtomicU64>,
    sent: u64,
    _worker: RunningWorker,
}

impl Yard {
    async fn open(url: &str, database: &str) -> Result<Self, BoxError> {
        let pool = ledger::pool_of(url, database)?;
        let queue = Queue::new(pool.clone());
        queue.migrate().await?;
        let ran = Arc::new(AtomicU64::new(0));
        let counted = ran.clone();
        let worker = Worker::new(queue.clone()).concurrency(64).handle("nothing", move |job| {
            counted.fetch_add(1, Ordering::Relaxed);
            async move { Ok(job.done()) }
        });
        Ok(Yard { pool, queue, ran, sent: 0, _worker: worker.start() })
    }

    fn done(&self) -> u64 {
        self.ran.load(Ordering::Relaxed)
    }

    /// Enqueues jobs, and says how long it takes from their commit until all have run.
    async fn round(&mut self) -> Result<Duration, BoxError> {
        let jobs = vec![NewJob::new("nothing", &())?; ROUND];
        let mut tx = self.pool.begin().await?;
        self.queue.enqueue_many(&mut tx, &jobs).await?;
        tx.commit().await?;
        self.sent += ROUND as u64;
        let began = Instant::now();
        self.queue.wake("default");
        let all = async {
            while self.done() < self.sent {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(ROUND_LIMIT, all)
            .await
            .map_err(|_| format!("a round of {ROUND} jobs was not over after {ROUND_LIMIT:?}"))?;
        Ok(began.elapsed())
    }
}
