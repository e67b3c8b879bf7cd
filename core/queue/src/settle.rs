//! Records what became of claimed jobs, many at a time, and does not give up while the database is away.

use std::{collections::HashMap, future::Future, time::Duration};

use seaworthy_telemetry::metrics::JobOutcome;
use sqlx::{PgPool, types::Uuid};
use tokio::{sync::mpsc, time::sleep};
use tracing::{info, warn};

use crate::{
    Error, JobId,
    leases::Leases,
    store::{self, Verdict},
};

/// Messages that one round takes at most.
const ROUND: usize = 256;
/// Pauses between tries while the database is away.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How often a statement may be refused before it is given up.
const MAX_REFUSALS: u32 = 5;

/// News about a claimed batch.
#[derive(Debug)]
pub(crate) enum News {
    /// A batch of so many jobs was claimed.
    Claimed { token: Uuid, jobs: usize },
    /// One of its jobs came to an end.
    Ended { token: Uuid, job: JobId, end: End },
}

#[derive(Debug)]
pub(crate) enum End {
    /// The handler completed it in its own transaction.
    Recorded,
    /// The handler did its work; the completion is to be recorded.
    Done,
    /// The handler failed.
    Failed { attempt: i32, verdict: Verdict, error: String },
}

impl End {
    pub(crate) fn outcome(&self) -> JobOutcome {
        match self {
            End::Recorded | End::Done => JobOutcome::Completed,
            End::Failed { verdict: Verdict::RetryIn(_), .. } => JobOutcome::Retried,
            End::Failed { verdict: Verdict::Dead, .. } => JobOutcome::Dead,
        }
    }
}

/// Works until every sender is gone.
pub(crate) async fn settle(pool: PgPool, deadline: Duration, leases: Leases, mut news: mpsc::Receiver<News>) {
    let settler = Settler { pool, deadline };
    let mut left: HashMap<Uuid, usize> = HashMap::new();
    let mut round = Vec::with_capacity(ROUND);
    while news.recv_many(&mut round, ROUND).await > 0 {
        let mut done: HashMap<Uuid, Vec<i64>> = HashMap::new();
        let mut ended: HashMap<Uuid, usize> = HashMap::new();
        for item in round.drain(..) {
            match item {
                News::Claimed { token, jobs } => *left.entry(token).or_default() += jobs,
                News::Ended { token, job, end } => {
                    *ended.entry(token).or_default() += 1;
                    match end {
                        End::Recorded => {}
                        End::Done => done.entry(token).or_default().push(job.0),
                        End::Failed { attempt, verdict, error } => {
                            settler.fail(token, job, attempt, verdict, &error).await;
                        }
                    }
                }
            }
        }
        for (token, jobs) in done {
            settler.complete(token, &jobs).await;
        }
        for (token, ended) in ended {
            let left_now = left.entry(token).or_default();
            *left_now = left_now.saturating_sub(ended);
            if *left_now == 0 {
                left.remove(&token);
                settler.close(token).await;
                leases.close(token);
            }
        }
    }
}

struct Settler {
    pool: PgPool,
    deadline: Duration,
}

impl Settler {
    async fn complete(&self, token: Uuid, jobs: &[i64]) {
        let stood = self.until_it_works(|| store::complete_many(&self.pool, token, jobs)).await;
        if stood == Some(false) {
            warn!(?jobs, "fenced: the jobs were done after the lease on them was lost, and will run again");
        }
    }

    async fn fail(&self, token: Uuid, job: JobId, attempt: i32, verdict: Verdict, error: &str) {
        info!(%job, attempt, ?verdict, error, "a job failed");
        let fail = |text| store::fail(&self.pool, token, job, attempt, verdict.clone(), text, self.deadline);
        let mut recorded = self.until_it_works(|| fail(error)).await;
        if recorded.is_none() {
            // The text may be what the database refuses: not every encoding has every character.
            recorded = self.until_it_works(|| fail("the error's text could not be stored")).await;
        }
        if recorded == Some(false) {
            info!(%job, "its failure was not recorded: it was completed, or another worker has it");
        }
    }

    async fn close(&self, token: Uuid) {
        let unfinished = self.until_it_works(|| store::close_lease(&self.pool, token, self.deadline)).await;
        if let Some(jobs @ 1..) = unfinished {
            warn!(
                jobs,
                "jobs that were said to be done, or whose end could not be recorded, went back to the queue"
            );
        }
    }

    /// Tries until the database answers. What it refuses again and again is given up (`None`): nothing else could be recorded
    /// meanwhile.
    async fn until_it_works<T, F: Future<Output = Result<T, Error>>>(
        &self,
        mut attempt: impl FnMut() -> F,
    ) -> Option<T> {
        let mut pause = FIRST_PAUSE;
        let mut refusals = 0;
        loop {
            match within(self.deadline, attempt()).await {
                Ok(value) => return Some(value),
                Err(error) => {
                    refusals += u32::from(is_refusal(&error));
                    warn!(%error, "the outcome of jobs could not be recorded yet");
                }
            }
            if refusals >= MAX_REFUSALS {
                return None;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Whether the database understood the statement and refused it: bad data, a broken constraint, a missing privilege or table.
fn is_refusal(error: &Error) -> bool {
    let Error::Database(sqlx::Error::Database(error)) = error else { return false };
    error.code().is_some_and(|code| ["22", "23", "42"].iter().any(|class| code.starts_with(class)))
}

/// Gives up on a statement that gets no answer. Its connection stays with the pool until the server answers or the connection
/// breaks; the statements that may wait for locks have the server give up first.
pub(crate) async fn within<T>(
    deadline: Duration,
    statement: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::time::timeout(deadline, statement).await.unwrap_or_else(|_| {
        let text = format!("no answer within {deadline:?}");
        Err(Error::Database(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, text))))
    })
}
