//! A subscriber that is done for when its connection is.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use futures_util::StreamExt as _;
use seaworthy_harness::{BoxError, Failure, Voyage, check};
use tokio::time::sleep;

use crate::sea::{Wreck, load, ms, start};

const CHECK: &str = "the subscriber ends with the true states";

pub(crate) const WRECK: Wreck = Wreck {
    name: "missed-reconnect",
    check: CHECK,
    scenario: |scenario, flawed| scenario.sail(move |voyage| sail(voyage, flawed)),
};

const KEYS: u64 = 8;
type Seen = Arc<Mutex<HashMap<String, u64>>>;

async fn sail(voyage: Voyage, flawed: bool) -> Result<(), BoxError> {
    let stack = start(&voyage, "").await?;
    let client = redis::Client::open(stack.redis().url())?;
    let seen = Seen::default();
    let subscriber = tokio::spawn(subscribe(client.clone(), seen.clone(), flawed));
    let changes = load(&voyage, 80.0).operation("change", 1, move |call| {
        let (client, key, value) = (client.clone(), format!("light-{}", call.pick(KEYS)), call.number());
        call.key(&key).input(value);
        async move {
            let mut redis = client.get_multiplexed_async_connection().await?;
            // Together, so that what is published last is what is there.
            let change = "redis.call('set', KEYS[1], ARGV[1]) redis.call('publish', 'lights', KEYS[1] .. ' ' .. ARGV[1])";
            redis::cmd("EVAL").arg(change).arg(1).arg(key).arg(value).exec_async(&mut redis).await?;
            Ok::<_, Failure>(())
        }
    });
    voyage.sail(&changes).await?;
    sleep(ms(800)).await;
    let mut direct =
        redis::Client::open(stack.redis().direct_url())?.get_multiplexed_async_connection().await?;
    let mut states = Vec::new();
    for number in 0..KEYS {
        let key = format!("light-{number}");
        let truth: Option<u64> = redis::cmd("GET").arg(&key).query_async(&mut direct).await?;
        let last = seen.lock().unwrap().get(&key).copied();
        states.extend(truth.map(|truth| (key, last, truth)));
    }
    voyage.check(check::final_states_agree(CHECK, &states));
    subscriber.abort();
    Ok(())
}

async fn subscribe(client: redis::Client, seen: Seen, flawed: bool) {
    loop {
        let connected = client.get_async_pubsub().await;
        let was_connected = connected.is_ok();
        if let Ok(messages) = connected {
            // A connection that breaks is met by looking again, or by giving up.
            let _ = listen(messages, &client, &seen, flawed).await;
        }
        if flawed && was_connected {
            return;
        }
        sleep(ms(20)).await;
    }
}

/// Listens until the connection breaks. First of all it looks at what it may have missed.
async fn listen(
    mut messages: redis::aio::PubSub,
    client: &redis::Client,
    seen: &Seen,
    flawed: bool,
) -> Result<(), redis::RedisError> {
    messages.subscribe("lights").await?;
    if !flawed {
        let mut redis = client.get_multiplexed_async_connection().await?;
        for number in 0..KEYS {
            let key = format!("light-{number}");
            let value: Option<u64> = redis::cmd("GET").arg(&key).query_async(&mut redis).await?;
            value.map(|value| seen.lock().unwrap().insert(key, value));
        }
    }
    let mut messages = messages.on_message();
    while let Some(message) = messages.next().await {
        let text: String = message.get_payload()?;
        if let Some((key, value)) = text.split_once(' ') {
            seen.lock().unwrap().insert(key.to_owned(), value.parse().unwrap_or_default());
        }
    }
    Ok(())
}
