//! Things that have an order: events of a key, deliveries to a subscriber.

use std::{
    collections::{HashMap, HashSet},
    fmt::Display,
    hash::Hash,
};

use seaworthy_reports::{Check, Verdict};

use super::naming::{about, first};

/// The events of each key were seen in the order in which they were made: pairs of (key, number), as they were seen. A number that comes again is no
/// step back.
pub fn in_order<K: Eq + Hash + Display>(name: &str, seen: &[(K, u64)]) -> Check {
    stepwise(name, seen, "came too late", "in order", |before, number| number < before)
}

/// As [`in_order`], and without a gap: from the first number of a key that was seen, each comes right after the one before it.
pub fn in_order_without_gaps<K: Eq + Hash + Display>(name: &str, seen: &[(K, u64)]) -> Check {
    let is_wrong = |before: u64, number: u64| number < before || number - before > 1;
    stepwise(name, seen, "came too late, or after a gap", "in order and without a gap", is_wrong)
}

fn stepwise<K: Eq + Hash + Display>(
    name: &str,
    seen: &[(K, u64)],
    fault: &str,
    held: &str,
    is_wrong: impl Fn(u64, u64) -> bool,
) -> Check {
    let mut latest: HashMap<&K, u64> = HashMap::new();
    let mut wrong: Vec<(&K, String)> = Vec::new();
    let mut first_at = None;
    for (at, (key, number)) in seen.iter().enumerate() {
        let before = latest.entry(key).or_insert(*number);
        if is_wrong(*before, *number) {
            first_at.get_or_insert(at);
            wrong.push((key, format!("{number} after {before} of {key}")));
        }
        *before = (*before).max(*number);
    }
    let Some(at) = first_at else {
        if seen.is_empty() {
            let detail = "nothing was seen, so nothing could be out of order";
            return Check::new(name, Verdict::Unknown, detail);
        }
        let detail = format!("{} were seen {held}, of {} keys", seen.len(), latest.len());
        return Check::new(name, Verdict::Held, detail);
    };
    let sentences: Vec<&String> = wrong.iter().map(|(_, sentence)| sentence).collect();
    let detail = format!("{} {fault}: {}", wrong.len(), first(&sentences));
    let key = &seen[at].0;
    let numbers: Vec<u64> =
        seen[..=at].iter().filter(|(other, _)| other == key).map(|(_, number)| *number).collect();
    let check = about(Check::new(name, Verdict::Violated, detail), wrong.iter().map(|(key, _)| key));
    check.step(format!("seen of {key}: {}", until(&numbers, numbers.len())))
}

/// A subscriber got every message that was published, each once, in their order, and so ended with the last. What was published must be told
/// apart, for example by a number.
pub fn delivery<T: Eq + Hash + Display>(name: &str, published: &[T], received: &[T]) -> Check {
    if published.is_empty() && received.is_empty() {
        return Check::new(name, Verdict::Unknown, "nothing was published");
    }
    let places: HashMap<&T, usize> =
        published.iter().enumerate().map(|(place, message)| (message, place)).collect();
    if places.len() < published.len() {
        let detail = "messages that are alike were published, so nobody can tell what became of each";
        return Check::new(name, Verdict::Unknown, detail);
    }
    let got: HashSet<&T> = received.iter().collect();
    let missing: Vec<&T> = published.iter().filter(|message| !got.contains(message)).collect();
    let foreign: Vec<&T> = received.iter().filter(|message| !places.contains_key(message)).collect();
    let mut once = HashSet::new();
    let twice: Vec<&T> = received.iter().filter(|message| !once.insert(*message)).collect();
    let known: Vec<(&T, usize)> =
        received.iter().filter_map(|message| Some((message, *places.get(message)?))).collect();
    let late: Vec<&T> = known.windows(2).filter(|two| two[1].1 < two[0].1).map(|two| two[1].0).collect();
    let found = [
        (&missing, "never came"),
        (&twice, "came twice"),
        (&late, "came after later ones"),
        (&foreign, "were never published"),
    ];
    let wrong: Vec<String> = found
        .iter()
        .filter(|(messages, _)| !messages.is_empty())
        .map(|(messages, what)| format!("{} {what}: {}", messages.len(), first(messages)))
        .collect();
    if wrong.is_empty() {
        let detail = format!("all {} came, each once and in order", published.len());
        return Check::new(name, Verdict::Held, detail);
    }
    let detail = format!("of {} messages, {}", published.len(), wrong.join("; "));
    let check = about(
        Check::new(name, Verdict::Violated, detail),
        found.iter().flat_map(|(messages, _)| messages.iter().copied()),
    );
    let apart = published.iter().zip(received).take_while(|(sent, came)| sent == came).count();
    let check = check.step(format!("published: {}", until(published, apart + 2)));
    check.step(format!("received: {}", until(received, apart + 2)))
}

