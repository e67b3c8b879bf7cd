//! Redis is killed and comes back, twice.

use std::time::Duration;

use rand::RngExt as _;
use seaworthy_harness::{Fault, Schedule, check::exercised};

use crate::course::Course;

pub(crate) const COURSE: Course = Course {
    name: "redis-failure",
    summary: "Redis is killed and restarted, twice, while orders flow and clients watch them.",
    durable: true,
    disk_limit_mib: None,
    drain_limit: Duration::from_secs(10),
    regulars: 0,
    faults: |random| {
        let long = Duration::from_millis(random.random_range(1_500..2_500));
        let short = Duration::from_millis(random.random_range(300..900));
        Schedule::quiet().fault(Duration::from_millis(1_800), long, "redis", Fault::Kill).fault(
            Duration::from_millis(5_000),
            short,
            "redis",
            Fault::Kill,
        )
    },
    exercised: |seen| {
        let away = |at: &&Duration| seen.windows.iter().any(|window| (window.from..window.to).contains(*at));
        let missed = seen.fulfilled_at.iter().filter(away).count() as u64;
        vec![exercised("orders changed while Redis was away", missed, "orders were fulfilled meanwhile")]
    },
};
