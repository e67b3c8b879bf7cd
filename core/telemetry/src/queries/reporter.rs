//! The thread that writes what a query log has to say.
//!
//! A layer must not log while a subscriber hands it an event, looking up names of functions takes its time, and files can be slow:
//! all of that happens here, and what does not fit in the queue is counted and left out.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use tracing::{debug, dispatcher, dispatcher::WeakDispatch, warn};

use super::{Caller, QueryLogError, Repeated, Settings, Statement, caller::Stack, file::File};
use crate::trace::Work;

/// Lines that wait to be written.
const MAX_LINES: usize = 4 * 1024;
/// Everything that waits: findings have room where lines have none left.
const MAX_WAITING: usize = MAX_LINES + 1024;

/// What is to be written.
pub(crate) enum Report {
    Slow { statement: Statement, stack: Option<Stack> },
    Repeated { repeated: Repeated, stack: Option<Stack>, work: Arc<Work> },
    Line(Statement),
    Flush(SyncSender<()>),
}

/// The way to the thread, which ends with the last of its reporters.
pub(crate) struct Reporter {
    queue: Option<SyncSender<Report>>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// The subscriber that the log is part of: what it says goes there, whatever the thread's own is.
    subscriber: Mutex<Option<WeakDispatch>>,
    lines: AtomicUsize,
    dropped: AtomicU64,
    failed: AtomicU64,
}

impl Reporter {
    pub(crate) fn start(settings: &Settings) -> Result<Self, QueryLogError> {
        let file = match &settings.file {
            None => None,
            Some(path) => Some(
                File::open(path.clone(), settings.file_limit)
                    .map_err(|source| QueryLogError::File { path: path.clone(), source })?,
            ),
        };
        let (queue, reports) = sync_channel(MAX_WAITING);
        let state = Arc::new(State::default());
        let writer = Writer { lines: settings.lines, file, state: state.clone() };
        let thread = thread::Builder::new().name("seaworthy-sql".into());
        thread.spawn(move || writer.run(&reports)).map_err(|source| QueryLogError::Thread { source })?;
        Ok(Reporter { queue: Some(queue), state })
    }

    /// One that says nothing.
    pub(crate) fn silent() -> Self {
        Reporter { queue: None, state: Arc::default() }
    }

    pub(crate) fn reports_to(&self, subscriber: WeakDispatch) {
        *self.state.subscriber.lock().unwrap_or_else(PoisonError::into_inner) = Some(subscriber);
    }

