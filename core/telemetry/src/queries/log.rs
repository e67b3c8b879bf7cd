//! The layer that hears of statements, and what it does with them.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tracing::{
    Dispatch, Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    layer::Context,
    registry::LookupSpan,
};

use super::{
    Counters, Repeated, Settings, Statement,
    caller::{self, Stack},
    reporter::{Report, Reporter},
    text::{Normal, normalise},
};
use crate::trace::{self, Work};

/// What sqlx calls its events for statements.
const TARGET: &str = "sqlx::query";
/// Statements whose normal text is kept; past it, it begins anew.
const MAX_KNOWN: usize = 1024;
/// The longest statement whose normal text is kept, in bytes; a longer one is normalised every time.
const MAX_KNOWN_LENGTH: usize = 16 * 1024;

type Hook = Arc<dyn Fn(&Statement) + Send + Sync>;

/// Hears of every statement that sqlx runs. A cheap handle: clones are the same log.
#[derive(Debug, Clone)]
pub struct QueryLog {
    shared: Arc<Shared>,
}

impl QueryLog {
    pub(crate) fn new(settings: Settings, reporter: Reporter) -> Self {
        let (hooks, known) = (RwLock::default(), RwLock::default());
        QueryLog {
            shared: Arc::new(Shared {
                settings,
                reporter,
                hooks,
                known,
                statements: AtomicU64::new(0),
                slow: AtomicU64::new(0),
                repeated: AtomicU64::new(0),
            }),
        }
    }

    /// The layer for the application's subscriber. It hears statements whatever the level of other layers is, as long as those
    /// have their levels with `with_filter`: an `EnvFilter` that is a layer of its own hides what it filters from all layers.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    {
        let only_statements = Targets::new().with_target(TARGET, LevelFilter::TRACE);
        StatementLayer { shared: self.shared.clone() }.with_filter(only_statements)
    }

    /// Calls `hook` for every statement, for example to count it. It runs in the task that waits for the statement: it is quick,
    /// and it must not log, since a subscriber is at work already.
    pub fn on_statement(&self, hook: impl Fn(&Statement) + Send + Sync + 'static) {
        self.shared.hooks.write().unwrap_or_else(PoisonError::into_inner).push(Arc::new(hook));
    }

    /// What the log has done since its start.
    pub fn counters(&self) -> Counters {
        let shared = &self.shared;
        let (dropped, failed) = shared.reporter.lost();
        Counters {
            statements: shared.statements.load(Ordering::Relaxed),
            slow: shared.slow.load(Ordering::Relaxed),
            repeated: shared.repeated.load(Ordering::Relaxed),
            dropped,
            failed,
        }
    }

    /// Waits until everything up to now is written: at a shutdown, and in tests. Blocks the thread; false when `within` was not enough.
    pub fn flush(&self, within: Duration) -> bool {
        self.shared.reporter.flush(within)
    }
}

/// What the layers and the pieces of work have in common.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    reporter: Reporter,
    hooks: RwLock<Vec<Hook>>,
    known: RwLock<HashMap<Box<str>, Normal>>,
    statements: AtomicU64,
    slow: AtomicU64,
    repeated: AtomicU64,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryLog").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Shared {
    /// An end of a piece of work says that it repeated itself.
    pub(crate) fn repeated(&self, repeated: Repeated, stack: Option<Stack>, work: Arc<Work>) {
        self.repeated.fetch_add(1, Ordering::Relaxed);
        self.reporter.send(Report::Repeated { repeated, stack, work });
    }

    fn normal(&self, sql: &str) -> Normal {
        if sql.len() > MAX_KNOWN_LENGTH {
            return normalise(sql);
        }
        if let Some(normal) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(sql) {
            return normal.clone();
        }
        let normal = normalise(sql);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(sql.into(), normal.clone());
        normal
    }

    fn take(self: &Arc<Self>, seen: Seen<'_>) {
        let Normal { text, fingerprint } = match seen.statement {
            Some(normal) => normal,
            None => self.normal(&seen.summary),
        };
        let time = Duration::try_from_secs_f64(seen.seconds).unwrap_or_default();
        let slow = time >= self.settings.slow_after;
        let work = trace::current_work();
        let recorder = work.as_ref().and_then(|work| work.statements().recorder());
        let caller =
            if recorder.is_some() || self.settings.finds_all_callers() { caller::now() } else { None };
        let (rows_returned, rows_affected) = (seen.rows_returned, seen.rows_affected);
        let statement = Statement {
            text,
            fingerprint,
            time,
            rows_returned,
            rows_affected,
            slow,
            caller,
            work: work.clone(),
        };

        self.statements.fetch_add(1, Ordering::Relaxed);
        if let Some(work) = &work {
            work.statements().count(self, &statement);
            if let Some(recorder) = work.statements().recorder() {
                recorder.add(&statement);
            }
            if let Some(timeline) = work.timeline() {
                timeline.statement(&statement, seen.span);
            }
        }
        for hook in self.hooks.read().unwrap_or_else(PoisonError::into_inner).iter() {
            hook(&statement);
        }
        if slow {
            self.slow.fetch_add(1, Ordering::Relaxed);
            let looks = statement.caller.is_none() && self.settings.finds_callers_of_findings();
            let stack = looks.then(Stack::walk);
            self.reporter.send(Report::Slow { statement: statement.clone(), stack });
        }
        if self.settings.lines || self.settings.file.is_some() {
            self.reporter.send(Report::Line(statement));
        }
    }
}

/// A query log as part of a subscriber.
#[derive(Debug)]
pub(crate) struct StatementLayer {
    shared: Arc<Shared>,
}

impl<S> Layer<S> for StatementLayer
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    fn on_register_dispatch(&self, subscriber: &Dispatch) {
        self.shared.reporter.reports_to(subscriber.downgrade());
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if event.metadata().target() != TARGET {
            return;
        }
        let span = context.current_span().id().map(|id| id.into_u64());
        let mut seen = Seen::new(&self.shared, span);
        event.record(&mut seen);
        self.shared.take(seen);
    }
}

/// The fields of sqlx's event.
struct Seen<'a> {
    shared: &'a Shared,
    span: Option<u64>,
    /// The first words of the statement, or all of it where there are no more.
    summary: String,
    statement: Option<Normal>,
    rows_affected: u64,
    rows_returned: u64,
    seconds: f64,
}

impl<'a> Seen<'a> {
    fn new(shared: &'a Shared, span: Option<u64>) -> Self {
        let (summary, statement) = (String::new(), None);
        Seen { shared, span, summary, statement, rows_affected: 0, rows_returned: 0, seconds: 0.0 }
    }
}

impl Visit for Seen<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "summary" => value.clone_into(&mut self.summary),
            "db.statement" if !value.is_empty() => self.statement = Some(self.shared.normal(value)),
            _ => {}
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "rows_affected" => self.rows_affected = value,
            "rows_returned" => self.rows_returned = value,
            _ => {}
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if field.name() == "elapsed_secs" {
            self.seconds = value;
        }
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn fmt::Debug) {}
}
