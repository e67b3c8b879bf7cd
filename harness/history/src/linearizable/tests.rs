use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// `client kind input -> output from-to`, where the output is a JSON value, `?` for unknown, `!` for refused, `ok` for no output.
fn parse(text: &str) -> Vec<Operation> {
    let one = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [client, kind, input, "->", output, times] = words[..] else { panic!("{line}") };
        let (from, to) = times.split_once('-').unwrap();
        let (from, to) = (ms(from.parse().unwrap()), ms(to.parse().unwrap()));
        let input: Value = if input == "_" { Value::Null } else { serde_json::from_str(input).unwrap() };
        let operation = Operation::new(kind, "x", from).by(client.parse().unwrap()).asking(input);
        match output {
            "?" => operation.ended(to, Outcome::TimedOut),
            "!" => operation.ended(to, Outcome::Failed("no".to_owned())),
            "ok" => operation.answered(to, Value::Null),
            output => operation.answered(to, serde_json::from_str::<Value>(output).unwrap()),
        }
    };
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(one).collect()
}

fn verdict<M: Model>(model: &M, text: &str) -> Verdict {
    linearizable_operations("it", &parse(text), model, SearchLimits::default()).verdict
}

#[test]
fn registers() {
    for (expected, text) in [
        (Verdict::Held, "1 write 1 -> ok 0-10 \n 2 read _ -> 1 20-30"),
        (Verdict::Held, "1 read _ -> null 0-10"),
        (Verdict::Violated, "1 write 1 -> ok 0-10 \n 2 read _ -> null 20-30"),
        // While a write is on its way, either value may be seen, but not the old one after the new one.
        (Verdict::Held, "1 write 1 -> ok 0-100 \n 2 read _ -> null 10-20 \n 2 read _ -> 1 30-40"),
        (Verdict::Violated, "1 write 1 -> ok 0-100 \n 2 read _ -> 1 10-20 \n 2 read _ -> null 30-40"),
        // Without an answer, it may take effect late, or never; but it took no effect before it began.
        (Verdict::Held, "1 write 1 -> ? 0-10 \n 2 read _ -> null 20-30 \n 2 read _ -> 1 40-50"),
        (Verdict::Held, "1 write 1 -> ? 0-10 \n 2 read _ -> null 20-30"),
        (Verdict::Violated, "2 read _ -> 1 0-5 \n 1 write 1 -> ? 10-20"),
        (Verdict::Violated, "1 write 1 -> ? 0-10 \n 2 read _ -> 1 20-30 \n 3 read _ -> null 40-50"),
        (Verdict::Violated, "1 write 1 -> ! 0-10 \n 2 read _ -> 1 20-30"),
        (
            Verdict::Held,
            "1 write 1 -> ok 0-10 \n 2 cas [1,2] -> true 20-30 \n 3 cas [1,3] -> false 20-40 \n 1 read _ -> 2 50-60",
        ),
        (Verdict::Violated, "1 write 1 -> ok 0-10 \n 2 cas [1,2] -> true 20-30 \n 3 cas [1,3] -> true 20-40"),
        (
            Verdict::Held,
            "1 write 1 -> ok 0-10 \n 2 cas [1,2] -> ? 20-30 \n 1 read _ -> 1 40-50 \n 1 read _ -> 2 60-70",
        ),
        // At the same moment, the clock can't tell who was first.
        (Verdict::Held, "1 write 1 -> ok 0-10 \n 2 read _ -> null 10-20"),
        (Verdict::Unknown, "1 write 1 -> ? 0-10"),
        (Verdict::Unknown, ""),
        (Verdict::Unknown, "1 append 1 -> ok 0-10"),
    ] {
        assert_eq!(verdict(&Register, text), expected, "{text}");
    }
}

