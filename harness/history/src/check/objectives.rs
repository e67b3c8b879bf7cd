//! Objectives: how many requests succeed, and how fast.

use std::time::Duration;

use seaworthy_reports::{Check, FaultWindow, Verdict};

use super::naming::FOLLOWED;
use crate::{Operation, Outcome};

/// What a service promises about its answers, of which operations.
///
/// ```
/// use std::time::Duration;
/// use seaworthy_history::{Operation, check::Objective};
/// use seaworthy_reports::Verdict;
///
/// let ms = Duration::from_millis;
/// let operations: Vec<Operation> = (0..200).map(|at| Operation::new("place", "", ms(at)).answered(ms(at + 8), ())).collect();
/// let fast = Objective::latency(0.99, ms(20)).of_kind("place").at_least(100);
/// assert_eq!(fast.check("placing is fast", &operations).verdict, Verdict::Held);
/// ```
#[derive(Debug, Clone)]
pub struct Objective<'a> {
    what: What,
    share: f64,
    kind: Option<&'a str>,
    windows: &'a [FaultWindow],
    grace: Duration,
    enough: usize,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Succeeds,
    IsAnswered,
    TakesAtMost(Duration),
}

impl<'a> Objective<'a> {
    /// This share of operations, 0 to 1, succeeds.
    pub fn availability(share: f64) -> Self {
        Self::new(What::Succeeds, share)
    }

    /// This share of operations, 0 to 1, is answered: done, or refused.
    pub fn answers(share: f64) -> Self {
        Self::new(What::IsAnswered, share)
    }

    /// Of the operations that succeed, this share, 0 to 1, takes no longer than the limit, from when each should have begun: 0.99 for a p99, 1 for the slowest.
    /// What fails is for [`availability`](Self::availability).
    pub fn latency(share: f64, limit: Duration) -> Self {
        Self::new(What::TakesAtMost(limit), share)
    }

    fn new(what: What, share: f64) -> Self {
        Objective { what, share, kind: None, windows: &[], grace: Duration::ZERO, enough: 1 }
    }

