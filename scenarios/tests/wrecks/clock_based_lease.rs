//! A leader who counts its lease from when it heard of it, not from when it asked.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use seaworthy_harness::{BoxError, Failure, Voyage, check};
use tokio::time::sleep;

use crate::sea::{Wreck, load, ms, start};

const CHECK: &str = "no two lead at once";

pub(crate) const WRECK: Wreck = Wreck {
    name: "clock-based-lease",
    check: CHECK,
    scenario: |scenario, flawed| scenario.sail(move |voyage| sail(voyage, flawed)),
};

const LEASE: Duration = ms(200);
/// From when to when somebody believed to lead.
type Reigns = Arc<Mutex<Vec<(Instant, Instant)>>>;

async fn sail(voyage: Voyage, flawed: bool) -> Result<(), BoxError> {
    let stack = start(&voyage, "").await?;
    let client = redis::Client::open(stack.redis().url())?;
    let reigns = Reigns::default();
    let noted = reigns.clone();
    let bids = load(&voyage, 50.0).operation("lead", 1, move |call| {
        let (client, reigns, me) = (client.clone(), noted.clone(), call.number());
        async move {
            let mut redis = client.get_multiplexed_async_connection().await?;
            let asked = Instant::now();
            let mut lease = redis::cmd("SET");
            lease.arg("leader").arg(me).arg("NX").arg("PX").arg(LEASE.as_millis() as u64);
            if lease.query_async::<Option<String>>(&mut redis).await?.is_none() {
                return Err(Failure::refused("somebody else leads"));
            }
            let heard = Instant::now();
            let until = if flawed { heard + LEASE } else { asked + LEASE };
            if heard < until {
                reigns.lock().unwrap().push((heard, until));
                sleep(until - heard).await;
            }
            Ok(())
        }
    });
    voyage.sail(&bids).await?;
    let mut reigns = reigns.lock().unwrap().clone();
    reigns.sort();
    let together: Vec<String> = reigns
        .windows(2)
        .filter(|two| two[1].0 < two[0].1)
        .map(|two| format!("{} ms together", (two[0].1 - two[1].0).as_millis()))
        .collect();
    voyage.check(check::exercised("somebody leads", reigns.len() as u64, "reigns"));
    voyage.check(check::none(CHECK, &together));
    Ok(())
}
