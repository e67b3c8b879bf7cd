//! Errors on their way to somebody who looks at them.

mod file;
mod group;
mod log;
#[cfg(feature = "webhook")]
mod webhook;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, timeout},
};

pub use file::JsonLines;
pub use log::Log;
#[cfg(feature = "webhook")]
pub use webhook::Webhook;

use self::group::Groups;
use crate::{Error, Fingerprint, bounded, context::MAX_TEXT};

/// What is told of an error: its first occurrence, and how often it has come since it was told last.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// What the occurrences have in common.
    pub fingerprint: Fingerprint,
    /// The code, for example `QUEUE-0003`.
    pub code: &'static str,
    /// The kind, for example `UNAVAILABLE`.
    pub kind: &'static str,
    /// The HTTP status that stands for it.
    pub status: u16,
    /// What clients read: the public text, or the code's title.
    pub public: String,
    /// The texts of the sources, the nearest first. Private.
    pub sources: Vec<String>,
    /// The context. Private.
    pub context: BTreeMap<&'static str, String>,
    /// Where it was made: file, line and column.
    pub location: String,
    /// Occurrences since the last report with this fingerprint, this one included.
    pub count: u64,
    /// When this occurrence was reported, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The errors that it stands for, if it is an aggregate: code, place and count of each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<String>,
}

/// Where reports go.
#[async_trait::async_trait]
pub trait Reporter: Send + Sync + 'static {
    /// What it is called when it fails.
    fn name(&self) -> &str;

    /// Delivers a report. It may take its time, up to the deadline that [`ReportsBuilder::deadline`] sets: nobody waits for it.
    ///
    /// # Errors
    ///
    /// What kept it from being delivered; it is counted and not tried again.
    async fn report(&self, report: &Report) -> Result<(), ReporterError>;
}

/// Why a report could not be delivered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReporterError {
    /// A file could not be written.
    #[error("{path} can't be written: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The other side could not be reached, or refused.
    #[error("the report was not taken: {0}")]
    Refused(String),
    /// It took too long.
    #[error("the report was not taken within {0:?}")]
    Late(Duration),
}

/// What became of the errors that were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ReportCounts {
    /// Errors that were sent.
    pub sent: u64,
    /// Reports that a reporter took; one with two reporters counts twice.
    pub delivered: u64,
    /// Errors that stand in the count of a report, since one like them was reported just before.
    pub grouped: u64,
    /// Errors that were lost since a queue was full, or since there were more different ones than may be reported in a second.
    pub dropped: u64,
    /// Reports that a reporter did not take.
    pub failed: u64,
}

/// Sends errors to reporters, from the side of the road: [`send`](Reports::send) never waits. Cheap to clone.
///
/// An error is reported when it comes first; like ones (by [`Fingerprint`]) within an interval are counted, and the count is reported
/// with the next one after it. Each reporter has a queue of its own, so that one that hangs holds up no other.
///
/// ```no_run
/// use seaworthy_errors::{Error, JsonLines, Log, Reports, http_codes};
///
/// # async fn example() {
/// let reports = Reports::builder().to(Log).to(JsonLines::new("/var/log/shop/errors.jsonl")).start();
/// reports.send(Error::new(&http_codes::INTERNAL));
/// reports.flush(std::time::Duration::from_secs(2)).await;
/// # }
/// ```
#[derive(Clone)]
pub struct Reports {
    queue: mpsc::Sender<Message>,
    counters: Arc<Counters>,
}

/// How errors are reported.
pub struct ReportsBuilder {
    reporters: Vec<Arc<dyn Reporter>>,
    queue: usize,
    interval: Duration,
    per_second: u32,
    deadline: Duration,
    redact: fn(&str) -> String,
}

#[derive(Debug, Default)]
struct Counters {
    sent: AtomicU64,
    delivered: AtomicU64,
    grouped: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

enum Message {
    Error(Box<(Error, SystemTime)>),
    Flush(oneshot::Sender<()>),
}

enum Delivery {
    Report(Arc<Report>),
    Flush(oneshot::Sender<()>),
}

impl Reports {
    /// Reports with a queue of 1,024 errors, one report per fingerprint and minute, at most 50 reports a second, and 5 s for a
    /// reporter to take one.
    pub fn builder() -> ReportsBuilder {
        ReportsBuilder {
            reporters: Vec::new(),
            queue: 1024,
            interval: Duration::from_secs(60),
            per_second: 50,
            deadline: Duration::from_secs(5),
            redact: str::to_owned,
        }
    }

    /// Sends an error, without waiting. When the queue is full, the error is dropped and counted.
    pub fn send(&self, error: Error) {
        self.counters.sent.fetch_add(1, Ordering::Relaxed);
        let message = Message::Error(Box::new((error, SystemTime::now())));
        if self.queue.try_send(message).is_err() {
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What became of the errors so far.
    pub fn counts(&self) -> ReportCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ReportCounts {
            sent: read(&self.counters.sent),
            delivered: read(&self.counters.delivered),
            grouped: read(&self.counters.grouped),
            dropped: read(&self.counters.dropped),
            failed: read(&self.counters.failed),
        }
    }

    /// Waits until everything that was sent before is delivered or counted as failed, at most this long. Says whether it was.
    pub async fn flush(&self, deadline: Duration) -> bool {
        let (done, wait) = oneshot::channel();
        let flushing = async {
            self.queue.send(Message::Flush(done)).await.ok()?;
            wait.await.ok()
        };
        matches!(timeout(deadline, flushing).await, Ok(Some(())))
    }
}

impl fmt::Debug for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reports").field(&self.counts()).finish()
    }
}

