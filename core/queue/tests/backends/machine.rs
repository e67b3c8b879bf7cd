//! Whatever is asked of a queue, in whatever order: it agrees with the model, no job is lost, each ends once, and what is fenced changes nothing.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use seaworthy_harness::Env;
use seaworthy_queue::{
    Cancelled, Flow, JobId, NewJob, Unique,
    backend::{Claimed, Completed, Ending},
};
use uuid::Uuid;

use crate::{
    hand::{Hand, LEASE},
    model::{Model, New, Place},
    world::{World, schema},
};

const WORKERS: usize = 3;
/// What is late is late by this, and what passes is more.
const SHORT: Duration = Duration::from_secs(50);
const LONG: Duration = Duration::from_secs(100);

/// What somebody does. A number picks one of those that there are.
#[derive(Debug, Clone)]
enum Act {
    Enqueue(New),
    Claim {
        worker: usize,
        limit: usize,
        is_lost: bool,
    },
    Complete {
        lease: usize,
        is_all: bool,
        is_repeated: bool,
    },
    Fail {
        lease: usize,
        how: usize,
        is_repeated: bool,
    },
    GiveBack {
        lease: usize,
    },
    Close {
        lease: usize,
    },
    /// The worker does not beat any more. What it holds it goes on to settle, as a zombie, when others have taken its place.
    Kill {
        worker: usize,
    },
    TimePasses,
    Rescue,
    FindLostClaims {
        worker: usize,
    },
    Cancel {
        job: usize,
    },
    Pause,
    Resume,
    Replay {
        job: usize,
    },
    Purge {
        job: usize,
    },
}

fn act() -> impl Strategy<Value = Act> {
    let place = 0_usize..64;
    let new = (
        1_u8..4,
        any::<bool>(),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.2),
        1_i16..4,
        prop::option::of(0_u8..2),
    );
    let new = new.prop_map(|(jobs, is_chain, is_delayed, expires, max_attempts, key)| New {
        jobs,
        is_chain,
        is_delayed,
        expires,
        max_attempts,
        key,
    });
    prop_oneof![
        4 => new.prop_map(Act::Enqueue),
        6 => (0..WORKERS, prop::sample::select(vec![1_usize, 2, 4]), prop::bool::weighted(0.2))
            .prop_map(|(worker, limit, is_lost)| Act::Claim { worker, limit, is_lost }),
        5 => (place.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(lease, is_all, is_repeated)| Act::Complete { lease, is_all, is_repeated }),
        4 => (place.clone(), 0_usize..5, any::<bool>())
            .prop_map(|(lease, how, is_repeated)| Act::Fail { lease, how, is_repeated }),
        1 => place.clone().prop_map(|lease| Act::GiveBack { lease }),
        1 => place.clone().prop_map(|lease| Act::Close { lease }),
        2 => (0..WORKERS).prop_map(|worker| Act::Kill { worker }),
        2 => Just(Act::TimePasses),
        2 => Just(Act::Rescue),
        1 => (0..WORKERS).prop_map(|worker| Act::FindLostClaims { worker }),
        2 => place.clone().prop_map(|job| Act::Cancel { job }),
        1 => Just(Act::Pause),
        1 => Just(Act::Resume),
        1 => place.clone().prop_map(|job| Act::Replay { job }),
        1 => place.prop_map(|job| Act::Purge { job }),
    ]
}

/// A claim that somebody holds, or thinks so.
struct Lease {
    worker: Uuid,
    token: Uuid,
    jobs: Vec<Claimed>,
}

struct Machine<'a> {
    world: &'a World,
    model: Model,
    workers: Vec<Hand>,
    /// Those that were killed, and whether so much time has passed that they seem dead.
    killed: BTreeMap<Uuid, bool>,
    /// Those that were rescued from; they go on as zombies.
    leases: Vec<Lease>,
    /// Claims whose answer got lost, with the worker that made them.
    lost: Vec<(Uuid, Uuid)>,
    zombies: Vec<Hand>,
}

impl<'a> Machine<'a> {
    async fn new(world: &'a World) -> Self {
        let mut workers = Vec::new();
        for _ in 0..WORKERS {
            workers.push(Hand::new(world.backend()).await);
        }
        Machine {
            world,
            model: Model::default(),
            workers,
            killed: BTreeMap::new(),
            leases: Vec::new(),
            lost: Vec::new(),
            zombies: Vec::new(),
        }
    }

