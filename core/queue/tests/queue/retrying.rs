//! How long a job waits after a failure, by its kind and by its error.

use std::time::Duration;

use seaworthy_errors::{Error, http_codes};
use seaworthy_harness::Env;
use seaworthy_queue::{Backoff, Failure, NewJob, Worker};

use crate::database::{self, DEADLINE, enqueue, queue_in, until};

const HOUR: Duration = Duration::from_secs(3_600);

#[seaworthy_harness::test(schema = database::schema(), connections = 12)]
async fn the_wait_is_that_of_the_first_rule_that_fits_the_error_then_that_of_the_kind(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let backoff = Backoff::fixed(HOUR)
        .on_code("HTTP-0503", Backoff::fixed(2 * HOUR))
        .when(|failure| failure.text().contains("deadlock"), Backoff::fixed(3 * HOUR))
        .on_code("TASK-0001", Backoff::fixed(4 * HOUR))
        .on_code("TASK-0002", Backoff::fixed(5 * HOUR))
        .when(|failure| failure.text().contains("no such user"), Backoff::give_up());
    let own = Backoff::linear(10 * HOUR, 100 * HOUR).with_jitter(false);
    let working = Worker::new(queue.clone())
        .poll(Duration::from_millis(5))
        .job_timeout(Duration::from_millis(50))
        .backoff(backoff)
        .backoff_of("other", own)
        .handle("work", |job| async move {
            match job.args::<String>()?.as_str() {
                "unavailable" => Err(Error::new(&http_codes::UNAVAILABLE))?,
                "deadlock" => Err(Failure::retry("deadlock detected")),
                "panics" => panic!("oh no"),
                "hangs" => std::future::pending().await,
                "advises" => Err(Failure::retry_after(6 * HOUR, "deadlock, and it is known how long")),
                "gives up" => Err(Failure::retry("no such user")),
                _ => Err(Failure::retry("something else")),
            }
        })
        .handle("other", |_| async { Err(Failure::retry("deadlock detected")) })
        .start();
    let cases = [
        ("work", "unavailable", Some(2)),
        ("work", "deadlock", Some(3)),
        ("work", "panics", Some(4)),
        ("work", "hangs", Some(5)),
        ("work", "advises", Some(6)),
        ("work", "gives up", None),
        ("work", "else", Some(1)),
        ("other", "", Some(10)),
    ];
    let mut ids = Vec::new();
    for (kind, what, _) in cases {
        ids.push(enqueue(&queue, &pool, NewJob::new(kind, &what).unwrap()).await);
    }
    until(&queue, "all failures", |stats| stats.scheduled + stats.dead == cases.len() as i64).await;
    assert!(working.drain(DEADLINE).await);
    for ((kind, what, hours), id) in cases.into_iter().zip(ids) {
        let waits: Option<f64> = sqlx::query_scalar(
            "select extract(epoch from run_at - clock_timestamp())::float8 / 3600 from seaworthy_queue.scheduled where id = $1",
        )
        .bind(id.0)
        .fetch_optional(&pool)
        .await
        .unwrap();
        assert_eq!(waits.map(|waits| waits.round() as i32), hours, "{kind} {what}");
    }
}

#[test]
fn waits_grow_as_they_say_up_to_their_limit() {
    let second = Duration::from_secs(1);
    let exact = |backoff: Backoff| backoff.with_jitter(false);
    let cases: [(Backoff, [u64; 5]); 4] = [
        (exact(Backoff::exponential(second, 9 * second)), [1, 2, 4, 8, 9]),
        (exact(Backoff::linear(3 * second, 10 * second)), [3, 6, 9, 10, 10]),
        (Backoff::fixed(7 * second), [7, 7, 7, 7, 7]),
        (
            Backoff::custom(|attempt| Duration::from_secs([1, 1, 2, 3, 5][attempt as usize - 1])),
            [1, 1, 2, 3, 5],
        ),
    ];
    for (backoff, waits) in cases {
        let with_jitter = backoff.clone().with_jitter(true);
        for (attempt, wait) in (1..).zip(waits) {
            assert_eq!(backoff.after(attempt).as_secs(), wait, "{backoff:?} {attempt}");
            let random = with_jitter.after(attempt).as_secs_f64();
            assert!((wait as f64 / 2.0..=wait as f64).contains(&random), "{backoff:?} {attempt}: {random}");
        }
    }
}