impl ReportsBuilder {
    /// Adds a reporter.
    pub fn to(mut self, reporter: impl Reporter) -> Self {
        self.reporters.push(Arc::new(reporter));
        self
    }

    /// Errors that may wait, at least 1; beyond that they are dropped and counted.
    pub fn queue(mut self, errors: usize) -> Self {
        self.queue = errors.max(1);
        self
    }

    /// At most one report per fingerprint in this time.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// At most this many reports a second, of all fingerprints together.
    pub fn per_second(mut self, reports: u32) -> Self {
        self.per_second = reports;
        self
    }

    /// How long a reporter may take for a report.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Passes every private text through this function before it leaves the process, to take secrets out.
    pub fn redact_with(mut self, redact: fn(&str) -> String) -> Self {
        self.redact = redact;
        self
    }

    /// Starts to report. The tasks end when the last clone of the [`Reports`] is dropped.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn start(self) -> Reports {
        let (queue, inbox) = mpsc::channel(self.queue);
        let counters = Arc::new(Counters::default());
        tokio::spawn(self.distribute(inbox, counters.clone()));
        Reports { queue, counters }
    }

    async fn distribute(self, mut inbox: mpsc::Receiver<Message>, counters: Arc<Counters>) {
        let lines: Vec<_> = self
            .reporters
            .iter()
            .map(|reporter| Line::start(reporter.clone(), self.queue, self.deadline, counters.clone()))
            .collect();
        let mut groups = Groups::new(self.interval, self.per_second);
        while let Some(message) = inbox.recv().await {
            match message {
                Message::Error(sent) => {
                    let (error, at) = *sent;
                    let fingerprint = Fingerprint::of(&error);
                    let verdict = groups.judge(fingerprint, error.count(), Instant::now().into_std());
                    match verdict {
                        group::Verdict::Report { count } => {
                            let report = Arc::new(Report::new(&error, fingerprint, count, at, self.redact));
                            lines.iter().for_each(|line| line.offer(report.clone(), &counters));
                        }
                        group::Verdict::Grouped => count(&counters.grouped),
                        group::Verdict::TooMany => count(&counters.dropped),
                    }
                }
                Message::Flush(done) => {
                    for line in &lines {
                        line.flush().await;
                    }
                    let _ = done.send(());
                }
            }
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A reporter and the reports that wait for it.
struct Line {
    queue: mpsc::Sender<Delivery>,
    task: JoinHandle<()>,
}

impl Line {
    fn start(reporter: Arc<dyn Reporter>, queue: usize, deadline: Duration, counters: Arc<Counters>) -> Self {
        let (queue, mut inbox) = mpsc::channel(queue);
        let task = tokio::spawn(async move {
            let mut failing = false;
            while let Some(delivery) = inbox.recv().await {
                let report = match delivery {
                    Delivery::Report(report) => report,
                    Delivery::Flush(done) => {
                        let _ = done.send(());
                        continue;
                    }
                };
                let taken = timeout(deadline, reporter.report(&report)).await;
                match taken.unwrap_or(Err(ReporterError::Late(deadline))) {
                    Ok(()) => {
                        failing = false;
                        count(&counters.delivered);
                    }
                    Err(error) => {
                        // Once per outage is enough; the rest is in the counts.
                        if !failing {
                            tracing::warn!(reporter = reporter.name(), %error, "errors can't be reported");
                        }
                        failing = true;
                        count(&counters.failed);
                    }
                }
            }
        });
        Line { queue, task }
    }

    fn offer(&self, report: Arc<Report>, counters: &Counters) {
        if self.queue.try_send(Delivery::Report(report)).is_err() {
            count(&counters.dropped);
        }
    }

    async fn flush(&self) {
        let (done, wait) = oneshot::channel();
        if self.queue.send(Delivery::Flush(done)).await.is_ok() {
            let _ = wait.await;
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // What is delivered already may finish; a reporter that hangs must not keep the process.
        if self.queue.capacity() == self.queue.max_capacity() {
            self.task.abort();
        }
    }
}

impl Report {
    fn new(
        error: &Error,
        fingerprint: Fingerprint,
        count: u64,
        at: SystemTime,
        redact: fn(&str) -> String,
    ) -> Self {
        let public = error.public_text().map_or(error.code().title, |text| text.as_str());
        let private =
            |text: &dyn fmt::Display| bounded::text(redact(&bounded::text(text, MAX_TEXT)), MAX_TEXT);
        Report {
            fingerprint,
            code: error.code().id,
            kind: error.kind().name(),
            status: error.http_status(),
            public: redact(public),
            sources: error.sources().map(|source| private(&source)).collect(),
            context: error.context_entries().map(|(name, value)| (name, private(value))).collect(),
            location: error.location().to_string(),
            count,
            at_ms: at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64),
            children: error
                .children()
                .iter()
                .map(|child| {
                    format!("{} × {} at {}", child.count, child.error.code(), child.error.location())
                })
                .collect(),
        }
    }
}
