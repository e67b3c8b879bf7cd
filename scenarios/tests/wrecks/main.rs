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

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use seaworthy_harness::reports::Verdict;
use tokio::runtime::Runtime;

use sea::{Wreck, play, violated};

/// How many services may meet a storm at once, whatever the number of cores: they wait, most of the time.
const AT_ONCE: usize = 5;

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

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let runtime = Runtime::new().expect("a runtime starts");
    let services = wrecks().map(|wreck| {
        let on = runtime.handle().clone();
        Trial::test(wreck.name, move || {
            on.block_on(is_told_from_a_sound_service(wreck));
            Ok(())
        })
    });
    let mut trials = Vec::from(services);
    if let Ok(asked) = std::env::var("SEAWORTHY_WRECKS") {
        let on = runtime.handle().clone();
        let name = "flaws_are_found_shrunk_and_reproduced_and_sound_services_hold";
        trials = vec![Trial::test(name, move || {
            on.block_on(statistics::of(&asked));
            Ok(())
        })];
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}
