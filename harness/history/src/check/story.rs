//! The few operations that show what went wrong, with the faults around them.

use std::time::Duration;

use seaworthy_reports::{Check, FaultWindow, Verdict};

use crate::Operation;

/// Steps of a story at most.
const STEPS: usize = 12;
/// Faults so long before the first step belong to the story.
const BEFORE: Duration = Duration::from_secs(1);

/// Adds to each check that was violated and tells no story yet: the operations on the key with the fewest of them among those that it is about, and the faults
/// that were on then.
pub fn tell(checks: &mut [Check], operations: &[Operation], windows: &[FaultWindow]) {
    for check in checks.iter_mut().filter(|check| check.verdict == Verdict::Violated) {
        if check.story.is_empty() {
            check.story = about(check, operations, windows);
        } else {
            let faults =
                windows.iter().filter(|window| check.moments.iter().any(|at| near(window, *at, *at)));
            check.story.extend(faults.take(STEPS.saturating_sub(check.story.len())).map(during));
        }
    }
}

fn about(check: &Check, operations: &[Operation], windows: &[FaultWindow]) -> Vec<String> {
    let of = |key: &String| operations.iter().filter(|operation| operation.key == *key).collect::<Vec<_>>();
    let fewest = check.keys.iter().map(of).filter(|found| !found.is_empty()).min_by_key(Vec::len);
    let Some(mut found) = fewest else { return Vec::new() };
    found.sort_by_key(|operation| operation.invoked);
    found.truncate(STEPS - 2);
    let from = found.iter().map(|operation| operation.invoked).min().unwrap_or_default();
    let to = found.iter().map(|operation| operation.ended).max().unwrap_or_default();
    let mut steps: Vec<(Duration, String)> =
        found.iter().map(|operation| (operation.invoked, operation.to_string())).collect();
    let faults =
        windows.iter().filter(|window| near(window, from, to)).map(|window| (window.from, during(window)));
    steps.extend(faults);
    steps.sort();
    steps.truncate(STEPS);
    steps.into_iter().map(|(_, step)| step).collect()
}

fn near(window: &FaultWindow, from: Duration, to: Duration) -> bool {
    window.from <= to && window.to + BEFORE >= from
}

fn during(window: &FaultWindow) -> String {
    let FaultWindow { target, fault, from, to } = window;
    format!("{:.3} s to {:.3} s: {fault} of {target}", from.as_secs_f64(), to.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_has_the_operations_of_one_key_and_the_faults_around_them_in_order() {
        let ms = Duration::from_millis;
        let write = |key: &str, at: u64| {
            Operation::new("write", key, ms(at)).by(3).asking(5).answered(ms(at + 4), ())
        };
        let operations =
            [write("a", 0), write("b", 1_000), write("a", 2_000), write("b", 9_000), write("c", 2_100)];
        let window = |target: &str, from, to| FaultWindow {
            target: target.to_owned(),
            fault: "down".to_owned(),
            from: ms(from),
            to: ms(to),
        };
        let windows = [window("postgres", 2_098, 2_500), window("redis", 5_000, 6_000)];
        let lost = Check::new("lost", Verdict::Violated, "2 are missing").about("a").about("c");
        let held = Check::new("held", Verdict::Held, "all is there").about("a");
        let mut checks = [lost, held];
        tell(&mut checks, &operations, &windows);
        let expected =
            ["2.098 s to 2.500 s: down of postgres", "2.100 s to 2.104 s, client 3: write c 5, ok"];
        assert_eq!(checks[0].story, expected);
        assert!(checks[1].story.is_empty());
    }
}
