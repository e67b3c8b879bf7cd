//! Everything at once: whatever a seed gives.

use std::time::Duration;

use rand::Rng as _;
use seaworthy_harness::{Fault, Storm, check::exercised};

use crate::course::Course;

pub(crate) const COURSE: Course = Course {
    name: "storm",
    summary: "Resets, outages, slow answers, pauses and kills of everything, as a seed gives them, some at once.",
    durable: true,
    disk_limit_mib: None,
    drain_limit: Duration::from_secs(10),
    regulars: 0,
    faults: |random| {
        let ms = Duration::from_millis;
        let slow = Fault::Latency { latency: ms(80), jitter: ms(40) };
        let storm = Storm::over(ms(8_000))
            .hazard("postgres", Fault::Reset, 3)
            .hazard("postgres", Fault::Down, 2)
            .hazard("postgres", Fault::Pause, 1)
            .hazard("postgres", slow, 2)
            .hazard("redis", Fault::Reset, 3)
            .hazard("redis", Fault::Kill, 1)
            .hazard("redis", Fault::Pause, 2)
            .hazard("redis", slow, 2)
            .hazard("worker-1", Fault::Kill, 2)
            .hazard("worker-2", Fault::Kill, 2)
            .hazard("worker-2", Fault::Pause, 1)
            .events(6..=12)
            .lasting(ms(100)..=ms(900))
            // So that the load begins and the workers are at work in fair weather.
            .quiet(ms(0), ms(1_000));
        storm.schedule(random.next_u64())
    },
    exercised: |seen| vec![exercised("there was a storm", seen.windows.len() as u64, "faults")],
};
