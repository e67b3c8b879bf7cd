//! What a history says that could not keep every operation.

use seaworthy_reports::{Check, Verdict};

use crate::{History, Operation, Outcome};

/// A check of the operations of a history, which is unknown when the history did not keep every one of them.
///
/// What was not kept may be just what makes the difference, either way: a queue's missing items, the share that failed. For what nothing that comes later can
/// mend, [`at_each_moment`] sees more.
pub fn over(history: &History, check: impl FnOnce(&[Operation]) -> Check) -> Check {
    let check = check(&history.operations());
    match history.dropped() {
        0 => check,
        dropped => incomplete(check, dropped),
    }
}

/// As [`over`], of a promise that is broken at a moment and that nothing later can mend: exclusion, fencing, order, freshness, a set, money, a session. It is
/// still violated when the operations show that until the first one that was not kept began.
pub fn at_each_moment(history: &History, check: impl Fn(&[Operation]) -> Check) -> Check {
    let operations = history.operations();
    let Some(end) = history.complete_until() else { return check(&operations) };
    // What was on its way then may have seen what is not kept. It may also be what others have seen.
    let until = operations.into_iter().filter(|operation| operation.invoked < end).map(|mut operation| {
        if operation.ended >= end {
            operation.output = serde_json::Value::Null;
            operation =
                operation.ended(end, Outcome::Unknown("the history is complete until then".to_owned()));
        }
        operation
    });
    match check(&until.collect::<Vec<_>>()) {
        violated if violated.verdict == Verdict::Violated => violated,
        other => incomplete(other, history.dropped()),
    }
}

fn incomplete(check: Check, dropped: u64) -> Check {
    let detail = format!(
        "the history is incomplete: {dropped} operations were not kept; by the others, it is {}: {}",
        check.verdict, check.detail
    );
    Check::new(check.name, Verdict::Unknown, detail)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::check::{availability, fresh_within};

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn history(most: usize, operations: &[Operation]) -> History {
        let history = History::keeping(most);
        operations.iter().for_each(|operation| history.record(operation.clone()));
        history
    }

    fn write(value: i64, from: u64, to: u64) -> Operation {
        Operation::new("write", "x", ms(from)).asking(value).answered(ms(to), ())
    }

    fn read(value: i64, from: u64, to: u64) -> Operation {
        Operation::new("read", "x", ms(from)).answered(ms(to), value)
    }

    #[test]
    fn an_incomplete_history_is_unknown_and_says_so() {
        let operations = [read(1, 0, 5), read(1, 10, 15)];
        let up = |most| over(&history(most, &operations), |operations| availability("up", operations, 1.0));
        assert_eq!(up(2).verdict, Verdict::Held);
        insta::assert_snapshot!(up(1).detail, @"the history is incomplete: 1 operations were not kept; by the others, it is held: 100.000 % of 1 operations, of 100.000 %");
        assert_eq!(up(1).verdict, Verdict::Unknown);
    }

    #[test]
    fn what_is_wrong_before_the_first_that_is_missing_stays_wrong() {
        let of = |most, operations: &[Operation]| {
            at_each_moment(&history(most, operations), |kept| fresh_within("fresh", kept, ms(0))).verdict
        };
        let stale = [write(1, 0, 5), write(2, 10, 15), read(1, 20, 25), read(2, 30, 35)];
        assert_eq!(of(4, &stale), Verdict::Violated);
        assert_eq!(of(3, &stale), Verdict::Violated);
        let fresh = [write(1, 0, 5), write(2, 10, 15), read(2, 20, 25), read(2, 30, 35)];
        assert_eq!(of(4, &fresh), Verdict::Held);
        assert_eq!(of(3, &fresh), Verdict::Unknown);
        // The write that is missing is what the last read saw.
        let told = [write(1, 0, 5), read(1, 7, 9), read(2, 10, 40), write(2, 12, 15)];
        assert_eq!(of(4, &told), Verdict::Held);
        assert_eq!(of(3, &told), Verdict::Unknown);
        // The write is on its way when the first one is missing, and seen before that.
        let running = [write(1, 0, 5), write(2, 10, 60), read(2, 20, 25), read(2, 30, 35)];
        assert_eq!(of(3, &running), Verdict::Unknown);
    }
}
