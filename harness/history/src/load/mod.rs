//! Load that does not wait for the service: every operation begins when its time has come.

mod profile;

use std::{collections::BTreeSet, fmt, future::Future, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;
use seaworthy_reports::Latencies;
use serde::Serialize;
use serde_json::Value;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout_at},
};

pub use profile::Profile;

use crate::{Failure, History, Outcome, history::Pending};

/// Open-loop load of several kinds of operations.
///
/// Operations begin when the profile says so, whether or not those before them have an answer, and latency counts from then (as in Gil Tene's wrk2): a
/// service that stalls can't hide it by slowing its clients down. Which operation comes when, and with which values, follows from the seed alone.
///
/// ```
/// use std::time::Duration;
/// use seaworthy_history::{Failure, History, Profile, Workload};
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let history = History::start();
/// let sent = Workload::new(Profile::constant(200.0, Duration::from_millis(100)))
///     .seed(7)
///     .operation("write", 3, |call| async move {
///         let value = call.key(format!("account-{}", call.pick(10))).pick(100);
///         call.input(value);
///         Ok::<_, Failure>(()) // here the client would write
///     })
///     .operation("read", 1, |call| async move {
///         call.key(format!("account-{}", call.pick(10)));
///         Ok::<_, Failure>(42) // and here read: what it is told belongs to the history
///     })
///     .run(&history)
///     .await;
/// assert_eq!((sent.sent, sent.unsent), (20, 0));
/// assert_eq!(history.counts().ok, 20);
/// # });
/// ```
#[derive(Clone)]
#[must_use]
pub struct Workload {
    profile: Profile,
    seed: u64,
    deadline: Duration,
    most_at_once: usize,
    kinds: Vec<Kind>,
}

#[derive(Clone)]
struct Kind {
    name: String,
    weight: u32,
    act: Act,
}

type Act = Arc<dyn Fn(Call) -> BoxFuture<'static, Result<Value, Failure>> + Send + Sync>;

impl fmt::Debug for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<String> =
            self.kinds.iter().map(|kind| format!("{}×{}", kind.weight, kind.name)).collect();
        f.debug_struct("Workload")
            .field("profile", &self.profile)
            .field("seed", &self.seed)
            .field("kinds", &kinds)
            .finish()
    }
}

/// What became of the operations that a workload was to send.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// Operations that began.
    pub sent: u64,
    /// Operations that did not begin, since as many as are allowed were on their way.
    pub unsent: u64,
    /// How much later than intended each one began: the generator's own lag, which is part of the latencies.
    pub lag: Latencies,
}

/// One operation that a workload begins. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Call {
    number: u64,
    process: u64,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    random: ChaCha8Rng,
    pending: Option<Pending>,
}

impl Workload {
    /// Load of this profile, without operations yet; each has 5 seconds for its answer, and 1,000 may be on their way at once.
    pub fn new(profile: Profile) -> Self {
        Workload {
            profile,
            seed: 0,
            deadline: Duration::from_secs(5),
            most_at_once: 1_000,
            kinds: Vec::new(),
        }
    }

    /// The seed of what happens when, and of the values that operations draw.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How long a client waits for an answer, from the intended start.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How many operations may be on their way at once. Those that come in when there are as many are counted as unsent.
    pub fn most_at_once(mut self, most: usize) -> Self {
        self.most_at_once = most;
        self
    }

    /// How long operations begin.
    pub fn lasts(&self) -> Duration {
        self.profile.lasts()
    }

