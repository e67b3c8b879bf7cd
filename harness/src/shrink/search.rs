//! The search for the least that fails.

use std::{future::Future, time::Duration};

use super::{Rate, Shrink, Shrunk, Step, Trial};
use crate::Schedule;

/// What is known while a schedule is shrunk.
pub(super) struct Search<'a, P> {
    settings: &'a Shrink,
    play: P,
    plays: u32,
    steps: Vec<Step>,
    /// The schedules of the steps: the last is the least.
    taken: Vec<(Schedule, Rate)>,
    /// Schedules that did not fail.
    seen: Vec<Schedule>,
    /// Whether the given schedule nearly always fails.
    reliable: bool,
}

/// A candidate of a schedule that nearly always fails is taken when it fails so often before it has passed twice. One that fails in 19 of 20 plays is missed
/// 1 time in 40; one that fails in every second play is taken 1 time in 5, and the last look at the result finds that out.
const FAILS: u32 = 4;
const PASSES: u32 = 2;

impl<'a, P, F> Search<'a, P>
where
    P: FnMut(Schedule) -> F,
    F: Future<Output = Trial>,
{
    pub(super) fn new(settings: &'a Shrink, play: P) -> Self {
        let (steps, taken, seen) = (Vec::new(), Vec::new(), Vec::new());
        Search { settings, play, plays: 0, steps, taken, seen, reliable: false }
    }

    pub(super) fn begin(&mut self, schedule: &Schedule, rate: Rate) {
        self.reliable = rate.fails == rate.plays;
        self.take(schedule.clone(), rate, "as it was given");
    }

    fn least(&self) -> &Schedule {
        &self.taken[self.taken.len() - 1].0
    }

    pub(super) async fn rate_of(&mut self, schedule: &Schedule, plays: u32) -> Rate {
        let mut rate = Rate::default();
        for _ in 0..plays {
            rate.count(self.play_once(schedule).await);
        }
        rate
    }

    async fn play_once(&mut self, schedule: &Schedule) -> Trial {
        self.plays += 1;
        (self.play)(schedule.clone()).await
    }

    /// Takes the candidate if it fails often enough.
    async fn try_smaller(&mut self, candidate: Schedule, change: &str) -> bool {
        if self.seen.contains(&candidate) {
            return false;
        }
        let before = self.taken[self.taken.len() - 1].1;
        let (fails, passes) =
            if self.reliable { (FAILS, PASSES) } else { (1, self.settings.patience(before)) };
        let mut rate = Rate::default();
        let mut voids = 0;
        while rate.plays - rate.fails < passes && voids < passes {
            if self.plays >= self.settings.most_plays {
                return false;
            }
            let trial = self.play_once(&candidate).await;
            voids += u32::from(trial == Trial::Void);
            rate.count(trial);
            if rate.fails == fails {
                self.take(candidate, rate, change);
                return true;
            }
        }
        self.seen.push(candidate);
        false
    }

    fn take(&mut self, schedule: Schedule, rate: Rate, change: &str) {
        let total = schedule.events.iter().map(|event| event.lasts).sum();
        self.steps.push(Step { change: change.to_owned(), events: schedule.events.len(), total, rate });
        self.taken.push((schedule, rate));
    }

    /// Looks for the least that fails.
    pub(super) async fn narrow(&mut self) {
        self.fewer_events().await;
        self.shorter().await;
        // A shorter fault may make another one needless.
        self.fewer_events().await;
    }

    /// Plays the least until it is known how often it fails, and goes back to larger ones as long as that is less than it must be. If not even
    /// the given schedule fails so often, the search begins anew, without asking for that.
    pub(super) async fn confirmed(mut self) -> Shrunk {
        let gave_up = self.plays >= self.settings.most_plays;
        let confirm = self.settings.confirm;
        let may_pass = (f64::from(confirm) * (1.0 - self.settings.rate)).round() as u32;
        loop {
            let rate = self.rate_until(confirm, may_pass).await;
            let reproduces = rate.plays - rate.fails <= may_pass;
            if reproduces || !self.reliable || self.plays >= self.settings.most_plays {
                let (schedule, _) = self.taken[self.taken.len() - 1].clone();
                return Shrunk { schedule, rate, steps: self.steps, plays: self.plays, gave_up };
            }
            if self.taken.len() > 1 {
                self.taken.pop();
                self.steps.pop();
            } else {
                self.reliable = false;
                self.seen.clear();
                self.narrow().await;
            }
        }
    }

    /// Plays the least so often, or until it is known to fail less often than it must.
    async fn rate_until(&mut self, plays: u32, may_pass: u32) -> Rate {
        let schedule = self.least().clone();
        let mut rate = Rate::default();
        for _ in 0..plays {
            rate.count(self.play_once(&schedule).await);
            if self.reliable && rate.plays - rate.fails > may_pass {
                break;
            }
        }
        rate
    }

    /// ddmin over the events.
    async fn fewer_events(&mut self) {
        let mut pieces = 2;
        while self.least().events.len() > 1 {
            let length = self.least().events.len();
            let size = length.div_ceil(pieces);
            let starts: Vec<usize> = (0..length).step_by(size).collect();
            let mut taken = false;
            for keep_only in [true, false] {
                for start in &starts {
                    let inside = |at: usize| (*start..start + size).contains(&at);
                    let kept =
                        self.least().events.iter().enumerate().filter(|(at, _)| inside(*at) == keep_only);
                    let candidate = Schedule { events: kept.map(|(_, event)| event.clone()).collect() };
                    // Two halves are each other's complement, and nothing at all is no smaller schedule.
                    let needless = candidate.events.is_empty() || (!keep_only && starts.len() == 2);
                    if !needless && self.try_smaller(candidate, "fewer events").await {
                        taken = true;
                        break;
                    }
                }
                if taken {
                    pieces = if keep_only { 2 } else { (pieces - 1).max(2) };
                    break;
                }
            }
            if !taken {
                if size == 1 {
                    return;
                }
                pieces = (2 * pieces).min(length);
            }
        }
    }

    /// Halves the time for which each fault is on, as long as that fails.
    async fn shorter(&mut self) {
        for at in 0..self.least().events.len() {
            while let Some(candidate) = self.shortened(self.least(), at) {
                let change = format!(
                    "{} of {} for half as long",
                    self.least().events[at].fault.name(),
                    self.least().events[at].target
                );
                if !self.try_smaller(candidate, &change).await {
                    break;
                }
            }
        }
    }

    fn shortened(&self, schedule: &Schedule, at: usize) -> Option<Schedule> {
        let half = schedule.events.get(at)?.lasts / 2;
        if half < self.settings.shortest {
            return None;
        }
        let mut candidate = schedule.clone();
        candidate.events[at].lasts = Duration::from_millis(u64::try_from(half.as_millis()).ok()?);
        Some(candidate)
    }
}
