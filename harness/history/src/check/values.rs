//! Values that must add up, be fresh, or be there.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use seaworthy_reports::{Check, Verdict};
use serde_json::Value;

use super::naming::{FOLLOWED, first};
use crate::{Operation, Outcome};

/// Money is conserved (the bank of Jepsen): every operation of this kind that succeeded told balances, as a list or an object of whole numbers, that add up to
/// this total. With `no_debts`, none of them is negative either.
pub fn money_conserved(
    name: &str,
    operations: &[Operation],
    kind: &str,
    total: i64,
    no_debts: bool,
) -> Check {
    let told =
        operations.iter().filter(|operation| operation.kind == kind && operation.outcome == Outcome::Ok);
    let (mut read, mut wrong) = (0, Vec::new());
    for operation in told {
        let Some(balances) = balances(&operation.output) else {
            let detail =
                format!("balances are whole numbers in a list or an object, and not {}", operation.output);
            return Check::new(name, Verdict::Unknown, detail);
        };
        read += 1;
        let sum: i64 = balances.iter().fold(0, |sum, balance| sum.saturating_add(*balance));
        if sum != total {
            wrong.push((operation, format!("{sum} in all at {:.3} s", operation.ended.as_secs_f64())));
        } else if let Some(debt) = balances.iter().find(|balance| no_debts && **balance < 0) {
            wrong
                .push((operation, format!("{debt} on an account at {:.3} s", operation.ended.as_secs_f64())));
        }
    }
    let sentences: Vec<&String> = wrong.iter().map(|(_, sentence)| sentence).collect();
    match (read, wrong.first()) {
        (0, _) => Check::new(name, Verdict::Unknown, "nobody looked at the balances"),
        (_, None) => Check::new(name, Verdict::Held, format!("{total} in all, each of {read} times")),
        (_, Some((operation, _))) => {
            let detail =
                format!("of {read} times, {} saw other than {total}: {}", wrong.len(), first(&sentences));
            Check::new(name, Verdict::Violated, detail).at(operation.ended).step(operation.to_string())
        }
    }
}

fn balances(output: &Value) -> Option<Vec<i64>> {
    match output {
        Value::Array(list) => list.iter().map(Value::as_i64).collect(),
        Value::Object(object) => object.values().map(Value::as_i64).collect(),
        _ => None,
    }
}

/// No `read` told a value that had been overwritten, and the next one acknowledged, for longer than this before the read began: per key, with the
/// `write`s of values that differ. With a bound of zero, it is what a register promises about the past, though not its order: for that, see
/// [`linearizable`](super::linearizable).
///
/// A value whose write has no answer may appear at any time, so it is never called stale.
pub fn fresh_within(name: &str, operations: &[Operation], bound: Duration) -> Check {
    let mut writes: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for write in operations.iter().filter(|it| it.kind == "write" && it.outcome.may_have_happened()) {
        writes.entry(&write.key).or_default().push(write);
    }
    let reads: Vec<&Operation> =
        operations.iter().filter(|it| it.kind == "read" && it.outcome == Outcome::Ok).collect();
    let (mut stale, mut foreign) = (Vec::new(), Vec::new());
    for read in &reads {
        let writes = writes.get(read.key.as_str()).map_or(&[][..], Vec::as_slice);
        let sources: Vec<&&Operation> = writes.iter().filter(|write| write.input == read.output).collect();
        if sources.is_empty() && !read.output.is_null() {
            foreign.push(*read);
            continue;
        }
        // The latest moment at which the value may have come about; nothing is known of a write without an answer.
        let came_about =
            match sources.iter().map(|write| (write.outcome == Outcome::Ok).then_some(write.ended)).max() {
                Some(_) if sources.iter().any(|write| write.outcome != Outcome::Ok) => continue,
                Some(ended) => ended.unwrap_or_default(),
                None => Duration::ZERO,
            };
        let overwritten = writes
            .iter()
            .filter(|write| write.outcome == Outcome::Ok && write.input != read.output)
            .filter(|write| write.invoked >= came_about && write.ended + bound < read.invoked)
            .min_by_key(|write| write.ended);
        stale.extend(overwritten.map(|write| (*read, *write, sources.first().copied().copied())));
    }
    if let Some(read) = foreign.first() {
        let detail = format!("{} reads told what nobody wrote: {read}", foreign.len());
        return Check::new(name, Verdict::Violated, detail)
            .at(read.ended)
            .about(&read.key)
            .step(read.to_string());
    }
    let longest = stale.iter().map(|(read, write, _)| read.invoked.saturating_sub(write.ended)).max();
    match (longest, stale.first()) {
        _ if reads.is_empty() => Check::new(name, Verdict::Unknown, "nothing was read"),
        (Some(longest), Some((read, write, source))) => {
            let detail = format!(
                "{} of {} reads told a value that had been overwritten, at most for {} ms",
                stale.len(),
                reads.len(),
                longest.as_millis()
            );
            let check = Check::new(name, Verdict::Violated, detail).at(read.ended).about(&read.key);
            let steps = source.iter().map(ToString::to_string).chain([write.to_string(), read.to_string()]);
            steps.fold(check, Check::step)
        }
        _ => Check::new(
            name,
            Verdict::Held,
            format!("none of {} reads was older than {} ms", reads.len(), bound.as_millis()),
        ),
    }
}

