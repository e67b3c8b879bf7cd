//! A job before it is enqueued.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use seaworthy_telemetry::trace;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Debounce, Error, limit::MAX_KEY, store::flag};

/// A job's number, unique in its database and growing with time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId(pub i64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A kind of job, whose arguments are this type.
///
/// Two versions of a program may run side by side while it is deployed. What serde reads in both needs nothing: a field with a default that is added, one that is not read any more. Any other change is a new
/// [`VERSION`](Job::VERSION), and `upcast` says what becomes of the older ones:
///
/// - a worker reads arguments of older versions through [`upcast`](Job::upcast);
/// - arguments of a newer version go back to the queue for a newer worker, and the attempt does not count;
/// - what can't be read becomes a dead letter at once.
///
/// So workers and producers may be deployed in any order; a job waits, and none is lost.
///
/// ```
/// use seaworthy_queue::{Job, NewJob};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Fulfil {
///     order: i64,
/// }
///
/// impl Job for Fulfil {
///     const KIND: &str = "fulfil";
/// }
///
/// let job = NewJob::of(&Fulfil { order: 42 })?.on_queue("warehouse").max_attempts(5);
/// # Ok::<(), seaworthy_queue::Error>(())
/// ```
pub trait Job: Serialize + DeserializeOwned + Send + 'static {
    /// What such jobs are called in the database, and in metrics.
    const KIND: &str;

    /// The version of this form of the arguments, from 1 to 127.
    const VERSION: u8 = 1;

    /// Turns arguments of an older version into those of this one; unless said otherwise, they are read as they are.
    ///
    /// ```
    /// use seaworthy_queue::Job;
    /// use serde::{Deserialize, Serialize};
    /// use serde_json::{Value, json};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Ship {
    ///     orders: Vec<i64>,
    /// }
    ///
    /// impl Job for Ship {
    ///     const KIND: &str = "ship";
    ///     const VERSION: u8 = 2;
    ///
    ///     // Version 1 was about one order.
    ///     fn upcast(_version: u8, args: Value) -> Result<Value, serde_json::Error> {
    ///         Ok(json!({ "orders": [args.get("order")] }))
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// When they can't be: the job becomes a dead letter.
    fn upcast(version: u8, args: serde_json::Value) -> Result<serde_json::Value, serde_json::Error> {
        let _ = version;
        Ok(args)
    }
}

/// A job to be enqueued.
#[derive(Debug, Clone)]
pub struct NewJob {
    pub(crate) queue: String,
    pub(crate) kind: String,
    /// As JSON text.
    pub(crate) args: String,
    pub(crate) priority: i16,
    pub(crate) max_attempts: i16,
    pub(crate) start: Start,
    /// Microseconds after it is enqueued.
    pub(crate) expires_in: Option<i64>,
    pub(crate) unique: Option<Unique>,
    pub(crate) limit: Option<LimitedBy>,
    pub(crate) debounce: Option<Debounce>,
    pub(crate) trace: Option<String>,
    /// Of the arguments.
    pub(crate) version: u8,
}

/// Of what a job takes its share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LimitedBy {
    pub(crate) name: String,
    pub(crate) key: String,
}

/// When a job may run at the earliest, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Start {
    Now,
    /// After it is enqueued, by the database's clock.
    In(i64),
    /// After 1970.
    At(i64),
}

/// Of which jobs there may be one only. While there is one, another one is not enqueued: its place is taken by the one that is there.
///
/// The key is about jobs of the same kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unique {
    pub(crate) key: String,
    pub(crate) period: Option<i64>,
    pub(crate) while_waiting: bool,
}

impl Unique {
    /// One job with this key until it is over: completed, given up, cancelled or expired.
    pub fn while_unfinished(key: impl Into<String>) -> Self {
        Unique { key: key.into(), period: None, while_waiting: false }
    }

    /// One job with this key in each period, which begins when one is enqueued; also when that one is over before.
    pub fn once_per(period: Duration, key: impl Into<String>) -> Self {
        Unique { key: key.into(), period: Some(microseconds(period)), while_waiting: false }
    }

    /// One job with this key that no worker has taken yet. Another one can be enqueued while it runs, and while it waits to be tried again: what it has seen may have changed
    /// since.
    ///
    /// Whoever is told that there is one already can rely on it that this one begins after his transaction has ended, and sees what that has written.
    pub fn while_waiting(key: impl Into<String>) -> Self {
        Unique { key: key.into(), period: None, while_waiting: true }
    }

