//! What `#[seaworthy_harness::test]` turns a test into.

use std::{
    cell::RefCell,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::atomic::Ordering,
};

use futures_util::FutureExt;
use tokio::{runtime::Runtime, time::timeout};

use super::{Env, EnvBuilder};

tokio::task_local! {
    static TASK: Env;
}

thread_local! {
    static THREAD: RefCell<Option<Env>> = const { RefCell::new(None) };
}

/// What a test gives back, and whether that is a failure.
pub trait Outcome {
    /// Why the test has failed, if it has.
    fn failure(&self) -> Option<String>;
}

impl Outcome for () {
    fn failure(&self) -> Option<String> {
        None
    }
}

impl<T, E: std::fmt::Debug> Outcome for Result<T, E> {
    fn failure(&self) -> Option<String> {
        self.as_ref().err().map(|error| format!("{error:?}"))
    }
}

/// The environment of the test that runs in this task or on this thread.
pub(super) fn current() -> Option<Env> {
    TASK.try_with(Env::clone).ok().or_else(|| THREAD.with_borrow(Option::clone))
}

/// Runs an async test in an environment of its own, on a runtime of its own. When it fails, what is known of the failure is
/// printed, and its databases are kept.
///
/// # Panics
///
/// When the test does, or takes longer than its timeout.
#[track_caller]
pub fn run<T, F>(settings: EnvBuilder, test: impl FnOnce(Env) -> F) -> T
where
    T: Outcome,
    F: Future<Output = T>,
{
    let runtime = runtime();
    let patience = settings.timeout;
    let outcome = runtime.block_on(async {
        let env = settings.build();
        let work = AssertUnwindSafe(TASK.scope(env.clone(), test(env.clone()))).catch_unwind();
        let outcome = timeout(patience, work).await;
        let outcome =
            outcome.unwrap_or_else(|_| Err(Box::new(format!("the test took longer than {patience:?}"))));
        conclude(env, outcome.as_ref().map_err(|_| ()).map(Outcome::failure)).await;
        outcome
    });
    runtime.shutdown_background();
    unwrap(outcome)
}

/// Runs a test that is not async.
///
/// # Panics
///
/// When the test does.
#[track_caller]
pub fn run_blocking<T: Outcome>(settings: EnvBuilder, test: impl FnOnce(Env) -> T) -> T {
    let runtime = runtime();
    let outcome = {
        let _entered = runtime.enter();
        let env = settings.build();
        THREAD.set(Some(env.clone()));
        let outcome = catch_unwind(AssertUnwindSafe(|| test(env.clone())));
        THREAD.set(None);
        runtime.block_on(conclude(env, outcome.as_ref().map_err(|_| ()).map(Outcome::failure)));
        outcome
    };
    runtime.shutdown_background();
    unwrap(outcome)
}

async fn conclude(env: Env, outcome: Result<Option<String>, ()>) {
    if !matches!(outcome, Ok(None)) {
        env.inner.told.store(true, Ordering::Relaxed);
        env.keep_databases().await;
        // On the test's own thread, so that the test runner shows it with the test.
        eprintln!("{}", env.report().await);
    }
    env.finish().await;
}

fn unwrap<T>(outcome: std::thread::Result<T>) -> T {
    match outcome {
        Ok(outcome) => outcome,
        Err(panic) => match panic.downcast::<String>() {
            // Ours was never thrown, so nobody has printed it.
            Ok(message) if message.starts_with("the test took longer") => panic!("{message}"),
            Ok(message) => resume_unwind(message),
            Err(panic) => resume_unwind(panic),
        },
    }
}

fn runtime() -> Runtime {
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    built.unwrap_or_else(|error| panic!("no runtime can be started for a test: {error}"))
}
