//! Claims jobs and hands them to handlers.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use rand::RngExt as _;
use tokio::{
    sync::{Notify, Semaphore, watch},
    task::JoinSet,
    time::{Instant, sleep_until, timeout, timeout_at},
};
use tracing::warn;
use uuid::Uuid;

use super::{Worker, prefetch::Prefetch, run_job::Runner, scaling::scale, settle::Settling, upkeep::Upkeep};
use crate::{
    Error,
    backend::{Backend, Claim, Claimed, ClaimedBatch},
    leases::Leases,
};

/// Works until told to stop, and says whether everything was finished in time.
pub(super) async fn run(worker: Worker, stop: watch::Receiver<Option<Instant>>) -> bool {
    let backend = worker.queue.backend.for_worker(worker.statement_deadline());
    let leases = Leases::default();
    let (outbox, settling) = Settling::start(backend.clone(), leases.clone());
    let wake = Arc::new(Notify::new());
    let worker = Arc::new(worker);
    let runner = Arc::new(Runner::new(worker.clone(), backend.clone(), outbox));
    let upkeep = Upkeep {
        worker: worker.clone(),
        backend: backend.clone(),
        leases: leases.clone(),
        runner: runner.clone(),
    };
    let mut dispatch = Dispatch {
        slots: Arc::new(Semaphore::new(worker.concurrency)),
        worker,
        backend: backend.clone(),
        leases,
        runner,
        upkeep,
        wake,
        stop,
        waiting: VecDeque::new(),
        jobs: JoinSet::new(),
    };
    let finished = dispatch.work(settling).await;
    backend.close().await;
    finished
}

struct Dispatch {
    worker: Arc<Worker>,
    backend: Arc<dyn Backend>,
    leases: Leases,
    runner: Arc<Runner>,
    upkeep: Upkeep,
    slots: Arc<Semaphore>,
    /// There may be work.
    wake: Arc<Notify>,
    stop: watch::Receiver<Option<Instant>>,
    /// Claimed, and not begun.
    waiting: VecDeque<Claimed>,
    /// Dropped with this, so that an abort ends the jobs too.
    jobs: JoinSet<()>,
}

impl Dispatch {
    async fn work(&mut self, settling: Settling) -> bool {
        let mut listening = JoinSet::new();
        listening.spawn(self.upkeep.clone().listen(self.wake.clone()));
        let scaling =
            scale(self.worker.clone(), self.backend.clone(), self.runner.clone(), self.slots.clone());
        listening.spawn(scaling);
        let mut last_id = None;
        while self.stop.borrow().is_none() {
            let id = Uuid::new_v4();
            match self.backend.register_worker(id, self.worker.lease_timeout).await {
                Ok(()) => {
                    self.worker.vitals.beats();
                    last_id = Some(id);
                    self.describe(id).await;
                    self.live_as(id).await;
                }
                Err(error) => {
                    warn!(%error, "the worker can't register yet");
                    let _ = timeout(self.worker.heartbeat, self.stop.wait_for(Option::is_some)).await;
                }
            }
            self.give_back().await;
        }
        // Jobs that still run need heartbeats, or they would be rescued while they finish.
        let mut upkeep = JoinSet::new();
        if let Some(id) = last_id {
            upkeep.spawn(self.upkeep.clone().heartbeats(id));
            upkeep.spawn(self.upkeep.clone().resign(id));
        }
        let deadline = self.stop.borrow().unwrap_or_else(Instant::now);
        let finishing = async { while self.jobs.join_next().await.is_some() {} };
        let finished = timeout_at(deadline, finishing).await.is_ok();
        self.jobs.shutdown().await;
        let settled = settling.finish(self.backend.deadline()).await;
        upkeep.shutdown().await;
        listening.shutdown().await;
        if let Some(id) = last_id
            && let Err(error) = self.backend.retire_worker(id).await
        {
            warn!(%error, "the worker could not sign off; it will be taken for dead");
        }
        finished && settled
    }

    /// Tells operators who this is.
    async fn describe(&self, id: Uuid) {
        let queues: Vec<&str> = self.worker.queues.iter().map(|(queue, _)| &**queue).collect();
        if let Err(error) = self.backend.describe_worker(id, &queues, self.worker.vitals.slots()).await {
            warn!(%error, "operators don't see who the worker is");
        }
    }

