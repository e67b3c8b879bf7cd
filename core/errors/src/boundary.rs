//! Where panics and late work become errors.

use std::{
    any::Any,
    future::Future,
    panic::{AssertUnwindSafe, Location},
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{task::JoinHandle, time::timeout};

use crate::{Error, Reports, bounded, context::MAX_TEXT, task_codes};

/// A line that no panic crosses, and no work that takes too long.
///
/// ```
/// use std::time::Duration;
/// use seaworthy_errors::{Boundary, Error, task_codes};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let boundary = Boundary::new("price lookup").deadline(Duration::from_millis(20));
///
/// let price = boundary.run_or(async { Ok::<_, Error>(std::future::pending().await) }, |_| 9.95).await;
/// assert_eq!(price, 9.95, "the fallback");
///
/// let error = boundary.run(async { Ok::<u32, Error>("no".parse().expect("a number")) }).await.unwrap_err();
/// assert_eq!(error.code(), &task_codes::PANICKED);
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Boundary {
    name: &'static str,
    deadline: Option<Duration>,
    reports: Option<Reports>,
}

impl Boundary {
    /// A boundary around work of this name, which its errors carry.
    pub fn new(name: &'static str) -> Self {
        Boundary { name, deadline: None, reports: None }
    }

    /// Stops the work after this time.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Reports the errors that nobody else gets to see: those behind a fallback, and those of spawned tasks.
    pub fn reports(mut self, reports: Reports) -> Self {
        self.reports = Some(reports);
        self
    }

    /// Runs the work. What it had borrowed when it panicked or was stopped may be half done: share only what is meant for that,
    /// such as databases, atomics and locks that poison.
    ///
    /// # Errors
    ///
    /// The work's own; [`task_codes::PANICKED`]; [`task_codes::TIMED_OUT`].
    #[track_caller]
    pub fn run<T, E, F>(&self, work: F) -> impl Future<Output = Result<T, Error>> + use<T, E, F>
    where
        F: Future<Output = Result<T, E>>,
        E: Into<Error>,
    {
        let (name, deadline) = (self.name, self.deadline);
        let place = Location::caller();
        let caught = AssertUnwindSafe(work).catch_unwind();
        async move {
            let outcome = match deadline {
                Some(deadline) => timeout(deadline, caught).await.map_err(|_| deadline),
                None => Ok(caught.await),
            };
            match outcome {
                Ok(Ok(result)) => result.map_err(Into::into),
                Ok(Err(panic)) => Err(panicked(&*panic, place).with("work", name)),
                Err(deadline) => Err(Error::at(place, &task_codes::TIMED_OUT)
                    .with("work", name)
                    .with("deadline_ms", deadline.as_millis() as u64)),
            }
        }
    }

    /// Runs the work, and takes this value instead when it fails. The error is reported.
    pub async fn run_or<T, E, F>(&self, work: F, fallback: impl FnOnce(&Error) -> T) -> T
    where
        F: Future<Output = Result<T, E>>,
        E: Into<Error>,
    {
        match self.run(work).await {
            Ok(value) => value,
            Err(error) => {
                let value = fallback(&error);
                self.report(error);
                value
            }
        }
    }

    /// Spawns the work as a task. Its error is reported, so that it is not lost when nobody waits for the task, and returned as
    /// well, without its source, which went with the report.
    #[track_caller]
    pub fn spawn<T, E, F>(&self, work: F) -> JoinHandle<Result<T, Error>>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Into<Error> + 'static,
    {
        let boundary = self.clone();
        let running = self.run(work);
        tokio::spawn(async move {
            running.await.map_err(|error| {
                let told = Error::new(error.code()).retry(error.retry_advice()).with("work", boundary.name);
                boundary.report(error);
                told
            })
        })
    }

    /// Wraps a handler of jobs: what it panics with, or does not finish in time, becomes an error like any other.
    pub fn job<A, T, E, F, Fut>(&self, handler: F) -> impl Fn(A) -> JobFuture<T> + Send + Sync + 'static
    where
        F: Fn(A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        A: Send + 'static,
        T: Send + 'static,
        E: Into<Error> + 'static,
    {
        let (boundary, handler) = (self.clone(), Arc::new(handler));
        move |args| {
            let handler = handler.clone();
            // The call itself may panic, before there is a future.
            Box::pin(boundary.run(async move { handler(args).await }))
        }
    }

    fn report(&self, error: Error) {
        match &self.reports {
            Some(reports) => reports.send(error),
            None => tracing::error!(code = error.code().id, error = %error.details(), "{} failed", self.name),
        }
    }
}

/// What a wrapped handler returns.
pub type JobFuture<T> = std::pin::Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

/// The error for a panic; its message is private, as it may hold anything.
pub(crate) fn panicked(panic: &(dyn Any + Send), place: &'static Location<'static>) -> Error {
    let literal = panic.downcast_ref::<&str>().copied();
    let text = literal.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    Error::at(place, &task_codes::PANICKED).caused_by(Panic(bounded::text(text, MAX_TEXT)))
}

/// The message of a panic, as the source of an error.
#[derive(Debug, thiserror::Error)]
#[error("panicked: {0}")]
struct Panic(String);
