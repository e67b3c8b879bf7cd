//! The disk of Postgres' data fills up, then space returns.

use std::time::Duration;

use rand::RngExt as _;
use seaworthy_harness::{
    Fault, Schedule,
    check::exercised,
    reports::{Check, Verdict},
};

use crate::course::Course;

pub(crate) const COURSE: Course = Course {
    name: "disk-full",
    summary: "The disk of Postgres' data fills up, then space returns.",
    durable: true,
    disk_limit_mib: Some(96),
    drain_limit: Duration::from_secs(10),
    regulars: 0,
    faults: |random| {
        let full = Duration::from_millis(random.random_range(3_500..4_500));
        Schedule::quiet().fault(Duration::from_millis(1_800), full, "postgres", Fault::DiskFull)
    },
    exercised: |seen| {
        let survived = if seen.postgres_survived {
            Check::new("Postgres survives", Verdict::Held, "the same server runs as before")
        } else {
            Check::new("Postgres survives", Verdict::Violated, "it was restarted in between")
        };
        let met = u64::from(seen.postgres_met_full_disk);
        vec![
            survived,
            exercised(
                "Postgres met the full disk",
                met,
                "time or more, its log says `No space left on device`",
            ),
            exercised(
                "the queue's workers met the full disk",
                seen.queue_met_full_disk,
                "times a worker could not do its work, or not record it",
            ),
        ]
    },
};
