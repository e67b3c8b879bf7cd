//! One play of a scenario, as the scenario's own function sees it.

use std::{
    collections::BTreeMap,
    ptr,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, SystemTime},
};

use seaworthy_reports::{Check, FaultWindow, Number, Resources, Unit};

use super::news::News;
use crate::{Error, History, Profile, ProviderChoice, Schedule, Sent, Stack, StackBuilder, Workload};

/// A scenario that is being played: its seed and faults, and where it leaves what it saw. Cheap to clone.
#[derive(Clone)]
pub struct Voyage {
    inner: Arc<Inner>,
}

struct Inner {
    seed: u64,
    provider: ProviderChoice,
    schedule: Schedule,
    tell: Box<dyn Fn(News) + Send + Sync>,
    stack: OnceLock<Stack>,
    begun: OnceLock<(History, SystemTime)>,
    seen: Mutex<Seen>,
}

/// What the record is made of.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) phase: String,
    pub(super) phase_ends: Option<Duration>,
    /// How many faults the scenario has made happen by itself.
    own_faults: usize,
    /// The faults that are on, by their place in the schedule, with when they began; those of the scenario itself come after.
    on: BTreeMap<usize, (FaultWindow, String)>,
    pub(super) windows: Vec<FaultWindow>,
    pub(super) checks: Vec<Check>,
    pub(super) numbers: Vec<Number>,
    pub(super) resources: Resources,
}

impl std::fmt::Debug for Voyage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Voyage")
            .field("seed", &self.inner.seed)
            .field("schedule", &self.inner.schedule)
            .finish()
    }
}

impl Voyage {
    pub(super) fn new(
        seed: u64,
        provider: ProviderChoice,
        schedule: Schedule,
        tell: Box<dyn Fn(News) + Send + Sync>,
    ) -> Self {
        let seen = Seen { phase: "starting the services".to_owned(), ..Seen::default() };
        Voyage {
            inner: Arc::new(Inner {
                seed,
                provider,
                schedule,
                tell,
                stack: OnceLock::new(),
                begun: OnceLock::new(),
                seen: Mutex::new(seen),
            }),
        }
    }

    /// The seed of every random decision.
    pub fn seed(&self) -> u64 {
        self.inner.seed
    }

    /// The faults of this play.
    pub fn schedule(&self) -> &Schedule {
        &self.inner.schedule
    }

    /// Starts the services, with the provider and the seed of this play. What they use is looked at until the end, and no process
    /// of theirs may end by itself. The history starts when they are ready.
    ///
    /// # Errors
    ///
    /// Whatever keeps a service from becoming ready.
    ///
    /// # Panics
    ///
    /// When services were started before: a play has one stack.
    pub async fn start(&self, builder: StackBuilder) -> Result<&Stack, Error> {
        assert!(self.inner.stack.get().is_none(), "the services of this play were started before");
        let stack = builder.provider(self.inner.provider).seed(self.inner.seed).start().await?;
        let stack = self.inner.stack.get_or_init(|| stack);
        self.history();
        self.phase("sailing");
        Ok(stack)
    }

    /// The services.
    ///
    /// # Panics
    ///
    /// Before [`start`](Self::start).
    pub fn stack(&self) -> &Stack {
        self.inner.stack.get().expect("the services of this play have not been started")
    }

    /// What clients do. It starts with the services, or when it is first asked for.
    pub fn history(&self) -> &History {
        &self.begun().0
    }

    /// Load of this profile with the seed of this play, without operations yet.
    pub fn workload(&self, profile: Profile) -> Workload {
        Workload::new(profile).seed(self.inner.seed)
    }

    /// Sends load while the faults happen, until both are over.
    ///
    /// # Errors
    ///
    /// The first fault that could not be injected or healed.
    pub async fn sail(&self, workload: &Workload) -> Result<Sent, Error> {
        let history = self.history();
        self.until("under load", history.now() + workload.lasts());
        let sending = async {
            let sent = workload.run(history).await;
            self.told_of(&sent);
            Ok(sent)
        };
        let (sent, ()) = tokio::try_join!(sending, self.faults())?;
        Ok(sent)
    }

    /// Makes the faults happen at their times, counted from the history's start, and returns when the last is healed.
    ///
    /// # Errors
    ///
    /// The first fault that could not be injected or healed.
    pub async fn faults(&self) -> Result<(), Error> {
        let (schedule, history) = (&self.inner.schedule, self.history());
        if schedule.events.is_empty() {
            return Ok(());
        }
        let changed = |event: &crate::Event, begins: bool| {
            let place = schedule.events.iter().position(|other| ptr::eq(other, event)).unwrap_or_default();
            if begins {
                self.began(place, event.target.clone(), event.fault.name().to_owned());
            } else {
                self.healed(place, history.now());
            }
        };
        schedule.play(self.stack(), history, changed).await.map(drop)
    }