    async fn act(&mut self, act: &Act) {
        match act {
            Act::Enqueue(new) => self.enqueue(new).await,
            Act::Claim { worker, limit, is_lost } => self.claim(*worker, *limit, *is_lost).await,
            Act::Complete { lease, is_all, is_repeated } => {
                self.complete(*lease, *is_all, *is_repeated).await
            }
            Act::Fail { lease, how, is_repeated } => self.fail(*lease, *how, *is_repeated).await,
            Act::GiveBack { lease } => self.give_back(*lease).await,
            Act::Close { lease } => self.close(*lease).await,
            Act::Kill { worker } => self.kill(*worker).await,
            Act::TimePasses => self.time_passes().await,
            Act::Rescue => self.rescue().await,
            Act::FindLostClaims { worker } => self.find_lost_claims(*worker).await,
            Act::Cancel { job } => self.cancel(*job).await,
            Act::Pause => {
                assert_eq!(self.world.queue.pause("default").await.unwrap(), !self.model.is_paused);
                self.model.is_paused = true;
            }
            Act::Resume => {
                assert_eq!(self.world.queue.resume("default").await.unwrap(), self.model.is_paused);
                self.model.is_paused = false;
            }
            Act::Replay { job } => self.replay(*job).await,
            Act::Purge { job } => self.purge(*job).await,
        }
        assert_eq!(self.world.stats().await, self.model.stats(), "after {act:?}");
    }

    async fn enqueue(&mut self, new: &New) {
        let job = |number: u8| {
            let mut job = NewJob::new("work", &number).unwrap().max_attempts(new.max_attempts);
            if new.is_delayed {
                job = job.run_in(SHORT);
            }
            if new.expires {
                job = job.expires_in(SHORT);
            }
            job
        };
        let queue = &self.world.queue;
        match new.key.filter(|_| new.jobs == 1) {
            Some(key) => {
                let unique = job(0).unique(Unique::while_unfinished(key.to_string()));
                let enqueued = queue.push_or_find(&unique).await.unwrap();
                match self.model.owner(key) {
                    Some(owner) => assert_eq!((enqueued.id, enqueued.is_new), (owner, false)),
                    None => {
                        assert!(enqueued.is_new);
                        self.model.enqueued(new, &[enqueued.id]);
                    }
                }
            }
            None => {
                let jobs = (0..new.jobs).map(job);
                let ids = if new.is_chain {
                    queue.push_flow(&Flow::chain(jobs)).await.unwrap()
                } else {
                    queue.push_many(&jobs.collect::<Vec<_>>()).await.unwrap()
                };
                let new = New { key: None, ..new.clone() };
                self.model.enqueued(&new, &ids);
            }
        }
    }

    async fn claim(&mut self, worker: usize, limit: usize, is_lost: bool) {
        let hand = &self.workers[worker];
        let jobs = hand.claim(self.world.backend(), limit).await;
        self.model.claimed(&jobs, limit);
        let Some(token) = jobs.first().map(|job| job.token) else { return };
        if is_lost {
            self.lost.push((hand.id, token));
        } else {
            self.leases.push(Lease { worker: hand.id, token, jobs });
        }
    }

    /// One of the leases that somebody holds or thinks that it does, and its hand.
    fn lease(&self, number: usize) -> Option<(&Lease, &Hand)> {
        let lease = self.leases.get(number.checked_rem(self.leases.len())?)?;
        let hand = self.workers.iter().chain(&self.zombies).find(|hand| hand.id == lease.worker)?;
        Some((lease, hand))
    }

    async fn complete(&mut self, lease: usize, is_all: bool, is_repeated: bool) {
        let Some((lease, hand)) = self.lease(lease) else { return };
        let token = lease.token;
        let (held, gone): (Vec<_>, Vec<_>) = lease.jobs.iter().partition(|job| self.model.has(token, job.id));
        // A worker says once of each job how it ended; a zombie does not know better.
        let said = if held.is_empty() { gone } else { held.clone() };
        let said: Vec<&Claimed> = said.into_iter().take(if is_all { usize::MAX } else { 1 }).collect();
        let completion = Completed {
            is_over: said.len() == held.len(),
            jobs: said.iter().map(|job| job.id.0).collect(),
            ran: vec![0.5; said.len()],
            flags: said.iter().fold(0, |flags, job| flags | job.flags),
            ..hand.completion(said[0])
        };
        let ended: Vec<JobId> =
            said.iter().map(|job| job.id).filter(|id| self.model.has(token, *id)).collect();
        if ended.is_empty() && self.world.backend().leases_of(hand.id).await.unwrap().contains(&token) {
            // Everything was said about this lease, which is still there.
            return;
        }
        for _ in 0..=usize::from(is_repeated) {
            let stood = self.world.backend().complete(std::slice::from_ref(&completion)).await.unwrap();
            assert_eq!(stood.contains(&token), !ended.is_empty(), "whether the lease stood");
        }
        ended.into_iter().for_each(|id| self.model.complete(id));
    }

