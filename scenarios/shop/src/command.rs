//! The shop's command line, and its processes.

use std::{ffi::OsString, pin::pin, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand};
use seaworthy_queue::{Backoff, Queue, Worker};
use seaworthy_telemetry::lifecycle::{self, Draining, Server, Supervisor, told_to_stop};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::{bug::Bug, fulfilment::fulfil, live::Hub, relay, schema::migrate, server, telemetry::Telemetry};

/// How long requests and jobs that are under way get when the shop is told to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// Connections of a server at most: more requests than that at once are better off in a line here than among Postgres' processes.
const SERVER_CONNECTIONS: u32 = 8;
/// Connections of a worker at most: one for each order that it packs, and those of the queue.
const WORKER_CONNECTIONS: u32 = 16;
/// Connections that are open before a process says that it is ready, so that the first requests after a restart need not wait for them.
const READY_CONNECTIONS: u32 = 4;
/// How long a request waits for a connection: less than the server gives it, so that it ends with a refusal instead of an unknown outcome.
const ACQUIRE_DEADLINE: Duration = Duration::from_millis(1_500);

/// A small shop: the reference application of Seaworthy.
#[derive(Debug, Parser)]
#[command(name = "shop")]
pub struct Shop {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Serve HTTP and WebSockets.
    Serve {
        #[command(flatten)]
        services: Services,
        /// The address to listen on.
        #[arg(long, default_value = "127.0.0.1:8080")]
        listen: String,
    },
    /// Serve as `serve` does, by a process that SIGHUP replaces without losing a request.
    Supervise {
        #[command(flatten)]
        services: Services,
        /// The address to listen on.
        #[arg(long, default_value = "127.0.0.1:8080")]
        listen: String,
    },
    /// Fulfil orders.
    Work {
        #[command(flatten)]
        services: Services,
        #[command(flatten)]
        packing: Packing,
        /// The address on which to tell health and metrics; nowhere unless given.
        #[arg(long)]
        listen: Option<String>,
    },
}

#[derive(Debug, Args)]
struct Services {
    /// The Postgres database.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
    /// The Redis server.
    #[arg(long, env = "REDIS_URL", hide_env_values = true)]
    redis_url: String,
}

#[derive(Debug, Args)]
struct Packing {
    /// Orders that are packed at once.
    #[arg(long, default_value_t = 8)]
    concurrency: usize,
    /// How long it takes to pack an order, in milliseconds.
    #[arg(long, default_value_t = 100)]
    packing_ms: u64,
    /// How often a worker says that it is alive, in milliseconds.
    #[arg(long, default_value_t = 2_000)]
    heartbeat_ms: u64,
    /// After how long without that it is taken for dead, in milliseconds.
    #[arg(long, default_value_t = 10_000)]
    lease_timeout_ms: u64,
}

