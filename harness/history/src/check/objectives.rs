//! Objectives: how many requests succeed, how fast, how soon after a fault, and on how much of a machine.

use std::time::Duration;

use seaworthy_reports::{Check, FaultWindow, Resources, Verdict};

use super::naming::FOLLOWED;
use crate::{Operation, Outcome};

/// Of all operations, this share (0 to 1) succeeded.
pub fn availability(name: &str, operations: &[Operation], share: f64) -> Check {
    available(name, operations.iter(), share)
}

/// Of the operations that should have begun while no fault was on, this share (0 to 1) succeeded.
pub fn availability_without_faults(
    name: &str,
    operations: &[Operation],
    windows: &[FaultWindow],
    share: f64,
) -> Check {
    let calm = |at: Duration| !windows.iter().any(|window| (window.from..=window.to).contains(&at));
    available(name, operations.iter().filter(|operation| calm(operation.intended)), share)
}

fn available<'a>(name: &str, operations: impl Iterator<Item = &'a Operation>, share: f64) -> Check {
    let operations: Vec<&Operation> = operations.collect();
    if operations.is_empty() {
        return Check::new(name, Verdict::Unknown, "there were no operations");
    }
    let bad: Vec<&&Operation> =
        operations.iter().filter(|operation| operation.outcome != Outcome::Ok).collect();
    let had = 1.0 - bad.len() as f64 / operations.len() as f64;
    let detail =
        format!("{:.3} % of {} operations, of {:.3} %", had * 100.0, operations.len(), share * 100.0);
    if had >= share {
        return Check::new(name, Verdict::Held, detail);
    }
    let check = Check::new(name, Verdict::Violated, detail);
    bad.iter()
        .take(FOLLOWED)
        .fold(check, |check, operation| check.at(operation.intended).about(&operation.key))
}

/// This share (0 to 1) of the operations that succeeded took no longer than the limit, counted from when they should have begun.
pub fn latency(name: &str, operations: &[Operation], share: f64, limit: Duration) -> Check {
    let mut ok: Vec<&Operation> =
        operations.iter().filter(|operation| operation.outcome == Outcome::Ok).collect();
    if ok.is_empty() {
        return Check::new(name, Verdict::Unknown, "no operation succeeded");
    }
    ok.sort_by_key(|operation| operation.latency());
    let rank = ((share.clamp(0.0, 1.0) * ok.len() as f64).ceil() as usize).clamp(1, ok.len());
    let had = ok[rank - 1].latency();
    let detail = format!("p{} is {} ms, of {} ms", share * 100.0, had.as_millis(), limit.as_millis());
    if had <= limit {
        return Check::new(name, Verdict::Held, detail);
    }
    let slowest = ok.iter().rev().take(FOLLOWED);
    slowest.fold(Check::new(name, Verdict::Violated, detail), |check, operation| {
        check.at(operation.intended).about(&operation.key)
    })
}