    /// Adds a kind of operation. One of weight 3 comes three times as often as one of weight 1.
    ///
    /// What it returns is what its client was told; an error says whether it took effect, see [`Failure`]. Whatever must be known of it also if it never
    /// ends, its key and its input, it says through the [`Call`] before it sends.
    pub fn operation<F, Fut, T, E>(mut self, name: impl Into<String>, weight: u32, act: F) -> Self
    where
        F: Fn(Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Serialize,
        E: Into<Failure>,
    {
        let act: Act = Arc::new(move |call| {
            let answer = act(call);
            Box::pin(async move {
                match answer.await {
                    Ok(told) => serde_json::to_value(told).map_err(Failure::unknown),
                    Err(error) => Err(error.into()),
                }
            })
        });
        self.kinds.push(Kind { name: name.into(), weight, act });
        self
    }

    /// Sends everything, and records what became of it. Returns when the last operation has its answer or its deadline has passed.
    ///
    /// # Panics
    ///
    /// When it has no operation with a weight.
    pub async fn run(&self, history: &History) -> Sent {
        let total: u32 = self.kinds.iter().map(|kind| kind.weight).sum();
        assert!(total > 0, "a workload needs an operation with a weight");
        let (offset, started) = (history.now(), Instant::now());
        let processes = Arc::new(Mutex::new(Processes::default()));
        let mut running = JoinSet::new();
        let mut sent = Sent::default();
        for (number, after) in (0..).zip(self.profile.arrivals()) {
            sleep_until(started + after).await;
            while running.try_join_next().is_some() {}
            if running.len() >= self.most_at_once {
                sent.unsent += 1;
                continue;
            }
            sent.sent += 1;
            sent.lag.record(history.now().saturating_sub(offset + after));
            let mut random = ChaCha8Rng::seed_from_u64(self.seed);
            // A stream for each operation, so that what one draws does not depend on what others drew.
            random.set_stream(number);
            let kind = pick(&self.kinds, random.random_range(0..total));
            let process = lock(&processes).take();
            let pending = history.begin_late(process, &kind.name, offset + after);
            let shared = Arc::new(Mutex::new(Shared { random, pending: Some(pending) }));
            let call = Call { number, process, shared };
            let (act, deadline, processes) =
                (kind.act.clone(), started + after + self.deadline, processes.clone());
            running.spawn(async move {
                let known = call.live(act, deadline).await;
                lock(&processes).give_back(process, known);
            });
        }
        while running.join_next().await.is_some() {}
        sent
    }
}

fn pick(kinds: &[Kind], mut draw: u32) -> &Kind {
    for kind in kinds {
        if draw < kind.weight {
            return kind;
        }
        draw -= kind.weight;
    }
    &kinds[0]
}

impl Call {
    /// Its number among all operations of the workload, from 0.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The client that sends it: a number that no other operation has at the same time.
    pub fn process(&self) -> u64 {
        self.process
    }

    /// Says what it is done to.
    pub fn key(&self, key: impl Into<String>) -> &Self {
        self.with_pending(|pending| pending.set_key(key));
        self
    }

    /// Says what the client asks for.
    pub fn input(&self, input: impl Serialize) -> &Self {
        // What has no form in JSON is left out of the history; nothing else depends on it.
        let input = serde_json::to_value(input).unwrap_or_default();
        self.with_pending(|pending| pending.set_input(input));
        self
    }

    /// A number below this one, by the seed.
    ///
    /// # Panics
    ///
    /// When there is none below it.
    pub fn pick(&self, below: u64) -> u64 {
        lock(&self.shared).random.random_range(0..below)
    }

    /// A generator of its own, which draws the same from the same seed whatever other operations do.
    pub fn random(&self) -> ChaCha8Rng {
        let mut shared = lock(&self.shared);
        ChaCha8Rng::from_rng(&mut shared.random)
    }

    fn with_pending(&self, say: impl FnOnce(&mut Pending)) {
        // An operation whose deadline has passed is over, whatever it says afterwards.
        lock(&self.shared).pending.as_mut().map(say);
    }

