//! The shop restarts under load, again and again, and nobody notices.

use std::time::Duration;

use rand::RngExt as _;
use seaworthy_harness::{
    Fault, Schedule,
    check::{exercised, none},
    reports::{Check, Verdict},
};

use crate::course::Course;

const RESTARTS: u32 = 30;

pub(crate) const COURSE: Course = Course {
    name: "graceful-restart",
    summary: "The shop is restarted 30 times while eight clients send one request after the other.",
    // Postgres itself is not touched, and a slow disk would be all that is measured.
    durable: false,
    disk_limit_mib: None,
    drain_limit: Duration::from_secs(10),
    regulars: 8,
    faults: |random| {
        let mut schedule = Schedule::quiet();
        for restart in 0..RESTARTS {
            // They take as long as they take; the next one waits for the last.
            let at = Duration::from_millis(600 + u64::from(restart) * 1_000 + random.random_range(0..100));
            schedule = schedule.fault(at, Duration::from_millis(1), "websocket", Fault::Restart);
        }
        schedule
    },
    exercised: |seen| {
        let restarts = seen.processes.saturating_sub(1);
        let verdict = if restarts >= RESTARTS as usize { Verdict::Held } else { Verdict::Unknown };
        vec![
            none("no request failed", &seen.failures),
            Check::new(
                "the shop was really restarted",
                verdict,
                format!("{restarts} times, each time as a new process"),
            ),
            exercised("clients were busy all the time", seen.lookups, "requests of theirs"),
        ]
    },
};