/// What was put into a queue came out of it: `enqueue`s of inputs that differ, and `dequeue`s that tell them (Jepsen's total-queue). Nothing acknowledged is lost, if it
/// was drained in the end, nothing came out twice, and nothing that was never put in.
pub fn total_queue(name: &str, operations: &[Operation], was_drained: bool) -> Check {
    let of = |kind: &'static str| operations.iter().filter(move |operation| operation.kind == kind);
    let text = |value: &Value| value.to_string();
    let tried: BTreeSet<String> =
        of("enqueue").filter(|it| it.outcome.may_have_happened()).map(|it| text(&it.input)).collect();
    let acknowledged: Vec<String> =
        of("enqueue").filter(|it| it.outcome == Outcome::Ok).map(|it| text(&it.input)).collect();
    let taken: Vec<String> = of("dequeue")
        .filter(|it| it.outcome == Outcome::Ok && !it.output.is_null())
        .map(|it| text(&it.output))
        .collect();
    // What was taken without the client being told is not lost by the queue.
    let untold = of("dequeue").filter(|it| !it.outcome.is_known()).count();
    let mut came: BTreeSet<&String> = BTreeSet::new();
    let twice: Vec<&String> = taken.iter().filter(|value| !came.insert(value)).collect();
    let foreign: Vec<&String> = taken.iter().filter(|value| !tried.contains(*value)).collect();
    let missing: Vec<&String> = acknowledged.iter().filter(|value| !came.contains(value)).collect();
    let lost = if was_drained && missing.len() > untold { missing.as_slice() } else { &[] };
    let wrong: Vec<String> =
        [(lost, "were lost"), (&twice, "came out twice"), (&foreign, "were never put in")]
            .into_iter()
            .filter(|(values, _)| !values.is_empty())
            .map(|(values, what)| format!("{} {what}: {}", values.len(), first(values)))
            .collect();
    match (wrong.is_empty(), acknowledged.is_empty()) {
        (false, _) => Check::new(name, Verdict::Violated, wrong.join("; ")),
        (true, true) => Check::new(name, Verdict::Unknown, "nothing was put in"),
        (true, false) if !was_drained => {
            Check::new(name, Verdict::Unknown, "it was not drained, so nothing is known of the rest")
        }
        (true, false) if !missing.is_empty() => {
            let detail = format!("{} are missing, and {untold} dequeues have no answer", missing.len());
            Check::new(name, Verdict::Unknown, detail)
        }
        _ => Check::new(name, Verdict::Held, format!("{} went in and came out once", acknowledged.len())),
    }
}

