//! Workers that take turns by a lock with a time limit, and write whatever they have when they come back late.

use seaworthy_harness::{BoxError, Failure, Voyage, check};
use sqlx::PgPool;

use crate::sea::{Wreck, direct, load, ms, pool, start};

const CHECK: &str = "no increment is lost";

pub(crate) const WRECK: Wreck = Wreck {
    name: "no-fencing",
    check: CHECK,
    scenario: |scenario, flawed| scenario.sail(move |voyage| sail(voyage, flawed)),
};

const SCHEMA: &str = "create table counter (id int primary key, value bigint, token bigint); insert into counter values (1, 0, 0)";
/// How long the lock lasts, in milliseconds: much longer than an increment takes in fair weather.
const LEASE: u64 = 120;

async fn sail(voyage: Voyage, flawed: bool) -> Result<(), BoxError> {
    let stack = start(&voyage, SCHEMA).await?;
    let (pool, client) = (pool(stack)?, redis::Client::open(stack.redis().url())?);
    let increments = load(&voyage, 60.0).operation("increment", 1, move |call| {
        let (pool, client, me) = (pool.clone(), client.clone(), call.number());
        async move {
            let mut redis = client.get_multiplexed_async_connection().await?;
            let token: u64 = redis::cmd("INCR").arg("tokens").query_async(&mut redis).await?;
            let mut lock = redis::cmd("SET");
            lock.arg("lock").arg(me).arg("NX").arg("PX").arg(LEASE);
            if lock.query_async::<Option<String>>(&mut redis).await?.is_none() {
                return Err(Failure::refused("somebody else has the lock"));
            }
            // The lock is ours: a reply that is lost from here on does not undo what we did.
            let done = increment(&pool, token as i64, flawed).await;
            // Only ours is given back. It goes by itself if this fails.
            let give_back = "if redis.call('get', KEYS[1]) == ARGV[1] then redis.call('del', KEYS[1]) end";
            let _ = redis::cmd("EVAL").arg(give_back).arg(1).arg("lock").arg(me).exec_async(&mut redis).await;
            done
        }
    });
    voyage.sail(&increments).await?;
    tokio::time::sleep(ms(300)).await;
    let value: i64 = sqlx::query_scalar("select value from counter").fetch_one(&direct(stack).await?).await?;
    voyage.check(check::at_least(CHECK, value as u64, voyage.history().counts().ok));
    Ok(())
}

/// Reads, and writes one more. With a fencing token, whoever had the lock before is refused from the moment of our reading on.
async fn increment(pool: &PgPool, token: i64, flawed: bool) -> Result<(), Failure> {
    if flawed {
        let value: i64 = sqlx::query_scalar("select value from counter").fetch_one(pool).await?;
        sqlx::query("update counter set value = $1").bind(value + 1).execute(pool).await?;
        return Ok(());
    }
    let claim = "update counter set token = $1 where token < $1 returning value";
    let value: Option<i64> = sqlx::query_scalar(claim).bind(token).fetch_optional(pool).await?;
    let Some(value) = value else { return Err(Failure::refused("somebody else was faster")) };
    let write = sqlx::query("update counter set value = $1 where token = $2").bind(value + 1).bind(token);
    match write.execute(pool).await?.rows_affected() {
        1 => Ok(()),
        _ => Err(Failure::refused("the lock was lost meanwhile")),
    }
}
