//! Workers are killed in the middle of their jobs.

use std::time::Duration;

use rand::RngExt as _;
use seaworthy_harness::{Fault, Schedule, check::exercised};

use crate::course::Course;

pub(crate) const COURSE: Course = Course {
    name: "worker-crash",
    summary: "Workers are killed with SIGKILL in the middle of their jobs, several times, while orders flow.",
    durable: true,
    disk_limit_mib: None,
    drain_limit: Duration::from_secs(10),
    regulars: 0,
    faults: |random| {
        const KILLS: u32 = 5;
        let mut schedule = Schedule::quiet();
        for kill in 0..KILLS {
            let at = Duration::from_millis(2_000 + u64::from(kill) * 900 + random.random_range(0..300));
            let down = Duration::from_millis(random.random_range(200..500));
            let worker = format!("worker-{}", random.random_range(1..=2));
            schedule = schedule.fault(at, down, worker, Fault::Kill);
        }
        schedule
    },
    exercised: |seen| {
        let rescued = u64::try_from(seen.queue.rescued).unwrap_or(0);
        vec![exercised(
            "workers died in the middle of jobs",
            rescued,
            "jobs were taken back from dead workers",
        )]
    },
};
