//! A database of its own for each test, on one Postgres per test program.

use std::sync::atomic::{AtomicU32, Ordering};

use seaworthy_harness::{Postgres, ProviderChoice, Stack};
use seaworthy_queue::Queue;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool, postgres::PgPoolOptions};
use tokio::sync::OnceCell;

/// Lives as long as the test program; its guardian cleans up after that.
static STACK: OnceCell<Stack> = OnceCell::const_new();

/// A queue in a fresh database.
pub(crate) async fn fresh_queue() -> (Queue, PgPool) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let stack = STACK
        .get_or_init(async || {
            let provider = ProviderChoice::from_env().unwrap();
            Stack::builder().provider(provider).postgres(Postgres::new()).start().await.unwrap()
        })
        .await;
    // Past the proxy, whose tasks end with the runtime of the test that started the stack.
    let url = stack.postgres().direct_url();
    let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let mut connection = PgConnection::connect(&url).await.unwrap();
    connection.execute(AssertSqlSafe(format!("create database {name}"))).await.unwrap();
    let (server, _) = url.rsplit_once('/').unwrap();
    let pool = PgPoolOptions::new().max_connections(6).connect(&format!("{server}/{name}")).await.unwrap();
    let queue = Queue::new(pool.clone());
    queue.migrate().await.unwrap();
    (queue, pool)
}
