//! Wrecks: ten small services, each with a flaw that services really have, on real servers in random weather.
//!
//! As it should be, each of them holds in every storm. With its flaw, a storm of twenty faults or more makes it fail, and shrinking leaves the few faults
//! that do. `SEAWORTHY_WRECKS=full` measures that: how many storms it takes, how small they become, how often the result fails again, and how many
//! storms the sound services hold in. Without it, each service meets one storm with and without its flaw.

mod acknowledged_before_commit;
mod clock_based_lease;
mod double_publish;
mod lost_wake_up;
mod missed_reconnect;
mod no_fencing;
mod no_timeout;
mod retry_without_idempotence;
mod sea;
mod stale_fill;
mod statistics;
mod unbounded_queue;

use seaworthy_harness::reports::Verdict;
use tokio::sync::Semaphore;

use sea::{Wreck, play, violated};

/// How many services may meet a storm at once.
static PLACES: Semaphore = Semaphore::const_new(4);

/// Storms in which a flaw must show.
const STORMS: u64 = 6;

pub(crate) fn wrecks() -> [Wreck; 10] {
    [
        acknowledged_before_commit::WRECK,
        no_fencing::WRECK,
        retry_without_idempotence::WRECK,
        stale_fill::WRECK,
        lost_wake_up::WRECK,
        missed_reconnect::WRECK,
        double_publish::WRECK,
        no_timeout::WRECK,
        unbounded_queue::WRECK,
        clock_based_lease::WRECK,
    ]
}

/// With the flaw, its check is violated in one of a few storms; without it, everything holds in the same storm.
async fn is_told_from_a_sound_service(wreck: Wreck) {
    let _place = PLACES.acquire().await.unwrap();
    for seed in 1..=STORMS {
        let schedule = wreck.storm(seed);
        let broken = play(&wreck, true, seed, &schedule).await;
        if !violated(&broken, wreck.check) {
            continue;
        }
        let sound = play(&wreck, false, seed, &schedule).await;
        assert_eq!(sound.verdict(), Verdict::Held, "seed {seed}: {:#?}", sound.checks);
        return;
    }
    panic!("`{}` was not violated in {STORMS} storms", wreck.check);
}

macro_rules! wrecks {
    ($($name:ident),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            is_told_from_a_sound_service($name::WRECK).await;
        }
    )*};
}

wrecks! {
    acknowledged_before_commit,
    no_fencing,
    retry_without_idempotence,
    stale_fill,
    lost_wake_up,
    missed_reconnect,
    double_publish,
    no_timeout,
    unbounded_queue,
    clock_based_lease,
}
