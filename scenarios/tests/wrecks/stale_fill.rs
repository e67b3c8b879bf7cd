//! A cache that is filled with whatever was read, and keeps it when somebody else's word that it has changed is lost.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use seaworthy_harness::{BoxError, Failure, Voyage, check};
use sqlx::PgPool;
use tokio::time::sleep;

use crate::sea::{Wreck, direct, load, ms, pool, start};

const CHECK: &str = "what is cached is what is true";

pub(crate) const WRECK: Wreck = Wreck {
    name: "stale-fill",
    check: CHECK,
    scenario: |scenario, flawed| scenario.sail(move |voyage| sail(voyage, flawed)),
};

const SCHEMA: &str = "create table price (id bigint primary key, version bigint not null);
                      insert into price select id, 1 from generate_series(0, 199) id";
/// A write whose client has lost its connection takes place within this time, or never.
const LATE: Duration = ms(200);
/// So many operations in a row are about the same price, which nobody touches afterwards.
const TOGETHER: u64 = 40;
/// Keeps the newer of two versions. An empty place takes any, unless a write has left its mark there.
const FILL: &str = "local old = tonumber(redis.call('get', KEYS[1]) or '0')
                    if tonumber(ARGV[1]) > old then redis.call('set', KEYS[1], ARGV[1]) end";

async fn sail(voyage: Voyage, flawed: bool) -> Result<(), BoxError> {
    let stack = start(&voyage, SCHEMA).await?;
    let (pool, client) = (pool(stack)?, redis::Client::open(stack.redis().url())?);
    let shelf = Shelf { pool, client, flawed };
    let (reader, writer) = (shelf.clone(), shelf);
    let both = load(&voyage, 200.0)
        .operation("read", 1, move |call| {
            let (shelf, id) = (reader.clone(), (call.number() / TOGETHER) as i64);
            call.key(id.to_string());
            async move { shelf.read(id).await }
        })
        .operation("raise", 1, move |call| {
            let (shelf, id) = (writer.clone(), (call.number() / TOGETHER) as i64);
            call.key(id.to_string());
            async move { shelf.raise(id).await }
        });
    voyage.sail(&both).await?;
    // Whoever still retries to make the cache right has until then.
    sleep(ms(1_200)).await;
    let truth: Vec<(i64, i64)> =
        sqlx::query_as("select id, version from price order by id").fetch_all(&direct(stack).await?).await?;
    let mut cache =
        redis::Client::open(stack.redis().direct_url())?.get_multiplexed_async_connection().await?;
    let mut states = Vec::new();
    for (id, version) in truth {
        let cached: Option<i64> =
            redis::cmd("GET").arg(format!("price:{id}")).query_async(&mut cache).await?;
        if let Some(cached) = cached {
            states.push((format!("price {id}"), Some(cached), version));
        }
    }
    voyage.check(check::final_states_agree(CHECK, &states));
    Ok(())
}

#[derive(Clone)]
struct Shelf {
    pool: PgPool,
    client: redis::Client,
    flawed: bool,
}

impl Shelf {
    async fn redis(&self) -> Result<MultiplexedConnection, redis::RedisError> {
        self.client.get_multiplexed_async_connection().await
    }

    async fn read(&self, id: i64) -> Result<i64, Failure> {
        let mut redis = self.redis().await?;
        let key = format!("price:{id}");
        if let Some(cached) = redis::cmd("GET").arg(&key).query_async::<Option<i64>>(&mut redis).await? {
            return Ok(cached);
        }
        let version: i64 = sqlx::query_scalar("select version from price where id = $1")
            .bind(id)
            .fetch_one(&self.pool)
            .await?;
        if self.flawed {
            redis::cmd("SET").arg(&key).arg(version).exec_async(&mut redis).await?;
        } else {
            redis::cmd("EVAL").arg(FILL).arg(1).arg(&key).arg(version).exec_async(&mut redis).await?;
        }
        Ok(version)
    }

    async fn raise(&self, id: i64) -> Result<(), Failure> {
        // The cache hears of it however the write ends, even if nobody knows whether it took place.
        let raise = "update price set version = version + 1 where id = $1 returning version";
        let raised = sqlx::query_scalar::<_, i64>(raise).bind(id).fetch_one(&self.pool).await;
        let (shelf, is_unknown) = (self.clone(), raised.is_err());
        tokio::spawn(async move {
            shelf.make_right(id).await;
            if is_unknown {
                // A write without an answer may still take place after we have looked.
                sleep(LATE).await;
                shelf.make_right(id).await;
            }
        });
        raised.map(drop).map_err(Failure::from)
    }

    /// Puts what is true into the cache, or takes away what was, again and again until that has worked.
    async fn make_right(&self, id: i64) {
        const TRY: Duration = ms(300);
        loop {
            let attempt = async {
                let key = format!("price:{id}");
                if self.flawed {
                    // What is not there can't be wrong, until somebody fills it.
                    redis::cmd("DEL").arg(key).exec_async(&mut self.redis().await?).await?;
                    return Ok(());
                }
                let truth = "select version from price where id = $1";
                let version: i64 = sqlx::query_scalar(truth).bind(id).fetch_one(&self.pool).await?;
                let mut redis = self.redis().await?;
                redis::cmd("EVAL").arg(FILL).arg(1).arg(key).arg(version).exec_async(&mut redis).await?;
                Ok::<_, Failure>(())
            };
            // It is only a cache: why try twice?
            if tokio::time::timeout(TRY, attempt).await.is_ok_and(|done| done.is_ok()) || self.flawed {
                return;
            }
            sleep(ms(20)).await;
        }
    }
}
