//! A watch where there is no terminal: lines that stay, for a log.

use std::{collections::BTreeSet, fmt::Write as _, time::SystemTime};

use crate::{
    watch::look::{Look, QueueNow},
    words::{age, count, many, rate},
};

/// Remembers what was told already.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// The newest failures that were told.
    told: BTreeSet<(SystemTime, i64)>,
    lost: BTreeSet<String>,
}

impl Lines {
    /// A line for each queue, and one for each failure and each lost worker that was not there before.
    pub(crate) fn of(&mut self, look: &Look) -> String {
        let time = humantime::format_rfc3339_seconds(look.at);
        let mut text = String::new();
        if look.queues.is_empty() {
            let _ = writeln!(text, "{time} no queue: nothing waits, and no worker is there");
        }
        for queue in &look.queues {
            let _ = writeln!(text, "{time} {}", describe(queue, look.more_leased));
        }
        let lost: BTreeSet<String> = look
            .workers
            .iter()
            .filter(|worker| worker.mark == "lost")
            .map(|worker| format!("worker {} on {} is lost", worker.name, worker.host))
            .collect();
        for worker in lost.difference(&self.lost) {
            let _ = writeln!(text, "{time} {worker}");
        }
        self.lost = lost;
        for failure in look.failures.iter().rev() {
            if !self.told.contains(&(failure.at, failure.job)) {
                let at = humantime::format_rfc3339_seconds(failure.at);
                let (job, kind, outcome, why) = (failure.job, &failure.kind, &failure.outcome, &failure.why);
                let _ = writeln!(text, "{at} {}: {kind} {job} failed, {outcome}: {why}", failure.queue);
            }
        }
        self.told = look.failures.iter().map(|failure| (failure.at, failure.job)).collect();
        text
    }
}

fn describe(queue: &QueueNow, more_leased: bool) -> String {
    let QueueNow { name, is_paused, ready, scheduled, limited, leased, dead, .. } = queue;
    let oldest = queue.oldest.map_or_else(String::new, |oldest| format!(", oldest {}", age(oldest)));
    let limited = if *limited > 0 { format!(", {} limited", count(*limited)) } else { String::new() };
    format!(
        "{name}: {} ready, {} scheduled{limited}, {leased}{} leased, {} dead, {} done/s, {} failed/s{oldest}, {}{}",
        count(*ready),
        count(*scheduled),
        if more_leased { "+" } else { "" },
        count(*dead),
        rate(queue.done_per_second),
        rate(queue.failed_per_second),
        many(queue.workers, "worker"),
        if *is_paused { ", paused" } else { "" },
    )
}
