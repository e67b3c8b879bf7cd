//! The few operations that show what went wrong, with the faults around them.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use seaworthy_reports::{Check, FaultWindow, Verdict};

use crate::Operation;

/// Steps of a story at most.
const STEPS: usize = 12;
/// Of these, faults at most, so that many faults do not crowd out what was done.
const FAULTS: usize = 4;
/// Faults that ended so long before the first step belong to the story.
const BEFORE: Duration = Duration::from_secs(1);
/// Characters of a step at most: a read may tell a list of thousands.
const CHARACTERS: usize = 200;

/// Tells the story of each check that was violated, in at most some twelve steps: what was done, and the faults that were on, in the order of their times.
///
/// A check that has told the operations itself gets the faults. Another one gets the operations on the key with the fewest of them among those that it
/// is about, around the first moment at which it saw that something was wrong. A runner calls this once, when all checks are there.
///
/// ```
/// use std::time::Duration;
/// use seaworthy_history::{Operation, check};
/// use seaworthy_reports::FaultWindow;
///
/// let ms = Duration::from_millis;
/// let placed = Operation::new("place", "order-7", ms(1_204)).by(3).answered(ms(1_310), ());
/// let crash = FaultWindow { target: "postgres".into(), fault: "kill".into(), from: ms(1_300), to: ms(1_900) };
/// let present = std::collections::HashSet::new();
/// let mut checks = [check::nothing_lost("orders are kept", &["order-7"], &present)];
/// check::tell(&mut checks, &[placed], &[crash]);
/// assert_eq!(
///     checks[0].story,
///     ["1.204 s to 1.310 s, client 3: place order-7, ok", "1.300 s to 1.900 s: kill of postgres"],
/// );
/// ```
pub fn tell(checks: &mut [Check], operations: &[Operation], windows: &[FaultWindow]) {
    for check in checks.iter_mut().filter(|check| check.verdict == Verdict::Violated) {
        // A step without a time is a summary, such as the numbers that a subscriber saw: what was done is still to be told.
        if check.story.iter().any(|step| time_of(step).is_some()) {
            let near: Vec<&FaultWindow> = windows
                .iter()
                .filter(|window| check.moments.iter().any(|at| is_near(window, *at, *at)))
                .collect();
            let room = STEPS.saturating_sub(check.story.len());
            faults(near, check).into_iter().take(room).for_each(|(_, step)| insert(&mut check.story, step));
        } else {
            let mut steps = done(check, operations, windows);
            steps.truncate(STEPS.saturating_sub(check.story.len()));
            check.story.extend(steps);
        }
    }
}

/// A step that tells what was done.
pub(super) fn step(operation: &Operation) -> String {
    let text = operation.to_string();
    match text.char_indices().nth(CHARACTERS) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// The check with these operations as its story, each once and in the order in which they began. With too many, the last ones.
pub(super) fn with_steps<'a>(check: Check, operations: impl IntoIterator<Item = &'a Operation>) -> Check {
    let mut told: Vec<&Operation> = Vec::new();
    for operation in operations {
        if !told.iter().any(|other| std::ptr::eq(*other, operation)) {
            told.push(operation);
        }
    }
    told.sort_by_key(|operation| (operation.invoked, operation.ended));
    let last = told.split_off(told.len().saturating_sub(STEPS - FAULTS));
    last.into_iter().fold(check, |check, operation| check.step(step(operation)))
}

