//! The one error type.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    borrow::Cow,
    error::Error as StdError,
    fmt,
    panic::Location,
    sync::atomic::{AtomicU32, Ordering},
};

use crate::{
    Code, Kind, Public, Retry,
    aggregate::Group,
    context::{Context, Value},
};

/// An error on its way from where it happened to whoever answers, logs or reports it. As large as a pointer.
///
/// What a client may see is the code, its title, and a [`Public`] text. Everything else is private: the source, the context and the
/// place are for logs and reports. `Display` shows the public part only, so that an error that is formatted into an answer by mistake
/// leaks nothing; `Debug` and [`Error::details`] show all of it.
///
/// ```
/// use seaworthy_errors::{Error, Public, http_codes};
///
/// let source = std::io::Error::other("connect to 10.0.0.7:5432: refused");
/// let error = Error::new(&http_codes::UNAVAILABLE)
///     .caused_by(source)
///     .with("order", 42)
///     .public(Public::from("orders can't be placed right now"));
///
/// assert_eq!(error.to_string(), "HTTP-0503: orders can't be placed right now");
/// assert!(error.details().to_string().contains("10.0.0.7"));
/// ```
pub struct Error {
    inner: Box<Inner>,
}

struct Inner {
    code: &'static Code,
    location: &'static Location<'static>,
    public: Option<Public>,
    source: Option<Box<dyn StdError + Send + Sync>>,
    context: Context,
    retry: Option<Retry>,
    group: Option<Box<Group>>,
    backtrace: Option<Box<Backtrace>>,
}

impl Error {
    /// An error with this code, at the caller's place.
    ///
    /// Where `RUST_BACKTRACE` is on, one in 1024 errors that are the server's fault (5xx) keeps a backtrace: enough to find what
    /// happens often, at no cost that could be felt.
    #[track_caller]
    pub fn new(code: &'static Code) -> Self {
        Error::at(Location::caller(), code)
    }

    /// An error that was made elsewhere.
    pub(crate) fn at(location: &'static Location<'static>, code: &'static Code) -> Self {
        Error {
            inner: Box::new(Inner {
                code,
                location,
                public: None,
                source: None,
                context: Context::default(),
                retry: None,
                group: None,
                backtrace: sampled_backtrace(code),
            }),
        }
    }

    /// The error that led to this one. Private.
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.inner.source = Some(source.into());
        self
    }

    /// Adds a name and a value to the context. Private. A text is cut at 4 KiB, and an error keeps at most 32 entries.
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.inner.context.push(name, value.into());
        self
    }

    /// Says what was being done when it happened. Private.
    pub fn context(mut self, doing: impl Into<Cow<'static, str>>) -> Self {
        self.inner.context.push("while", Value::from(doing.into()));
        self
    }

    /// What clients read as the detail of this error.
    pub fn public(mut self, text: impl Into<Public>) -> Self {
        self.inner.public = Some(text.into());
        self
    }

    /// Other advice than the code's on whether to try again.
    pub fn retry(mut self, advice: Retry) -> Self {
        self.inner.retry = Some(advice);
        self
    }

    pub(crate) fn with_group(mut self, group: Group) -> Self {
        self.inner.group = Some(Box::new(group));
        self
    }

    /// What went wrong.
    pub fn code(&self) -> &'static Code {
        self.inner.code
    }

    /// What kind of thing it is.
    pub fn kind(&self) -> Kind {
        self.inner.code.kind
    }

    /// The status of an HTTP answer with this error.
    pub fn http_status(&self) -> u16 {
        self.inner.code.http_status()
    }

    /// Whether it is the service's fault, not the caller's.
    pub fn is_server_fault(&self) -> bool {
        self.http_status() >= 500
    }

    /// The text for clients, if there is one beyond the code's title.
    pub fn public_text(&self) -> Option<&Public> {
        self.inner.public.as_ref()
    }

    /// Whether trying again helps.
    pub fn retry_advice(&self) -> Retry {
        self.inner.retry.unwrap_or(self.inner.code.retry)
    }

    /// Where the error was made.
    pub fn location(&self) -> &'static Location<'static> {
        self.inner.location
    }

    /// The names and values of the context, in the order in which they were added.
    pub fn context_entries(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.inner.context.iter()
    }

    /// The errors that this one stands for: each kind of them once, with how often it happened. Empty unless it was made by an
    /// [`Aggregate`](crate::Aggregate).
    pub fn children(&self) -> &[crate::Child] {
        self.inner.group.as_ref().map_or(&[], |group| &group.children)
    }

    /// How many errors this one stands for: 1, unless it was made by an [`Aggregate`](crate::Aggregate).
    pub fn count(&self) -> u64 {
        self.inner.group.as_ref().map_or(1, |group| group.count)
    }

    /// The backtrace, if this error is one of those that keep one.
    pub fn backtrace(&self) -> Option<&Backtrace> {
        self.inner.backtrace.as_deref()
    }

    /// The texts of the sources, the nearest first, at most 16 of them.
    pub fn sources(&self) -> impl Iterator<Item = &(dyn StdError + 'static)> {
        const DEEPEST: usize = 16;
        fn next<'a>(error: &&'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
            (*error).source()
        }
        std::iter::successors(self.source(), next).take(DEEPEST)
    }

    /// All there is to know, in one line, for logs: code, place, context and sources. Not for clients.
    pub fn details(&self) -> Details<'_> {
        Details(self)
    }
}

/// Shows an [`Error`] whole. Made by [`Error::details`].
#[derive(Clone, Copy)]
pub struct Details<'a>(&'a Error);

impl fmt::Display for Details<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = self.0;
        write!(f, "{error} (at {}", error.location())?;
        for (name, value) in error.context_entries() {
            write!(f, "; {name} {value}")?;
        }
        f.write_str(")")?;
        let mut said = String::new();
        for source in error.sources() {
            let text = crate::bounded::text(source, crate::context::MAX_TEXT);
            // Many errors repeat their source's text at their own end.
            if !said.ends_with(&text) {
                write!(f, ": {text}")?;
            }
            said = text;
        }
        if error.count() > 1 {
            write!(f, " [{} errors]", error.count())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Details<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.public_text().map_or(self.code().title, Public::as_str);
        write!(f, "{}: {text}", self.code())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.details())?;
        for child in self.children() {
            write!(f, "\n  {} × {}", child.count, child.error.details())?;
        }
        if let Some(backtrace) = self.backtrace() {
            write!(f, "\n{backtrace}")?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// A backtrace costs microseconds where an error costs nanoseconds, so only a few errors keep one.
fn sampled_backtrace(code: &Code) -> Option<Box<Backtrace>> {
    const ONE_IN: u32 = 1024;
    static SEEN: AtomicU32 = AtomicU32::new(0);
    if code.http_status() < 500 || !SEEN.fetch_add(1, Ordering::Relaxed).is_multiple_of(ONE_IN) {
        return None;
    }
    let backtrace = Backtrace::capture();
    (backtrace.status() == BacktraceStatus::Captured).then(|| Box::new(backtrace))
}

/// Gives a code to errors that have none, and context to those that have one.
pub trait ResultExt<T> {
    /// Turns an error of any kind into one with this code, whose source it is.
    ///
    /// # Errors
    ///
    /// The error, with this code.
    fn or_code(self, code: &'static Code) -> Result<T, Error>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> ResultExt<T> for Result<T, E> {
    #[track_caller]
    fn or_code(self, code: &'static Code) -> Result<T, Error> {
        match self {
            Ok(value) => Ok(value),
            Err(source) => Err(Error::new(code).caused_by(source)),
        }
    }
}
