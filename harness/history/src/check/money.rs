//! Balances that must add up.

use seaworthy_reports::{Check, Verdict};
use serde_json::Value;

use super::{naming::first, story::with_steps};
use crate::{Operation, Outcome};

/// Money is conserved (the bank of Jepsen): every operation of this kind that succeeded told balances, as a list or an object of whole numbers, that add up to
/// this total. With `no_debts`, none of them is negative either.
///
/// The story of a violation has the last look that was right, and what was done from then on.
pub fn money_conserved(
    name: &str,
    operations: &[Operation],
    kind: &str,
    total: i64,
    no_debts: bool,
) -> Check {
    let mut looks: Vec<&Operation> =
        operations.iter().filter(|it| it.kind == kind && it.outcome == Outcome::Ok).collect();
    looks.sort_by_key(|look| look.ended);
    let (mut read, mut wrong, mut no_balances) = (0, Vec::new(), None);
    for look in looks {
        match balances(&look.output) {
            Some(balances) => {
                read += 1;
                wrong.extend(fault(&balances, total, no_debts).map(|what| (look, what)));
            }
            None => no_balances = Some(look),
        }
    }
    if let Some((look, _)) = wrong.first() {
        let sentence =
            |(look, what): &(&Operation, String)| format!("{what} at {:.3} s", look.ended.as_secs_f64());
        let sentences: Vec<String> = wrong.iter().map(sentence).collect();
        let named: Vec<&String> = sentences.iter().collect();
        let detail =
            format!("{} of {read} looks were wrong, of {total} in all: {}", wrong.len(), first(&named));
        let check = Check::new(name, Verdict::Violated, detail).at(look.ended);
        return with_steps(
            check,
            since_it_was_right(operations, kind, look, |balances| fault(balances, total, no_debts).is_none()),
        );
    }
    match (read, no_balances) {
        (_, Some(look)) => {
            let told: String = look.output.to_string().chars().take(80).collect();
            let detail = format!("balances are whole numbers in a list or an object, and not {told}");
            Check::new(name, Verdict::Unknown, detail)
        }
        (0, None) => Check::new(name, Verdict::Unknown, "nobody looked at the balances"),
        _ => Check::new(name, Verdict::Held, format!("{total} in all, each of {read} times")),
    }
}

fn fault(balances: &[i64], total: i64, no_debts: bool) -> Option<String> {
    let sum: i128 = balances.iter().map(|balance| i128::from(*balance)).sum();
    if sum != i128::from(total) {
        return Some(format!("{sum} in all"));
    }
    let debt = balances.iter().find(|balance| no_debts && **balance < 0)?;
    Some(format!("{debt} on an account"))
}

fn since_it_was_right<'a>(
    operations: &'a [Operation],
    kind: &str,
    wrong: &'a Operation,
    is_right: impl Fn(&[i64]) -> bool,
) -> Vec<&'a Operation> {
    let right = operations
        .iter()
        .filter(|it| it.kind == kind && it.outcome == Outcome::Ok && it.ended <= wrong.invoked)
        .filter(|it| balances(&it.output).is_some_and(|balances| is_right(&balances)))
        .max_by_key(|it| it.ended);
    let from = right.map(|it| it.invoked).unwrap_or_default();
    let mut done: Vec<&Operation> = operations
        .iter()
        .filter(|it| it.kind != kind && it.outcome.may_have_happened())
        .filter(|it| it.ended >= from && it.invoked <= wrong.ended)
        .collect();
    done.sort_by_key(|it| it.invoked);
    // With the two looks, a story has room for so many.
    let last = done.split_off(done.len().saturating_sub(6));
    right.into_iter().chain(last).chain([wrong]).collect()
}

fn balances(output: &Value) -> Option<Vec<i64>> {
    match output {
        Value::Array(list) => list.iter().map(Value::as_i64).collect(),
        Value::Object(object) => object.values().map(Value::as_i64).collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn ok(kind: &str, at: u64, input: Value, output: Value) -> Operation {
        let ms = Duration::from_millis;
        Operation::new(kind, "", ms(at)).asking(input).answered(ms(at + 5), output)
    }

    fn look(at: u64, balances: Value) -> Operation {
        ok("look", at, Value::Null, balances)
    }

    #[test]
    fn money_is_conserved() {
        for (expected, looks) in [
            (Verdict::Unknown, vec![]),
            (Verdict::Held, vec![look(0, json!([50, 50])), look(9, json!({"a": 40, "b": 60}))]),
            (Verdict::Violated, vec![look(0, json!([50, 50])), look(9, json!([50, 49]))]),
            (Verdict::Violated, vec![look(0, json!([110, -10]))]),
            (Verdict::Violated, vec![look(0, json!([i64::MAX, i64::MAX]))]),
            (Verdict::Unknown, vec![look(0, json!("a hundred"))]),
            (Verdict::Unknown, vec![look(0, json!([50, 50])), look(0, json!([50.5, 49.5]))]),
            // It is wrong whatever the other look told.
            (Verdict::Violated, vec![look(0, json!("a hundred")), look(9, json!([1]))]),
        ] {
            assert_eq!(money_conserved("money", &looks, "look", 100, true).verdict, expected, "{looks:?}");
        }
        let debt = [look(0, json!([110, -10]))];
        assert_eq!(money_conserved("money", &debt, "look", 100, false).verdict, Verdict::Held);
    }

    #[test]
    fn what_was_done_since_it_was_right_is_told() {
        let transfer = |at, input| ok("transfer", at, input, Value::Null);
        let operations = [
            transfer(0, json!({"from": "b", "to": "a", "amount": 5})),
            look(10, json!({"a": 50, "b": 50})),
            transfer(20, json!({"from": "a", "to": "b", "amount": 10})),
            look(30, json!({"a": 40, "b": 50})),
            transfer(40, json!({"from": "b", "to": "a", "amount": 1})),
            look(50, json!({"a": 41, "b": 49})),
        ];
        let check = money_conserved("money", &operations, "look", 100, true);
        insta::assert_snapshot!(format!("{}\n{}", check.detail, check.story.join("\n")), @r#"
        2 of 3 looks were wrong, of 100 in all: 90 in all at 0.035 s, 90 in all at 0.055 s
        0.010 s to 0.015 s, client 0: look -> {"a":50,"b":50}
        0.020 s to 0.025 s, client 0: transfer {"amount":10,"from":"a","to":"b"}, ok
        0.030 s to 0.035 s, client 0: look -> {"a":40,"b":50}
        "#);
    }
}
