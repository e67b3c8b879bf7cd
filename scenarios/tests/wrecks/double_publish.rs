//! A relay that publishes first and notes that afterwards, and publishes again what it could not note.

use seaworthy_harness::{BoxError, Failure, Voyage, check, wait_until};
use sqlx::PgPool;
use tokio::time::sleep;

use crate::sea::{Wreck, direct, load, ms, pool, start};

const CHECK: &str = "nothing is published twice";

pub(crate) const WRECK: Wreck = Wreck {
    name: "double-publish",
    check: CHECK,
    scenario: |scenario, flawed| scenario.sail(move |voyage| sail(voyage, flawed)),
};

const SCHEMA: &str = "create table outbox (id bigserial primary key, news bigint not null, sent boolean not null default false)";

async fn sail(voyage: Voyage, flawed: bool) -> Result<(), BoxError> {
    let stack = start(&voyage, SCHEMA).await?;
    let (pool, client) = (pool(stack)?, redis::Client::open(stack.redis().url())?);
    let relay = tokio::spawn(relay(pool.clone(), client, flawed));
    let news = load(&voyage, 60.0).operation("tell", 1, move |call| {
        let (pool, news) = (pool.clone(), call.number() as i64);
        call.key(news.to_string());
        async move {
            sqlx::query("insert into outbox (news) values ($1)").bind(news).execute(&pool).await?;
            Ok::<_, Failure>(())
        }
    });
    voyage.sail(&news).await?;
    let direct = direct(stack).await?;
    let left = || async {
        let left: i64 = sqlx::query_scalar("select count(*) from outbox where not sent")
            .fetch_one(&direct)
            .await
            .map_err(|error| error.to_string())?;
        if left == 0 { Ok(()) } else { Err(format!("{left} are left")) }
    };
    wait_until("everything is published", ms(8_000), left).await?;
    relay.abort();
    let mut redis =
        redis::Client::open(stack.redis().direct_url())?.get_multiplexed_async_connection().await?;
    let entries: Vec<(String, Vec<String>)> =
        redis::cmd("XRANGE").arg("news").arg("-").arg("+").query_async(&mut redis).await?;
    let published: Vec<String> =
        entries.into_iter().filter_map(|(_, fields)| fields.get(1).cloned()).collect();
    voyage.check(check::nothing_twice(CHECK, &published));
    Ok(())
}

async fn relay(pool: PgPool, client: redis::Client, flawed: bool) {
    loop {
        if publish_one(&pool, &client, flawed).await != Ok(true) {
            sleep(ms(10)).await;
        }
    }
}

/// Publishes the oldest news, if there are any that were not.
async fn publish_one(pool: &PgPool, client: &redis::Client, flawed: bool) -> Result<bool, Failure> {
    let oldest = "select id, news from outbox where not sent order by id limit 1";
    let Some((id, news)) = sqlx::query_as::<_, (i64, i64)>(oldest).fetch_optional(pool).await? else {
        return Ok(false);
    };
    let mut redis = client.get_multiplexed_async_connection().await?;
    // With an identity that Redis takes once and in order, saying it again says nothing.
    let identity = if flawed { "*".to_owned() } else { format!("0-{id}") };
    let mut publish = redis::cmd("XADD");
    match publish.arg("news").arg(identity).arg("news").arg(news).exec_async(&mut redis).await {
        Err(error) if !flawed && error.to_string().contains("equal or smaller") => {}
        published => published?,
    }
    sqlx::query("update outbox set sent = true where id = $1").bind(id).execute(pool).await?;
    Ok(true)
}