#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("can't connect to Postgres: {0}")]
    Postgres(#[from] sqlx::Error),
    #[error("the Redis URL is not valid: {0}")]
    Redis(#[from] redis::RedisError),
    #[error("the shop's tables can't be made: {0}")]
    Migration(#[from] seaworthy_queue::Error),
    #[error(transparent)]
    Lifecycle(#[from] lifecycle::Error),
    #[error("the program that runs can't be found, to run it again: {0}")]
    Program(#[from] std::io::Error),
}

/// Runs the shop with these arguments, the program's name first, until it is told to stop.
pub async fn run_command<T: Into<OsString> + Clone>(args: impl IntoIterator<Item = T>) -> ExitCode {
    match Shop::try_parse_from(args) {
        Ok(shop) => shop.run().await,
        Err(error) => {
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { 2 } else { 0 })
        }
    }
}

impl Shop {
    /// Runs until it is told to stop.
    pub async fn run(self) -> ExitCode {
        let telemetry = match Telemetry::start() {
            Ok(telemetry) => telemetry,
            Err(error) => {
                eprintln!("shop: {}", error.details());
                return ExitCode::FAILURE;
            }
        };
        let outcome = match self.role {
            Role::Serve { services, listen } => serve(services, listen, &telemetry).await,
            Role::Supervise { services, listen } => supervise(&services, listen).await,
            Role::Work { services, packing, listen } => {
                run_worker(services, packing, listen, &telemetry).await
            }
        };
        telemetry.end().await;
        match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("shop: {error}");
                ExitCode::FAILURE
            }
        }
    }
}

impl Services {
    /// Connects and migrates. A database that is busy or away gets some time: the shop may be started in the middle of an
    /// outage, and must not add to it by ending.
    async fn connect(&self, connections: u32) -> Result<(PgPool, redis::Client), StartError> {
        const START_DEADLINE: Duration = Duration::from_secs(15);
        const PAUSE: Duration = Duration::from_millis(200);
        let give_up = Instant::now() + START_DEADLINE;
        loop {
            match self.try_to_connect(connections).await {
                Err(StartError::Postgres(error)) if Instant::now() < give_up && is_away(&error) => {
                    warn!(%error, "Postgres can't be reached yet");
                    sleep(PAUSE).await;
                }
                Err(StartError::Migration(error))
                    if Instant::now() < give_up && migration_met_outage(&error) =>
                {
                    warn!(%error, "the tables can't be made yet");
                    sleep(PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn try_to_connect(&self, connections: u32) -> Result<(PgPool, redis::Client), StartError> {
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .min_connections(READY_CONNECTIONS)
            .acquire_timeout(ACQUIRE_DEADLINE)
            .connect(&self.database_url)
            .await?;
        let redis = redis::Client::open(self.redis_url.as_str())?;
        migrate(&pool).await?;
        Ok((pool, redis))
    }
}

/// Whether it is worth trying again: the database was not reached, as opposed to having refused.
fn is_away(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut)
}

fn migration_met_outage(error: &seaworthy_queue::Error) -> bool {
    match error {
        seaworthy_queue::Error::Database(error) => is_away(error),
        seaworthy_queue::Error::Migration(
            sqlx::migrate::MigrateError::Execute(error)
            | sqlx::migrate::MigrateError::ExecuteMigration(error, _),
        ) => is_away(error),
        _ => false,
    }
}

async fn serve(services: Services, listen: String, telemetry: &Telemetry) -> Result<(), StartError> {
    let mut told = pin!(told_to_stop());
    let (pool, redis) = tokio::select! {
        connected = services.connect(SERVER_CONNECTIONS) => connected?,
        () = &mut told => return Ok(()),
    };
    let draining = Draining::new();
    let (hub, listening) = Hub::new(redis.clone(), draining.clone(), telemetry.metrics.websocket().clone());
    tokio::spawn(listening);
    let queue = Queue::new(pool.clone()).metrics(telemetry.metrics.clone());
    let health = telemetry.health(&pool, &redis, &queue);
    tokio::spawn(relay::run(pool.clone(), redis));
    let router = server::router(server::Server { pool, queue, hub }, telemetry, health.clone());
    let mut server = Server::new(router).address(listen).draining(draining).deadline(DRAIN);
    server = server.on_drain(move || health.drain());
    if Bug::DropOnRestart.is_planted() {
        server = server.linger(Duration::ZERO).deadline(Duration::ZERO);
    }
    let server = server.bind().await?;
    info!(listen = %server.local_addr(), "the shop is open");
    server.serve(told).await;
    Ok(())
}

/// Runs `serve` with the same options in a process of its own, on a socket that stays open. The services reach that process by its
/// environment, where nobody can list them.
async fn supervise(services: &Services, listen: String) -> Result<(), StartError> {
    let program = std::env::current_exe()?;
    // `shop supervise …` where the program is the shop, `seaworthy shop supervise …` where the shop is a part of it.
    let before = std::env::args_os().skip(1).take_while(|argument| argument != "supervise");
    let serve = before.chain(["serve".into(), "--listen".into(), listen.clone().into()]);
    Ok(Supervisor::new(program)
        .args(serve)
        .env("DATABASE_URL", &services.database_url)
        .env("REDIS_URL", &services.redis_url)
        .address(listen)
        .stop_within(DRAIN + DRAIN / 2)
        .run()
        .await?)
}

async fn run_worker(
    services: Services,
    work: Packing,
    listen: Option<String>,
    telemetry: &Telemetry,
) -> Result<(), StartError> {
    let (pool, redis) = services.connect(WORKER_CONNECTIONS).await?;
    let queue = Queue::new(pool.clone()).metrics(telemetry.metrics.clone());
    let health = telemetry.health(&pool, &redis, &queue);
    tokio::spawn(relay::run(pool.clone(), redis));
    if let Some(listen) = listen {
        let server = Server::new(server::about(telemetry, health)).address(listen).bind().await?;
        tokio::spawn(server.serve(std::future::pending()));
    }
    let packing = Duration::from_millis(work.packing_ms);
    let worker = Worker::new(queue)
        .concurrency(work.concurrency)
        .heartbeat(Duration::from_millis(work.heartbeat_ms), Duration::from_millis(work.lease_timeout_ms))
        .poll(Duration::from_millis(50))
        .backoff(Backoff::exponential(Duration::from_millis(200), Duration::from_secs(2)))
        .handle("fulfil", move |job| fulfil(pool.clone(), packing, job))
        .start();
    info!("a worker is at work");
    told_to_stop().await;
    worker.drain(DRAIN).await;
    Ok(())
}