/// What was done to the key with the fewest operations, and the faults around that.
fn done(check: &Check, operations: &[Operation], windows: &[FaultWindow]) -> Vec<String> {
    let found = of_one_key(check, operations);
    let moment = check.moments.first().copied();
    let (Some(first), Some(last)) = (found.first(), found.last()) else {
        // It is about no operation in particular: what is left to tell are the faults.
        let near = windows.iter().filter(|window| moment.is_some_and(|at| is_near(window, at, at)));
        return faults(near.collect(), check).into_iter().map(|(_, step)| step).collect();
    };
    let (left_out, key) = (found.len().saturating_sub(STEPS - FAULTS), first.key.clone());
    let pivot = moment.unwrap_or(last.invoked);
    let mut nearest = found;
    nearest.sort_by_key(|operation| operation.invoked.abs_diff(pivot));
    nearest.truncate(STEPS - FAULTS);
    let from = nearest.iter().map(|operation| operation.invoked).min().unwrap_or_default();
    let to = nearest.iter().map(|operation| operation.ended).max().unwrap_or_default();
    let mut steps = faults(windows.iter().filter(|window| is_near(window, from, to)).collect(), check);
    steps.extend(nearest.iter().map(|operation| (operation.invoked, step(operation))));
    steps.sort();
    let mut steps: Vec<String> = steps.into_iter().map(|(_, step)| step).collect();
    if left_out > 0 {
        steps.truncate(STEPS - 1);
        steps.push(format!("and {left_out} more operations on {key}"));
    }
    steps
}

fn of_one_key<'a>(check: &Check, operations: &'a [Operation]) -> Vec<&'a Operation> {
    let keys: HashSet<&str> = check.keys.iter().map(String::as_str).collect();
    let mut of: HashMap<&str, Vec<&Operation>> = HashMap::new();
    for operation in operations.iter().filter(|operation| keys.contains(operation.key.as_str())) {
        of.entry(&operation.key).or_default().push(operation);
    }
    // The first of the keys with as few: the same history tells the same story.
    let fewest = check.keys.iter().filter_map(|key| of.get(key.as_str())).min_by_key(|found| found.len());
    let mut found = fewest.cloned().unwrap_or_default();
    found.sort_by_key(|operation| (operation.invoked, operation.ended));
    found
}

/// The faults among these that lie nearest to the moment of the violation, those not told yet.
fn faults(mut near: Vec<&FaultWindow>, check: &Check) -> Vec<(Duration, String)> {
    let pivot = check.moments.first().copied().unwrap_or_default();
    near.sort_by_key(|window| (window.from.abs_diff(pivot), window.to));
    near.truncate(FAULTS);
    let steps = near.into_iter().map(|window| (window.from, during(window)));
    let mut steps: Vec<_> = steps.filter(|(_, step)| !check.story.contains(step)).collect();
    steps.sort();
    steps.dedup();
    steps
}

fn is_near(window: &FaultWindow, from: Duration, to: Duration) -> bool {
    window.from <= to && window.to.saturating_add(BEFORE) >= from
}

/// A step that tells a fault.
pub(super) fn during(window: &FaultWindow) -> String {
    let FaultWindow { target, fault, from, to } = window;
    format!("{:.3} s to {:.3} s: {fault} of {target}", from.as_secs_f64(), to.as_secs_f64())
}

/// Puts a step where its time belongs.
fn insert(story: &mut Vec<String>, step: String) {
    let time = time_of(&step);
    let later = story.iter().position(|other| time_of(other).is_some_and(|other| Some(other) > time));
    story.insert(later.unwrap_or(story.len()), step);
}

