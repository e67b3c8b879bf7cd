//! A service that waits for its cache however long that takes.

use std::time::Duration;

use redis::AsyncConnectionConfig;
use seaworthy_harness::{BoxError, Failure, Voyage, check};

use crate::sea::{Wreck, load, ms, start};

const CHECK: &str = "every request is answered in time";

pub(crate) const WRECK: Wreck = Wreck {
    name: "no-timeout",
    check: CHECK,
    scenario: |scenario, flawed| scenario.sail(move |voyage| sail(voyage, flawed)),
};

/// What a client is promised.
const PROMISE: Duration = ms(400);
/// What the service gives its cache.
const PATIENCE: Duration = ms(120);

async fn sail(voyage: Voyage, flawed: bool) -> Result<(), BoxError> {
    let stack = start(&voyage, "").await?;
    let client = redis::Client::open(stack.redis().url())?;
    let reads = load(&voyage, 60.0).operation("read", 1, move |_| {
        let client = client.clone();
        async move {
            let patience = (!flawed).then_some(PATIENCE);
            let config =
                AsyncConnectionConfig::new().set_connection_timeout(patience).set_response_timeout(patience);
            let mut redis = client.get_multiplexed_async_connection_with_config(&config).await?;
            let value: Option<u64> = redis::cmd("GET").arg("price").query_async(&mut redis).await?;
            Ok::<_, Failure>(value)
        }
    });
    voyage.sail(&reads).await?;
    voyage.check(check::all_answered(CHECK, voyage.history(), PROMISE));
    Ok(())
}
