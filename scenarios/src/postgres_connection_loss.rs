//! Connections to Postgres are reset, then it can't be reached.

use std::time::Duration;

use rand::RngExt as _;
use seaworthy_harness::{Fault, Schedule, check::exercised};

use crate::course::Course;

pub(crate) const COURSE: Course = Course {
    name: "postgres-connection-loss",
    summary: "Connections to Postgres are reset three times, then it can't be reached for seconds.",
    durable: true,
    disk_limit_mib: None,
    drain_limit: Duration::from_secs(10),
    regulars: 0,
    faults: |random| {
        const RESETS: u32 = 3;
        let mut schedule = Schedule::quiet();
        for reset in 0..RESETS {
            let at = Duration::from_millis(1_500 + u64::from(reset) * 600 + random.random_range(0..200));
            let lasts = Duration::from_millis(random.random_range(50..150));
            schedule = schedule.fault(at, lasts, "postgres", Fault::Reset);
        }
        let away = Duration::from_millis(random.random_range(2_000..3_000));
        schedule.fault(Duration::from_millis(3_800), away, "postgres", Fault::Down)
    },
    exercised: |seen| vec![exercised("requests met the outage", seen.refused, "requests were refused")],
};
