//! Which request a piece of work belongs to, in this process and across others.
//!
//! The ids travel with the task, not with tracing's spans: they are there whatever the log level is. Between processes they travel as
//! a `traceparent` header (W3C Trace Context, level 1) and an `x-request-id` header, and with a job in the queue.

use std::{
    fmt,
    future::Future,
    str::FromStr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use rand::RngExt as _;
use tracing::instrument::WithSubscriber as _;

use crate::{
    queries::{Recorder, Tally, Totals},
    timeline::{self, Timelines, Track},
};

/// The longest request id that is taken from a client, in bytes.
const MAX_REQUEST_ID: usize = 128;

tokio::task_local! {
    static CURRENT: Arc<Work>;
}

/// The ids that everything done for one request has in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    trace_id: u128,
    span_id: u64,
    sampled: bool,
    request_id: String,
}

impl Context {
    /// Fresh ids, for work that nobody else asked for.
    pub fn new() -> Self {
        let mut random = rand::rng();
        let trace_id = random.random_range(1..=u128::MAX);
        Context { trace_id, span_id: fresh_span_id(), sampled: true, request_id: format!("{trace_id:032x}") }
    }

    /// The ids that a caller sent, each replaced by a fresh one where it is missing or not well-formed: nothing that a client sends
    /// can keep a request from having ids, or make them long or unreadable. This piece of work becomes a new span of the trace.
    pub fn from_caller(traceparent: Option<&str>, request_id: Option<&str>) -> Self {
        let mut context: Context = traceparent.and_then(|text| text.parse().ok()).unwrap_or_default();
        context.span_id = fresh_span_id();
        if let Some(id) = request_id.filter(|id| is_request_id(id)) {
            context.request_id = id.to_owned();
        }
        context
    }

    /// The same trace and request, as a new span: for a job or a request that this work causes elsewhere.
    pub fn child(&self) -> Self {
        Context { span_id: fresh_span_id(), ..self.clone() }
    }

    /// The ids as one short text, to travel with a job or a message. [`from_carrier`](Context::from_carrier) reads it.
    pub fn to_carrier(&self) -> String {
        format!("{self} {}", self.request_id)
    }

    /// The ids that travelled as a text, as a new span of the trace; fresh ones in place of what can't be read.
    pub fn from_carrier(text: &str) -> Self {
        let (traceparent, request_id) = text.split_once(' ').unwrap_or((text, ""));
        Context::from_caller(Some(traceparent), Some(request_id))
    }

    /// The id of the trace: 32 lower-case hexadecimal digits.
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// The id of this piece of work within the trace: 16 lower-case hexadecimal digits.
    pub fn span_id(&self) -> String {
        format!("{:016x}", self.span_id)
    }

    /// The id of the request, as the client sent it or as we made it.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// Whether the caller asked for the trace to be recorded.
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// The value of a `traceparent` header.
    pub fn traceparent(&self) -> String {
        format!("00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

impl Default for Context {
    fn default() -> Self {
        Context::new()
    }
}

/// A `traceparent` header that is not well-formed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a traceparent looks like 00-<32 hex digits>-<16 hex digits>-<2 hex digits>, in lower case, with ids that are not all zero"
)]
pub struct TraceparentError;

impl FromStr for Context {
    type Err = TraceparentError;

    /// Reads a `traceparent` header; later versions may have more parts, which are left alone.
    fn from_str(text: &str) -> Result<Self, TraceparentError> {
        let mut parts = text.trim().split('-');
        let mut hex = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits).ok_or(TraceparentError)?;
            let plain = part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            if plain {
                u128::from_str_radix(part, 16).map_err(|_| TraceparentError)
            } else {
                Err(TraceparentError)
            }
        };
        let (version, trace_id, span_id, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
        let rest = parts.next().is_some();
        if version == 0xff || (version == 0 && rest) || trace_id == 0 || span_id == 0 {
            return Err(TraceparentError);
        }
        Ok(Context {
            trace_id,
            span_id: span_id as u64,
            sampled: flags & 1 == 1,
            request_id: format!("{trace_id:032x}"),
        })
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.traceparent())
    }
}

fn fresh_span_id() -> u64 {
    rand::rng().random_range(1..=u64::MAX)
}

/// Printable and short: what may go into logs and headers as it is.
fn is_request_id(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(&byte);
    !id.is_empty() && id.len() <= MAX_REQUEST_ID && id.bytes().all(plain)
}

/// A piece of work from its beginning to its end: a request, a job, a tick of a timer.
///
/// It ends when the last of its futures does, also when that is dropped: what it has recorded is looked through then.
#[derive(Debug)]
pub struct Work {
    name: String,
    context: Context,
    /// How many of its futures run.
    running: AtomicUsize,
    /// Whether one of its futures was dropped before its end.
    cancelled: AtomicBool,
    statements: Tally,
    timeline: OnceLock<Arc<Track>>,
}

impl Work {
    /// Work of this name, for example `POST /orders` or `job fulfil`. The name has few different values: no ids.
    pub fn new(name: impl Into<String>, context: Context) -> Arc<Self> {
        Work::with_tally(name.into(), context, Tally::default())
    }

    /// Work whose statements are kept.
    pub(crate) fn recorded(name: &str, context: Context, recorder: Arc<Recorder>) -> Arc<Self> {
        Work::with_tally(name.to_owned(), context, Tally::recorded(recorder))
    }