    pub(crate) fn flags(&self) -> i16 {
        match (self.period, self.while_waiting) {
            (Some(_), _) => 0,
            (None, false) => flag::UNIQUE,
            (None, true) => flag::UNIQUE | flag::UNIQUE_WHILE_WAITING,
        }
    }
}

impl NewJob {
    /// The largest size of a job's arguments as JSON, in bytes.
    pub const MAX_ARGUMENTS: usize = 1024 * 1024;
    /// How often a job is tried unless it says otherwise.
    pub const DEFAULT_MAX_ATTEMPTS: i16 = 25;

    /// A job of this type for the queue `default`.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn of<J: Job>(job: &J) -> Result<Self, Error> {
        const { assert!(J::VERSION >= 1 && J::VERSION <= 127, "the version of a job is between 1 and 127") };
        Ok(NewJob { version: J::VERSION, ..NewJob::new(J::KIND, job)? })
    }

    /// A job of this kind for the queue `default`. It belongs to the request in whose [`trace::Work`] it is made, if there is one: its
    /// handler logs and traces with the same ids.
    ///
    /// # Errors
    ///
    /// [`Error::Arguments`] when the arguments have no JSON form, or one that can't be read back; [`Error::ArgumentsTooLarge`];
    /// [`Error::Nul`] when a text in them has a NUL character, which Postgres does not store.
    pub fn new(kind: impl Into<String>, args: &impl Serialize) -> Result<Self, Error> {
        let kind = kind.into();
        let fail = |source| Error::Arguments { kind: kind.clone(), source };
        let args = serde_json::to_string(args).map_err(fail)?;
        if args.len() > Self::MAX_ARGUMENTS {
            return Err(Error::ArgumentsTooLarge { kind, bytes: args.len(), max: Self::MAX_ARGUMENTS });
        }
        let found = Scan::of(&args);
        if found.depth > DEEPEST {
            // No worker could read it: this tells why not.
            serde_json::from_str::<serde_json::Value>(&args).map_err(fail)?;
        }
        if found.nul || kind.contains('\0') {
            return Err(Error::Nul { kind: kind.replace('\0', "\u{fffd}") });
        }
        Ok(NewJob {
            args,
            queue: "default".to_owned(),
            kind,
            priority: 0,
            max_attempts: Self::DEFAULT_MAX_ATTEMPTS,
            start: Start::Now,
            expires_in: None,
            unique: None,
            limit: None,
            debounce: None,
            trace: trace::current().map(|context| context.child().to_carrier()),
            version: 1,
        })
    }

    /// Puts the job into this queue.
    pub fn on_queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = queue.into();
        self
    }

    /// Jobs with a lower priority number run first; the default is 0. A step is worth a minute of waiting: a job runs before those of the next priority that were enqueued up to
    /// a minute before it, and no flood of urgent jobs keeps the others waiting for ever.
    pub fn priority(mut self, priority: i16) -> Self {
        self.priority = priority;
        self
    }

    /// Tries the job at most this often, at least once, before it goes to the dead-letter table.
    pub fn max_attempts(mut self, attempts: i16) -> Self {
        self.max_attempts = attempts.max(1);
        self
    }

    /// Runs the job no sooner than this after it is enqueued, by the database's clock.
    pub fn run_in(mut self, delay: Duration) -> Self {
        self.start = Start::In(microseconds(delay));
        self
    }

    /// Runs the job no sooner than at this time; at once when that is over.
    pub fn run_at(mut self, time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.start = Start::At(microseconds(since));
        self
    }

    /// Does not begin the job later than this after it is enqueued: what comes too late is worth nothing. Such a job is recorded as expired.
    pub fn expires_in(mut self, time: Duration) -> Self {
        self.expires_in = Some(microseconds(time));
        self
    }

    /// Makes it the only one with this key.
    pub fn unique(mut self, unique: Unique) -> Self {
        self.unique = Some(unique);
        self
    }

    /// Begins the job only when this [limit](crate::Limit) allows it, which has to [be there](crate::Queue::set_limit); each key has its own share. Limits without keys take an empty one.
    /// A job has one limit, the last one.
    ///
    /// A slot is taken when the job is let through to the workers, and free when it is over or waits to be tried again. Jobs of a worker that died keep theirs until they
    /// are rescued: they may still run. A worker that can't say that it lives stops its limited jobs before others begin them.
    ///
    /// ```
    /// use seaworthy_queue::NewJob;
    ///
    /// let sync = NewJob::new("sync", &42)?.limited_by("customer", "42");
    /// let charge = NewJob::new("charge", &4_711)?.limited_by("stripe", "");
    /// # Ok::<(), seaworthy_queue::Error>(())
    /// ```
    pub fn limited_by(mut self, name: impl Into<String>, key: impl Into<String>) -> Self {
        self.limit = Some(LimitedBy { name: name.into(), key: key.into() });
        self
    }

    /// Enqueues the job once it is quiet around its key; see [`Debounce`]. Such a job is not unique besides, not a part of a flow or of a batch, and has no other time.
    pub fn debounce(mut self, calm: Debounce) -> Self {
        self.debounce = Some(calm);
        self
    }

    /// The unique key as it is stored.
    pub(crate) fn key(&self) -> Option<String> {
        self.unique.as_ref().map(|unique| self.key_of(&unique.key))
    }

    /// A key of jobs of this kind, as it is stored.
    pub(crate) fn key_of(&self, key: &str) -> String {
        format!("{}:{key}", self.kind)
    }

    /// Whether its enqueuing takes more than one statement.
    pub(crate) fn is_special(&self) -> bool {
        self.unique.is_some() || self.limit.is_some() || self.debounce.is_some()
    }

    /// Whether its keys can be stored.
    pub(crate) fn check_keys(&self) -> Result<(), Error> {
        let limit = self.limit.as_ref();
        let keys = [
            ("unique key", self.unique.as_ref().map(|unique| &unique.key)),
            ("limit's key", limit.map(|limit| &limit.key)),
            ("debounce key", self.debounce.as_ref().map(|calm| &calm.key)),
        ];
        for (what, key) in keys {
            if key.is_some_and(|key| !is_storable(key)) {
                return Err(Error::Key { kind: self.kind.clone(), what, max: MAX_KEY });
            }
        }
        match limit {
            // Such a name can't be that of a limit.
            Some(limit) if !is_storable(&limit.name) => Err(Error::NoSuchLimit {
                name: limit.name.chars().filter(|char| *char != '\0').take(64).collect(),
            }),
            _ => Ok(()),
        }
    }

    /// Whether it is sure that this very job is enqueued at once, as a part of something has to be.
    pub(crate) fn check_alone(&self, part: &'static str) -> Result<(), Error> {
        let what = match (&self.unique, &self.debounce) {
            (Some(_), _) => "unique",
            (None, Some(_)) => "debounced",
            (None, None) => return Ok(()),
        };
        Err(Error::Together { kind: self.kind.clone(), what, part })
    }

    /// Whether it can be a draft that something else enqueues.
    pub(crate) fn check_draft(&self, part: &'static str) -> Result<(), Error> {
        let wrong = |what| Err(Error::Together { kind: self.kind.clone(), what, part });
        match (&self.unique, &self.debounce, self.start) {
            (Some(_), _, _) => wrong("unique"),
            (_, Some(_), _) if part != "debounced" => wrong("debounced"),
            (_, _, Start::In(_) | Start::At(_)) => wrong("scheduled"),
            _ => self.check_keys(),
        }
    }
}