/// After each fault, it took no longer than the limit until operations succeeded again, so many in a row, in the order in which they should have begun. Faults that overlap
/// count as one. Where too few operations follow before the next fault, nothing is known, unless the limit was over by then.
pub fn recovery(
    name: &str,
    operations: &[Operation],
    windows: &[FaultWindow],
    limit: Duration,
    in_a_row: usize,
) -> Check {
    let mut sorted: Vec<&Operation> = operations.iter().collect();
    sorted.sort_by_key(|operation| operation.intended);
    let groups = together(windows);
    let (mut slowest, mut unknown) = (Duration::ZERO, 0);
    for (number, (healed, what)) in groups.iter().enumerate() {
        let next = groups.get(number + 1).map_or(Duration::MAX, |(.., next)| next.from);
        let after = sorted.iter().filter(|operation| (*healed..next).contains(&operation.intended));
        let (mut row, mut last) = (0, *healed);
        let mut recovered = None;
        for operation in after {
            row = if operation.outcome == Outcome::Ok { row + 1 } else { 0 };
            last = operation.intended;
            if row == in_a_row.max(1) {
                recovered = Some(operation.ended.saturating_sub(*healed));
                break;
            }
        }
        let said = |took: String| format!("{took} after {} of {}", what.fault, what.target);
        match recovered {
            Some(took) if took <= limit => slowest = slowest.max(took),
            Some(took) => {
                let detail = said(format!("it took {} ms of {} ms", took.as_millis(), limit.as_millis()));
                return Check::new(name, Verdict::Violated, detail).at(*healed);
            }
            None if last.saturating_sub(*healed) > limit => {
                let detail = said(format!("it had not recovered {} ms", limit.as_millis()));
                return Check::new(name, Verdict::Violated, detail).at(*healed);
            }
            None => unknown += 1,
        }
    }
    match (groups.len(), unknown) {
        (0, _) => Check::new(name, Verdict::Unknown, "there were no faults"),
        (faults, 0) => {
            let detail = format!(
                "{} ms at most after {faults} faults, of {} ms",
                slowest.as_millis(),
                limit.as_millis()
            );
            Check::new(name, Verdict::Held, detail)
        }
        (faults, unknown) => {
            let detail = format!(
                "after {unknown} of {faults} faults too few operations followed before the next, or the end"
            );
            Check::new(name, Verdict::Unknown, detail)
        }
    }
}

/// Faults that overlap, as one: when the last is healed, and that fault with the beginning of the first.
fn together(windows: &[FaultWindow]) -> Vec<(Duration, FaultWindow)> {
    let mut sorted: Vec<&FaultWindow> = windows.iter().collect();
    sorted.sort_by_key(|window| window.from);
    let mut groups: Vec<(Duration, FaultWindow)> = Vec::new();
    for window in sorted {
        match groups.last_mut() {
            Some((healed, group)) if window.from <= *healed => {
                if window.to > *healed {
                    let from = group.from;
                    (*healed, *group) = (window.to, FaultWindow { from, ..window.clone() });
                }
            }
            _ => groups.push((window.to, window.clone())),
        }
    }
    groups
}

/// A resource of a service never went above this, in its unit: bytes, or how many.
pub fn at_most(name: &str, resources: &Resources, service: &str, resource: &str, limit: f64) -> Check {
    let Some(series) = resources.series().find(|it| it.service == service && it.resource == resource) else {
        return Check::new(name, Verdict::Unknown, format!("the {resource} of {service} was not measured"));
    };
    let peak = series.peak();
    let detail = format!("{peak:.0} at most, of {limit:.0}");
    if peak <= limit {
        return Check::new(name, Verdict::Held, detail);
    }
    let above = series.points().iter().find(|(_, value)| *value > limit).map(|(at, _)| *at);
    above.into_iter().fold(Check::new(name, Verdict::Violated, detail), Check::at)
}

/// Points without which a trend says nothing.
const ENOUGH: usize = 20;

