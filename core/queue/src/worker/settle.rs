//! Records what became of claimed jobs, many at a time, and does not give up while the database is away.

use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{info, warn};
use uuid::Uuid;

use crate::{
    Error,
    backend::{Backend, Completed, Unfinished},
    leases::Leases,
};

/// Ends that may wait to be recorded: while the database is away, handlers wait.
const WAITING: usize = 4096;
/// Ends that one round takes at most.
const ROUND: usize = 1024;
/// Pauses between tries while the database is away.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How often a statement may be refused before it is given up.
const MAX_REFUSALS: u32 = 5;

/// Where the ends of jobs go.
#[derive(Debug, Clone)]
pub(super) struct Outbox {
    done: mpsc::Sender<Completed>,
    other: mpsc::Sender<Other>,
    leases: Leases,
}

/// What does not come by the thousand.
#[derive(Debug)]
enum Other {
    Unfinished(Unfinished),
    /// The handler says that it has completed the job itself.
    Recorded(Uuid),
    /// Every job of the lease is settled.
    Over(Uuid),
}

// The channels are closed only when the worker is stopped at once, and then nobody is left to tell.
impl Outbox {
    pub(super) async fn done(&self, job: Completed) {
        let _ = self.done.send(job).await;
    }

    pub(super) async fn unfinished(&self, job: Unfinished) {
        let _ = self.other.send(Other::Unfinished(job)).await;
    }

    pub(super) async fn recorded(&self, token: Uuid) {
        self.leases.doubt(token);
        let _ = self.other.send(Other::Recorded(token)).await;
    }

    pub(super) async fn close(&self, token: Uuid) {
        let _ = self.other.send(Other::Over(token)).await;
    }
}

/// The tasks that record. Completions have one of their own: a failure may have to wait for a transaction that its handler left open.
pub(super) struct Settling {
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Settling {
    pub(super) fn start(backend: Arc<dyn Backend>, leases: Leases) -> (Outbox, Self) {
        let (done, completions) = mpsc::channel(WAITING);
        let (other, others) = mpsc::channel(WAITING);
        let outbox = Outbox { done, other, leases: leases.clone() };
        let stop = watch::Sender::new(false);
        let settler = Settler { backend, leases, outbox: outbox.clone(), stop: stop.subscribe() };
        let mut tasks = JoinSet::new();
        tasks.spawn(settler.clone().complete(completions));
        tasks.spawn(settler.settle_others(others));
        (outbox, Settling { tasks, stop })
    }

    /// Records what came in so far, and ends. Says whether that was done in time.
    pub(super) async fn finish(mut self, deadline: Duration) -> bool {
        self.stop.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        timeout(deadline, all).await.is_ok()
    }
}

#[derive(Clone)]
struct Settler {
    backend: Arc<dyn Backend>,
    leases: Leases,
    outbox: Outbox,
    stop: watch::Receiver<bool>,
}

impl Settler {
    async fn complete(mut self, mut inbox: mpsc::Receiver<Completed>) {
        let mut round = Vec::with_capacity(ROUND);
        while receive(&mut inbox, &mut round, &mut self.stop).await {
            let mut of: HashMap<Uuid, Completed> = HashMap::new();
            for job in round.drain(..) {
                match of.get_mut(&job.token) {
                    Some(batch) => {
                        batch.jobs.extend(job.jobs);
                        batch.ran.extend(job.ran);
                        batch.results.extend(job.results);
                        batch.flags |= job.flags;
                    }
                    None => {
                        of.insert(job.token, job);
                    }
                }
            }
            let mut batches: Vec<Completed> = of.into_values().collect();
            for batch in &mut batches {
                (batch.part, batch.is_over) = self.leases.part(batch.token, batch.jobs.len());
            }
            let stood = self.until_it_works(|| self.backend.complete(&batches)).await;
            for Completed { token, jobs, is_over, .. } in batches {
                if stood.as_ref().is_some_and(|stood| !stood.contains(&token)) {
                    warn!(
                        ?jobs,
                        "fenced: the jobs were done after the lease on them was lost, and will run again"
                    );
                }
                if self.leases.settled(token, jobs.len()) {
                    if is_over && stood.is_some() {
                        self.leases.close(token);
                    } else {
                        self.outbox.close(token).await;
                    }
                }
            }
        }
    }

    async fn settle_others(mut self, mut inbox: mpsc::Receiver<Other>) {
        let mut round = Vec::with_capacity(ROUND);
        while receive(&mut inbox, &mut round, &mut self.stop).await {
            let (mut unfinished, mut over) = (HashMap::<Uuid, Vec<Unfinished>>::new(), Vec::new());
            for item in round.drain(..) {
                match item {
                    Other::Unfinished(job) => unfinished.entry(job.token).or_default().push(job),
                    Other::Recorded(token) if self.leases.settled(token, 1) => over.push(token),
                    Other::Recorded(_) => {}
                    Other::Over(token) => over.push(token),
                }
            }
            for (token, mut jobs) in unfinished {
                for job in &mut jobs {
                    (job.part, _) = self.leases.part(token, 0);
                }
                self.end(&mut jobs).await;
                if self.leases.settled(token, jobs.len()) {
                    over.push(token);
                }
            }
            for token in over {
                let unfinished = self.until_it_works(|| self.backend.close_lease(token)).await;
                if let Some(jobs @ 1..) = unfinished {
                    warn!(
                        jobs,
                        "jobs that were said to be done, or whose end could not be recorded, went back to the queue"
                    );
                }
                self.leases.close(token);
            }
        }
    }

    async fn end(&self, jobs: &mut [Unfinished]) {
        for Unfinished { job, attempt, ending, why, .. } in &*jobs {
            info!(%job, attempt, ?ending, why, "a job was not done");
        }
        let mut recorded = self.until_it_works(|| self.backend.end_unfinished(jobs)).await;
        if recorded.is_none() {
            // A text may be what the database refuses: not every encoding has every character.
            jobs.iter_mut().for_each(|job| job.why = "the error's text could not be stored".to_owned());
            recorded = self.until_it_works(|| self.backend.end_unfinished(jobs)).await;
        }
        if recorded.is_some_and(|recorded| recorded < jobs.len()) {
            info!("failures were not recorded: the jobs were completed, or another worker has them");
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
            match attempt().await {
                Ok(value) => return Some(value),
                Err(error) => {
                    refusals += u32::from(error.is_refusal());
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

/// Waits for the next round; `false` when there is nothing more and the worker is being stopped.
async fn receive<T>(
    inbox: &mut mpsc::Receiver<T>,
    round: &mut Vec<T>,
    stop: &mut watch::Receiver<bool>,
) -> bool {
    tokio::select! {
        biased;
        received = inbox.recv_many(round, ROUND) => received > 0,
        _ = stop.wait_for(|stop| *stop) => {
            // Whatever was sent before.
            while round.len() < ROUND && let Ok(item) = inbox.try_recv() {
                round.push(item);
            }
            !round.is_empty()
        }
    }
}
