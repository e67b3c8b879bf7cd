//! What goes into a queue comes out of it.

use std::collections::BTreeMap;

use seaworthy_reports::{Check, Verdict};
use serde_json::Value;

use super::{
    naming::{FOLLOWED, first},
    story::with_steps,
};
use crate::{Operation, Outcome};

/// What was put into a queue came out of it: `enqueue`s of inputs, and `dequeue`s that tell them, or null when it was empty (Jepsen's total-queue). Nothing acknowledged is
/// lost, if it was drained in the end, nothing came out more often than it may have been put in, and nothing that was never put in.
///
/// A dequeue without an answer may have taken one. For a queue that delivers at least once, see [`nothing_lost`](super::nothing_lost).
pub fn total_queue(name: &str, operations: &[Operation], was_drained: bool) -> Check {
    let mut items: BTreeMap<String, Item<'_>> = BTreeMap::new();
    for operation in operations.iter().filter(|it| it.outcome.may_have_happened()) {
        let is_ok = operation.outcome == Outcome::Ok;
        match operation.kind.as_str() {
            "enqueue" => items.entry(operation.input.to_string()).or_default().put.push(operation),
            "dequeue" if is_ok && operation.output != Value::Null => {
                items.entry(operation.output.to_string()).or_default().taken.push(operation);
            }
            _ => {}
        }
    }
    let untold = operations.iter().filter(|it| it.kind == "dequeue" && !it.outcome.is_known()).count();
    let acknowledged: usize = items.values().map(Item::acknowledged).sum();
    let of = |is: &dyn Fn(&Item<'_>) -> bool| -> Vec<(&String, &Item<'_>)> {
        items.iter().filter(|(_, item)| is(item)).collect()
    };
    let missing = of(&|item| item.is_missing());
    let gone: usize = missing.iter().map(|(_, item)| item.acknowledged() - item.taken.len()).sum();
    let is_lost = was_drained && gone > untold;
    let wrong: Vec<(&str, Vec<(&String, &Item<'_>)>)> = [
        ("were lost", if is_lost { missing } else { Vec::new() }),
        ("came out too often", of(&|item| item.came_too_often())),
        ("were never put in", of(&|item| item.is_foreign())),
        ("came out before they were put in", of(&|item| item.came_early())),
    ]
    .into_iter()
    .filter(|(_, items)| !items.is_empty())
    .collect();
    if let Some((_, some)) = wrong.first() {
        let sentence = |(what, items): &(&str, Vec<(&String, &Item<'_>)>)| {
            let values: Vec<&String> = items.iter().map(|(value, _)| *value).collect();
            format!("{} {what}: {}", items.len(), first(&values))
        };
        let detail = wrong.iter().map(sentence).collect::<Vec<_>>().join("; ");
        let mut check = Check::new(name, Verdict::Violated, detail);
        for (_, item) in wrong.iter().flat_map(|(_, items)| items).take(FOLLOWED) {
            check = item.last().map(|operation| operation.ended).into_iter().fold(check, Check::at);
        }
        let (_, one) = some[0];
        return with_steps(check, one.put.iter().chain(&one.taken).copied());
    }
    match acknowledged {
        0 => Check::new(name, Verdict::Unknown, "nothing was put in"),
        _ if !was_drained => {
            Check::new(name, Verdict::Unknown, "it was not drained, so nothing is known of the rest")
        }
        _ if gone > 0 => {
            let detail = format!("{gone} are missing, and {untold} dequeues have no answer");
            Check::new(name, Verdict::Unknown, detail)
        }
        all => Check::new(name, Verdict::Held, format!("{all} went in and came out once")),
    }
}

/// A value, and what was done with it.
#[derive(Debug, Default)]
struct Item<'a> {
    put: Vec<&'a Operation>,
    taken: Vec<&'a Operation>,
}

impl<'a> Item<'a> {
    fn acknowledged(&self) -> usize {
        self.put.iter().filter(|put| put.outcome == Outcome::Ok).count()
    }

    fn is_missing(&self) -> bool {
        self.acknowledged() > self.taken.len()
    }

    fn came_too_often(&self) -> bool {
        !self.is_foreign() && self.taken.len() > self.put.len()
    }

    fn is_foreign(&self) -> bool {
        self.put.is_empty()
    }

    fn came_early(&self) -> bool {
        let put = self.put.iter().map(|put| put.invoked).min();
        put.is_some_and(|put| self.taken.iter().any(|taken| taken.ended < put))
    }

    fn last(&self) -> Option<&'a Operation> {
        self.put.iter().chain(&self.taken).copied().max_by_key(|operation| operation.ended)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn put(value: i64) -> Operation {
        Operation::new("enqueue", "", ms(10)).by(1).asking(value).answered(ms(15), Value::Null)
    }

    fn got(value: i64) -> Operation {
        Operation::new("dequeue", "", ms(20)).by(2).answered(ms(25), value)
    }

    fn untold(kind: &str, value: Value) -> Operation {
        Operation::new(kind, "", ms(10)).asking(value).ended(ms(15), Outcome::TimedOut)
    }

    #[test]
    fn what_goes_into_a_queue_comes_out_once() {
        use Verdict::{Held, Unknown, Violated};
        let empty = Operation::new("dequeue", "", ms(20)).answered(ms(25), Value::Null);
        let early = Operation::new("dequeue", "", ms(1)).answered(ms(5), 1);
        let refused =
            Operation::new("enqueue", "", ms(10)).asking(7).ended(ms(15), Outcome::Failed("full".into()));
        for (verdict, detail, drained, operations) in [
            (Held, "1 went in and came out once", true, vec![put(1), got(1), empty]),
            (Violated, "1 were lost: 2", true, vec![put(1), put(2), got(1)]),
            (Violated, "1 came out too often: 1", true, vec![put(1), got(1), got(1)]),
            (Violated, "1 were never put in: 7", true, vec![put(1), got(1), got(7)]),
            (Violated, "1 were never put in: 7", true, vec![put(1), refused, got(1), got(7)]),
            (Violated, "1 came out before they were put in: 1", true, vec![put(1), early]),
            (
                Held,
                "1 went in and came out once",
                true,
                vec![put(1), untold("enqueue", json!(2)), got(1), got(2)],
            ),
            // It was tried again after an attempt without an answer, so it may be there twice.
            (
                Held,
                "1 went in and came out once",
                true,
                vec![untold("enqueue", json!(1)), put(1), got(1), got(1)],
            ),
            (
                Unknown,
                "1 are missing, and 1 dequeues have no answer",
                true,
                vec![put(1), put(2), got(1), untold("dequeue", Value::Null)],
            ),
            (
                Violated,
                "2 were lost: 2, 3",
                true,
                vec![put(1), put(2), put(3), got(1), untold("dequeue", Value::Null)],
            ),
            (
                Unknown,
                "it was not drained, so nothing is known of the rest",
                false,
                vec![put(1), put(2), got(1)],
            ),
            (Violated, "1 came out too often: 1", false, vec![put(1), put(2), got(1), got(1)]),
            (Unknown, "nothing was put in", true, vec![]),
        ] {
            let check = total_queue("queue", &operations, drained);
            assert_eq!((check.verdict, check.detail.as_str()), (verdict, detail));
        }
    }

    #[test]
    fn the_way_of_one_item_is_told() {
        let check = total_queue("queue", &[put(3), put(1), got(1), got(1), got(3)], true);
        insta::assert_snapshot!(check.story.join("\n"), @"
        0.010 s to 0.015 s, client 1: enqueue 1, ok
        0.020 s to 0.025 s, client 2: dequeue -> 1
        0.020 s to 0.025 s, client 2: dequeue -> 1
        ");
        assert_eq!(check.moments, [ms(25)]);
    }
}