    /// Runs the operation to its end or its deadline. Whether its outcome is known.
    async fn live(self, act: Act, deadline: Instant) -> bool {
        let answer = timeout_at(deadline, act(self.clone())).await;
        let Some(pending) = lock(&self.shared).pending.take() else { return false };
        let (outcome, output) = match answer {
            Ok(Ok(output)) => (Outcome::Ok, output),
            Ok(Err(failure)) => (failure.into(), Value::Null),
            Err(_) => (Outcome::TimedOut, Value::Null),
        };
        let known = outcome.is_known();
        pending.finish(outcome, output);
        known
    }
}

/// The numbers of clients: as few as there are operations at once. A client that does not know what became of its operation goes on under a
/// new number, since that operation may still take effect.
#[derive(Debug, Default)]
struct Processes {
    free: BTreeSet<u64>,
    next: u64,
}

impl Processes {
    fn take(&mut self) -> u64 {
        self.free.pop_first().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        })
    }

    fn give_back(&mut self, process: u64, known: bool) {
        if known {
            self.free.insert(process);
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn drawing(seed: u64) -> Workload {
        let draw = |call: Call| async move {
            call.key(call.pick(1000).to_string());
            Ok::<_, Failure>(call.random().random_range(0..1000))
        };
        Workload::new(Profile::constant(1000.0, MS(200)))
            .seed(seed)
            .operation("a", 3, draw)
            .operation("b", 1, draw)
    }

    async fn drawn(seed: u64) -> Vec<(String, String, Value)> {
        let history = History::start();
        drawing(seed).run(&history).await;
        history
            .operations()
            .into_iter()
            .map(|operation| (operation.kind, operation.key, operation.output))
            .collect()
    }

    #[tokio::test]
    async fn what_is_sent_follows_from_the_seed_and_the_weights() {
        let first = drawn(7).await;
        assert_eq!(first, drawn(7).await);
        assert_ne!(first, drawn(8).await);
        assert_eq!(first.len(), 200);
        let a = first.iter().filter(|(kind, ..)| kind == "a").count();
        assert!((120..180).contains(&a), "{a} of 200 with weight 3 of 4");
    }

    #[tokio::test]
    async fn a_service_that_stalls_meets_the_load_that_was_intended() {
        let history = History::start();
        let workload = Workload::new(Profile::constant(100.0, MS(200))).deadline(MS(50)).operation(
            "hang",
            1,
            |call| async move {
                call.key("the one");
                std::future::pending::<Result<(), Failure>>().await
            },
        );
        let sent = workload.run(&history).await;
        assert_eq!((sent.sent, sent.unsent), (20, 0));
        assert_eq!(history.counts().timed_out, 20);
        assert!(
            history
                .operations()
                .iter()
                .all(|operation| operation.key == "the one" && operation.latency() >= MS(50))
        );
        // Each goes on under a new number, since what it began may still happen.
        let processes: BTreeSet<u64> =
            history.operations().iter().map(|operation| operation.process).collect();
        assert_eq!(processes.len(), 20);
    }

    #[tokio::test]
    async fn what_finds_no_room_is_counted_as_unsent() {
        let history = History::start();
        let workload = Workload::new(Profile::constant(1000.0, MS(100))).deadline(MS(500)).most_at_once(10);
        let sent = workload
            .operation("hang", 1, |_| std::future::pending::<Result<(), Failure>>())
            .run(&history)
            .await;
        assert_eq!((sent.sent, sent.unsent, sent.lag.count()), (10, 90, 10));
    }

    #[tokio::test]
    async fn clients_do_one_thing_at_a_time() {
        let history = History::start();
        drawing(3).run(&history).await;
        let mut of: BTreeMap<u64, Vec<_>> = BTreeMap::new();
        for operation in history.operations() {
            of.entry(operation.process).or_default().push((operation.invoked, operation.ended));
        }
        for times in of.values() {
            assert!(times.windows(2).all(|two| two[0].1 <= two[1].0), "{times:?}");
        }
    }

    #[tokio::test]
    async fn a_refusal_and_a_lost_answer_are_told_apart_and_a_panic_is_unknown() {
        let history = History::start();
        let workload =
            Workload::new(Profile::constant(100.0, MS(30))).operation("try", 1, |call| async move {
                match call.number() {
                    0 => Err(Failure::refused("409")),
                    1 => Err(Failure::unknown("connection reset")),
                    _ => panic!("a bug of the client"),
                }
                .map(|never: ()| never)
            });
        workload.run(&history).await;
        let outcomes: Vec<Outcome> =
            history.operations().into_iter().map(|operation| operation.outcome).collect();
        assert_eq!(outcomes[0], Outcome::Failed("409".to_owned()));
        assert_eq!(outcomes[1], Outcome::Unknown("connection reset".to_owned()));
        assert!(matches!(&outcomes[2], Outcome::Unknown(_)), "{:?}", outcomes[2]);
    }
}
