//! Structured logs that hold no secrets, cost the request path microseconds, and say which request they belong to.
//!
//! ```
//! use seaworthy_telemetry::{logging::Logging, settings::Settings};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let settings = Settings::from_env()?;
//! let _logging = Logging::start(&settings)?;
//! tracing::info!(route = "/orders/{id}", customer = "Ada", "an order was read");
//! // 2026-01-02T03:04:05.678Z  INFO shop: an order was read route=/orders/{id} customer=[redacted] at src/main.rs:6
//! # Ok(())
//! # }
//! ```
//!
//! One layer turns an event into a [`Line`] and applies to it what stands above all strategies: levels, sampling, redaction, bounds. A
//! strategy is only a [`Sink`]: it formats and moves finished lines, so none can show what another one hides. Sinks run on a thread
//! of their own behind a bounded queue. When that is full, lines are dropped and counted; the caller never waits.

mod bounds;
mod fields;
mod files;
mod janitor;
mod journald;
mod json;
mod levels;
mod line;
#[cfg(feature = "otlp")]
mod otlp;
mod panics;
mod pipeline;
mod pretty;
mod queue;
mod sampling;
mod sink;
mod syslog;
mod writer;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tracing::Dispatch;
use tracing_subscriber::{Layer, Registry, layer::SubscriberExt as _};

pub use bounds::{MAX_FIELDS, MAX_LINE, MAX_VALUE};
pub(crate) use levels::parse as parse_level;
pub use line::{Field, Ids, Line, SpanFields, Value};
pub use panics::log_panics;
pub use sampling::Sampling;
pub use sink::{Failure, Sink};

use crate::{
    redaction::Redaction,
    settings::{Settings, SettingsError},
};
use levels::Levels;
use pipeline::Pipeline;
use queue::Queue;

static INSTALLED: OnceLock<Handle> = OnceLock::new();

/// A layer beside that of the logs, for example one that keeps statements.
pub type OtherLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// The running pipeline. When it is dropped, it waits until everything is written, within the deadline that the settings say. What is
/// logged later is dropped.
#[derive(Debug)]
#[must_use = "logging ends when this is dropped"]
pub struct Logging {
    handle: Handle,
    flush: Duration,
}

/// What can go wrong when logging starts or is changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Settings are wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The process has a tracing subscriber already, ours or somebody else's.
    #[error("this process logs already: start logging once, before anything else sets a tracing subscriber")]
    AlreadyStarted,
    /// The thread that writes could not be started.
    #[error("the thread that writes the logs could not be started: {0}")]
    Thread(std::io::Error),
    /// A level is not well-formed.
    #[error("the level is `{level}`; {hint}")]
    Level {
        /// What was asked for.
        level: String,
        /// What is allowed.
        hint: String,
    },
    /// Logging has not been started in this process.
    #[error("logging has not been started in this process: keep what Logging::start returns")]
    NotStarted,
}

/// How many lines did not reach their destination since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Lines for which there was no room in the queue, or that came after the end.
    pub dropped: u64,
    /// Lines that the sink could not write.
    pub failed: u64,
    /// Lines that sampling left out.
    pub sampled_out: u64,
}

/// The counters of the pipeline that [`Logging::start`] installed; zeros if there is none.
pub fn counters() -> Counters {
    INSTALLED.get().map(Handle::counters).unwrap_or_default()
}

/// What the installed pipeline logs; `None` if there is none.
pub fn level() -> Option<String> {
    INSTALLED.get().map(Handle::level)
}

/// Changes what the installed pipeline logs from now on: `info,shop=debug`.
///
/// # Errors
///
/// A level that is not well-formed, or no pipeline.
pub fn set_level(level: &str) -> Result<(), Error> {
    INSTALLED.get().ok_or(Error::NotStarted)?.set_level(level)
}

/// Changes what the installed pipeline logs for a while; then the level before comes back.
///
/// # Errors
///
/// As [`set_level`].
pub fn set_level_for(level: &str, duration: Duration) -> Result<(), Error> {
    INSTALLED.get().ok_or(Error::NotStarted)?.set_level_for(level, duration)
}

impl Logging {
    /// Starts the strategy that the settings say, for the whole process: events of `tracing` and of `log`, and panics.
    ///
    /// # Errors
    ///
    /// Wrong settings, or a process that logs already. A destination that can't be reached is no error: it may come.
    pub fn start(settings: &Settings) -> Result<Self, Error> {
        Self::start_with(settings, Vec::new())
    }

