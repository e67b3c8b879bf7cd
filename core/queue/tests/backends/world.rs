//! A queue on each back end, and how time passes there.

use std::time::Duration;

use seaworthy_harness::{Env, env::Schema};
use seaworthy_queue::{
    Queue, Stats,
    backend::{Backend, Fsync, Memory},
};
use sqlx::PgPool;

pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A database with the queue's tables.
pub(crate) fn schema() -> Schema {
    Schema::new().migrator(Queue::migrations())
}

/// A queue without jobs, for one test.
pub(crate) struct World {
    pub(crate) queue: Queue,
    clock: Clock,
}

enum Clock {
    Memory(Memory),
    /// With the folder that the file is in, which goes with it.
    File(Memory, #[expect(dead_code, reason = "it is there to be dropped")] tempfile::TempDir),
    Postgres(PgPool),
    #[cfg(feature = "redis")]
    Redis(redis::aio::MultiplexedConnection),
}

impl World {
    pub(crate) fn memory() -> Self {
        let memory = Memory::new();
        World { queue: Queue::on(memory.clone()), clock: Clock::Memory(memory) }
    }

    pub(crate) fn file() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::open(folder.path().join("queue.jsonl"), Fsync::Always).unwrap();
        World { queue: Queue::on(memory.clone()), clock: Clock::File(memory, folder) }
    }

    pub(crate) async fn postgres(env: &Env) -> Self {
        let pool = env.postgres().await.pool().clone();
        World { queue: Queue::new(pool.clone()), clock: Clock::Postgres(pool) }
    }

    #[cfg(feature = "redis")]
    pub(crate) async fn redis(env: &Env) -> Self {
        let redis = env.redis().await;
        let client = redis::Client::open(redis.url()).unwrap();
        let backend = seaworthy_queue::backend::Redis::new(client, "test").unwrap();
        World { queue: Queue::on(backend), clock: Clock::Redis(redis.connection().await.unwrap()) }
    }

    pub(crate) fn backend(&self) -> &dyn Backend {
        self.queue.backend()
    }

    pub(crate) async fn stats(&self) -> Stats {
        self.queue.stats().await.unwrap()
    }

    /// Lets time pass: all that the storage knows is so much longer ago.
    pub(crate) async fn pass(&self, time: Duration) {
        match &self.clock {
            Clock::Memory(memory) | Clock::File(memory, _) => memory.advance(time),
            Clock::Postgres(pool) => {
                for statement in [
                    "update seaworthy_queue.scheduled set run_at = run_at - $1 * interval '1 second'",
                    "update seaworthy_queue.blocked set run_at = run_at - $1 * interval '1 second'",
                    "update seaworthy_queue.worker set beat_at = beat_at - $1 * interval '1 second'",
                    "update seaworthy_queue.unique_key set until = until - $1 * interval '1 second'",
                    "update seaworthy_queue.ready set rank = rank - ($1 * 1000)::bigint",
                    "update seaworthy_queue.job set created_at = created_at - $1 * interval '1 second',
                        expires_at = expires_at - $1 * interval '1 second'",
                ] {
                    sqlx::query(statement).bind(time.as_secs_f64()).execute(pool).await.unwrap();
                }
            }
            #[cfg(feature = "redis")]
            Clock::Redis(connection) => {
                let script = redis::Script::new(include_str!("pass.lua"));
                let mut connection = connection.clone();
                let () = script
                    .key("{seaworthy:test}")
                    .arg(time.as_micros() as u64)
                    .invoke_async(&mut connection)
                    .await
                    .unwrap();
            }
        }
    }

    /// Polls the counts until they are as wanted.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Stats) -> bool) -> Stats {
        let give_up = std::time::Instant::now() + DEADLINE;
        loop {
            let stats = self.stats().await;
            if wanted(&stats) {
                return stats;
            }
            assert!(std::time::Instant::now() < give_up, "{what} did not happen: {stats:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