/// The time that a step begins with, in milliseconds.
fn time_of(step: &str) -> Option<u64> {
    let (seconds, _) = step.split_once(" s")?;
    let (whole, milliseconds) = seconds.split_once('.')?;
    whole.parse::<u64>().ok()?.checked_mul(1_000)?.checked_add(milliseconds.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn write(key: &str, at: u64) -> Operation {
        Operation::new("write", key, ms(at)).by(3).asking(5).answered(ms(at + 4), ())
    }

    fn window(target: &str, from: u64, to: u64) -> FaultWindow {
        FaultWindow { target: target.to_owned(), fault: "down".to_owned(), from: ms(from), to: ms(to) }
    }

    fn told(check: Check, operations: &[Operation], windows: &[FaultWindow]) -> String {
        let mut checks = [check];
        tell(&mut checks, operations, windows);
        checks[0].story.join("\n")
    }

    #[test]
    fn a_story_has_the_operations_of_one_key_and_the_faults_around_them_in_order() {
        let operations =
            [write("a", 0), write("b", 1_000), write("a", 2_000), write("b", 9_000), write("c", 2_100)];
        let windows = [window("postgres", 2_098, 2_500), window("redis", 5_000, 6_000)];
        let lost = Check::new("lost", Verdict::Violated, "2 are missing").about("a").about("c");
        insta::assert_snapshot!(told(lost, &operations, &windows), @"
        2.098 s to 2.500 s: down of postgres
        2.100 s to 2.104 s, client 3: write c 5, ok
        ");
        let held = Check::new("held", Verdict::Held, "all is there").about("a");
        assert_eq!(told(held, &operations, &windows), "");
    }

    #[test]
    fn a_story_that_a_check_has_told_gets_the_faults_in_their_places() {
        let own = Check::new("stale", Verdict::Violated, "1 of 9")
            .at(ms(2_300))
            .step(step(&write("a", 2_000)))
            .step(step(&write("a", 2_200)));
        let windows = [window("redis", 2_100, 2_150), window("redis", 2_204, 2_400), window("disk", 0, 10)];
        insta::assert_snapshot!(told(own, &[], &windows), @"
        2.000 s to 2.004 s, client 3: write a 5, ok
        2.100 s to 2.150 s: down of redis
        2.200 s to 2.204 s, client 3: write a 5, ok
        2.204 s to 2.400 s: down of redis
        ");
    }

    #[test]
    fn of_many_operations_those_around_the_violation_are_told() {
        let operations: Vec<Operation> = (0..100).map(|at| write("a", at * 100)).collect();
        let check = Check::new("stale", Verdict::Violated, "1 of 100").about("a").at(ms(5_004));
        let windows: Vec<FaultWindow> = (0..20).map(|at| window("redis", at * 500, at * 500 + 50)).collect();
        insta::assert_snapshot!(told(check, &operations, &windows), @"
        4.000 s to 4.050 s: down of redis
        4.500 s to 4.550 s: down of redis
        4.700 s to 4.704 s, client 3: write a 5, ok
        4.800 s to 4.804 s, client 3: write a 5, ok
        4.900 s to 4.904 s, client 3: write a 5, ok
        5.000 s to 5.004 s, client 3: write a 5, ok
        5.000 s to 5.050 s: down of redis
        5.100 s to 5.104 s, client 3: write a 5, ok
        5.200 s to 5.204 s, client 3: write a 5, ok
        5.300 s to 5.304 s, client 3: write a 5, ok
        5.400 s to 5.404 s, client 3: write a 5, ok
        and 92 more operations on a
        ");
    }

    #[test]
    fn a_check_about_no_operation_gets_the_faults_and_one_with_a_summary_what_was_done() {
        let windows = [window("redis", 2_100, 2_150)];
        let check = Check::new("up", Verdict::Violated, "90 %").at(ms(2_200));
        insta::assert_snapshot!(told(check, &[], &windows), @"2.100 s to 2.150 s: down of redis");
        let check = Check::new("order", Verdict::Violated, "1").about("a").step("seen of a: 1, 3, 2");
        insta::assert_snapshot!(told(check, &[write("a", 2_100)], &windows), @"
        seen of a: 1, 3, 2
        2.100 s to 2.104 s, client 3: write a 5, ok
        2.100 s to 2.150 s: down of redis
        ");
    }

    #[test]
    fn a_step_has_a_bound() {
        let read = Operation::new("read", "set", ms(0)).answered(ms(5), vec![1_234; 1_000]);
        assert_eq!(step(&read).chars().count(), CHARACTERS + 1);
        let many: Vec<Operation> = (0..50).map(|at| write("a", at)).collect();
        let check = with_steps(Check::new("it", Verdict::Violated, ""), many.iter().chain(&many));
        assert_eq!(check.story.len(), STEPS - FAULTS);
        assert_eq!(check.story.last(), Some(&step(&many[49])));
    }
}
