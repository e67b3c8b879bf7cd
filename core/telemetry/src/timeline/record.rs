//! A timeline while it is recorded, and when it is done.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::Timelines;
use crate::{queries::Statement, trace::Work};

/// The longest name of a span or mark, and the longest status, in bytes; statements have a bound of their own.
const MAX_NAME: usize = 256;

/// One request from its beginning to its end.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Timeline {
    /// What the work is called.
    pub name: String,
    /// The id of the request.
    pub request_id: String,
    /// The id of the trace.
    pub trace_id: String,
    /// The id of this work within the trace.
    pub span_id: String,
    /// How it went: what [`Work::set_status`] said, else `done`, `cancelled` or `panicked`.
    pub status: String,
    /// When it began.
    pub began: SystemTime,
    /// How long it took.
    pub time: Duration,
    /// What happened, in the order in which it began.
    pub entries: Vec<Entry>,
    /// How many entries there was no room for.
    pub left_out: u64,
}

/// Something on a timeline.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// The name of the span, the statement, or the text of the mark.
    pub name: Arc<str>,
    /// From the beginning of the timeline to the beginning of this.
    pub start: Duration,
    /// How long it took; nothing for a mark. What had not ended with the timeline took until then.
    pub time: Duration,
    /// In how many spans it lies.
    pub depth: usize,
    /// More about it: a span's module, a statement's caller.
    pub detail: Option<String>,
}

/// What an [`Entry`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A span of tracing, from its opening to its end.
    Span {
        /// How much of it the span's code ran; the rest it waited.
        busy: Duration,
        /// Whether it ended before the timeline did.
        ended: bool,
    },
    /// A statement of the database.
    Statement {
        /// How many rows it returned.
        rows_returned: u64,
        /// How many rows it touched.
        rows_affected: u64,
    },
    /// A moment that the application marked.
    Mark,
}

/// A timeline while it is recorded.
#[derive(Debug)]
pub(crate) struct Track {
    timelines: Timelines,
    began: SystemTime,
    start: Instant,
    limit: usize,
    live: Mutex<Live>,
}

#[derive(Debug, Default)]
struct Live {
    entries: Vec<Entry>,
    left_out: u64,
    /// The spans that are open, by their ids.
    open: HashMap<u64, Open>,
    status: Option<String>,
    ended: bool,
}

#[derive(Debug)]
struct Open {
    entry: usize,
    entered: Option<Instant>,
}

impl Track {
    pub(super) fn new(timelines: Timelines, limit: usize) -> Self {
        let (began, start) = (SystemTime::now(), Instant::now());
        Track { timelines, began, start, limit, live: Mutex::default() }
    }

    pub(crate) fn set_status(&self, status: String) {
        self.live().status = Some(short(&status).to_owned());
    }

    pub(super) fn mark(&self, text: &str, span: Option<u64>) {
        let start = self.start.elapsed();
        self.live().add(self.limit, span, Kind::Mark, short(text).into(), start, Duration::ZERO, None);
    }

    /// Puts a statement down that has just ended.
    pub(crate) fn statement(&self, statement: &Statement, span: Option<u64>) {
        let start = self.start.elapsed().saturating_sub(statement.time);
        let Statement { rows_returned, rows_affected, .. } = *statement;
        let kind = Kind::Statement { rows_returned, rows_affected };
        let caller = statement.caller.as_ref().map(|caller| caller.to_string());
        self.live().add(self.limit, span, kind, statement.text.clone(), start, statement.time, caller);
    }

    pub(super) fn open(&self, name: &str, module: &str, id: u64, parent: Option<u64>) {
        let start = self.start.elapsed();
        let kind = Kind::Span { busy: Duration::ZERO, ended: false };
        let (name, module) = (short(name).into(), short(module).to_owned());
        let mut live = self.live();
        if let Some(entry) = live.add(self.limit, parent, kind, name, start, Duration::ZERO, Some(module)) {
            live.open.insert(id, Open { entry, entered: None });
        }
    }

    pub(super) fn enter(&self, id: u64) {
        if let Some(open) = self.live().open.get_mut(&id) {
            open.entered = Some(Instant::now());
        }
    }

    pub(super) fn exit(&self, id: u64) {
        let live = &mut *self.live();
        let Some(open) = live.open.get_mut(&id) else { return };
        let Some(entered) = open.entered.take() else { return };
        if let Kind::Span { busy, .. } = &mut live.entries[open.entry].kind {
            *busy += entered.elapsed();
        }
    }

    pub(super) fn close(&self, id: u64) {
        let now = self.start.elapsed();
        let live = &mut *self.live();
        let Some(open) = live.open.remove(&id) else { return };
        let entry = &mut live.entries[open.entry];
        entry.time = now.saturating_sub(entry.start);
        if let Kind::Span { ended, .. } = &mut entry.kind {
            *ended = true;
        }
    }

    /// The end of the work; what comes later is not recorded.
    pub(crate) fn end(&self, work: &Work, cancelled: bool) {
        let time = self.start.elapsed();
        let mut live = self.live();
        if live.ended {
            return;
        }
        let Live { mut entries, left_out, open, status, .. } =
            std::mem::replace(&mut *live, Live { ended: true, ..Live::default() });
        drop(live);
        for open in open.into_values() {
            let entry = &mut entries[open.entry];
            entry.time = time.saturating_sub(entry.start);
            if let (Kind::Span { busy, .. }, Some(entered)) = (&mut entry.kind, open.entered) {
                *busy += entered.elapsed();
            }
        }
        // A statement is put down at its end. Of what began at once, the outer one comes first.
        entries.sort_by(|a, b| a.start.cmp(&b.start).then(a.depth.cmp(&b.depth)));
        let how = match (thread::panicking(), cancelled) {
            (true, _) => "panicked",
            (_, true) => "cancelled",
            _ => "done",
        };
        let context = work.context();
        self.timelines.keep(Timeline {
            name: work.name().to_owned(),
            request_id: context.request_id().to_owned(),
            trace_id: context.trace_id(),
            span_id: context.span_id(),
            status: status.unwrap_or_else(|| how.to_owned()),
            began: self.began,
            time,
            entries,
            left_out,
        });
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    /// Adds an entry within an open span; says at which place, if there is room.
    #[allow(clippy::too_many_arguments)]
    fn add(
        &mut self,
        limit: usize,
        span: Option<u64>,
        kind: Kind,
        name: Arc<str>,
        start: Duration,
        time: Duration,
        detail: Option<String>,
    ) -> Option<usize> {
        if self.ended {
            return None;
        }
        if self.entries.len() >= limit {
            self.left_out += 1;
            return None;
        }
        let outer = span.and_then(|span| self.open.get(&span));
        let depth = outer.map_or(0, |outer| self.entries[outer.entry].depth + 1);
        self.entries.push(Entry { kind, name, start, time, depth, detail });
        Some(self.entries.len() - 1)
    }
}

fn short(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_NAME)]
}
