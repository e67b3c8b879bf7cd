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
    let mut latest: HashMap<&K, u64> = HashMap::new();
    let mut wrong: Vec<(&K, String)> = Vec::new();
    for (key, number) in seen {
        let before = latest.entry(key).or_insert(*number);
        if number < before {
            wrong.push((key, format!("{number} after {before} of {key}")));
        }
        *before = (*before).max(*number);
    }
    match (seen.len(), wrong.len()) {
        (0, _) => Check::new(name, Verdict::Unknown, "nothing was seen, so nothing could be out of order"),
        (_, 0) => Check::new(
            name,
            Verdict::Held,
            format!("{} were seen in order, of {} keys", seen.len(), latest.len()),
        ),
        (_, times) => {
            let sentences: Vec<&String> = wrong.iter().map(|(_, sentence)| sentence).collect();
            let detail = format!("{times} came too late: {}", first(&sentences));
            about(Check::new(name, Verdict::Violated, detail), wrong.iter().map(|(key, _)| key))
        }
    }
}

/// A subscriber got every message that was published, each once, in their order, and so ended with the last. What was published must be told
/// apart, for example by a number.
pub fn delivery<T: Eq + Hash + Display>(name: &str, published: &[T], received: &[T]) -> Check {
    if published.is_empty() {
        return Check::new(name, Verdict::Unknown, "nothing was published");
    }
    let places: HashMap<&T, usize> =
        published.iter().enumerate().map(|(place, message)| (message, place)).collect();
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
        return Check::new(
            name,
            Verdict::Held,
            format!("all {} came, each once and in order", published.len()),
        );
    }
    let check =
        Check::new(name, Verdict::Violated, format!("of {} messages, {}", published.len(), wrong.join("; ")));
    about(check, found.iter().flat_map(|(messages, _)| messages.iter().copied()))
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
