//! Jobs can be listed, shown, tried again and cancelled.

use std::time::Duration;

use seaworthy_harness::Env;
use seaworthy_queue::{Flow, JobState, NewJob};

use crate::operator::{self, Operator};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn job(kind: &str) -> NewJob {
    NewJob::new(kind, &serde_json::json!({ "to": "ann" })).unwrap()
}

/// One job in each of many states, by their numbers: 1 completed, 2 dead, 3 ready, 4 scheduled, 5 cancelled, 6 ready, 7 waits for 6.
async fn many(env: &Env) -> Operator {
    let operator = Operator::of(env).await;
    operator.enqueue(job("good")).await;
    let long = serde_json::json!({ "to": "ann", "text": "dear ann, ".repeat(30) });
    operator.enqueue(NewJob::new("bad", &long).unwrap().max_attempts(2)).await;
    operator.work_until(|stats| stats.completed == 1 && stats.dead == 1).await;
    operator.enqueue(job("good").on_queue("nobody").priority(-5)).await;
    operator.enqueue(job("good").run_in(3 * DAY)).await;
    let cancelled = operator.enqueue(job("a kind with a name that is too long for a table")).await;
    operator.queue.cancel(cancelled).await.unwrap();
    let mut tx = operator.pool.begin().await.unwrap();
    let chain = Flow::chain([job("first").on_queue("nobody"), job("second")]);
    operator.queue.enqueue_flow(&mut tx, &chain).await.unwrap();
    tx.commit().await.unwrap();
    operator.three_hours_pass().await;
    operator
        .run(
            "update seaworthy_queue.scheduled set run_at = clock_timestamp() + interval '5 hours 30 minutes'",
        )
        .await;
    operator
}

#[seaworthy_harness::test(schema = operator::schema(), connections = 12)]
async fn a_list_fits_a_terminal_and_says_where_each_job_is(env: Env) {
    let operator = many(&env).await;
    let list = operator.says(&["list"]).await;
    insta::assert_snapshot!("jobs", list);
    assert!(list.lines().all(|line| line.chars().count() <= 80), "{list}");
    assert!(!list.contains('\x1b'));
}

#[seaworthy_harness::test(schema = operator::schema(), connections = 12)]
async fn a_list_is_filtered_and_paged_and_has_times_in_json(env: Env) {
    let operator = many(&env).await;
    let ids = |list: &serde_json::Value| {
        list["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    let first = operator.json(&["list", "--limit", "3"]).await;
    assert_eq!((ids(&first), first["next"].as_i64()), (vec![7, 6, 5], Some(5)));
    let rest = operator.json(&["list", "--before", "5"]).await;
    assert_eq!((ids(&rest), rest["next"].as_i64()), (vec![4, 3, 2, 1], None));
    assert_eq!(ids(&operator.json(&["list", "--state", "ready"]).await), [6, 3]);
    assert_eq!(ids(&operator.json(&["list", "--kind", "good", "--queue", "nobody"]).await), [3]);
    for job in rest["jobs"].as_array().unwrap() {
        let at = humantime::parse_rfc3339(job["created_at"].as_str().unwrap()).unwrap();
        assert_eq!(at.elapsed().unwrap().as_secs() / 3_600, 3, "{job}");
    }
    let states: Vec<_> = rest["jobs"].as_array().unwrap().iter().map(|job| job["state"].clone()).collect();
    assert_eq!(states, ["scheduled", "ready", "dead", "completed"]);
    let more = operator.program(&["list", "--limit", "3"]).output().await.unwrap();
    assert!(operator::text(&more.stderr).contains("--before 5"));
    operator.ends_with(1, &["list", "--kind", "unheard of"], &["no job matches"]).await;
    operator.ends_with(2, &["list", "--state", "lost"], &["possible values", "ready", "dead"]).await;
    operator.ends_with(2, &["list", "--limit", "0"], &["--limit"]).await;
}

#[seaworthy_harness::test(schema = operator::schema(), connections = 12)]
async fn a_job_is_shown_with_everything_that_is_known(env: Env) {
    let operator = many(&env).await;
    let (dead, done, waiting) = (
        operator.says(&["show", "2"]).await,
        operator.says(&["show", "1"]).await,
        operator.says(&["show", "7"]).await,
    );
    insta::assert_snapshot!("stories", [dead.as_str(), &done, &waiting].join("\n"));
    assert!(!dead.contains('\x1b'));
    let told = operator.json(&["show", "2"]).await;
    assert_eq!(told["args"]["text"].as_str().unwrap(), "dear ann, ".repeat(30), "nothing is cut");
    assert_eq!((told["state"].as_str(), told["attempts"].as_array().unwrap().len()), (Some("dead"), 2));
    assert_eq!(told["error"].as_str().unwrap(), "no such host: mail.example.com\n\x1b[2J, attempt 2");
    assert!(told["attempts"][0]["at"].as_str().is_some_and(|at| humantime::parse_rfc3339(at).is_ok()));
    assert_eq!(operator.json(&["show", "1"]).await["result"], "sent");
    assert_eq!(operator.json(&["show", "7"]).await["waits_for"], serde_json::json!([6]));
    operator.ends_with(1, &["show", "4711"], &["there is no job 4711"]).await;
}

#[seaworthy_harness::test(schema = operator::schema(), connections = 12)]
async fn what_was_given_up_is_tried_again_and_nothing_else(env: Env) {
    let operator = many(&env).await;
    assert_eq!(operator.says(&["retry", "2"]).await, "job 2 was given up, and runs again as job 8\n");
    let again = operator.queue.job(seaworthy_queue::JobId(8)).await.unwrap().unwrap();
    assert_eq!((again.job.state, again.replay_of), (JobState::Ready, Some(seaworthy_queue::JobId(2))));
    operator.ends_with(1, &["retry", "2"], &["replayed or purged already"]).await;
    operator.ends_with(1, &["retry", "1"], &["job 1 is completed, and was not given up"]).await;
    operator.ends_with(1, &["retry", "4"], &["job 4 will be tried by itself, in 5h"]).await;
    operator.ends_with(1, &["retry", "4711"], &["there is no job 4711"]).await;
    assert_eq!(operator.queue.stats().await.unwrap().ready, 3);
}

#[seaworthy_harness::test(schema = operator::schema(), connections = 12)]
async fn jobs_are_cancelled_with_what_waits_for_them_and_those_that_are_over_are_named(env: Env) {
    let operator = many(&env).await;
    let said = operator.ends_with(1, &["cancel", "6", "1", "4"], &["job 1 is completed already"]).await;
    assert_eq!(said, "job 6 is cancelled\njob 4 is cancelled\n");
    for job in [6, 7, 4] {
        let told = operator.json(&["show", &job.to_string()]).await;
        assert_eq!(told["state"], "cancelled", "{job}");
    }
    operator.ends_with(1, &["cancel", "6"], &["job 6 is cancelled already"]).await;
    operator.ends_with(2, &["cancel"], &["JOB"]).await;
}