    async fn fail(&mut self, lease: usize, how: usize, is_repeated: bool) {
        let Some((lease, hand)) = self.lease(lease) else { return };
        let token = lease.token;
        let job = lease.jobs.iter().find(|job| self.model.has(token, job.id)).unwrap_or(&lease.jobs[0]);
        let ending = match how {
            0 if job.attempt < job.max_attempts => Ending::RetryIn(SHORT),
            4 => Ending::ReturnIn(SHORT),
            1 => Ending::Cancelled,
            2 => Ending::Expired,
            _ => Ending::Dead,
        };
        let unfinished = hand.ending(job, ending);
        let (id, is_held) = (job.id, self.model.has(token, job.id));
        let recorded = self.world.backend().end_unfinished(std::slice::from_ref(&unfinished)).await.unwrap();
        assert_eq!(recorded, usize::from(is_held), "{unfinished:?}");
        if is_repeated {
            assert_eq!(self.world.backend().end_unfinished(&[unfinished]).await.unwrap(), 0, "a second time");
        }
        if is_held {
            match ending {
                Ending::RetryIn(_) => self.model.retry(id),
                Ending::ReturnIn(_) => self.model.return_later(id),
                Ending::Dead => self.model.bury(id),
                Ending::Cancelled => self.model.cancel(id),
                Ending::Expired => self.model.expire(id),
            }
        }
    }

    async fn give_back(&mut self, lease: usize) {
        let Some((lease, hand)) = self.lease(lease) else { return };
        let token = lease.token;
        // What is held is given back; a zombie tries it too.
        let is_zombie = !lease.jobs.iter().any(|job| self.model.has(token, job.id));
        if is_zombie && self.world.backend().leases_of(hand.id).await.unwrap().contains(&token) {
            return;
        }
        let (held, _): (Vec<_>, Vec<_>) =
            lease.jobs.iter().partition(|job| is_zombie || self.model.has(token, job.id));
        let Some(job) = held.first() else { return };
        let one = Claimed {
            id: job.id,
            queue: job.queue.clone(),
            kind: job.kind.clone(),
            args: job.args.clone(),
            attempt: job.attempt,
            max_attempts: job.max_attempts,
            flags: job.flags,
            version: job.version,
            is_expired: job.is_expired,
            trace: None,
            age: job.age,
            token,
            place: job.place,
        };
        hand.give_back(self.world.backend(), std::slice::from_ref(&one)).await;
        if self.model.has(token, one.id) {
            self.model.give_back(one.id);
        }
    }

    async fn close(&mut self, lease: usize) {
        let Some(token) = self.lease(lease).map(|(lease, _)| lease.token) else { return };
        let expected = self.model.take_back(token, true);
        assert_eq!(self.world.backend().close_lease(token).await.unwrap(), expected);
    }

    /// Another one takes its place at once.
    async fn kill(&mut self, worker: usize) {
        let hand = std::mem::replace(&mut self.workers[worker], Hand::new(self.world.backend()).await);
        self.killed.insert(hand.id, false);
        self.zombies.push(hand);
    }

    async fn time_passes(&mut self) {
        self.world.pass(LONG).await;
        for hand in &self.workers {
            assert!(self.world.backend().heartbeat(hand.id).await.unwrap());
        }
        self.world.queue.promote_due().await.unwrap();
        self.killed.values_mut().for_each(|seems_dead| *seems_dead = true);
        self.model.time_passes();
    }

    async fn rescue(&mut self) {
        let dead: Vec<Uuid> =
            self.killed.iter().filter(|(_, seems_dead)| **seems_dead).map(|(id, _)| *id).collect();
        let mut tokens: Vec<Uuid> = Vec::new();
        for worker in &dead {
            self.killed.remove(worker);
            tokens
                .extend(self.leases.iter().filter(|lease| lease.worker == *worker).map(|lease| lease.token));
            tokens.extend(self.lost.iter().filter(|(of, _)| of == worker).map(|(_, token)| *token));
        }
        let expected: u64 = tokens.into_iter().map(|token| self.model.take_back(token, true)).sum();
        assert_eq!(self.world.queue.rescue().await.unwrap(), expected);
        for worker in dead {
            assert!(!self.world.backend().heartbeat(worker).await.unwrap());
        }
    }

    /// As the upkeep of a worker does.
    async fn find_lost_claims(&mut self, worker: usize) {
        let id = self.workers[worker].id;
        let mut strays = self.world.backend().leases_of(id).await.unwrap();
        strays.retain(|token| !self.leases.iter().any(|lease| lease.token == *token));
        let mut known: Vec<Uuid> =
            self.lost.iter().filter(|(of, _)| *of == id).map(|(_, token)| *token).collect();
        self.lost.retain(|(of, _)| *of != id);
        strays.sort();
        known.sort();
        assert_eq!(strays, known);
        let expected: u64 = known.into_iter().map(|token| self.model.take_back(token, false)).sum();
        assert_eq!(self.world.backend().release(&strays).await.unwrap(), expected);
    }