/// A resource of a service does not grow: over the second half of the time, by the median of the slopes of all pairs of samples (Theil and Sen), by no more than this share
/// of its median. The first half is left to warm up.
pub fn no_growth(name: &str, resources: &Resources, service: &str, resource: &str, share: f64) -> Check {
    let points = resources
        .series()
        .find(|it| it.service == service && it.resource == resource)
        .map_or(&[][..], |series| &series.points()[series.points().len() / 2..]);
    if points.len() < ENOUGH {
        let detail = format!(
            "{} samples of the {resource} of {service} in its second half, and {ENOUGH} are needed",
            points.len()
        );
        return Check::new(name, Verdict::Unknown, detail);
    }
    let mut slopes: Vec<f64> = points
        .iter()
        .enumerate()
        .flat_map(|(at, one)| points[at + 1..].iter().map(move |other| (one, other)))
        .map(|(one, other)| (other.1 - one.1) / (other.0.as_secs_f64() - one.0.as_secs_f64()).max(1e-9))
        .collect();
    let mut values: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
    let time = points[points.len() - 1].0.as_secs_f64() - points[0].0.as_secs_f64();
    let (slope, level) = (median(&mut slopes), median(&mut values));
    let growth = if level > 0.0 { slope * time / level } else { 0.0 };
    let detail = format!("{:+.1} % in {time:.0} s, of {:.1} %", growth * 100.0, share * 100.0);
    Check::new(name, if growth <= share { Verdict::Held } else { Verdict::Violated }, detail)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use seaworthy_reports::Unit;

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
        assert_eq!(availability("up", &operations, 0.9).verdict, Verdict::Held);
        let check = availability("up", &operations, 0.95);
        assert_eq!(
            (check.verdict, check.detail.as_str()),
            (Verdict::Violated, "90.000 % of 100 operations, of 95.000 %")
        );
        assert_eq!(
            availability_without_faults("up", &operations, &[window(195, 300)], 1.0).verdict,
            Verdict::Held
        );
        assert_eq!(
            availability_without_faults("up", &operations, &[window(195, 280)], 1.0).verdict,
            Verdict::Violated
        );
        assert_eq!(availability("up", &[], 0.9).verdict, Verdict::Unknown);
    }

    #[test]
    fn latency_is_that_of_what_succeeded() {
        let operations: Vec<Operation> = (1..=100).map(|lasts| operation(0, lasts, true)).collect();
        assert_eq!(latency("fast", &operations, 0.95, ms(95)).verdict, Verdict::Held);
        assert_eq!(latency("fast", &operations, 0.95, ms(94)).detail, "p95 is 95 ms, of 94 ms");
        assert_eq!(latency("fast", &operations, 1.0, ms(99)).verdict, Verdict::Violated);
        assert_eq!(latency("fast", &[operation(0, 1, false)], 0.5, ms(9)).verdict, Verdict::Unknown);
    }

    #[test]
    fn recovery_is_counted_from_the_end_of_each_fault() {
        let down_until = |until: u64| -> Vec<Operation> {
            (0..100).map(|at| operation(at * 10, 5, !(300..until).contains(&(at * 10)))).collect()
        };
        let faults = [window(300, 400), window(350, 450)];
        for (expected, operations, windows) in [
            (Verdict::Held, down_until(500), &faults[..]),
            (Verdict::Violated, down_until(700), &faults),
            (Verdict::Violated, down_until(2_000), &faults),
            // It ends before anything is known.
            (Verdict::Unknown, down_until(2_000), &[window(300, 950)]),
            (Verdict::Unknown, down_until(500), &[]),
            (Verdict::Unknown, Vec::new(), &faults),
            // The second fault comes before the first is known to be over.
            (Verdict::Unknown, down_until(500), &[window(300, 400), window(410, 450)]),
        ] {
            assert_eq!(recovery("soon", &operations, windows, ms(100), 3).verdict, expected, "{windows:?}");
        }
        let check = recovery("soon", &down_until(700), &faults, ms(100), 3);
        assert_eq!(check.detail, "it took 275 ms of 100 ms after down of redis");
    }

    #[test]
    fn resources_have_bounds_and_do_not_grow() {
        let mut resources = Resources::default();
        for second in 0..60_u32 {
            let noise = f64::from(second * 7 % 10);
            resources.sample(
                Duration::from_secs(second.into()),
                "shop",
                "memory",
                Unit::Bytes,
                100.0 + noise,
            );
            resources.sample(
                Duration::from_secs(second.into()),
                "leak",
                "memory",
                Unit::Bytes,
                100.0 + noise + f64::from(second),
            );
        }
        assert_eq!(at_most("memory", &resources, "shop", "memory", 109.0).verdict, Verdict::Held);
        assert_eq!(at_most("memory", &resources, "shop", "memory", 108.0).detail, "109 at most, of 108");
        assert_eq!(at_most("memory", &resources, "other", "memory", 108.0).verdict, Verdict::Unknown);
        assert_eq!(no_growth("flat", &resources, "shop", "memory", 0.05).verdict, Verdict::Held);
        assert_eq!(no_growth("flat", &resources, "leak", "memory", 0.05).verdict, Verdict::Violated);
        assert_eq!(no_growth("flat", &resources, "other", "memory", 0.05).verdict, Verdict::Unknown);
    }
}
