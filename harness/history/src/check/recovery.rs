//! How soon a service is itself again after a fault.

use std::time::Duration;

use seaworthy_reports::{Check, FaultWindow, Verdict};

use super::story::{during, step};
use crate::{Operation, Outcome};

/// After each fault, operations succeeded again within the limit, so many in a row. See [`Recovery`], which says how it is counted.
pub fn recovery(
    name: &str,
    operations: &[Operation],
    windows: &[FaultWindow],
    limit: Duration,
    in_a_row: usize,
) -> Check {
    Recovery::within(limit).of_operations(in_a_row).check(name, operations, windows)
}

/// When a service counts as recovered from a fault, and how soon it has to be.
///
/// Operations are looked at in the order in which they should have begun, from the end of the fault to the beginning of the next. The service has recovered with the first
/// good answer among the first so many that are well. That is too late when an operation before them was refused, or still without an answer, after the limit. Where no
/// operation shows either, because too few follow or they are too far apart, nothing is known. Faults that overlap count as one.
///
/// ```
/// use std::time::Duration;
/// use seaworthy_history::{Operation, check::Recovery};
/// use seaworthy_reports::{FaultWindow, Verdict};
///
/// let ms = Duration::from_millis;
/// let crash = FaultWindow { target: "redis".into(), fault: "kill".into(), from: ms(100), to: ms(200) };
/// let operations: Vec<Operation> = (0..50).map(|at| Operation::new("get", "", ms(at * 10)).answered(ms(at * 10 + 2), ())).collect();
/// let soon = Recovery::within(ms(50)).of_operations(10).share(0.9).answering_within(ms(5));
/// assert_eq!(soon.check("it recovers", &operations, &[crash]).verdict, Verdict::Held);
/// ```
#[derive(Debug, Clone)]
pub struct Recovery {
    limit: Duration,
    of: usize,
    share: f64,
    latency: Duration,
}

/// What the operations after a fault show.
enum Shown {
    Recovered(Duration),
    /// How long it took at least, and the operations that show it.
    TooLate(Duration, Vec<String>),
    Nothing,
}

impl Recovery {
    /// It has to be recovered so long after a fault; five operations in a row have to be well.
    pub fn within(limit: Duration) -> Self {
        Recovery { limit, of: 5, share: 1.0, latency: limit }
    }

    /// So many operations in a row are looked at together.
    pub fn of_operations(mut self, many: usize) -> Self {
        self.of = many.max(1);
        self
    }

    /// Of these, this share has to be well, 0 to 1; all of them by itself.
    pub fn share(mut self, share: f64) -> Self {
        self.share = share;
        self
    }

