//! What was added to a set stays there.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use seaworthy_reports::{Check, Verdict};
use serde_json::Value;

use super::{
    naming::{FOLLOWED, first},
    story::with_steps,
};
use crate::{Operation, Outcome};

/// What was added to a set stays there: `add`s of inputs, and `read`s that tell all elements as a list (Jepsen's set-full). An element that was acknowledged, or seen, before a
/// read began is in it, each once, and none is that nobody added. All operations are on one set.
pub fn set_full(name: &str, operations: &[Operation]) -> Check {
    set_full_within(name, operations, Duration::ZERO)
}

/// As [`set_full`], of a set that tells an element at the latest so long after it was acknowledged or first seen: a replica, or an index.
pub fn set_full_within(name: &str, operations: &[Operation], settles: Duration) -> Check {
    let mut reads: Vec<(&Operation, &Vec<Value>)> = Vec::new();
    let mut no_list = None;
    for read in operations.iter().filter(|it| it.kind == "read" && it.outcome == Outcome::Ok) {
        match &read.output {
            Value::Array(list) => reads.push((read, list)),
            other => no_list = Some(other),
        }
    }
    reads.sort_by_key(|(read, _)| (read.invoked, read.ended));
    let mut elements = elements(operations, &reads);
    let (mut foreign, mut doubled) = (Vec::new(), Vec::new());
    for (read, list) in &reads {
        let mut there: HashSet<&Value> = HashSet::new();
        for value in list.iter() {
            if !there.insert(value) {
                doubled.push(Found { value, read, add: None });
            }
            // Its add may have begun while this read went on, not afterwards.
            if elements[value].added.is_none_or(|added| added > read.ended) {
                foreign.push(Found { value, read, add: None });
            }
        }
        for (value, element) in &mut elements {
            element.look(read, there.contains(value), settles);
        }
    }
    let found = |is: fn(&Element<'_>) -> bool| -> Vec<Found<'_>> {
        let mut found: Vec<Found<'_>> = elements
            .iter()
            .filter(|(_, element)| is(element))
            .filter_map(|(value, element)| Some(Found { value, read: element.missed?, add: element.add }))
            .collect();
        found.sort_by_cached_key(|found| (found.read.invoked, found.value.to_string()));
        found
    };
    let wrong: Vec<(&str, Vec<Found<'_>>)> = [
        ("were lost", found(|element| element.missed.is_some() && !element.was_in_last)),
        ("were missing for a while", found(|element| element.missed.is_some() && element.was_in_last)),
        ("were there twice", doubled),
        ("nobody had added", foreign),
    ]
    .into_iter()
    .filter(|(_, found)| !found.is_empty())
    .collect();
    if let Some((_, some)) = wrong.first() {
        return violated(name, &wrong, &some[0]);
    }
    if let Some(other) = no_list {
        let told: String = other.to_string().chars().take(80).collect();
        return Check::new(name, Verdict::Unknown, format!("a read tells a list, and not {told}"));
    }
    let judged = elements.values().filter(|element| element.was_judged).count();
    let late = elements.values().filter(|element| element.known.is_some() && !element.was_judged).count();
    let slowest = elements.values().map(|element| element.stable_after).max().unwrap_or_default();
    match (reads.len(), judged) {
        (0, _) => Check::new(name, Verdict::Unknown, "nobody looked"),
        (_, 0) => Check::new(name, Verdict::Unknown, "nobody looked after something was added"),
        (reads, judged) => {
            let late = if late > 0 { format!("; {late} came too late for a look") } else { String::new() };
            let detail = format!(
                "all of {judged} elements were there in {reads} reads, after {} ms{late}",
                slowest.as_millis()
            );
            Check::new(name, Verdict::Held, detail)
        }
    }
}

/// A value that is wrong, in which read, and how it came there.
struct Found<'a> {
    value: &'a Value,
    read: &'a Operation,
    add: Option<&'a Operation>,
}