    /// Never waits: what has no room is counted as dropped.
    pub(crate) fn send(&self, report: Report) {
        let Some(queue) = &self.queue else { return };
        let is_line = matches!(report, Report::Line(_));
        if is_line && self.state.lines.fetch_add(1, Ordering::Relaxed) >= MAX_LINES {
            self.state.lines.fetch_sub(1, Ordering::Relaxed);
            self.state.dropped.fetch_add(1, Ordering::Relaxed);
        } else if queue.try_send(report).is_err() {
            self.state.lines.fetch_sub(usize::from(is_line), Ordering::Relaxed);
            self.state.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn flush(&self, within: Duration) -> bool {
        let Some(queue) = &self.queue else { return true };
        let give_up = Instant::now() + within;
        let (done, is_done) = sync_channel(1);
        let mut report = Report::Flush(done);
        loop {
            match queue.try_send(report) {
                Ok(()) => {
                    return is_done.recv_timeout(give_up.saturating_duration_since(Instant::now())).is_ok();
                }
                Err(TrySendError::Disconnected(_)) => return false,
                Err(TrySendError::Full(_)) if Instant::now() >= give_up => return false,
                Err(TrySendError::Full(again)) => report = again,
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// What was dropped for want of room, and what could not be written.
    pub(crate) fn lost(&self) -> (u64, u64) {
        (self.state.dropped.load(Ordering::Relaxed), self.state.failed.load(Ordering::Relaxed))
    }
}

struct Writer {
    lines: bool,
    file: Option<File>,
    state: Arc<State>,
}

impl Writer {
    fn run(mut self, reports: &Receiver<Report>) {
        while let Ok(report) = reports.recv() {
            match report {
                Report::Slow { statement, stack } => self.slow(statement, stack),
                Report::Repeated { repeated, stack, work } => self.repeated(repeated, stack, &work),
                Report::Line(statement) => self.line(&statement),
                Report::Flush(done) => {
                    self.flush_file();
                    // Whoever waited may have given up.
                    _ = done.send(());
                }
            }
            if self.state.lines.load(Ordering::Relaxed) == 0 {
                self.flush_file();
            }
        }
        self.flush_file();
    }

    fn slow(&self, mut statement: Statement, stack: Option<Stack>) {
        if let Some(stack) = stack {
            statement.caller = stack.caller();
        }
        self.say(statement.work.as_ref(), || {
            let (ms, caller) = (milliseconds(statement.time), shown(statement.caller.as_deref()));
            let (rows_returned, rows_affected) = (statement.rows_returned, statement.rows_affected);
            let ids = Ids::of(statement.work.as_deref());
            warn!(
                target: "seaworthy::sql",
                ms, rows_returned, rows_affected, caller,
                work = ids.work, request_id = ids.request, trace_id = ids.trace,
                statement = &*statement.text, fingerprint = %statement.fingerprint,
                "a statement is slow"
            );
        });
    }

    fn repeated(&self, mut repeated: Repeated, stack: Option<Stack>, work: &Arc<Work>) {
        if let Some(stack) = stack {
            repeated.caller = stack.caller();
        }
        self.say(Some(work), || {
            let (times, total_ms) = (repeated.times, milliseconds(repeated.time));
            let from = repeated.caller.as_ref().map(|caller| format!(", from {caller}")).unwrap_or_default();
            let ids = Ids::of(Some(work));
            warn!(
                target: "seaworthy::sql",
                statement = &*repeated.text, fingerprint = %repeated.fingerprint, times, total_ms,
                work = ids.work, request_id = ids.request, trace_id = ids.trace,
                "the same statement {times} times in one request{from}"
            );
        });
    }

    fn line(&mut self, statement: &Statement) {
        self.state.lines.fetch_sub(1, Ordering::Relaxed);
        if self.lines {
            self.say(statement.work.as_ref(), || {
                let (ms, caller) = (milliseconds(statement.time), shown(statement.caller.as_deref()));
                let (rows_returned, rows_affected) = (statement.rows_returned, statement.rows_affected);
                let ids = Ids::of(statement.work.as_deref());
                debug!(
                    target: "seaworthy::sql",
                    ms, rows_returned, rows_affected, caller,
                    work = ids.work, request_id = ids.request, trace_id = ids.trace,
                    fingerprint = %statement.fingerprint,
                    "{}", statement.text
                );
            });
        }
        if let Some(file) = &mut self.file
            && file.write(statement).is_err()
        {
            self.state.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Logs to the subscriber that the log is part of, as if it were the work that says it.
    fn say(&self, work: Option<&Arc<Work>>, line: impl FnOnce()) {
        let subscriber = self.state.subscriber.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let line = || match work {
            Some(work) => work.within(line),
            None => line(),
        };
        match subscriber.and_then(|subscriber| subscriber.upgrade()) {
            Some(subscriber) => dispatcher::with_default(&subscriber, line),
            None => line(),
        }
    }

    fn flush_file(&mut self) {
        if let Some(file) = &mut self.file
            && file.flush().is_err()
        {
            self.state.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What says whose a statement is; fields without a value are left out.
struct Ids<'a> {
    work: Option<&'a str>,
    request: Option<&'a str>,
    trace: Option<String>,
}

impl<'a> Ids<'a> {
    fn of(work: Option<&'a Work>) -> Self {
        let context = work.map(Work::context);
        Ids {
            work: work.map(Work::name),
            request: context.map(|context| context.request_id()),
            trace: context.map(|context| context.trace_id()),
        }
    }
}

fn shown(caller: Option<&Caller>) -> Option<String> {
    caller.map(Caller::to_string)
}

/// To a thousandth.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}