    /// Notes a fault that the scenario makes happen by itself, beyond those of its schedule: it is on, in the report and for those who watch,
    /// until what this returns is dropped.
    pub fn own_fault(&self, target: impl Into<String>, fault: impl Into<String>) -> OwnFault {
        let place = {
            let mut seen = self.seen();
            seen.own_faults += 1;
            self.inner.schedule.events.len() + seen.own_faults - 1
        };
        self.began(place, target.into(), fault.into());
        OwnFault { voyage: self.clone(), place }
    }

    /// When each fault was on, of those that are healed.
    pub fn windows(&self) -> Vec<FaultWindow> {
        self.seen().windows.clone()
    }

    /// Says what is being done now, for those who watch.
    pub fn phase(&self, phase: impl Into<String>) {
        let mut seen = self.seen();
        (seen.phase, seen.phase_ends) = (phase.into(), None);
    }

    /// Says what is being done until then, counted from the history's start.
    pub fn until(&self, phase: impl Into<String>, ends: Duration) {
        let mut seen = self.seen();
        (seen.phase, seen.phase_ends) = (phase.into(), Some(ends));
    }

    /// Adds something that had to hold.
    pub fn check(&self, check: Check) {
        self.seen().checks.push(check);
    }

    /// Adds a number worth a look.
    pub fn number(&self, name: impl Into<String>, value: impl Into<String>) {
        self.seen().numbers.push(Number::new(name, value));
    }

    /// Adds how much of something a service uses now.
    pub fn sample(&self, service: &str, resource: &str, unit: Unit, value: f64) {
        let now = self.history().now();
        self.seen().resources.sample(now, service, resource, unit, value);
    }

    /// What a load generator has to say of itself: whether it kept up.
    fn told_of(&self, sent: &Sent) {
        if let Some(lag) = sent.lag.quantile(0.99) {
            self.number("Load began late by, p99", format!("{:.1} ms", lag.as_secs_f64() * 1000.0));
        }
        if sent.unsent > 0 {
            let value =
                format!("{} of {}, since too many were on their way", sent.unsent, sent.sent + sent.unsent);
            self.number("Operations that were not sent", value);
        }
    }

    fn began(&self, place: usize, target: String, fault: String) {
        let at = self.history().now();
        let window = FaultWindow { target, fault, from: at, to: at };
        self.tell(News::FaultBegan { number: place, window: window.clone() });
        let name = format!("{} {}", window.target, window.fault);
        self.seen().on.insert(place, (window, name));
    }

    fn healed(&self, place: usize, at: Duration) {
        let ended = self.seen().on.remove(&place);
        if let Some((mut window, _)) = ended {
            window.to = at;
            self.seen().windows.push(window);
            self.tell(News::FaultHealed { number: place, at });
        }
    }

    /// Every fault is healed, however the play ended: those that are still noted were taken away with it.
    pub(super) fn all_healed(&self) {
        let on: Vec<usize> = self.seen().on.keys().copied().collect();
        let now = self.history().now();
        on.into_iter().for_each(|place| self.healed(place, now));
    }

    pub(super) fn faults_on(&self) -> Vec<String> {
        self.seen().on.values().map(|(_, name)| name.clone()).collect()
    }

    pub(super) fn has_started(&self) -> Option<&Stack> {
        self.inner.stack.get()
    }

    pub(super) fn has_history(&self) -> Option<&History> {
        self.inner.begun.get().map(|(history, _)| history)
    }

    pub(super) fn begun(&self) -> &(History, SystemTime) {
        self.inner.begun.get_or_init(|| (History::start(), SystemTime::now()))
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.inner.seen)
    }

    pub(super) fn tell(&self, news: News) {
        (self.inner.tell)(news);
    }

    /// The services, when nobody else holds this play any more.
    pub(super) fn take_stack(self) -> Result<Option<Stack>, Self> {
        match Arc::try_unwrap(self.inner) {
            Ok(inner) => Ok(inner.stack.into_inner()),
            Err(inner) => Err(Voyage { inner }),
        }
    }
}

/// A fault of the scenario's own that is on.
#[derive(Debug)]
#[must_use = "the fault is noted as healed when this is dropped"]
pub struct OwnFault {
    voyage: Voyage,
    place: usize,
}

impl Drop for OwnFault {
    fn drop(&mut self) {
        self.voyage.healed(self.place, self.voyage.history().now());
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
