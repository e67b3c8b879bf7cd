//! Where the time of one request went: its spans, statements and marks, each with when it began and how long it took.
//!
//! Timelines are recorded for every n-th piece of work, or for work that asks for one; the latest and the slowest are kept in memory,
//! to be read as text or opened in a trace viewer (Perfetto, `about:tracing`).
//!
//! ```
//! use seaworthy_telemetry::{timeline::{self, Timelines}, trace::{Context, Work}};
//! use tracing_subscriber::layer::SubscriberExt as _;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let timelines = Timelines::new(timeline::Settings::default());
//! let subscriber = tracing_subscriber::registry().with(timelines.layer());
//! # let _guard = tracing::subscriber::set_default(subscriber);
//! let work = Work::new("GET /orders", Context::new()).with_timeline(&timelines);
//! work.run(async {
//!     timeline::mark("cache miss");
//! })
//! .await;
//! println!("{}", timelines.latest()[0].to_text());
//! # }
//! ```

mod layer;
mod record;
mod render;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tracing::{Level, Subscriber};
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

pub(crate) use record::Track;
pub use record::{Entry, Kind, Timeline};

use crate::trace;

/// The header with which a request asks for a timeline. What it must hold is for the application to decide: an address that
/// everybody reaches should want the token of the debug routes.
pub const HEADER: &str = "x-seaworthy-timeline";

/// The store that every piece of work asks whether it is to be recorded.
static INSTALLED: OnceLock<Timelines> = OnceLock::new();

/// Puts a mark on the current work's timeline, if it has one: `cache miss`. Without values: timelines are read by many.
pub fn mark(text: impl AsRef<str>) {
    if let Some(timeline) = trace::current_track() {
        timeline.mark(text.as_ref(), tracing::Span::current().id().map(|id| id.into_u64()));
    }
}

/// The store to which the work that begins now is to give a timeline.
pub(crate) fn chosen() -> Option<&'static Timelines> {
    INSTALLED.get().filter(|timelines| timelines.is_turn())
}

/// How timelines are recorded.
#[derive(Debug, Clone)]
pub struct Settings {
    every: u64,
    kept: usize,
    entries: usize,
    level: Level,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { every: 0, kept: 32, entries: 1000, level: Level::INFO }
    }
}

impl Settings {
    /// Records every n-th piece of work once the store is [installed](Timelines::install); 0, none, unless set.
    pub fn every(self, every: u64) -> Self {
        Settings { every, ..self }
    }

    /// How many of the latest and how many of the slowest are kept, at most 1,000 each; 32 unless set.
    pub fn kept(self, kept: usize) -> Self {
        Settings { kept: kept.min(1000), ..self }
    }

    /// The most entries of one timeline, at most 100,000; 1,000 unless set.
    pub fn entries(self, entries: usize) -> Self {
        Settings { entries: entries.min(100_000), ..self }
    }

    /// Spans are recorded down to this level; info unless set.
    pub fn level(self, level: Level) -> Self {
        Settings { level, ..self }
    }
}

/// The timelines that were recorded: the latest and the slowest. A cheap handle: clones are the same store.
#[derive(Debug, Clone)]
pub struct Timelines {
    store: Arc<Store>,
}

#[derive(Debug)]
struct Store {
    settings: Settings,
    turn: AtomicU64,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The newest first.
    latest: VecDeque<Arc<Timeline>>,
    /// The slowest first.
    slowest: Vec<Arc<Timeline>>,
}

impl Timelines {
    /// An empty store.
    pub fn new(settings: Settings) -> Self {
        Timelines { store: Arc::new(Store { settings, turn: AtomicU64::new(0), kept: Mutex::default() }) }
    }

    /// The layer that records spans, for the application's subscriber. Without it, timelines have statements and marks only.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    {
        let level = self.store.settings.level;
        layer::SpanLayer
            .with_filter(filter_fn(move |metadata| metadata.is_span() && *metadata.level() <= level))
    }

    /// From now on, every n-th piece of work of this process is recorded here.
    ///
    /// # Errors
    ///
    /// When another store was installed before: there is one for a process, to its end.
    pub fn install(&self) -> Result<(), TimelineError> {
        INSTALLED.set(self.clone()).map_err(|_| TimelineError::Installed)
    }

    /// The latest timelines, the newest first.
    pub fn latest(&self) -> Vec<Arc<Timeline>> {
        self.kept().latest.iter().cloned().collect()
    }

    /// The timelines that took the longest, the slowest first.
    pub fn slowest(&self) -> Vec<Arc<Timeline>> {
        self.kept().slowest.clone()
    }

    /// The newest timeline of a request.
    pub fn find(&self, request_id: &str) -> Option<Arc<Timeline>> {
        let kept = self.kept();
        let mut all = kept.latest.iter().chain(&kept.slowest);
        all.find(|timeline| timeline.request_id == request_id).cloned()
    }

    pub(crate) fn track(&self) -> Arc<Track> {
        Arc::new(Track::new(self.clone(), self.store.settings.entries))
    }

    pub(crate) fn keep(&self, timeline: Timeline) {
        let timeline = Arc::new(timeline);
        let limit = self.store.settings.kept;
        let mut kept = self.kept();
        let place = kept.slowest.partition_point(|other| other.time >= timeline.time);
        kept.slowest.insert(place, timeline.clone());
        kept.slowest.truncate(limit);
        kept.latest.push_front(timeline);
        kept.latest.truncate(limit);
    }

    fn is_turn(&self) -> bool {
        let every = self.store.settings.every;
        every > 0 && self.store.turn.fetch_add(1, Ordering::Relaxed).is_multiple_of(every)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.store.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a store of timelines could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TimelineError {
    /// There is one for a process.
    #[error(
        "timelines are installed already: a process has one store of timelines; use the one that was installed first"
    )]
    Installed,
}