    /// Claims and runs jobs under one identity, until told to stop or given up by the others.
    async fn live_as(&mut self, id: Uuid) {
        let mut upkeep = JoinSet::new();
        upkeep.spawn(self.upkeep.clone().heartbeats(id));
        upkeep.spawn(self.upkeep.clone().maintenance(id));
        upkeep.spawn(self.upkeep.clone().leadership(id));
        let mut looks = Looks::new(&self.worker);
        let mut prefetch = Prefetch::new(Instant::now());
        let mut claiming = JoinSet::new();
        let mut next_look = Instant::now();
        loop {
            while !self.waiting.is_empty()
                && let Ok(slot) = self.slots.clone().try_acquire_owned()
                && let Some(job) = self.waiting.pop_front()
            {
                self.jobs.spawn(self.runner.clone().run(job, slot));
            }
            while self.jobs.try_join_next().is_some() {}
            let now = Instant::now();
            let slots = self.worker.vitals.slots();
            prefetch.measure(now, self.runner.finished(), self.runner.ran(), slots);
            let wanted = prefetch.claim(self.slots.available_permits(), self.waiting.len());
            if claiming.is_empty() && wanted > 0 && now >= next_look {
                let look = looks.next(now);
                claiming.spawn(claim(self.backend.clone(), self.leases.clone(), id, look, wanted));
            }
            let is_blocked = claiming.is_empty() && wanted == 0;
            self.worker.vitals.is_busy(is_blocked);
            let mut slot = None;
            tokio::select! {
                // A worker that was told to stop claims nothing more.
                biased;
                _ = self.stop.wait_for(Option::is_some) => break,
                _ = upkeep.join_next() => break,
                Some(claimed) = claiming.join_next() => match claimed {
                    Ok(Ok((look, jobs))) => {
                        self.worker.vitals.looks();
                        let now = Instant::now();
                        if !jobs.is_empty() {
                            prefetch.claimed(now - look.began);
                        }
                        let is_over = looks.seen(look, now, jobs.is_empty());
                        self.waiting.extend(jobs);
                        if is_over {
                            next_look = looks.next_round(Instant::now() + self.worker.poll);
                        }
                    }
                    Ok(Err(Error::Dismissed { .. })) => {
                        warn!("the worker was taken for dead and starts again under a new identity");
                        break;
                    }
                    Ok(Err(error)) => {
                        // The claim may have worked all the same; then the upkeep finds a lease that is not open here.
                        warn!(%error, "jobs can't be claimed");
                        next_look = Instant::now() + self.worker.poll;
                    }
                    Err(_) => break,
                },
                free = self.slots.clone().acquire_owned(), if is_blocked || !self.waiting.is_empty() => slot = free.ok(),
                () = self.wake.notified() => next_look = Instant::now(),
                () = sleep_until(next_look), if claiming.is_empty() && wanted > 0 => {}
            }
            if let Some(slot) = slot
                && let Some(job) = self.waiting.pop_front()
            {
                self.jobs.spawn(self.runner.clone().run(job, slot));
            }
        }
        // A claim that is on its way is waited for: what it brings goes back.
        let claimed = timeout(self.backend.deadline(), claiming.join_next()).await;
        if let Ok(Some(Ok(Ok((_, jobs))))) = claimed {
            self.waiting.extend(jobs);
        }
    }

    /// Returns what was not begun to the queue, as far as the leases still stand.
    async fn give_back(&mut self) {
        let mut of: HashMap<Uuid, Vec<Claimed>> = HashMap::new();
        for job in self.waiting.drain(..) {
            of.entry(job.token).or_default().push(job);
        }
        for (token, jobs) in of {
            let (part, _) = self.leases.part(token, 0);
            // What can't be returned now is returned when the worker signs off, or rescued.
            if let Err(error) = self.backend.give_back(part, &jobs).await {
                warn!(%error, jobs = jobs.len(), "jobs that were not begun could not be returned");
            } else if self.leases.settled(token, jobs.len()) {
                self.runner.outbox().close(token).await;
            }
        }
    }
}

/// One queue, and from which rank on it is looked at.
#[derive(Debug, Clone)]
struct Look {
    place: usize,
    queue: Arc<str>,
    from: i64,
    began: Instant,
    first: Option<i64>,
}

async fn claim(
    backend: Arc<dyn Backend>,
    leases: Leases,
    worker: Uuid,
    mut look: Look,
    limit: usize,
) -> Result<(Look, Vec<Claimed>), Error> {
    let token = leases.open();
    let claim = Claim { worker, token, queue: &look.queue, limit, from: look.from };
    match backend.claim(claim).await {
        Ok(ClaimedBatch { jobs, first_rank }) => {
            if jobs.is_empty() {
                leases.close(token);
            } else {
                leases.claimed(token, jobs.len());
            }
            look.first = first_rank;
            Ok((look, jobs))
        }
        Err(error) => {
            leases.close(token);
            Err(error)
        }
    }
}