    /// As [`Logging::start`], with other layers that see the same events, unfiltered.
    ///
    /// # Errors
    ///
    /// As [`Logging::start`].
    pub fn start_with(settings: &Settings, others: Vec<OtherLayer>) -> Result<Self, Error> {
        settings.check()?;
        let (logging, dispatch) = Self::with_sink_and(settings, sink::of(settings), others)?;
        tracing::dispatcher::set_global_default(dispatch).map_err(|_| Error::AlreadyStarted)?;
        // Somebody else's logger may be there: then records of `log` go where it sends them.
        let _ = tracing_log::LogTracer::init();
        INSTALLED.set(logging.handle()).map_err(|_| Error::AlreadyStarted)?;
        log_panics();
        Ok(logging)
    }

    /// The strategy that the settings say, as a subscriber that is not installed: for tests.
    ///
    /// # Errors
    ///
    /// Wrong settings.
    pub fn build(settings: &Settings) -> Result<(Self, Dispatch), Error> {
        settings.check()?;
        Self::with_sink_and(settings, sink::of(settings), Vec::new())
    }

    /// A pipeline that ends in this sink, as a subscriber that is not installed.
    ///
    /// # Errors
    ///
    /// Wrong settings.
    pub fn with_sink(settings: &Settings, sink: impl Sink + 'static) -> Result<(Self, Dispatch), Error> {
        settings.check()?;
        Self::with_sink_and(settings, Box::new(sink), Vec::new())
    }

    fn with_sink_and(
        settings: &Settings,
        sink: Box<dyn Sink>,
        others: Vec<OtherLayer>,
    ) -> Result<(Self, Dispatch), Error> {
        let targets = parse_level(&settings.level)
            .map_err(|hint| Error::Level { level: settings.level.clone(), hint })?;
        let counts = Arc::new(Counts::default());
        let queue = Arc::new(Queue::new(settings.queue, counts.clone()));
        writer::start(queue.clone(), sink, settings.strategy.name(), Box::new(writer::to_stderr))
            .map_err(Error::Thread)?;
        let (filter, levels) = Levels::new(targets, &settings.level);
        let pipeline = Pipeline {
            redaction: Redaction::allowing(settings.allow.iter().cloned()),
            sampling: settings.sampling.clone(),
            queue: queue.clone(),
            counts: counts.clone(),
        };
        let mut layers: Vec<OtherLayer> = vec![pipeline.with_filter(filter).boxed()];
        layers.extend(others);
        let handle = Handle { counts, levels, queue };
        let dispatch = Dispatch::new(tracing_subscriber::registry().with(layers));
        Ok((Logging { handle, flush: settings.flush }, dispatch))
    }

    /// A handle to the pipeline, to change its level and read its counters.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.handle.queue.stop(Instant::now() + self.flush);
    }
}

/// A handle to a pipeline.
#[derive(Debug, Clone)]
pub struct Handle {
    counts: Arc<Counts>,
    levels: Arc<Levels>,
    queue: Arc<Queue>,
}

impl Handle {
    /// Changes what is logged from now on: `info,shop=debug`.
    ///
    /// # Errors
    ///
    /// A level that is not well-formed; then nothing changes.
    pub fn set_level(&self, level: &str) -> Result<(), Error> {
        self.levels.set(level, None)
    }

    /// Changes what is logged for a while; then what [`Handle::set_level`] or the settings said last comes back.
    ///
    /// # Errors
    ///
    /// As [`Handle::set_level`].
    pub fn set_level_for(&self, level: &str, duration: Duration) -> Result<(), Error> {
        self.levels.set(level, Some(duration))
    }

    /// What is logged now.
    pub fn level(&self) -> String {
        self.levels.current()
    }

    /// How many lines did not reach their destination.
    pub fn counters(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            dropped: read(&self.counts.dropped),
            failed: read(&self.counts.failed),
            sampled_out: read(&self.counts.sampled_out),
        }
    }

    /// Waits until what was logged so far is written; false if the deadline came first.
    pub fn flush(&self, within: Duration) -> bool {
        self.queue.flush(Instant::now() + within)
    }
}

#[derive(Debug, Default)]
struct Counts {
    dropped: AtomicU64,
    failed: AtomicU64,
    sampled_out: AtomicU64,
}

impl Counts {
    fn add(counter: &AtomicU64, lines: usize) {
        counter.fetch_add(lines as u64, Ordering::Relaxed);
    }
}
