//! Many errors as one.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::{Code, Error, Fingerprint};

/// Different errors that an aggregate keeps at most; more are counted, not kept.
const MAX_CHILDREN: usize = 100;

/// The errors that an [`Error`] stands for.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) count: u64,
    pub(crate) children: Vec<Child>,
}

/// One of the errors that an aggregate stands for: its first occurrence, and how often it came.
#[derive(Debug)]
#[non_exhaustive]
pub struct Child {
    /// What the occurrences have in common.
    pub fingerprint: Fingerprint,
    /// The first of them.
    pub error: Error,
    /// How many there were.
    pub count: u64,
}

/// Collects the errors of one operation, for example of the rows of an import, so that the caller gets one error with an exact
/// count instead of the first one or a thousand.
///
/// ```
/// use seaworthy_errors::{Aggregate, Error, http_codes};
///
/// let mut failures = Aggregate::new(&http_codes::BAD_REQUEST);
/// for row in 0..1_000 {
///     failures.add(Error::new(&http_codes::BAD_REQUEST).with("row", row));
/// }
/// let error = failures.finish().expect("rows failed");
/// assert_eq!(error.count(), 1_000);
/// assert_eq!(error.children().len(), 1, "they are the same error");
/// ```
#[derive(Debug)]
pub struct Aggregate {
    code: &'static Code,
    count: u64,
    children: Vec<Child>,
    index: HashMap<Fingerprint, usize>,
}

impl Aggregate {
    /// An empty one; what it makes has this code.
    pub fn new(code: &'static Code) -> Self {
        Aggregate { code, count: 0, children: Vec::new(), index: HashMap::new() }
    }

    /// Adds an error. An aggregate among them adds what it stands for.
    pub fn add(&mut self, error: Error) {
        let (fingerprint, count) = (Fingerprint::of(&error), error.count());
        self.count += count;
        if let Some(known) = self.index.get(&fingerprint) {
            self.children[*known].count += count;
        } else if self.children.len() < MAX_CHILDREN {
            self.index.insert(fingerprint, self.children.len());
            self.children.push(Child { fingerprint, error, count });
        }
    }

    /// How many errors there are so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The one error that stands for all, or nothing when there was none. What is worth trying again is if all of it is.
    #[track_caller]
    pub fn finish(self) -> Option<Error> {
        if self.count == 0 {
            return None;
        }
        let hopeless = self.children.iter().find(|child| !child.error.retry_advice().is_worth_it());
        let advice = hopeless.map_or(self.code.retry, |child| child.error.retry_advice());
        let group = Group { count: self.count, children: self.children };
        Some(Error::new(self.code).retry(advice).with_group(group))
    }

    /// `Ok` when nothing was added.
    ///
    /// # Errors
    ///
    /// The one error that stands for all.
    #[track_caller]
    pub fn into_result(self) -> Result<(), Error> {
        match self.finish() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

/// Collects errors over time: what comes within a window becomes one.
///
/// A window begins with its first error. It has no clock of its own: the error that comes after its end, or a call of
/// [`close`](Window::close), closes it.
#[derive(Debug)]
pub struct Window {
    code: &'static Code,
    length: Duration,
    open: Option<(Instant, Aggregate)>,
}

impl Window {
    /// Windows of this length, whose errors have this code.
    pub fn new(code: &'static Code, length: Duration) -> Self {
        Window { code, length, open: None }
    }

    /// Adds an error, and returns the one that stands for the window before, if this one begins a new window.
    pub fn add(&mut self, error: Error) -> Option<Error> {
        self.add_at(Instant::now(), error)
    }

    /// [`add`](Window::add), at a given time.
    pub fn add_at(&mut self, now: Instant, error: Error) -> Option<Error> {
        let over = self.ends_at().is_some_and(|end| now >= end);
        let before = if over { self.close() } else { None };
        let (_, aggregate) = self.open.get_or_insert_with(|| (now, Aggregate::new(self.code)));
        aggregate.add(error);
        before
    }

    /// When the window that is open ends.
    pub fn ends_at(&self) -> Option<Instant> {
        self.open.as_ref().map(|(began, _)| *began + self.length)
    }

    /// Ends the window that is open, and returns the error that stands for it.
    pub fn close(&mut self) -> Option<Error> {
        self.open.take().and_then(|(_, aggregate)| aggregate.finish())
    }
}
