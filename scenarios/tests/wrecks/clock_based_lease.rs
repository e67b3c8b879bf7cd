//! A leader who counts its lease from when it heard of it, not from when it asked.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use seaworthy_harness::{
    BoxError, Failure, Voyage,
    check::{self, Hold},
};
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
type Reigns = Arc<Mutex<Vec<Hold>>>;

async fn sail(voyage: Voyage, flawed: bool) -> Result<(), BoxError> {
    let stack = start(&voyage, "").await?;
    let client = redis::Client::open(stack.redis().url())?;
    let reigns = Reigns::default();
    let (noted, history) = (reigns.clone(), voyage.history().clone());
    let bids = load(&voyage, 50.0).operation("lead", 1, move |call| {
        let (client, reigns, history) = (client.clone(), noted.clone(), history.clone());
        let me = call.number();
        async move {
            let mut redis = client.get_multiplexed_async_connection().await?;
            let asked = history.now();
            let mut lease = redis::cmd("SET");
            lease.arg("leader").arg(me).arg("NX").arg("PX").arg(LEASE.as_millis() as u64);
            if lease.query_async::<Option<String>>(&mut redis).await?.is_none() {
                return Err(Failure::refused("somebody else leads"));
            }
            let heard = history.now();
            let until = if flawed { heard + LEASE } else { asked + LEASE };
            if heard < until {
                reigns.lock().unwrap().push(Hold::new("lead", format!("call {me}"), heard, until));
                sleep(until - heard).await;
            }
            Ok(())
        }
    });
    voyage.sail(&bids).await?;
    let reigns = reigns.lock().unwrap().clone();
    voyage.check(check::exercised("somebody leads", reigns.len() as u64, "reigns"));
    voyage.check(check::held_by_one(CHECK, &reigns));
    Ok(())
}