/// As [`delivery`], to each of these subscribers: pairs of (subscriber, received). The worst verdict counts.
pub fn delivery_to_each<S: Display, T: Eq + Hash + Display>(
    name: &str,
    published: &[T],
    received: &[(S, Vec<T>)],
) -> Check {
    let of_each =
        received.iter().map(|(subscriber, received)| (subscriber, delivery(name, published, received)));
    let of_each: Vec<(&S, Check)> = of_each.collect();
    let Some(worst) = of_each.iter().map(|(_, check)| check.verdict).max() else {
        return Check::new(name, Verdict::Unknown, "nobody had subscribed");
    };
    let total = of_each.len();
    if worst == Verdict::Held {
        let messages = published.len();
        let detail = format!("{total} subscribers got all {messages} messages, each once and in order");
        return Check::new(name, Verdict::Held, detail);
    }
    let mut bad = of_each.into_iter().filter(|(_, check)| check.verdict == worst);
    let (subscriber, mut check) = bad.next().expect("one of them has the worst verdict");
    check.detail =
        format!("{} of {total} subscribers, {subscriber} for one: {}", bad.count() + 1, check.detail);
    check
}

/// So many of them in a line, without those long before the last.
fn until<T: Display>(items: &[T], most: usize) -> String {
    const SHOWN: usize = 6;
    let most = most.min(items.len());
    let from = most.saturating_sub(SHOWN);
    let mut shown: Vec<String> = items[from..most].iter().map(ToString::to_string).collect();
    if from > 0 {
        shown.insert(0, "…".to_owned());
    }
    if most < items.len() {
        shown.push("…".to_owned());
    }
    if shown.is_empty() { "nothing".to_owned() } else { shown.join(", ") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_step_back_of_one_key_is_out_of_order() {
        for (expected, seen) in [
            (Verdict::Unknown, &[][..]),
            (Verdict::Held, &[("a", 1), ("b", 7), ("a", 2), ("b", 8), ("a", 2)]),
            (Verdict::Violated, &[("a", 1), ("a", 3), ("b", 1), ("a", 2)]),
        ] {
            assert_eq!(in_order("order", seen).verdict, expected, "{seen:?}");
        }
        let check = in_order("order", &[("a", 3), ("a", 2), ("a", 1)]);
        assert_eq!(check.detail, "2 came too late: 1 after 3 of a, 2 after 3 of a");
    }

    #[test]
    fn a_delivery_is_whole_in_order_and_without_repetition() {
        for (expected, received) in [
            ("all 3 came, each once and in order", &[1, 2, 3][..]),
            ("of 3 messages, 1 never came: 2", &[1, 3]),
            ("of 3 messages, 1 came twice: 2", &[1, 2, 2, 3]),
            ("of 3 messages, 1 came after later ones: 2", &[1, 3, 2]),
            ("of 3 messages, 1 never came: 3; 1 were never published: 9", &[1, 2, 9]),
            ("of 3 messages, 3 never came: 1, 2, 3", &[]),
        ] {
            assert_eq!(delivery("delivery", &[1, 2, 3], received).detail, expected);
        }
        assert_eq!(delivery::<u64>("delivery", &[], &[]).verdict, Verdict::Unknown);
        assert_eq!(delivery("delivery", &[], &[1]).detail, "of 0 messages, 1 were never published: 1");
        assert_eq!(delivery("delivery", &[1, 1], &[1, 1]).verdict, Verdict::Unknown);
    }

    #[test]
    fn what_was_seen_around_the_first_mistake_is_told() {
        let published: Vec<u32> = (0..100).collect();
        let received: Vec<u32> = (0..100).filter(|number| *number != 50).collect();
        insta::assert_snapshot!(delivery("delivery", &published, &received).story.join("\n"), @"
        published: …, 46, 47, 48, 49, 50, 51, …
        received: …, 46, 47, 48, 49, 51, 52, …
        ");
        let seen = [("a", 1), ("b", 1), ("a", 3), ("b", 2), ("a", 2), ("a", 9)];
        insta::assert_snapshot!(in_order("order", &seen).story.join("\n"), @"seen of a: 1, 3, 2");
    }

    #[test]
    fn a_gap_is_a_violation_only_where_none_may_be() {
        for (expected, seen) in [
            (Verdict::Unknown, &[][..]),
            (Verdict::Held, &[("a", 5), ("b", 1), ("a", 6), ("a", 6), ("b", 2)]),
            (Verdict::Violated, &[("a", 5), ("a", 7)]),
            (Verdict::Violated, &[("a", 5), ("a", 4)]),
        ] {
            assert_eq!(in_order_without_gaps("order", seen).verdict, expected, "{seen:?}");
        }
        assert_eq!(in_order("order", &[("a", 5), ("a", 7)]).verdict, Verdict::Held);
    }

    #[test]
    fn one_subscriber_that_missed_something_is_named() {
        let to = |received: &[(&str, Vec<u64>)]| delivery_to_each("delivery", &[1, 2], received);
        assert_eq!(to(&[]).verdict, Verdict::Unknown);
        assert_eq!(
            to(&[("ada", vec![1, 2]), ("grace", vec![1, 2])]).detail,
            "2 subscribers got all 2 messages, each once and in order"
        );
        assert_eq!(
            to(&[("ada", vec![1, 2]), ("grace", vec![1])]).detail,
            "1 of 2 subscribers, grace for one: of 2 messages, 1 never came: 2"
        );
        let none = delivery_to_each::<&str, u64>("delivery", &[], &[("ada", vec![])]);
        assert_eq!(none.verdict, Verdict::Unknown);
    }

    proptest! {
        #[test]
        fn only_what_was_published_is_held(received in prop::collection::vec(0_u64..5, 0..7)) {
            let published = [0, 1, 2, 3, 4];
            let held = delivery("delivery", &published, &received).verdict == Verdict::Held;
            prop_assert_eq!(held, received == published);
        }
    }
}