    fn job(&self, number: usize, is: impl Fn(&Place) -> bool) -> Option<JobId> {
        let some = self.model.at(is);
        some.get(number.checked_rem(some.len())?).copied()
    }

    async fn cancel(&mut self, number: usize) {
        let Some(id) = self.job(number, |_| true) else { return };
        let place = self.model.jobs[&id.0].place.clone();
        let expected = match place {
            Place::Over | Place::Dead => Cancelled::Over,
            Place::Leased(_) => Cancelled::Running,
            _ => Cancelled::Queued,
        };
        assert_eq!(self.world.queue.cancel(id).await.unwrap(), expected);
        match (expected, place) {
            (Cancelled::Queued, _) => self.model.cancel(id),
            (Cancelled::Running, Place::Leased(token)) => {
                let holders =
                    self.leases.iter().map(|lease| (lease.worker, lease.token)).chain(self.lost.clone());
                let holder = holders.into_iter().find(|(_, held)| *held == token).unwrap().0;
                assert!(self.world.backend().cancelled_on(holder).await.unwrap().contains(&id));
            }
            _ => {}
        }
    }

    /// A dead letter, or else a job that is over.
    fn given_up(&self, number: usize) -> Option<JobId> {
        self.job(number, |place| *place == Place::Dead)
            .or_else(|| self.job(number, |place| *place == Place::Over))
    }

    async fn replay(&mut self, number: usize) {
        let Some(id) = self.given_up(number) else { return };
        let replayed = self.world.queue.replay(&[id]).await.unwrap();
        let is_dead = self.model.jobs[&id.0].place == Place::Dead;
        assert_eq!(replayed.len(), usize::from(is_dead));
        for (old, new) in replayed {
            self.model.replayed(old, new);
        }
    }

    async fn purge(&mut self, number: usize) {
        let Some(id) = self.given_up(number) else { return };
        let is_dead = self.model.jobs[&id.0].place == Place::Dead;
        assert_eq!(self.world.queue.purge(&[id]).await.unwrap(), u64::from(is_dead));
        if is_dead {
            self.model.purge(id);
        }
    }

    /// Everybody is gone, and somebody does what is left: each job comes to its end, once.
    async fn finish(mut self) {
        self.act(&Act::Resume).await;
        for worker in 0..WORKERS {
            self.act(&Act::Kill { worker }).await;
        }
        for _ in 0..100 {
            self.act(&Act::TimePasses).await;
            self.act(&Act::Rescue).await;
            self.act(&Act::Claim { worker: 0, limit: 64, is_lost: false }).await;
            let last = self.leases.len().saturating_sub(1);
            self.act(&Act::Complete { lease: last, is_all: true, is_repeated: true }).await;
            let dead = self.model.at(|place| *place == Place::Dead);
            for _ in dead {
                self.act(&Act::Purge { job: 0 }).await;
            }
            if self.model.jobs.values().all(|job| job.place == Place::Over) {
                break;
            }
        }
        let lost = self.model.at(|place| *place != Place::Over);
        assert!(lost.is_empty(), "jobs that did not end: {lost:?}");
        assert!(self.model.ends.values().all(|ends| *ends == 1), "{:?}", self.model.ends);
    }
}

async fn play(world: World, acts: Vec<Act>) {
    const { assert!(LEASE.as_secs() < LONG.as_secs() && SHORT.as_secs() < LONG.as_secs()) };
    let mut machine = Machine::new(&world).await;
    for act in &acts {
        machine.act(act).await;
    }
    machine.finish().await;
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_is_asked_in_memory_is_as_in_the_model(acts in prop::collection::vec(act(), 1..60)) {
        block_on(play(World::memory(), acts));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn whatever_is_asked_in_a_file_is_as_in_the_model(acts in prop::collection::vec(act(), 1..60)) {
        block_on(play(World::file(), acts));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 64, ..ProptestConfig::with_cases(8) })]

    #[seaworthy_harness::test(schema = schema(), connections = 8)]
    fn whatever_is_asked_on_postgres_is_as_in_the_model(acts in prop::collection::vec(act(), 1..60)) {
        let env = Env::current().fresh();
        env.block_on(async { play(World::postgres(&env).await, acts).await });
    }

    #[cfg(feature = "redis")]
    #[seaworthy_harness::test]
    fn whatever_is_asked_on_redis_is_as_in_the_model(acts in prop::collection::vec(act(), 1..60)) {
        let env = Env::current().fresh();
        env.block_on(async { play(World::redis(&env).await, acts).await });
    }
}