/// Which queue is looked at next, and from where on.
///
/// Rows that were deleted stay in the index until they are vacuumed, and as long as some transaction is older than they are, they can't be: a look from the beginning
/// passes all of them. So most looks begin where the last one found something. Those from the beginning, which find what was committed late and what is more urgent,
/// take a tenth of the time at most.
#[derive(Debug)]
struct Looks {
    queues: Vec<Place>,
    /// Queues of this round that were not looked at yet.
    round: Vec<usize>,
    /// Whether some queue of this round had something.
    found: bool,
    /// Where something may be that the looks of this round did not reach, since it was not time for a whole one: when it will be.
    next_whole: Option<Instant>,
}

#[derive(Debug)]
struct Place {
    queue: Arc<str>,
    weight: u32,
    from: i64,
    next_whole: Instant,
}

impl Looks {
    fn new(worker: &Worker) -> Self {
        let place = |(queue, weight): &(Arc<str>, u32)| Place {
            queue: queue.clone(),
            weight: *weight,
            from: i64::MIN,
            next_whole: Instant::now(),
        };
        Looks {
            queues: worker.queues.iter().map(place).collect(),
            round: Vec::new(),
            found: false,
            next_whole: None,
        }
    }

    fn next(&mut self, now: Instant) -> Look {
        if self.round.is_empty() {
            self.round = self.weighted();
            self.found = false;
            self.next_whole = None;
        }
        let place = self.round[self.round.len() - 1];
        let Place { queue, from, next_whole, .. } = &self.queues[place];
        let from = if now >= *next_whole { i64::MIN } else { *from };
        Look { place, queue: queue.clone(), from, began: now, first: None }
    }

    /// Takes note of what a look found, and says whether all queues of the round were found empty.
    fn seen(&mut self, look: Look, now: Instant, is_empty: bool) -> bool {
        const SHARE: u32 = 9;
        let place = &mut self.queues[look.place];
        let was_whole = look.from == i64::MIN;
        if was_whole {
            place.next_whole = now + SHARE * (now - look.began);
        }
        place.from = look.first.unwrap_or(place.from);
        if is_empty && !was_whole {
            // It is empty only if a whole look says so.
            if place.next_whole <= now {
                return false;
            }
            let whole = place.next_whole;
            self.next_whole = Some(self.next_whole.map_or(whole, |other| other.min(whole)));
        }
        if is_empty {
            self.round.pop();
        } else {
            self.found = true;
            // The weights decide anew where to look next.
            self.round.clear();
        }
        self.round.is_empty() && !self.found
    }

    /// When the next round begins, after one that found nothing: when it is time to poll, or to look for what this one did not reach.
    fn next_round(&self, poll: Instant) -> Instant {
        self.next_whole.map_or(poll, |whole| whole.min(poll))
    }

    /// The queues in a random order, the last one first; heavier ones come sooner (Efraimidis and Spirakis, 2006).
    fn weighted(&self) -> Vec<usize> {
        let mut random = rand::rng();
        let mut keys: Vec<(f64, usize)> = self
            .queues
            .iter()
            .enumerate()
            .map(|(place, queue)| (random.random::<f64>().powf(1.0 / f64::from(queue.weight)), place))
            .collect();
        keys.sort_by(|one, other| one.0.total_cmp(&other.0));
        keys.into_iter().map(|(_, place)| place).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn whole_looks_at_an_empty_queue_take_a_tenth_of_the_time_and_are_not_put_off_for_longer() {
        const WHOLE: Duration = Duration::from_millis(100);
        const POLL: Duration = Duration::from_millis(50);
        let start = Instant::now();
        let place = Place { queue: "default".into(), weight: 1, from: 7, next_whole: start };
        let mut looks = Looks { queues: vec![place], round: Vec::new(), found: false, next_whole: None };
        let (mut now, mut spent, mut last, mut longest) = (start, Duration::ZERO, start, Duration::ZERO);
        while now < start + Duration::from_secs(60) {
            let look = looks.next(now);
            if look.from == i64::MIN {
                longest = longest.max(now - last);
                last = now;
                spent += WHOLE;
                now += WHOLE;
            } else {
                now += Duration::from_millis(1);
            }
            if looks.seen(look, now, true) {
                now = looks.next_round(now + POLL);
            }
        }
        let share = spent.div_duration_f64(now - start);
        assert!((0.09..0.11).contains(&share), "{share}");
        assert!(longest < WHOLE * 10 + POLL, "{longest:?}");
    }
}
