//! Dead letters can be looked at, tried again and forgotten, one or many.

use seaworthy_harness::Env;
use seaworthy_queue::NewJob;

use crate::operator::{self, Operator};

/// Three dead letters: 1 and 3 of the queue `default`, 2 of `mail`.
async fn three(env: &Env) -> Operator {
    let operator = Operator::of(env).await;
    let bad = |queue: &str| NewJob::new("bad", &"to ann").unwrap().max_attempts(1).on_queue(queue);
    for queue in ["default", "default", "default"] {
        operator.enqueue(bad(queue)).await;
    }
    operator.work_until(|stats| stats.dead == 3).await;
    operator.run("update seaworthy_queue.job set queue = 'mail' where id = 2").await;
    operator.three_hours_pass().await;
    operator
}

#[seaworthy_harness::test(schema = operator::schema(), connections = 12)]
async fn they_are_listed_with_their_errors(env: Env) {
    let operator = three(&env).await;
    let list = operator.says(&["dead", "list"]).await;
    insta::assert_snapshot!("dead_letters", list);
    assert!(list.lines().all(|line| line.chars().count() <= 80), "{list}");
    let list = operator.json(&["dead", "list", "--queue", "mail"]).await;
    assert_eq!((list["jobs"].as_array().unwrap().len(), list["jobs"][0]["id"].as_i64()), (1, Some(2)));
    assert!(list["jobs"][0]["error"].as_str().unwrap().starts_with("no such host"));
    let at = humantime::parse_rfc3339(list["jobs"][0]["given_up_at"].as_str().unwrap()).unwrap();
    assert_eq!(at.elapsed().unwrap().as_secs() / 3_600, 3);
    operator.ends_with(1, &["dead", "list", "--kind", "good"], &["no dead letter matches"]).await;
}

#[seaworthy_harness::test(schema = operator::schema(), connections = 12)]
async fn one_or_many_are_replayed(env: Env) {
    let operator = three(&env).await;
    let said = operator.ends_with(1, &["dead", "replay", "1", "4711"], &["job 4711 is no dead letter"]).await;
    assert_eq!(said, "job 1 runs again as job 4\n");
    let said = operator.says(&["dead", "replay", "--all", "--queue", "mail"]).await;
    assert_eq!(said, "job 2 runs again as job 5\n");
    assert_eq!(operator.says(&["dead", "replay", "--all"]).await, "job 3 runs again as job 6\n");
    operator.ends_with(1, &["dead", "replay", "--all"], &["no dead letter matches"]).await;
    let stats = operator.queue.stats().await.unwrap();
    assert_eq!((stats.ready, stats.dead), (3, 0));
    operator.ends_with(2, &["dead", "replay"], &["JOB"]).await;
    operator.ends_with(2, &["dead", "replay", "--kind", "bad"], &["--all"]).await;
    operator.ends_with(2, &["dead", "replay", "1", "--all"], &["--all"]).await;
}

#[seaworthy_harness::test(schema = operator::schema(), connections = 12)]
async fn nothing_is_purged_that_was_not_confirmed(env: Env) {
    let operator = three(&env).await;
    let all = ["dead", "purge", "--all"];
    operator.ends_with(1, &all, &["3 dead letters would be gone for ever", "--yes"]).await;
    operator.ends_with(1, &["dead", "purge", "1", "4711"], &["1 dead letter would be gone"]).await;
    assert_eq!(operator.queue.stats().await.unwrap().dead, 3);
    let named = ["dead", "purge", "1", "4711", "--yes"];
    let said = operator.ends_with(1, &named, &["job 4711 is no dead letter"]).await;
    assert_eq!(said, "purged 1 dead letter\n");
    assert_eq!(
        operator.says(&["dead", "purge", "--all", "--kind", "bad", "--yes"]).await,
        "purged 2 dead letters\n"
    );
    assert_eq!(operator.queue.stats().await.unwrap().dead, 0);
    operator.ends_with(1, &["dead", "purge", "--all", "--yes"], &["no dead letter matches"]).await;
    operator.ends_with(1, &all, &["no dead letter matches"]).await;
}

#[seaworthy_harness::test(schema = operator::schema(), connections = 12)]
async fn more_than_fit_into_one_transaction_are_replayed(env: Env) {
    let operator = Operator::of(&env).await;
    operator
        .run(
            "with job as (
                insert into seaworthy_queue.job (queue, kind, args, priority, max_attempts) select 'default', 'bad', '1', 0, 1 from generate_series(1, 2500) returning id
            ) insert into seaworthy_queue.dead_letter (id, attempt, error) select id, 1, 'bad' from job",
        )
        .await;
    let said = operator.says(&["dead", "replay", "--all"]).await;
    assert_eq!(said.lines().count(), 2_500);
    let stats = operator.queue.stats().await.unwrap();
    assert_eq!((stats.ready, stats.dead), (2_500, 0));
}