#[test]
fn sets_counters_queues_and_locks() {
    for (expected, text) in [
        (
            Verdict::Held,
            "1 add 1 -> ok 0-10 \n 2 add 2 -> ? 0-10 \n 3 read _ -> [1] 20-30 \n 3 read _ -> [2,1] 40-50",
        ),
        (Verdict::Violated, "1 add 1 -> ok 0-10 \n 3 read _ -> [] 20-30"),
        (Verdict::Violated, "1 add 1 -> ok 0-10 \n 3 read _ -> [1,1] 20-30"),
        (Verdict::Violated, "1 add 1 -> ok 0-10 \n 1 remove 1 -> ok 20-30 \n 2 contains 1 -> true 40-50"),
        (Verdict::Held, "1 add 1 -> ok 0-10 \n 1 remove 1 -> ok 20-45 \n 2 contains 1 -> true 40-50"),
    ] {
        assert_eq!(verdict(&Set, text), expected, "{text}");
    }
    for (expected, text) in [
        (
            Verdict::Held,
            "1 add _ -> ok 0-10 \n 2 add 4 -> ? 5-10 \n 3 read _ -> 1 20-30 \n 3 read _ -> 5 40-50",
        ),
        (Verdict::Violated, "1 add _ -> ok 0-10 \n 2 add _ -> ok 5-10 \n 3 read _ -> 1 20-30"),
    ] {
        assert_eq!(verdict(&Counter, text), expected, "{text}");
    }
    for (expected, text) in [
        (
            Verdict::Held,
            "1 enqueue 1 -> ok 0-10 \n 2 enqueue 2 -> ok 5-10 \n 3 dequeue _ -> 2 20-30 \n 3 dequeue _ -> 1 40-50",
        ),
        (Verdict::Violated, "1 enqueue 1 -> ok 0-4 \n 2 enqueue 2 -> ok 5-10 \n 3 dequeue _ -> 2 20-30"),
        (Verdict::Violated, "1 enqueue 1 -> ok 0-4 \n 3 dequeue _ -> 1 20-30 \n 4 dequeue _ -> 1 20-30"),
        (Verdict::Held, "1 enqueue 1 -> ok 0-4 \n 2 dequeue _ -> ? 5-10 \n 3 dequeue _ -> null 20-30"),
        (Verdict::Violated, "1 enqueue 1 -> ok 0-4 \n 3 dequeue _ -> null 20-30"),
    ] {
        assert_eq!(verdict(&Queue, text), expected, "{text}");
    }
    for (expected, text) in [
        (Verdict::Held, "1 acquire _ -> ok 0-10 \n 1 release _ -> ok 20-30 \n 2 acquire _ -> ok 5-40"),
        (Verdict::Violated, "1 acquire _ -> ok 0-10 \n 2 acquire _ -> ok 20-40"),
        (Verdict::Held, "1 acquire _ -> ok 0-10 \n 1 release _ -> ? 12-14 \n 2 acquire _ -> ok 20-40"),
        (Verdict::Violated, "1 acquire _ -> ok 0-10 \n 2 release _ -> ok 12-14"),
    ] {
        assert_eq!(verdict(&Lock, text), expected, "{text}");
    }
}

#[test]
fn keys_are_told_apart_and_a_violation_names_its_key() {
    let ok = Operation::new("write", "a", ms(0)).asking(1).answered(ms(10), ());
    let wrong = Operation::new("read", "b", ms(20)).answered(ms(30), 1);
    let check = linearizable_operations("it", &[ok, wrong], &Register, SearchLimits::default());
    assert_eq!((check.verdict, check.keys), (Verdict::Violated, vec!["b".to_owned()]));
}

#[test]
fn the_story_of_a_violation_is_short() {
    let mut text = String::new();
    for number in 0..200 {
        let at = number * 10;
        text += &format!(
            "1 write {number} -> ok {at}-{} \n 2 read _ -> {number} {}-{} \n",
            at + 4,
            at + 5,
            at + 9
        );
    }
    text += "3 write 900 -> ? 1000-1001 \n 4 read _ -> 57 700-705 \n 5 read _ -> 120 1500-1505";
    let check = linearizable_operations("it", &parse(&text), &Register, SearchLimits::default());
    assert_eq!(check.detail, "no order explains 3 of the 403 operations on x");
    assert_eq!(check.story.len(), 3, "{:#?}", check.story);
    assert!(check.story[0].starts_with("0.570 s to 0.574 s, client 1: write x 57"), "{:#?}", check.story);
    assert!(check.story[2].ends_with("client 4: read x -> 57"), "{:#?}", check.story);
}