/// Whether Postgres can store and index a key.
pub(crate) fn is_storable(key: &str) -> bool {
    key.len() <= MAX_KEY && !key.contains('\0')
}

/// Whole microseconds; a century at most, so that it can be added to a time.
pub(crate) fn microseconds(duration: Duration) -> i64 {
    const CENTURY: i64 = 100 * 365 * 86_400 * 1_000_000;
    i64::try_from(duration.as_micros()).unwrap_or(CENTURY).min(CENTURY)
}

/// Levels that serde_json reads.
const DEEPEST: usize = 127;

/// What Postgres or a worker could not read in a JSON text that serde_json wrote.
#[derive(Debug, Default)]
struct Scan {
    depth: usize,
    nul: bool,
}

impl Scan {
    fn of(json: &str) -> Self {
        let (mut scan, mut depth, mut in_text) = (Scan::default(), 0_usize, false);
        let mut bytes = json.as_bytes().iter().enumerate();
        while let Some((at, byte)) = bytes.next() {
            match byte {
                b'"' => in_text = !in_text,
                b'\\' if in_text => {
                    scan.nul |= json[at + 1..].starts_with("u0000");
                    bytes.next();
                }
                b'[' | b'{' if !in_text => {
                    depth += 1;
                    scan.depth = scan.depth.max(depth);
                }
                b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        scan
    }
}
