//! Real services, started, broken and gone again.

use std::time::{Duration, Instant};

use seaworthy_harness::{App, Error, Fault, History, Postgres, Redis, Schedule, Stack};
use sqlx::{Connection, PgConnection, Row};

const MULTI: &str = "the harness needs a multi-threaded runtime";

async fn ping(url: &str) -> redis::RedisResult<String> {
    let client = redis::Client::open(url)?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    redis::cmd("PING").query_async(&mut connection).await
}

async fn one(url: &str) -> Result<i32, sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    let row = sqlx::query("select 1").fetch_one(&mut connection).await?;
    row.try_get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn services_answer_directly_and_through_their_proxies() {
    let _ = MULTI;
    let stack = Stack::builder().postgres(Postgres::new()).redis(Redis::new()).start().await.unwrap();
    for url in [stack.postgres().url(), stack.postgres().direct_url()] {
        assert_eq!(one(&url).await.unwrap(), 1);
    }
    for url in [stack.redis().url(), stack.redis().direct_url()] {
        assert_eq!(ping(&url).await.unwrap(), "PONG");
    }
    let folder = stack.folder().to_owned();
    assert!(folder.is_dir());
    stack.stop().await;
    assert!(!folder.exists());
}
