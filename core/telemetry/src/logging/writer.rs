//! The thread that writes, and what it says about a sink that fails.

use std::{
    cell::Cell,
    io::{self, Write as _},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use rand::RngExt as _;

use super::{
    Counts,
    line::Line,
    queue::Queue,
    sink::{Failure, Sink},
};
use crate::redaction::scrub;

/// How long the same lines are tried.
const GIVE_UP: Duration = Duration::from_secs(30);

/// The longest wait between two tries.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// The first wait between two tries; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// How often an outage may be reported, if the sink comes and goes.
const REPORT_EVERY: Duration = Duration::from_secs(60);

thread_local! {
    static IS_WRITER: Cell<bool> = const { Cell::new(false) };
}

/// Whether this is the thread of a writer.
pub(super) fn is_this_thread() -> bool {
    IS_WRITER.get()
}

/// Takes a sentence about the logs that can't go into the logs.
pub(super) type Report = Box<dyn FnMut(&str) + Send>;

/// Writes to standard error, whether or not somebody reads it.
pub(super) fn to_stderr(sentence: &str) {
    let _ = writeln!(io::stderr(), "{sentence}");
}

/// Starts the thread. It ends when the queue is stopped and empty.
pub(super) fn start(
    queue: Arc<Queue>,
    sink: Box<dyn Sink>,
    name: &'static str,
    report: Report,
) -> io::Result<()> {
    let mut writer = Writer { queue, sink, outage: Outage::new(name, report) };
    let run = move || {
        IS_WRITER.set(true);
        while let Some(batch) = writer.queue.next(writer.sink.linger()) {
            writer.write(&batch);
            let dropped = writer.queue.counts.dropped.load(Ordering::Relaxed);
            writer.outage.dropped(dropped);
            writer.queue.settle(batch.len());
        }
        // The sink ends before the queue says so: what it still does belongs to the deadline.
        drop(writer.sink);
        writer.queue.stopped();
    };
    std::thread::Builder::new().name("log-writer".to_owned()).spawn(run)?;
    Ok(())
}

struct Writer {
    queue: Arc<Queue>,
    sink: Box<dyn Sink>,
    outage: Outage,
}

impl Writer {
    fn write(&mut self, batch: &[Line]) {
        let give_up = Instant::now() + GIVE_UP;
        let mut pause = FIRST_PAUSE;
        let mut last = false;
        loop {
            let result = catch_unwind(AssertUnwindSafe(|| self.sink.write(batch)))
                .unwrap_or_else(|_| Err(Failure::lost(batch.len(), "the sink panicked")));
            let Err(failure) = result else {
                self.outage.over();
                return;
            };
            self.outage.failed(&failure.reason);
            let wait =
                failure.retry.map(|after| after.max(pause.mul_f64(rand::rng().random_range(0.5..=1.0))));
            match wait.filter(|wait| !last && Instant::now() + *wait < give_up) {
                // At the end there is one more try, at once.
                Some(wait) => last = !self.queue.pause(wait),
                None => {
                    Counts::add(&self.queue.counts.failed, failure.lost);
                    self.outage.lost += failure.lost;
                    return;
                }
            }
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }
}

/// Tells people once that a sink fails, and that it works again.
struct Outage {
    name: &'static str,
    report: Report,
    since: Option<Instant>,
    told: bool,
    lost: usize,
    last_told: Option<Instant>,
    dropped: u64,
    dropped_told: Option<Instant>,
}

impl Outage {
    fn new(name: &'static str, report: Report) -> Self {
        let (since, told, lost, last_told) = (None, false, 0, None);
        Outage { name, report, since, told, lost, last_told, dropped: 0, dropped_told: None }
    }

    fn failed(&mut self, reason: &str) {
        if self.since.is_some() {
            return;
        }
        self.since = Some(Instant::now());
        self.told = self.last_told.is_none_or(|last| last.elapsed() >= REPORT_EVERY);
        if self.told {
            self.last_told = Some(Instant::now());
            let reason = super::bounds::finish(&scrub(reason), reason.len());
            (self.report)(&format!(
                "logging to {} fails: {reason}; lines that are lost are counted",
                self.name
            ));
        }
    }

    fn over(&mut self) {
        let Some(since) = self.since.take() else { return };
        let lost = std::mem::take(&mut self.lost);
        if self.told {
            let after = since.elapsed().as_secs_f64();
            (self.report)(&format!(
                "logging to {} works again after {after:.1} s; {lost} lines were lost",
                self.name
            ));
        }
    }

    /// Tells that lines were dropped, if there are more than before.
    fn dropped(&mut self, dropped: u64) {
        let due = self.dropped_told.is_none_or(|last| last.elapsed() >= REPORT_EVERY);
        if dropped > self.dropped && due {
            let more = dropped - self.dropped;
            (self.dropped, self.dropped_told) = (dropped, Some(Instant::now()));
            (self.report)(&format!("{more} log lines were dropped: more is logged than {} takes", self.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn an_outage_is_reported_once_and_its_end_too() {
        let said = Arc::new(Mutex::new(Vec::new()));
        let report = said.clone();
        let mut outage =
            Outage::new("files", Box::new(move |text| report.lock().unwrap().push(text.to_owned())));
        outage.over();
        for _ in 0..3 {
            outage.failed("no answer from http://me:hunter2@collector");
        }
        outage.lost += 7;
        outage.over();
        outage.failed("again");
        outage.over();
        outage.dropped(3);
        outage.dropped(4);
        let said = said.lock().unwrap();
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(
            said[0].starts_with("logging to files fails: no answer from http://[redacted]@collector"),
            "{said:?}"
        );
        assert!(said[1].ends_with("7 lines were lost"), "{said:?}");
        assert!(said[2].starts_with("3 log lines were dropped"), "{said:?}");
    }
}