    fn with_tally(name: String, context: Context, statements: Tally) -> Arc<Self> {
        let (running, cancelled) = (AtomicUsize::new(0), AtomicBool::new(false));
        Arc::new(Work { name, context, running, cancelled, statements, timeline: OnceLock::new() })
    }

    /// The same work, with a timeline that begins now and is kept in `timelines` at its end. Work that has one already keeps it.
    pub fn with_timeline(self: Arc<Self>, timelines: &Timelines) -> Arc<Self> {
        self.timeline.get_or_init(|| timelines.track());
        self
    }

    /// What the work is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The ids that the work has.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// How many statements the work has run, and how long they took, if there is a query log.
    pub fn statement_totals(&self) -> Totals {
        self.statements.totals()
    }

    /// How the work went, for its timeline: `200`, `retried`. Without it, work is done, cancelled or panicked.
    pub fn set_status(&self, status: impl Into<String>) {
        if let Some(timeline) = self.timeline.get() {
            timeline.set_status(status.into());
        }
    }

    /// Runs a future as part of this work. Tasks that it spawns belong to the work only if they are spawned with [`spawn`].
    pub async fn run<F: Future>(self: &Arc<Self>, future: F) -> F::Output {
        Part::of(self).run(future).await
    }

    /// Runs a function as part of this work, without being its beginning or end.
    pub(crate) fn within<R>(self: &Arc<Self>, function: impl FnOnce() -> R) -> R {
        CURRENT.sync_scope(self.clone(), function)
    }

    pub(crate) fn statements(&self) -> &Tally {
        &self.statements
    }

    pub(crate) fn timeline(&self) -> Option<&Arc<Track>> {
        self.timeline.get()
    }
}

/// One future of a piece of work.
struct Part {
    work: Arc<Work>,
    completed: bool,
}

impl Part {
    fn of(work: &Arc<Work>) -> Self {
        let first = work.running.fetch_add(1, Ordering::AcqRel) == 0;
        if first && let Some(timelines) = timeline::chosen() {
            work.clone().with_timeline(timelines);
        }
        Part { work: work.clone(), completed: false }
    }

    async fn run<F: Future>(mut self, future: F) -> F::Output {
        let output = CURRENT.scope(self.work.clone(), future).await;
        self.completed = true;
        output
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let work = &self.work;
        if !self.completed {
            work.cancelled.store(true, Ordering::Relaxed);
        }
        if work.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            work.statements.end(work);
            if let Some(timeline) = work.timeline.get() {
                timeline.end(work, work.cancelled.load(Ordering::Relaxed));
            }
        }
    }
}

/// The ids of the work that the current task does.
pub fn current() -> Option<Context> {
    CURRENT.try_with(|work| work.context.clone()).ok()
}

/// The work that the current task does.
pub fn current_work() -> Option<Arc<Work>> {
    CURRENT.try_with(Arc::clone).ok()
}

/// The timeline of the work that the current task does.
pub(crate) fn current_track() -> Option<Arc<Track>> {
    CURRENT.try_with(|work| work.timeline.get().cloned()).ok().flatten()
}

/// Spawns a task that belongs to the work of the current one.
pub fn spawn<F>(future: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let Some(work) = current_work() else { return tokio::spawn(future) };
    // The work has not ended while a task of it has yet to begin.
    let part = Part::of(&work);
    if work.statements.recorder().is_some() {
        // A recording can have a subscriber of its own, which another thread would not know of.
        tokio::spawn(part.run(future).with_current_subscriber())
    } else {
        tokio::spawn(part.run(future))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_as_the_standard_says() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let context: Context = good.parse().unwrap();
        assert_eq!(context.traceparent(), good);
        assert_eq!(context.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert!(context.is_sampled());
        let later = "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00-what-comes-later";
        assert!(!later.parse::<Context>().unwrap().is_sampled());
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(bad.parse::<Context>(), Err(TraceparentError), "{bad}");
        }
    }

    #[test]
    fn a_caller_can_choose_its_ids_and_nothing_worse() {
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let context = Context::from_caller(Some(trace), Some("order-42"));
        assert_eq!(context.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert_ne!(context.span_id(), "b7ad6b7169203331", "the work is a span of its own");
        assert_eq!(context.request_id(), "order-42");
        let long = "x".repeat(MAX_REQUEST_ID + 1);
        for bad in ["", "two words", "line\nbreak", "quote\"", "\u{1b}[31m", &long] {
            let context = Context::from_caller(Some("nonsense"), Some(bad));
            assert_eq!(context.request_id(), context.trace_id(), "{bad:?}");
        }
    }

    #[test]
    fn ids_survive_a_journey_as_text() {
        let context = Context::from_caller(None, Some("order-42"));
        let arrived = Context::from_carrier(&context.to_carrier());
        assert_eq!((arrived.trace_id(), arrived.request_id()), (context.trace_id(), "order-42"));
        assert_ne!(arrived.span_id(), context.span_id());
        assert!(!Context::from_carrier("\u{0}").trace_id().is_empty());
    }

    #[tokio::test]
    async fn spawned_work_keeps_its_ids_and_others_have_none() {
        let context = Context::new();
        let work = Work::new("test", context.clone());
        let inside = work.run(async { spawn(async { current() }).await.unwrap() }).await;
        assert_eq!(inside, Some(context));
        assert_eq!(tokio::spawn(async { current() }).await.unwrap(), None);
    }
}