/// What was added to a set stays there: `add`s of inputs, and `read`s that tell all elements (Jepsen's set-full). An element that was acknowledged before a read
/// began is in it, and none is that nobody added.
pub fn set_full(name: &str, operations: &[Operation]) -> Check {
    let adds: Vec<&Operation> = operations.iter().filter(|it| it.kind == "add").collect();
    let tried: BTreeSet<String> =
        adds.iter().filter(|it| it.outcome.may_have_happened()).map(|it| it.input.to_string()).collect();
    let reads = operations.iter().filter(|it| it.kind == "read" && it.outcome == Outcome::Ok);
    let (mut read, mut wrong) = (0, Vec::new());
    for look in reads {
        let Value::Array(elements) = &look.output else {
            return Check::new(
                name,
                Verdict::Unknown,
                format!("a read tells a list, and not {}", look.output),
            );
        };
        read += 1;
        let there: BTreeSet<String> = elements.iter().map(Value::to_string).collect();
        let acknowledged = adds.iter().filter(|it| it.outcome == Outcome::Ok && it.ended < look.invoked);
        let missing = acknowledged.filter(|add| !there.contains(&add.input.to_string()));
        wrong.extend(missing.map(|add| (format!("{} was missing", add.input), vec![*add, look])));
        wrong.extend(there.difference(&tried).map(|element| (format!("nobody added {element}"), vec![look])));
    }
    match (read, wrong.first()) {
        (0, _) => Check::new(name, Verdict::Unknown, "nobody looked"),
        (_, Some((_, steps))) => {
            let sentences: Vec<&String> = wrong.iter().map(|(sentence, _)| sentence).collect();
            let detail = format!("{} times in {read} reads: {}", wrong.len(), first(&sentences));
            let check = Check::new(name, Verdict::Violated, detail);
            let check = wrong
                .iter()
                .take(FOLLOWED)
                .fold(check, |check, (_, steps)| check.at(steps[steps.len() - 1].ended));
            steps.iter().fold(check, |check, step| check.step(step.to_string()))
        }
        (_, None) if tried.is_empty() => Check::new(name, Verdict::Unknown, "nothing was added"),
        _ => Check::new(
            name,
            Verdict::Held,
            format!("all of {} elements were there in {read} reads", tried.len()),
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn ok(kind: &str, input: Value, output: Value, from: u64, to: u64) -> Operation {
        Operation::new(kind, "x", ms(from)).asking(input).answered(ms(to), output)
    }

    fn lost(kind: &str, input: Value, from: u64) -> Operation {
        Operation::new(kind, "x", ms(from)).asking(input).ended(ms(from + 5), Outcome::TimedOut)
    }

    #[test]
    fn money_is_conserved() {
        let look = |balances: Value| ok("look", Value::Null, balances, 0, 10);
        for (expected, looks) in [
            (Verdict::Unknown, vec![]),
            (Verdict::Held, vec![look(json!([50, 50])), look(json!({"a": 40, "b": 60}))]),
            (Verdict::Violated, vec![look(json!([50, 50])), look(json!([50, 49]))]),
            (Verdict::Violated, vec![look(json!([110, -10]))]),
            (Verdict::Unknown, vec![look(json!("a hundred"))]),
        ] {
            assert_eq!(money_conserved("money", &looks, "look", 100, true).verdict, expected, "{looks:?}");
        }
        assert_eq!(
            money_conserved("money", &[look(json!([110, -10]))], "look", 100, false).verdict,
            Verdict::Held
        );
    }

    #[test]
    fn reads_are_fresh() {
        let write = |value: i64, from, to| ok("write", json!(value), Value::Null, from, to);
        let read = |value: Value, from| ok("read", Value::Null, value, from, from + 5);
        let both = || vec![write(1, 0, 10), write(2, 20, 30)];
        for (expected, bound, more) in [
            (Verdict::Unknown, 0, vec![]),
            (Verdict::Held, 0, vec![read(json!(2), 40)]),
            (Verdict::Violated, 0, vec![read(json!(1), 40)]),
            (Verdict::Held, 20, vec![read(json!(1), 40)]),
            // It may have begun before the second write had ended.
            (Verdict::Held, 0, vec![read(json!(1), 25)]),
            (Verdict::Violated, 0, vec![read(Value::Null, 40)]),
            (Verdict::Violated, 0, vec![read(json!(9), 40)]),
            // It was written once more, by somebody who has no answer, or was it not?
            (Verdict::Held, 0, vec![lost("write", json!(1), 2), read(json!(1), 40)]),
            (Verdict::Held, 0, vec![lost("write", json!(3), 2), read(json!(3), 400)]),
            // Two writes at once: either may be the later one.
            (Verdict::Held, 0, vec![write(3, 15, 35), read(json!(2), 40), read(json!(3), 40)]),
        ] {
            let operations = [both(), more].concat();
            let check = fresh_within("fresh", &operations, ms(bound));
            assert_eq!(check.verdict, expected, "{bound} {:?}", &operations[2..]);
        }
        let check = fresh_within("fresh", &[both(), vec![read(json!(1), 40)]].concat(), ms(0));
        assert_eq!(check.detail, "1 of 1 reads told a value that had been overwritten, at most for 10 ms");
        assert_eq!(check.story.len(), 3);
    }

    #[test]
    fn what_goes_into_a_queue_comes_out_once() {
        let put = |value: i64| ok("enqueue", json!(value), Value::Null, 0, 5);
        let got = |value: i64| ok("dequeue", Value::Null, json!(value), 10, 15);
        let untold = || lost("dequeue", Value::Null, 10);
        for (expected, drained, operations) in [
            ("1 went in and came out once", true, vec![put(1), got(1)]),
            ("1 were lost: 2", true, vec![put(1), put(2), got(1)]),
            ("1 came out twice: 1", true, vec![put(1), got(1), got(1)]),
            ("1 were never put in: 7", true, vec![put(1), got(1), got(7)]),
            ("1 went in and came out once", true, vec![put(1), lost("enqueue", json!(2), 0), got(1), got(2)]),
            ("1 are missing, and 1 dequeues have no answer", true, vec![put(1), put(2), got(1), untold()]),
            ("it was not drained, so nothing is known of the rest", false, vec![put(1), put(2), got(1)]),
            ("nothing was put in", true, vec![]),
        ] {
            assert_eq!(total_queue("queue", &operations, drained).detail, expected);
        }
    }

    #[test]
    fn what_is_in_a_set_stays_there() {
        let add = |value: i64, from| ok("add", json!(value), Value::Null, from, from + 5);
        let read = |all: Value, from| ok("read", Value::Null, all, from, from + 5);
        for (expected, operations) in [
            (Verdict::Held, vec![add(1, 0), read(json!([1]), 10), add(2, 20), read(json!([1, 2]), 30)]),
            (
                Verdict::Held,
                vec![add(1, 0), lost("add", json!(2), 0), read(json!([1]), 10), read(json!([1, 2]), 20)],
            ),
            (Verdict::Held, vec![add(1, 8), read(json!([]), 10)]),
            (Verdict::Violated, vec![add(1, 0), read(json!([1]), 10), read(json!([]), 20)]),
            (Verdict::Violated, vec![add(1, 0), read(json!([1, 9]), 10)]),
            (Verdict::Unknown, vec![add(1, 0)]),
            (Verdict::Unknown, vec![read(json!([]), 10)]),
        ] {
            assert_eq!(set_full("set", &operations).verdict, expected, "{operations:?}");
        }
    }
}
