//! The SQL that ran.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use seaworthy_fault_proxy::{Entry, Mark, Outcome, Protocol, Proxy, Recording, Statement, What};

use super::{Kind, Repeated, repeated, sql};

/// Lines that a list of statements has at most.
const MAX_LINES: usize = 50;

/// The SQL that ran through a fault proxy, or what of it ran after a mark. Cheap to clone. It is a view: what runs later is in it, too.
///
/// Shown, it is the statements, one a line with how often they ran and how long they took together.
#[derive(Debug, Clone)]
pub struct Queries {
    recording: Recording,
    from: Mark,
}

/// A statement that ran: the server began it, or was about to.
#[derive(Debug, Clone)]
pub struct Ran {
    entry: Arc<Entry>,
    kind: Kind,
}

/// What a view has at one time.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) ran: Vec<Ran>,
    /// Entries that made room for later ones, some of which may have been statements of the application.
    pub(super) dropped: u64,
    /// Connections that were not understood, with why.
    pub(super) not_understood: Vec<&'static str>,
}

impl Queries {
    /// Records what runs through this proxy on connections that are made from now on.
    pub fn on(proxy: &Proxy) -> Self {
        Queries::of(proxy.record(Protocol::Postgres))
    }

    /// What a recording of Postgres has.
    ///
    /// # Panics
    ///
    /// When the recording is of another protocol.
    pub fn of(recording: Recording) -> Self {
        assert_eq!(recording.tap().protocol(), Protocol::Postgres, "SQL is in recordings of Postgres");
        Queries { recording, from: Mark::default() }
    }

    /// The end of what ran by now.
    pub fn mark(&self) -> Mark {
        self.recording.mark()
    }

    /// Only what ran after the mark.
    pub fn since(&self, mark: Mark) -> Queries {
        Queries { recording: self.recording.clone(), from: self.from.max(mark) }
    }

    /// Only what runs from now on.
    pub fn from_now(&self) -> Queries {
        self.since(self.mark())
    }

    /// Every statement that ran, in the order in which they began, with those that are not the application's own.
    pub fn all(&self) -> Vec<Ran> {
        self.seen().ran
    }

    /// The application's own statements: without bounds of transactions, settings of the session, and a driver's look-ups of types.
    pub fn own(&self) -> Vec<Ran> {
        let mut ran = self.all();
        ran.retain(|ran| ran.kind == Kind::Own);
        ran
    }

    /// How many of the application's own statements are in the recording.
    pub fn count(&self) -> usize {
        self.own().len()
    }

    /// Entries of this view that the recording has dropped for later ones: 0 unless there were very many.
    pub fn dropped(&self) -> u64 {
        self.seen().dropped
    }

    /// The application's own statements that ran at least so many times, literals and lengths of lists aside, on whatever connections; the
    /// most frequent first. Many of one kind within one request are mostly a loop that asks for each row by itself (N+1).
    pub fn repeated(&self, at_least: usize) -> Vec<Repeated> {
        repeated::find(&self.own(), at_least)
    }

    /// The recording, for what a view leaves out: errors that belong to no statement, statements that were skipped.
    pub fn recording(&self) -> &Recording {
        &self.recording
    }

    /// The same view, so that it can stand for its source in `assert_queries!`.
    pub fn queries(&self) -> Queries {
        self.clone()
    }

    pub(super) fn seen(&self) -> Seen {
        let recorded = self.recording.since(self.from);
        let mut seen = Seen { ran: Vec::new(), dropped: recorded.dropped, not_understood: Vec::new() };
        let mut kinds: BTreeMap<String, Kind> = BTreeMap::new();
        for entry in recorded.entries {
            match &entry.what {
                What::NotUnderstood { why } => seen.not_understood.push(*why),
                What::Statement(statement) if statement.outcome != Outcome::Skipped => {
                    let text = statement.sql.as_str();
                    let kind = kinds.get(text).copied().unwrap_or_else(|| {
                        let kind = Kind::of(text);
                        kinds.insert(text.to_owned(), kind);
                        kind
                    });
                    seen.ran.push(Ran { entry, kind });
                }
                _ => {}
            }
        }
        seen
    }
}

impl Ran {
    /// The statement and what became of it.
    pub fn statement(&self) -> &Statement {
        match &self.entry.what {
            What::Statement(statement) => statement,
            _ => unreachable!("only statements are taken"),
        }
    }

    /// When it began and on which connection.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// What it is there for.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its text on one line, with `?` for literals and `…` for lists.
    pub fn normalised(&self) -> String {
        let sql = &self.statement().sql;
        let text = sql::normalised(sql.as_str());
        if sql.is_cut() { format!("{text}…") } else { text }
    }

    pub(super) fn took(&self) -> Duration {
        self.statement().took.unwrap_or_default()
    }
}

impl fmt::Display for Queries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.seen().fmt(f)
    }
}

/// Statements that are shown as one line.
#[derive(Default)]
struct Group {
    times: usize,
    took: Duration,
    /// What is not as usual: errors, and answers that did not come.
    remarks: BTreeMap<String, usize>,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines: Vec<(String, Group)> = Vec::new();
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        let mut beside: BTreeMap<&str, usize> = BTreeMap::new();
        for ran in &self.ran {
            let name = match ran.kind {
                Kind::Own => {
                    let text = ran.normalised();
                    let place = *places.entry(text.clone()).or_insert_with(|| {
                        lines.push((text, Group::default()));
                        lines.len() - 1
                    });
                    lines[place].1.add(ran);
                    continue;
                }
                Kind::Session => "bounds of transactions and settings",
                Kind::TypeLookup => "look-ups of types by the driver",
                Kind::Empty => "empty",
            };
            *beside.entry(name).or_default() += 1;
        }
        for (text, group) in lines.iter().take(MAX_LINES) {
            write!(f, "{:>5} × {:>9}  {text}", group.times, ms(group.took))?;
            for (remark, times) in &group.remarks {
                write!(f, "  [{times} × {remark}]")?;
            }
            writeln!(f)?;
        }
        if lines.len() > MAX_LINES {
            writeln!(f, "  … and {} more kinds of statements", lines.len() - MAX_LINES)?;
        }
        if lines.is_empty() {
            writeln!(f, "  no statement of the application's own")?;
        }
        if !beside.is_empty() {
            let beside: Vec<String> = beside.iter().map(|(name, times)| format!("{times} {name}")).collect();
            writeln!(f, "  not counted: {}", beside.join(", "))?;
        }
        if self.dropped > 0 {
            writeln!(f, "  {} earlier entries were dropped: the recording is full", self.dropped)?;
        }
        for why in &self.not_understood {
            writeln!(f, "  a connection was not followed: {why}")?;
        }
        Ok(())
    }
}

impl Group {
    fn add(&mut self, ran: &Ran) {
        self.times += 1;
        self.took += ran.took();
        let remark = match &ran.statement().outcome {
            Outcome::Failed { code, message } => format!("{code} {message}"),
            Outcome::Pending => "still on its way".to_owned(),
            Outcome::NoAnswer => "no answer: the connection ended".to_owned(),
            Outcome::NotFollowed => "its answer was not understood".to_owned(),
            _ => return,
        };
        *self.remarks.entry(remark).or_default() += 1;
    }
}

/// `12.3 ms`.
pub(super) fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
