//! Waiting for what comes true in its time, and what is told when it does not.

use std::{
    future::{pending, ready},
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use proptest::prelude::*;
use seaworthy_harness::{NotInTime, consistently, eventually, wait_until};

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);

/// The message with what differs from run to run replaced.
fn steady(message: &str) -> String {
    let steady = |line: &str| match line.split_once(" at harness/tests/eventually.rs:") {
        Some((before, after)) => {
            let (place, after) = after.split_once([';', ' ']).unwrap();
            assert!(place.trim_end_matches(':').split(':').all(|part| part.parse::<u32>().is_ok()), "{line}");
            let words = after.split(' ').map(|word| if word.parse::<f64>().is_ok() { "N" } else { word });
            format!("{before} at [here]: {}", words.collect::<Vec<_>>().join(" ").trim_start())
        }
        None => line.to_owned(),
    };
    message.lines().map(steady).collect::<Vec<_>>().join("\n")
}

/// What the future panics with.
async fn panic_of(future: impl Future<Output: std::fmt::Debug>) -> String {
    let panic = AssertUnwindSafe(future).catch_unwind().await.unwrap_err();
    *panic.downcast::<String>().unwrap()
}

#[tokio::test]
async fn the_value_comes_as_soon_as_it_is_there() {
    let began = Instant::now();
    let mut answers = [Err("not yet"), Err("not yet"), Ok(7)].into_iter();
    assert_eq!(eventually("there is a number", LONG, || ready(answers.next().unwrap())).await, 7);
    let mut answers = [None, Some("here")].into_iter();
    assert_eq!(eventually("there is a word", LONG, || ready(answers.next().unwrap())).await, "here");
    let mut answers = [false, true].into_iter();
    eventually("it is true", LONG, || ready(answers.next().unwrap())).await;
    assert!(began.elapsed() < LONG / 2);
}

#[tokio::test]
async fn an_expired_wait_tells_what_was_seen() {
    let mut count = 0;
    let order = eventually("the order is fulfilled", SHORT, || {
        count += 1;
        ready(Err::<(), _>(match count {
            1..=3 => "it is placed",
            4 => "connection refused",
            _ => "it is packed",
        }))
    });
    insta::assert_snapshot!(steady(&panic_of(order).await), @"
    not within 200 ms: the order is fulfilled
      waited at [here]: N attempts in N ms
      last seen: it is packed
      before that, 1 time: connection refused
      before that, 3 times: it is placed
    ");
    let never = wait_until("the row is there", SHORT, || ready(None::<u32>)).await.unwrap_err();
    assert!(never.attempts() > 2 && never.waited() >= SHORT, "{never:?}");
    insta::assert_snapshot!(steady(&never.to_string()), @"
    not within 200 ms: the row is there
      waited at [here]: N attempts in N ms
      last seen: None
    ");
}

#[tokio::test]
async fn an_attempt_that_hangs_is_reported_as_one() {
    let mut count = 0;
    let missed = wait_until("the queue is empty", SHORT, || {
        count += 1;
        async move {
            if count > 2 {
                pending::<()>().await;
            }
            Err::<(), _>(format!("{} jobs are left", 10 - count))
        }
    });
    let missed = missed.await.unwrap_err();
    assert_eq!((missed.attempts(), missed.last_seen()), (3, Some("8 jobs are left")));
    let left = missed.cut_off().unwrap();
    assert!(left <= SHORT, "{left:?}");
    let message =
        steady(&missed.to_string()).replace(&format!("in the {} ms", left.as_millis()), "in the N ms");
    insta::assert_snapshot!(message, @"
    not within 200 ms: the queue is empty
      waited at [here]: N attempts in N ms
      the last attempt hung: no answer in the N ms that were left
      last seen: 8 jobs are left
      before that, 1 time: 9 jobs are left
    ");
    let hung = wait_until("it answers", SHORT, pending::<bool>).await;
    assert_eq!(hung.unwrap_err().last_seen(), None);
}

#[tokio::test]
async fn without_any_time_one_attempt_is_made() {
    assert_eq!(wait_until("it is there", Duration::ZERO, || ready(Some(1))).await.unwrap(), 1);
    let missed = wait_until("it is there", Duration::ZERO, || ready(false)).await.unwrap_err();
    assert_eq!(missed.attempts(), 1);
}

#[tokio::test]
async fn what_holds_throughout_gives_its_last_answer() {
    let began = Instant::now();
    let mut count = 0;
    let last = consistently("there is a number", SHORT, || {
        count += 1;
        ready(Some(count))
    });
    assert_eq!(last.await, count);
    assert!(began.elapsed() >= SHORT && count > 2, "{count} attempts");
}

#[tokio::test]
async fn what_stops_holding_is_told_at_once() {
    let mut count = 0;
    let began = Instant::now();
    let broken = consistently("no order is charged twice", LONG, || {
        count += 1;
        ready(if count < 4 { Ok(()) } else { Err("order 17 has 2 charges") })
    });
    let message = steady(&panic_of(broken).await);
    insta::assert_snapshot!(message, @"
    did not hold for 20 s: no order is charged twice
      watched at [here]: it held N times, until N ms after the start
      seen then: order 17 has 2 charges
    ");
    assert!(began.elapsed() < LONG / 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_can_be_spawned_and_borrow_from_around_it() {
    let waited = tokio::spawn(async {
        let asked = std::sync::atomic::AtomicU32::new(0);
        eventually("it was asked three times", LONG, || async {
            tokio::task::yield_now().await;
            asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 2
        })
        .await;
        asked
    });
    assert_eq!(waited.await.unwrap().into_inner(), 3);
}

fn missed(answers: &[String]) -> NotInTime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut answers = answers.iter();
    runtime.block_on(async {
        let attempt = || {
            let answer = answers.next().cloned();
            async {
                match answer {
                    Some(answer) => Err::<(), _>(answer),
                    None => pending().await,
                }
            }
        };
        wait_until("something", Duration::from_millis(5), attempt).await.unwrap_err()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_message_is_bounded_and_ends_in_what_was_seen_last(
        answers in proptest::collection::vec(".{0,20}|é{1500}", 0..30),
    ) {
        let missed = missed(&answers);
        prop_assert!(missed.to_string().chars().count() < 12_000);
        let answered = (missed.attempts() - u64::from(missed.cut_off().is_some())) as usize;
        let shortened = |answer: &String| match answer.chars().count() {
            0..=1000 => answer.clone(),
            _ => format!("{}…", answer.chars().take(1000).collect::<String>()),
        };
        let last = answers[..answered].last().map(shortened);
        prop_assert_eq!(missed.last_seen(), last.as_deref());
    }
}
