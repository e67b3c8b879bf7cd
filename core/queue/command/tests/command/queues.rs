//! Queues can be paused and looked at.

use seaworthy_harness::Env;
use seaworthy_queue::NewJob;

use crate::operator::{self, Operator};

async fn paused(operator: &Operator) -> Vec<String> {
    let queues = operator.queue.queues().await.unwrap();
    queues.into_iter().filter(|one| one.paused_since.is_some()).map(|one| one.name).collect()
}

#[seaworthy_harness::test(schema = operator::schema(), connections = 12)]
async fn a_queue_is_paused_until_it_is_resumed_and_a_slip_of_the_pen_is_noticed(env: Env) {
    let operator = Operator::of(&env).await;
    operator.enqueue(NewJob::new("good", &()).unwrap().on_queue("mail")).await;
    assert!(operator.says(&["pause", "mail"]).await.contains("queue mail is paused"));
    assert_eq!(paused(&operator).await, ["mail"]);
    operator.three_hours_pass().await;
    assert_eq!(operator.says(&["pause", "mail"]).await, "queue mail is paused already, for 3h\n");
    operator.ends_with(1, &["pause", "mial"], &["no queue mial is known: there are mail", "--anyway"]).await;
    assert_eq!(paused(&operator).await, ["mail"]);
    operator.says(&["pause", "later", "--anyway"]).await;
    assert_eq!(paused(&operator).await, ["later", "mail"]);
    operator
        .ends_with(1, &["resume", "mial", "mail"], &["no queue mial is known: there are later, mail"])
        .await;
    assert_eq!(operator.says(&["resume", "later"]).await, "queue later goes on\n");
    assert!(paused(&operator).await.is_empty());
    assert_eq!(operator.says(&["resume", "mail"]).await, "queue mail was not paused\n");
}

#[seaworthy_harness::test(schema = operator::schema(), connections = 12)]
async fn stats_tell_what_waits_and_what_happened(env: Env) {
    let operator = Operator::of(&env).await;
    operator.ends_with(1, &["stats"], &["no queue"]).await;
    // 600 mails that waited for 2 s and took half a second, of which 60 failed.
    operator
        .run(
            "with job as (
                insert into seaworthy_queue.job (queue, kind, args, priority, max_attempts, created_at)
                select 'mail', 'welcome', '1', 0, 3, now() - interval '10 minutes' from generate_series(1, 600) returning id
            )
            insert into seaworthy_queue.done_batch (token, part, outcome, job_ids, ran, at)
            select gen_random_uuid(), 0, case when bool_and(id % 10 = 0) then 'retried' else 'completed' end, array_agg(id), array_agg(0.5::real),
                now() - interval '10 minutes' + interval '2.5 seconds'
            from job group by id % 10 = 0",
        )
        .await;
    operator.enqueue(NewJob::new("welcome", &()).unwrap().on_queue("mail")).await;
    operator.queue.pause("mail").await.unwrap();
    operator.three_hours_pass().await;
    operator.run("update seaworthy_queue.ready set rank = rank - 3 * 3600 * 1000").await;
    operator
        .run("update seaworthy_queue.done_batch set ran = array_fill(0.5::real, array[cardinality(job_ids)])")
        .await;
    let told = operator.says(&["stats", "--last", "6h"]).await;
    insta::assert_snapshot!("stats", told);
    assert!(told.lines().all(|line| line.chars().count() <= 80), "{told}");
    let told = operator.json(&["stats", "--last", "6h"]).await;
    assert_eq!(told["queues"][0]["name"], "mail");
    assert_eq!((&told["queues"][0]["ready"], &told["kinds"][0]["completed"]), (&1.into(), &540.into()));
    assert!((told["kinds"][0]["failure_rate"].as_f64().unwrap() - 0.1).abs() < 1e-9);
    assert!((told["kinds"][0]["wait_seconds"]["p50"].as_f64().unwrap() - 2.0).abs() < 0.1);
    let told = operator.says(&["stats", "--last", "1h"]).await;
    assert!(told.contains("nothing happened in the last 1h"), "{told}");
}

#[seaworthy_harness::test(schema = operator::schema(), connections = 12)]
async fn workers_are_told_apart_and_lost_ones_are_marked(env: Env) {
    let operator = Operator::of(&env).await;
    operator.ends_with(1, &["workers"], &["no worker is there"]).await;
    operator
        .run(
            "insert into seaworthy_queue.worker (id, beat_at, lease_timeout, started_at, host, pid, queues, concurrency) values
            ('11111111-0000-4000-8000-000000000000', clock_timestamp() - interval '3 hours 10 minutes', '10 hours', clock_timestamp() - interval '4 days 1 hour', 'db-1', 4711, '{default,mail}', 16),
            ('22222222-0000-4000-8000-000000000000', clock_timestamp() - interval '3 hours 10 minutes', '10 seconds', clock_timestamp() - interval '3 days 1 hour', 'db-2', 12, '{default}', 4)",
        )
        .await;
    operator
        .run("insert into seaworthy_queue.leader (epoch, worker, until) values (1, '11111111-0000-4000-8000-000000000000', clock_timestamp() + interval '1 hour')")
        .await;
    insta::assert_snapshot!("workers", operator.says(&["workers"]).await);
    let told = operator.json(&["workers"]).await;
    assert_eq!(told["workers"][0]["id"], "11111111-0000-4000-8000-000000000000");
    assert_eq!(
        (&told["workers"][0]["is_lost"], &told["workers"][1]["is_lost"]),
        (&false.into(), &true.into())
    );
    assert!(humantime::parse_rfc3339(told["workers"][1]["started_at"].as_str().unwrap()).is_ok());
}
