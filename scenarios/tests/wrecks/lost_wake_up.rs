//! A worker that does only what it is woken up for, and sleeps through a message that is lost.

use std::time::Duration;

use futures_util::StreamExt as _;
use seaworthy_harness::{BoxError, Failure, Voyage, check, wait_until};
use sqlx::PgPool;
use tokio::time::{sleep, timeout};

use crate::sea::{Wreck, direct, load, ms, pool, start};

const CHECK: &str = "every job is done soon after the storm";

pub(crate) const WRECK: Wreck = Wreck {
    name: "lost-wake-up",
    check: CHECK,
    scenario: |scenario, flawed| scenario.sail(move |voyage| sail(voyage, flawed)),
};

const SCHEMA: &str = "create table job (id bigint primary key, done boolean not null default false)";
/// How often a careful worker looks for work that nobody told it of.
const LOOK: Duration = ms(200);
const SOON: Duration = ms(2_500);

async fn sail(voyage: Voyage, flawed: bool) -> Result<(), BoxError> {
    let stack = start(&voyage, SCHEMA).await?;
    let (pool, client) = (pool(stack)?, redis::Client::open(stack.redis().url())?);
    let worker = tokio::spawn(work(pool.clone(), client.clone(), flawed));
    let jobs = load(&voyage, 60.0).operation("enqueue", 1, move |call| {
        let (pool, client, id) = (pool.clone(), client.clone(), call.number() as i64);
        call.key(id.to_string());
        async move {
            sqlx::query("insert into job (id) values ($1)").bind(id).execute(&pool).await?;
            // The job is safe; a worker that is not told of it finds it by itself.
            if let Ok(mut redis) = client.get_multiplexed_async_connection().await {
                let _ = redis::cmd("PUBLISH").arg("jobs").arg(id).exec_async(&mut redis).await;
            }
            Ok::<_, Failure>(())
        }
    });
    voyage.sail(&jobs).await?;
    let direct = direct(stack).await?;
    let left = || async {
        let left = sqlx::query_scalar("select count(*) from job where not done").fetch_one(&direct).await;
        match left.unwrap_or(-1) {
            0_i64 => Ok(()),
            left => Err(format!("{left} are left")),
        }
    };
    let started = std::time::Instant::now();
    let done = wait_until("no job is left", SOON, left).await;
    voyage.check(check::within(CHECK, done.ok().map(|()| started.elapsed()), SOON));
    worker.abort();
    Ok(())
}

async fn work(pool: PgPool, client: redis::Client, flawed: bool) {
    let done = "update job set done = true where not done and ($1::bigint is null or id = $1)";
    loop {
        let Ok(Ok(mut messages)) = timeout(ms(500), client.get_async_pubsub()).await else {
            sleep(ms(20)).await;
            continue;
        };
        if timeout(ms(500), messages.subscribe("jobs")).await.is_ok_and(|subscribed| subscribed.is_ok()) {
            let mut messages = messages.on_message();
            loop {
                let woken = timeout(LOOK, messages.next()).await;
                let (told, over) = match woken {
                    Ok(Some(message)) => (message.get_payload::<i64>().ok(), false),
                    Ok(None) => (None, true),
                    Err(_) => (None, false),
                };
                if !flawed {
                    // Whatever woke it up, or whoever forgot to: it does all that there is.
                    let _ = timeout(ms(500), sqlx::query(done).bind(None::<i64>).execute(&pool)).await;
                } else if told.is_some() {
                    let one = async {
                        while sqlx::query(done).bind(told).execute(&pool).await.is_err() {
                            sleep(ms(20)).await;
                        }
                    };
                    one.await;
                }
                if over {
                    break;
                }
            }
        }
        sleep(ms(20)).await;
    }
}