fn violated(name: &str, wrong: &[(&str, Vec<Found<'_>>)], one: &Found<'_>) -> Check {
    let sentence = |(what, found): &(&str, Vec<Found<'_>>)| {
        let values: Vec<&Value> = found.iter().map(|found| found.value).collect();
        format!("{} {what}: {}", found.len(), first(&values))
    };
    let detail = wrong.iter().map(sentence).collect::<Vec<_>>().join("; ");
    let check = Check::new(name, Verdict::Violated, detail);
    let moments = wrong.iter().flat_map(|(_, found)| found).map(|found| found.read.ended).take(FOLLOWED);
    let mut moments: Vec<Duration> = moments.collect();
    moments.sort();
    with_steps(moments.into_iter().fold(check, Check::at), one.add.into_iter().chain([one.read]))
}

/// What is known of an element.
#[derive(Debug, Default)]
struct Element<'a> {
    /// When the first add that may have happened began.
    added: Option<Duration>,
    /// Since when it is known to be there: since an add was acknowledged, or a read that told it was over.
    known: Option<Duration>,
    /// How that is known.
    add: Option<&'a Operation>,
    /// Whether a read came late enough that it had to be there.
    was_judged: bool,
    /// The first read in which it had to be, and was not.
    missed: Option<&'a Operation>,
    was_in_last: bool,
    /// How long after it was known a read began in which it was not.
    stable_after: Duration,
}

impl<'a> Element<'a> {
    fn look(&mut self, read: &'a Operation, is_there: bool, settles: Duration) {
        let Some(since) = self.known.and_then(|known| read.invoked.checked_sub(known)) else { return };
        if !is_there {
            self.stable_after = self.stable_after.max(since);
        }
        if since > settles {
            self.was_judged = true;
            self.was_in_last = is_there;
            if !is_there {
                self.missed.get_or_insert(read);
            }
        }
    }
}

fn elements<'a>(
    operations: &'a [Operation],
    reads: &[(&'a Operation, &'a Vec<Value>)],
) -> HashMap<&'a Value, Element<'a>> {
    let mut elements: HashMap<&Value, Element<'_>> = HashMap::new();
    for add in operations.iter().filter(|it| it.kind == "add" && it.outcome.may_have_happened()) {
        let element = elements.entry(&add.input).or_default();
        element.added = Some(element.added.map_or(add.invoked, |added| added.min(add.invoked)));
        if add.outcome == Outcome::Ok {
            element.know(add);
        }
    }
    for (read, list) in reads {
        list.iter().for_each(|value| elements.entry(value).or_default().know(read));
    }
    elements
}

impl<'a> Element<'a> {
    fn know(&mut self, by: &'a Operation) {
        if self.known.is_none_or(|known| by.ended < known) {
            (self.known, self.add) = (Some(by.ended), Some(by));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn add(value: i64, from: u64) -> Operation {
        Operation::new("add", "set", ms(from)).by(1).asking(value).answered(ms(from + 5), Value::Null)
    }

    fn lost(value: i64, from: u64) -> Operation {
        Operation::new("add", "set", ms(from)).asking(value).ended(ms(from + 5), Outcome::TimedOut)
    }

    fn read(all: Value, from: u64) -> Operation {
        Operation::new("read", "set", ms(from)).by(2).answered(ms(from + 5), all)
    }

    #[test]
    fn what_is_in_a_set_stays_there() {
        use Verdict::{Held, Unknown, Violated};
        for (expected, operations) in [
            (Held, vec![add(1, 0), read(json!([1]), 10), add(2, 20), read(json!([1, 2]), 30)]),
            (Held, vec![add(1, 0), lost(2, 0), read(json!([1]), 10), read(json!([1, 2]), 20)]),
            // It was added while somebody looked.
            (Unknown, vec![add(1, 8), read(json!([]), 10)]),
            (Held, vec![add(1, 8), read(json!([]), 10), read(json!([1]), 20)]),
            (Violated, vec![add(1, 0), read(json!([1]), 10), read(json!([]), 20)]),
            (Violated, vec![add(1, 0), read(json!([]), 10), read(json!([1]), 20)]),
            (Violated, vec![add(1, 0), read(json!([1, 9]), 10)]),
            (Violated, vec![read(json!([1]), 10), add(1, 20)]),
            (Violated, vec![add(1, 0), read(json!([1, 1]), 10)]),
            // Nobody knows whether it was added, until somebody has seen it.
            (Violated, vec![lost(1, 0), read(json!([1]), 10), read(json!([]), 20)]),
            (Unknown, vec![lost(1, 0), read(json!([]), 10)]),
            (Unknown, vec![add(1, 0)]),
            (Unknown, vec![read(json!([]), 10)]),
            (Unknown, vec![add(1, 0), read(json!("one"), 10)]),
            (Violated, vec![add(1, 0), read(json!("one"), 10), read(json!([]), 10)]),
        ] {
            assert_eq!(set_full("set", &operations).verdict, expected, "{operations:?}");
        }
    }

    #[test]
    fn a_set_that_settles_later_may_miss_what_is_new() {
        let operations =
            [add(1, 0), read(json!([]), 50), read(json!([1]), 100), add(2, 200), read(json!([1]), 240)];
        let check = |settles| set_full_within("set", &operations, ms(settles));
        assert_eq!(check(40).detail, "1 were missing for a while: 1");
        assert_eq!(
            check(45).detail,
            "all of 1 elements were there in 3 reads, after 45 ms; 1 came too late for a look"
        );
        assert_eq!(check(20).detail, "1 were lost: 2; 1 were missing for a while: 1");
    }

    #[test]
    fn a_lost_element_is_told_with_its_add_and_the_first_read_without_it() {
        let operations =
            [add(1, 0), add(2, 0), read(json!([1, 2]), 10), read(json!([1]), 20), read(json!([1]), 30)];
        let check = set_full("set", &operations);
        insta::assert_snapshot!(format!("{}\n{}", check.detail, check.story.join("\n")), @"
        1 were lost: 2
        0.000 s to 0.005 s, client 1: add set 2, ok
        0.020 s to 0.025 s, client 2: read set -> [1]
        ");
    }
}
