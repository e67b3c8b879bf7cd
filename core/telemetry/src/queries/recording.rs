//! The statements of a piece of code, for tests.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tracing::{dispatcher, instrument::WithSubscriber as _};
use tracing_subscriber::layer::SubscriberExt as _;

use super::{Repeated, Settings, Statement, log::StatementLayer};
use crate::trace::Work;

/// The most statements that one recording keeps.
const MAX_STATEMENTS: usize = 10_000;

/// Runs a future as a piece of work of its own and keeps the statements that it runs, each with its caller.
///
/// Needs no set-up: where the current subscriber has no query log, the future runs with a subscriber that has one, and its other log
/// lines are not shown. Tasks that it spawns count if they are spawned with [`trace::spawn`](crate::trace::spawn).
///
/// ```
/// # async fn example(pool: sqlx::PgPool) -> Result<(), sqlx::Error> {
/// use seaworthy_telemetry::queries;
///
/// let (orders, recording) = queries::record(sqlx::query("select * from orders").fetch_all(&pool)).await;
/// assert_eq!(recording.statements().len(), 1);
/// assert!(recording.repeated(2).is_empty(), "{recording}");
/// # Ok(())
/// # }
/// ```
pub async fn record<F: Future>(future: F) -> (F::Output, Recording) {
    let recorder = Arc::new(Recorder::default());
    let work = Work::recorded("recording", crate::trace::current().unwrap_or_default(), recorder.clone());
    let has_log = dispatcher::get_default(|dispatch| dispatch.downcast_ref::<StatementLayer>().is_some());
    let output = if has_log {
        work.run(future).await
    } else {
        let log = Settings::default().start_silent();
        let subscriber = tracing_subscriber::registry().with(log.layer());
        work.run(future).with_subscriber(subscriber).await
    };
    (output, recorder.recording())
}

/// What [`record`] saw.
#[derive(Debug, Clone)]
pub struct Recording {
    statements: Vec<Statement>,
    left_out: u64,
}

impl Recording {
    /// The statements in the order in which they ended, at most 10,000.
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// How many more there were.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The times of all statements added up.
    pub fn time(&self) -> Duration {
        self.statements.iter().map(|statement| statement.time).sum()
    }

    /// The statements that ran at least `threshold` times, the most frequent first.
    pub fn repeated(&self, threshold: u64) -> Vec<Repeated> {
        let mut repeated: Vec<Repeated> = Vec::new();
        let mut places = HashMap::new();
        for Statement { text, fingerprint, time, caller, .. } in &self.statements {
            let place = *places.entry(*fingerprint).or_insert_with(|| {
                let (text, caller) = (text.clone(), caller.clone());
                repeated.push(Repeated {
                    text,
                    fingerprint: *fingerprint,
                    times: 0,
                    time: Duration::ZERO,
                    caller,
                });
                repeated.len() - 1
            });
            repeated[place].times += 1;
            repeated[place].time += *time;
        }
        repeated.retain(|one| one.times >= threshold);
        repeated.sort_by_key(|one| std::cmp::Reverse(one.times));
        repeated
    }
}

/// One line for each statement: what a failed test shows.
impl fmt::Display for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.statements.len() as u64 + self.left_out;
        writeln!(f, "{all} statements:")?;
        for (number, statement) in self.statements.iter().enumerate() {
            writeln!(f, "{:>4}  {statement}", number + 1)?;
        }
        if self.left_out > 0 {
            writeln!(f, "      and {} more", self.left_out)?;
        }
        Ok(())
    }
}

/// Where a recorded work's statements go.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    statements: Mutex<Vec<Statement>>,
    left_out: AtomicU64,
}

impl Recorder {
    pub(crate) fn add(&self, statement: &Statement) {
        let mut statements = self.statements.lock().unwrap_or_else(PoisonError::into_inner);
        if statements.len() < MAX_STATEMENTS {
            // Without the work, which holds this recorder.
            statements.push(Statement { work: None, ..statement.clone() });
        } else {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn recording(&self) -> Recording {
        let statements = self.statements.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Recording { statements, left_out: self.left_out.load(Ordering::Relaxed) }
    }
}