#[test]
fn what_is_too_hard_is_unknown() {
    // Thirty concurrent increments without an answer, and a sum that none of them gives.
    let mut operations: Vec<Operation> = (0..30)
        .map(|client| {
            Operation::new("add", "x", ms(0))
                .by(client)
                .asking(1_i64 << client)
                .ended(ms(9), Outcome::TimedOut)
        })
        .collect();
    operations.push(Operation::new("read", "x", ms(10)).by(99).answered(ms(11), -1));
    let limits = SearchLimits { states: 10_000, ..SearchLimits::default() };
    let check = linearizable_operations("it", &operations, &Counter, limits);
    assert_eq!(
        (check.verdict, check.detail.as_str()),
        (Verdict::Unknown, "x: not decided with 10000 states remembered")
    );
    let limits = SearchLimits { time: ms(0), ..SearchLimits::default() };
    let check = linearizable_operations("it", &operations, &Counter, limits);
    assert!(check.detail.contains("in time"), "{check:?}");
}

#[test]
fn an_incomplete_history_can_not_hold() {
    let history = History::keeping(1);
    history.begin(1, "write").key("x").input(1).end(Outcome::Ok);
    history.begin(1, "write").key("x").input(2).end(Outcome::Ok);
    assert_eq!(linearizable("it", &history, &Register, SearchLimits::default()).verdict, Verdict::Unknown);
}

/// Whether some order of all of them, or of some of those without an answer, explains them: every order is tried.
fn by_brute_force<M: Model>(model: &M, operations: &[&Operation], state: &M::State) -> bool {
    if operations.iter().all(|operation| !operation.outcome.is_known()) {
        return true;
    }
    (0..operations.len()).any(|chosen| {
        let operation = operations[chosen];
        let known = |other: &&&Operation| other.outcome.is_known();
        let too_late = operations.iter().filter(known).any(|other| other.ended < operation.invoked);
        let rest: Vec<&Operation> = operations
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != chosen)
            .map(|(_, operation)| *operation)
            .collect();
        !too_late
            && model
                .step(state, operation, operation.outcome.is_known())
                .unwrap()
                .is_some_and(|state| by_brute_force(model, &rest, &state))
    })
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let one = (0_u64..3, 0_i64..3, 0_i64..3, 0_u64..20, 0_u64..8, 0_u64..6);
    prop::collection::vec(one, 1..7).prop_map(|all| {
        let one = |(client, (what, one, two, from, lasts, end)): (usize, (u64, i64, i64, u64, u64, u64))| {
            let operation = match what {
                0 => Operation::new("write", "x", ms(from)).asking(one),
                1 => Operation::new("read", "x", ms(from)),
                _ => Operation::new("cas", "x", ms(from)).asking(json!([one, two])),
            };
            let told =
                if what == 1 { if one == 0 { Value::Null } else { json!(one) } } else { json!(two != 0) };
            let operation = operation.by(client as u64);
            if end == 0 {
                operation.ended(ms(from + lasts), Outcome::TimedOut)
            } else {
                operation.answered(ms(from + lasts), told)
            }
        };
        all.into_iter().enumerate().map(one).collect()
    })
}

proptest! {
    // Histories that hold tell no story, and are left out.
    #![proptest_config(ProptestConfig { max_global_rejects: 100_000, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn it_agrees_with_trying_every_order(operations in operations()) {
        let all: Vec<&Operation> = operations.iter().collect();
        let verdict = linearizable_operations("it", &operations, &Register, SearchLimits::default()).verdict;
        let expected = if operations.iter().all(|operation| operation.outcome != Outcome::Ok) {
            Verdict::Unknown
        } else if by_brute_force(&Register, &all, &Value::Null) {
            Verdict::Held
        } else {
            Verdict::Violated
        };
        prop_assert_eq!(verdict, expected);
    }

    /// The operations of a story have no order of their own, whatever else happened.
    #[test]
    fn a_story_is_a_violation_even_if_the_others_are_left_out(operations in operations()) {
        let check = linearizable_operations("it", &operations, &Register, SearchLimits::default());
        prop_assume!(check.verdict == Verdict::Violated);
        let told: Vec<Operation> =
            operations.iter().filter(|operation| check.story.contains(&operation.to_string())).cloned().collect();
        let told: Vec<&Operation> = told.iter().collect();
        prop_assert!(!by_brute_force(&Register, &told, &Value::Null));
    }
}