    /// Of operations of this kind; of all by itself.
    pub fn of_kind(mut self, kind: &'a str) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Of operations that were not on their way while one of these faults was on; of all by itself.
    pub fn outside(mut self, windows: &'a [FaultWindow]) -> Self {
        self.windows = windows;
        self
    }

    /// With [`outside`](Self::outside): nor for so long after each fault; zero by itself.
    pub fn after_faults(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// With fewer operations than this, nothing is known; 1 by itself. A p99 of ten operations is their slowest.
    pub fn at_least(mut self, enough: usize) -> Self {
        self.enough = enough.max(1);
        self
    }

    /// Whether the service kept it.
    pub fn check(&self, name: &str, operations: &[Operation]) -> Check {
        if !(0.0..=1.0).contains(&self.share) {
            let detail = format!("a share is from 0 to 1, and not {}", self.share);
            return Check::new(name, Verdict::Unknown, detail);
        }
        let of: Vec<&Operation> = operations.iter().filter(|operation| self.counts(operation)).collect();
        if of.len() < self.enough {
            let what =
                if of.is_empty() { "there were no operations" } else { "there were too few operations" };
            let detail = if self.enough > 1 {
                format!("{what}: {}, and {} are needed", of.len(), self.enough)
            } else {
                format!("{what} that it is about")
            };
            return Check::new(name, Verdict::Unknown, detail);
        }
        match self.what {
            What::TakesAtMost(limit) => self.fast(name, of, limit),
            What::Succeeds | What::IsAnswered => self.available(name, &of),
        }
    }

    fn counts(&self, operation: &Operation) -> bool {
        let is_calm = |window: &FaultWindow| {
            operation.ended < window.from || operation.intended > window.to.saturating_add(self.grace)
        };
        self.kind.is_none_or(|kind| operation.kind == kind)
            && (!matches!(self.what, What::TakesAtMost(_)) || operation.outcome == Outcome::Ok)
            && self.windows.iter().all(is_calm)
    }

    fn available(&self, name: &str, of: &[&Operation]) -> Check {
        let is_good = |operation: &&&Operation| match self.what {
            What::IsAnswered => operation.outcome.is_known(),
            _ => operation.outcome == Outcome::Ok,
        };
        let (good, bad): (Vec<&&Operation>, Vec<&&Operation>) = of.iter().partition(is_good);
        let (had, all) = (good.len() as f64, of.len() as f64);
        let detail = format!("{} of {} operations, of {}", percent(had / all), of.len(), percent(self.share));
        // A millionth of an operation, so that nine of ten are 0.9 in spite of rounding.
        if had + 1e-6 >= self.share * all {
            return Check::new(name, Verdict::Held, detail);
        }
        about(Check::new(name, Verdict::Violated, detail), bad.into_iter().copied())
    }

    fn fast(&self, name: &str, mut of: Vec<&Operation>, limit: Duration) -> Check {
        of.sort_by_key(|operation| operation.latency());
        // The nearest rank: no latency is told that no operation had.
        let rank = ((self.share * of.len() as f64 - 1e-6).ceil() as usize).clamp(1, of.len());
        let had = of[rank - 1].latency();
        let p = format!("{:.3}", self.share * 100.0);
        let p = p.trim_end_matches('0').trim_end_matches('.');
        let detail = format!("p{p} is {} ms, of {} ms", had.as_millis(), limit.as_millis());
        if had <= limit {
            return Check::new(name, Verdict::Held, detail);
        }
        about(Check::new(name, Verdict::Violated, detail), of.into_iter().rev())
    }
}

fn about<'a>(check: Check, operations: impl Iterator<Item = &'a Operation>) -> Check {
    operations
        .take(FOLLOWED)
        .fold(check, |check, operation| check.at(operation.intended).about(&operation.key))
}

fn percent(share: f64) -> String {
    // Rounded down: what is not all of them is not called 100 %.
    format!("{:.3} %", (share * 1e5 + 1e-6).floor() / 1e3)
}

/// Of all operations, this share (0 to 1) succeeded. See [`Objective`] for some of them.
pub fn availability(name: &str, operations: &[Operation], share: f64) -> Check {
    Objective::availability(share).check(name, operations)
}

/// Of the operations that were not on their way while a fault was on, this share (0 to 1) succeeded.
pub fn availability_without_faults(
    name: &str,
    operations: &[Operation],
    windows: &[FaultWindow],
    share: f64,
) -> Check {
    Objective::availability(share).outside(windows).check(name, operations)
}

/// This share (0 to 1) of the operations that succeeded took no longer than the limit, counted from when they should have begun. See [`Objective`] for some of them.
pub fn latency(name: &str, operations: &[Operation], share: f64, limit: Duration) -> Check {
    Objective::latency(share, limit).check(name, operations)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn operation(at: u64, lasts: u64, ok: bool) -> Operation {
        let outcome = if ok { Outcome::Ok } else { Outcome::Failed("503".to_owned()) };
        Operation::new("ask", "x", ms(at)).ended(ms(at + lasts), outcome)
    }

    fn window(from: u64, to: u64) -> FaultWindow {
        FaultWindow { target: "redis".to_owned(), fault: "down".to_owned(), from: ms(from), to: ms(to) }
    }

    #[test]
    fn availability_is_a_share_of_operations() {
        let operations: Vec<Operation> =
            (0..100).map(|at| operation(at * 10, 5, !(20..30).contains(&at))).collect();
        for (verdict, detail, objective) in [
            (Verdict::Held, "90.000 % of 100 operations, of 90.000 %", Objective::availability(0.9)),
            (Verdict::Violated, "90.000 % of 100 operations, of 95.000 %", Objective::availability(0.95)),
            (Verdict::Held, "100.000 % of 100 operations, of 100.000 %", Objective::answers(1.0)),
            (
                Verdict::Unknown,
                "there were no operations that it is about",
                Objective::answers(1.0).of_kind("put"),
            ),
            (
                Verdict::Unknown,
                "there were too few operations: 100, and 101 are needed",
                Objective::availability(0.9).at_least(101),
            ),
            (Verdict::Unknown, "a share is from 0 to 1, and not 99.9", Objective::availability(99.9)),
            (Verdict::Unknown, "a share is from 0 to 1, and not NaN", Objective::availability(f64::NAN)),
            (
                Verdict::Held,
                "100.000 % of 88 operations, of 100.000 %",
                Objective::availability(1.0).outside(&[window(195, 300)]),
            ),
            (
                Verdict::Violated,
                "97.802 % of 91 operations, of 100.000 %",
                Objective::availability(1.0).outside(&[window(195, 275)]),
            ),
            (
                Verdict::Held,
                "100.000 % of 87 operations, of 100.000 %",
                Objective::availability(1.0).outside(&[window(195, 275)]).after_faults(ms(35)),
            ),
        ] {
            let check = objective.check("up", &operations);
            assert_eq!((check.verdict, check.detail.as_str()), (verdict, detail), "{objective:?}");
        }
        assert_eq!(availability("up", &[], 0.9).verdict, Verdict::Unknown);
    }

    #[test]
    fn what_was_on_its_way_when_a_fault_began_is_not_counted_outside_of_it() {
        let operations = [operation(0, 5, true), operation(190, 20, false)];
        let check =
            |windows: &[FaultWindow]| availability_without_faults("up", &operations, windows, 1.0).verdict;
        assert_eq!(check(&[window(200, 300)]), Verdict::Held);
        assert_eq!(check(&[window(211, 300)]), Verdict::Violated);
        assert_eq!(check(&[window(0, 1_000)]), Verdict::Unknown);
    }

    #[test]
    fn what_is_not_all_is_not_called_all() {
        let mut operations = vec![operation(0, 5, true); 999_999];
        operations.push(operation(0, 5, false));
        let check = availability("up", &operations, 1.0);
        assert_eq!(check.detail, "99.999 % of 1000000 operations, of 100.000 %");
        assert_eq!(check.moments.len(), 1);
    }

    #[test]
    fn latency_is_that_of_what_succeeded_from_when_it_should_have_begun() {
        let operations: Vec<Operation> = (1..=100).map(|lasts| operation(0, lasts, true)).collect();
        assert_eq!(latency("fast", &operations, 0.95, ms(95)).verdict, Verdict::Held);
        assert_eq!(latency("fast", &operations, 0.95, ms(94)).detail, "p95 is 95 ms, of 94 ms");
        assert_eq!(latency("fast", &operations, 0.29, ms(29)).detail, "p29 is 29 ms, of 29 ms");
        assert_eq!(latency("fast", &operations, 0.999, ms(9)).detail, "p99.9 is 100 ms, of 9 ms");
        assert_eq!(latency("fast", &operations, 1.0, ms(99)).verdict, Verdict::Violated);
        assert_eq!(latency("fast", &[operation(0, 1, false)], 0.5, ms(9)).verdict, Verdict::Unknown);
        let mut held_back = operation(100, 5, true);
        held_back.intended = ms(0);
        assert_eq!(latency("fast", &[held_back], 0.5, ms(9)).detail, "p50 is 105 ms, of 9 ms");
    }
}
