//! Mutual exclusion, and the tokens that make it safe.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Display,
    hash::Hash,
};

use seaworthy_reports::{Check, Verdict};

use super::naming::{about, first};
use crate::{Operation, Outcome};

/// No two clients held the same lock at once: from the end of an `acquire` that succeeded to the beginning of the same client's next `release` of that key. A
/// client that never releases holds it for a moment only: a lease may have ended in the meantime.
///
/// It says nothing about what is done with a lock that was lost without notice: see [`fenced_writes`].
pub fn mutual_exclusion(name: &str, operations: &[Operation], acquire: &str, release: &str) -> Check {
    let mut held: BTreeMap<&str, Vec<(&Operation, _)>> = BTreeMap::new();
    for taken in operations.iter().filter(|it| it.kind == acquire && it.outcome == Outcome::Ok) {
        let given_back = operations
            .iter()
            .filter(|it| it.kind == release && it.key == taken.key && it.process == taken.process)
            .filter(|it| it.invoked >= taken.ended)
            .map(|it| it.invoked)
            .min();
        held.entry(&taken.key).or_default().push((taken, given_back.unwrap_or(taken.ended)));
    }
    let times: usize = held.values().map(Vec::len).sum();
    if times == 0 {
        return Check::new(name, Verdict::Unknown, "nobody held it");
    }
    for (key, mut spans) in held {
        spans.sort_by_key(|(taken, _)| taken.ended);
        let mut longest = &spans[0];
        for next in &spans[1..] {
            if next.0.ended < longest.1 {
                let detail =
                    format!("clients {} and {} held {key} at once", longest.0.process, next.0.process);
                let check = Check::new(name, Verdict::Violated, detail).at(next.0.ended).about(key);
                let until =
                    format!("{:.3} s, client {} gave it back", longest.1.as_secs_f64(), longest.0.process);
                return check.step(longest.0.to_string()).step(next.0.to_string()).step(until);
            }
            if next.1 > longest.1 {
                longest = next;
            }
        }
    }
    Check::new(name, Verdict::Held, format!("{times} times held, never by two at once"))
}

/// No write was accepted with an older fencing token than one before it: pairs of (key, token) in the order in which they were accepted. This is what
/// keeps data safe when a lock is lost without its holder's notice (Kleppmann, "How to do distributed locking", 2016).
pub fn fenced_writes<K: Eq + Hash + Display>(name: &str, accepted: &[(K, u64)]) -> Check {
    let mut latest: HashMap<&K, u64> = HashMap::new();
    let mut wrong: Vec<(&K, String)> = Vec::new();
    for (key, token) in accepted {
        let newest = latest.entry(key).or_insert(*token);
        if token < newest {
            wrong.push((key, format!("{key} with token {token} after token {newest}")));
        }
        *newest = (*newest).max(*token);
    }
    match (accepted.len(), wrong.len()) {
        (0, _) => Check::new(name, Verdict::Unknown, "nothing was written"),
        (writes, 0) => Check::new(name, Verdict::Held, format!("{writes} writes, none with an older token")),
        (_, times) => {
            let sentences: Vec<&String> = wrong.iter().map(|(_, sentence)| sentence).collect();
            let detail = format!("{times} writes of former holders were accepted: {}", first(&sentences));
            about(Check::new(name, Verdict::Violated, detail), wrong.iter().map(|(key, _)| key))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn operation(process: u64, kind: &str, from: u64, to: u64) -> Operation {
        let ms = Duration::from_millis;
        Operation::new(kind, "lock", ms(from)).by(process).answered(ms(to), ())
    }

    #[test]
    fn two_holders_at_once_are_a_violation() {
        let first = [operation(1, "acquire", 0, 10), operation(1, "release", 50, 60)];
        let check = |second: &[Operation]| {
            mutual_exclusion("lock", &[&first[..], second].concat(), "acquire", "release")
        };
        assert_eq!(check(&[operation(2, "acquire", 5, 55)]).verdict, Verdict::Held);
        assert_eq!(check(&[operation(2, "acquire", 20, 40)]).detail, "clients 1 and 2 held lock at once");
        assert_eq!(check(&[operation(2, "acquire", 20, 40)]).story.len(), 3);
        assert_eq!(mutual_exclusion("lock", &[], "acquire", "release").verdict, Verdict::Unknown);
        // Without a release, it may have been a lease that ended.
        let leases = [operation(1, "acquire", 0, 10), operation(2, "acquire", 20, 30)];
        assert_eq!(mutual_exclusion("lock", &leases, "acquire", "release").verdict, Verdict::Held);
    }

    #[test]
    fn a_write_with_an_older_token_is_a_violation() {
        assert_eq!(fenced_writes("writes", &[("a", 1), ("b", 1), ("a", 2), ("a", 2)]).verdict, Verdict::Held);
        let check = fenced_writes("writes", &[("a", 1), ("a", 3), ("a", 2)]);
        assert_eq!(check.detail, "1 writes of former holders were accepted: a with token 2 after token 3");
        assert_eq!(fenced_writes::<&str>("writes", &[]).verdict, Verdict::Unknown);
    }
}