    /// An operation is well when it succeeds within this, from when it should have begun; within the limit of the recovery by itself.
    pub fn answering_within(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// Whether the service recovered from each of these faults in time.
    pub fn check(&self, name: &str, operations: &[Operation], windows: &[FaultWindow]) -> Check {
        if !(0.0..=1.0).contains(&self.share) {
            let detail = format!("a share is from 0 to 1, and not {}", self.share);
            return Check::new(name, Verdict::Unknown, detail);
        }
        let mut sorted: Vec<&Operation> = operations.iter().collect();
        sorted.sort_by_key(|operation| operation.intended);
        let groups = together(windows);
        let (mut slowest, mut unknown, mut late) = (Duration::ZERO, Vec::new(), Vec::new());
        for (number, (_, group)) in groups.iter().enumerate() {
            let next = groups.get(number + 1).map_or(Duration::MAX, |(next, _)| *next);
            let from = sorted.partition_point(|operation| operation.intended < group.to);
            let to = sorted.partition_point(|operation| operation.intended < next);
            match self.shown(group.to, &sorted[from..to.max(from)]) {
                Shown::Recovered(took) => slowest = slowest.max(took),
                Shown::TooLate(took, steps) => late.push((*group, took, steps)),
                Shown::Nothing => unknown.push(*group),
            }
        }
        let of = self.limit.as_millis();
        if let Some((window, took, steps)) = late.first() {
            let others = if late.len() > 1 {
                format!("; so after {} of {} faults", late.len(), groups.len())
            } else {
                String::new()
            };
            let FaultWindow { target, fault, .. } = window;
            let detail =
                format!("it took {} ms of {of} ms after {fault} of {target}{others}", took.as_millis());
            let check = Check::new(name, Verdict::Violated, detail).step(during(window));
            let check = steps.iter().fold(check, Check::step);
            return late.iter().fold(check, |check, (window, ..)| check.at(window.to));
        }
        match (groups.len(), unknown.first()) {
            (0, _) => Check::new(name, Verdict::Unknown, "there were no faults"),
            (faults, None) => {
                let detail = format!("{} ms at most after {faults} faults, of {of} ms", slowest.as_millis());
                Check::new(name, Verdict::Held, detail)
            }
            (faults, Some(FaultWindow { target, fault, .. })) => {
                let detail = format!(
                    "after {} of {faults} faults too few operations followed before the next, or the end: {fault} of {target}",
                    unknown.len()
                );
                Check::new(name, Verdict::Unknown, detail)
            }
        }
    }

    fn is_well(&self, operation: &Operation) -> bool {
        operation.outcome == Outcome::Ok && operation.latency() <= self.latency
    }

    fn shown(&self, healed: Duration, after: &[&Operation]) -> Shown {
        let since = |at: Duration| at.saturating_sub(healed);
        let needed = (self.share * self.of as f64 - 1e-6).ceil().max(1.0) as usize;
        let is_normal = |of: &[&Operation]| of.iter().filter(|it| self.is_well(it)).count() >= needed;
        let at = after.windows(self.of).position(is_normal);
        let normal = at.map_or(&[][..], |at| &after[at..at + self.of]);
        let first = normal.iter().copied().filter(|it| self.is_well(it)).min_by_key(|it| it.ended);
        if let Some(first) = first.filter(|first| since(first.ended) <= self.limit) {
            return Shown::Recovered(since(first.ended));
        }
        // Until then it still had no good answer.
        let bad_until = |it: &Operation| since(it.intended.saturating_add(it.latency().min(self.latency)));
        let before = after[..at.unwrap_or(after.len())].iter().copied();
        let bad = before.filter(|it| !self.is_well(it)).max_by_key(|it| bad_until(it));
        match bad {
            Some(bad) if bad_until(bad) > self.limit => {
                let took = first.map_or(bad_until(bad), |first| since(first.ended));
                Shown::TooLate(took, [bad].into_iter().chain(first).map(step).collect())
            }
            _ => Shown::Nothing,
        }
    }
}

/// Faults that overlap, as one: the beginning of the first, and the one that ends last, by whose name it goes.
fn together(windows: &[FaultWindow]) -> Vec<(Duration, &FaultWindow)> {
    let mut sorted: Vec<&FaultWindow> = windows.iter().collect();
    sorted.sort_by_key(|window| window.from);
    let mut groups: Vec<(Duration, &FaultWindow)> = Vec::new();
    for window in sorted {
        match groups.last_mut() {
            Some((_, last)) if window.from <= last.to => {
                if window.to > last.to {
                    *last = window;
                }
            }
            _ => groups.push((window.from, window)),
        }
    }
    groups
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

    fn down_until(until: u64) -> Vec<Operation> {
        (0..100).map(|at| operation(at * 10, 5, !(300..until).contains(&(at * 10)))).collect()
    }

    #[test]
    fn recovery_is_counted_from_the_end_of_each_fault() {
        use Verdict::{Held, Unknown, Violated};
        let faults = [window(300, 400), window(350, 450)];
        for (expected, operations, windows) in [
            (Held, down_until(500), &faults[..]),
            (Violated, down_until(700), &faults),
            (Violated, down_until(2_000), &faults),
            // It ends before anything is known.
            (Unknown, down_until(2_000), &[window(300, 950)]),
            (Unknown, down_until(500), &[window(300, 2_000)]),
            (Unknown, down_until(500), &[]),
            (Unknown, Vec::new(), &faults),
            // The second fault comes before the first is known to be over.
            (Unknown, down_until(500), &[window(300, 400), window(410, 450)]),
            // What comes after the next fault does not count for the one before.
            (Unknown, down_until(600), &[window(300, 400), window(350, 420), window(450, 600)]),
            // Long faults have shorter ones in them.
            (Held, down_until(500), &[window(300, 480), window(310, 320)]),
        ] {
            let check = recovery("soon", &operations, windows, ms(100), 3);
            assert_eq!(check.verdict, expected, "{windows:?}: {}", check.detail);
        }
    }

    #[test]
    fn a_recovery_that_took_too_long_is_told_with_its_fault() {
        let faults = [window(100, 200), window(300, 400), window(350, 450)];
        let check = recovery("soon", &down_until(700), &faults, ms(100), 3);
        insta::assert_snapshot!(format!("{}\n{}", check.detail, check.story.join("\n")), @"
        it took 255 ms of 100 ms after down of redis
        0.350 s to 0.450 s: down of redis
        0.690 s to 0.695 s, client 0: ask x, refused: 503
        0.700 s to 0.705 s, client 0: ask x, ok
        ");
        assert_eq!(check.moments, [ms(450)]);
    }

    #[test]
    fn load_that_is_too_thin_to_tell_gives_no_alarm() {
        let sparse: Vec<Operation> = (0..20).map(|at| operation(at * 100, 5, true)).collect();
        let check = |operations: &[Operation], limit| {
            recovery("soon", operations, &[window(300, 410)], ms(limit), 5).verdict
        };
        assert_eq!(check(&sparse, 95), Verdict::Held);
        // The first answer comes after the limit, and nothing was asked before.
        assert_eq!(check(&sparse, 80), Verdict::Unknown);
        let one_fails: Vec<Operation> = (0..20).map(|at| operation(at * 100, 5, at != 5)).collect();
        assert_eq!(check(&one_fails, 80), Verdict::Violated);
        assert_eq!(check(&one_fails, 120), Verdict::Unknown);
        assert_eq!(check(&one_fails, 195), Verdict::Held);
    }

    #[test]
    fn answers_that_come_slowly_are_no_recovery() {
        let healed = 100;
        // All that is asked hangs until 400, and is answered then.
        let stalled: Vec<Operation> =
            (0..80).map(|at| at * 10).map(|at| operation(at, 400_u64.saturating_sub(at) + 5, true)).collect();
        let check = |recovery: Recovery| recovery.check("soon", &stalled, &[window(0, healed)]);
        assert_eq!(check(Recovery::within(ms(350))).verdict, Verdict::Held);
        assert_eq!(check(Recovery::within(ms(100))).verdict, Verdict::Violated);
        assert_eq!(check(Recovery::within(ms(280))).verdict, Verdict::Violated);
        // It took 305 ms, and nothing that was asked shows that it took longer than 300.
        assert_eq!(check(Recovery::within(ms(300))).verdict, Verdict::Unknown);
        assert_eq!(check(Recovery::within(ms(310)).answering_within(ms(20))).verdict, Verdict::Held);
    }

    #[test]
    fn a_share_of_the_operations_may_still_fail() {
        let operations: Vec<Operation> = (0..100).map(|at| operation(at * 10, 5, at % 10 != 0)).collect();
        let check = |recovery: Recovery| recovery.check("soon", &operations, &[window(0, 100)]).verdict;
        assert_eq!(check(Recovery::within(ms(50)).of_operations(20).share(0.9)), Verdict::Held);
        assert_eq!(check(Recovery::within(ms(50)).of_operations(20).share(0.95)), Verdict::Violated);
        assert_eq!(check(Recovery::within(ms(50)).share(9.0)), Verdict::Unknown);
    }
}
