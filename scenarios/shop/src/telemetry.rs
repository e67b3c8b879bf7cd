//! What the shop tells about itself: logs, metrics, health, queries and reports, all started in one place.

use std::{env, path::PathBuf, time::Duration};

use seaworthy_errors::{Error, JsonLines, Log, Reports, Webhook};
use seaworthy_queue::Queue;
use seaworthy_telemetry::{
    health::{DiskCheck, Health, MemoryCheck, PostgresCheck, RedisCheck, backlog_check},
    logging::Logging,
    metrics::Metrics,
    profiles::Protection,
    queries::{self, Callers, QueryLog},
    redaction, settings,
    timeline::{self, Timelines},
};
use sqlx::PgPool;

/// The shop's name in its pool's metrics.
const POOL: &str = "shop";
/// How often the components' health is looked at, at most.
const CHECK_EVERY: Duration = Duration::from_millis(500);
/// How often the queue is counted for the metrics.
const COUNT_EVERY: Duration = Duration::from_secs(5);
/// A backlog that somebody should look at.
const LONG_BACKLOG: (u64, Duration) = (1_000, Duration::from_secs(60));

/// Ends the log when it is dropped: kept until the end of the process.
pub(crate) struct Telemetry {
    pub(crate) metrics: Metrics,
    pub(crate) timelines: Timelines,
    pub(crate) protection: Protection,
    pub(crate) reports: Reports,
    queries: QueryLog,
    _logging: Logging,
}

impl Telemetry {
    /// Starts what the environment says. A setting that is wrong keeps the shop from starting.
    pub(crate) fn start() -> Result<Self, Error> {
        let mut statements = queries::Settings::from_env()?;
        if env::var_os("SEAWORTHY_SQL_CALLERS").is_none() {
            // As in production, also in a debug build: the scenarios load the shop.
            statements = statements.callers(Callers::Findings);
        }
        let (queries, timelines) = (statements.start()?, Timelines::new(timeline::Settings::default()));
        let settings = settings::Settings::from_env()?;
        let layers: Vec<_> = vec![Box::new(queries.layer()) as _, Box::new(timelines.layer()) as _];
        let logging = Logging::start_with(&settings, layers)?;
        let metrics = Metrics::new("shop", env!("CARGO_PKG_VERSION"));
        let counted = metrics.clone();
        queries.on_statement(move |statement| counted.pool().statement(statement.kind(), statement.time));
        let mut reports = Reports::builder().to(Log).redact_with(|text| redaction::scrub(text).into_owned());
        if let Some(path) = env::var_os("SHOP_ERRORS_FILE") {
            reports = reports.to(JsonLines::new(PathBuf::from(path)));
        }
        if let Ok(url) = env::var("SHOP_ERRORS_WEBHOOK") {
            reports = reports.to(Webhook::new(url));
        }
        Ok(Telemetry {
            metrics,
            timelines,
            protection: Protection::from_env()?,
            reports: reports.start(),
            queries,
            _logging: logging,
        })
    }

    /// The health of a process of the shop that works with these services.
    pub(crate) fn health(&self, pool: &PgPool, redis: &redis::Client, queue: &Queue) -> Health {
        self.metrics.pool().watch(POOL, pool.clone());
        tokio::spawn(count(queue.clone()));
        let queue = queue.clone();
        let waiting = async move |queue: Queue| {
            let backlog = queue.backlog("default").await?;
            Ok::<_, seaworthy_queue::Error>((backlog.ready, backlog.oldest))
        };
        let ask = move || waiting(queue.clone());
        Health::builder("shop")
            .check_with("postgres", |check| check.every(CHECK_EVERY), PostgresCheck::new(pool.clone()))
            .check_with("redis", |check| check.every(CHECK_EVERY), RedisCheck::new(redis.clone()))
            .check_with("queue", |check| check.groups([]), backlog_check(LONG_BACKLOG.0, LONG_BACKLOG.1, ask))
            .check_with("disk", |check| check.groups([]), DiskCheck::new(env::temp_dir()))
            .check_with("memory", |check| check.groups([]), MemoryCheck::new())
            .build()
    }

    /// Delivers what is on its way. The log ends when this is dropped.
    pub(crate) async fn end(self) {
        const PATIENCE: Duration = Duration::from_secs(2);
        self.reports.flush(PATIENCE).await;
        let queries = self.queries.clone();
        // It blocks its thread.
        let _ = tokio::task::spawn_blocking(move || queries.flush(PATIENCE)).await;
    }
}

/// Keeps the metrics of what waits in the queue up to date, whoever else asks.
async fn count(queue: Queue) {
    loop {
        if let Err(error) = queue.backlog("default").await {
            tracing::debug!(%error, "the queue can't be counted");
        }
        tokio::time::sleep(COUNT_EVERY).await;
    }
}
