//! Schedules can be looked at and paused.

use seaworthy_harness::Env;
use seaworthy_queue::{Cron, NewJob, Schedule};

use crate::operator::{self, Operator};

#[seaworthy_harness::test(schema = operator::schema(), connections = 12)]
async fn schedules_are_listed_paused_and_resumed(env: Env) {
    let operator = Operator::of(&env).await;
    operator.ends_with(1, &["schedules", "list"], &["there is no schedule"]).await;
    for (name, expression) in [("sales report", "30 2 * * *"), ("sweep", "*/5 * * * *")] {
        let cron = expression.parse::<Cron>().unwrap().in_zone("Europe/Stockholm").unwrap();
        let job = NewJob::new("report", &name).unwrap().on_queue("reports");
        operator.queue.schedule(&Schedule::new(name, cron, job)).await.unwrap();
    }
    assert_eq!(operator.says(&["schedules", "pause", "sweep"]).await, "schedule sweep is paused\n");
    assert_eq!(operator.says(&["schedules", "pause", "sweep"]).await, "schedule sweep is paused already\n");
    operator.three_hours_pass().await;
    operator
        .run("update seaworthy_queue.schedule set next_at = clock_timestamp() + interval '5 hours 30 minutes' where name = 'sales report'")
        .await;
    let list = operator.says(&["schedules", "list"]).await;
    insta::assert_snapshot!("schedules", list);
    assert!(list.lines().all(|line| line.chars().count() <= 80), "{list}");

    let said = ["no schedule sleep; there are: sales report, sweep"];
    operator.ends_with(1, &["schedules", "resume", "sleep"], &said).await;
    assert_eq!(
        operator.says(&["schedules", "resume", "sweep"]).await,
        "schedule sweep enqueues jobs again\n"
    );
    assert_eq!(operator.says(&["schedules", "resume", "sweep"]).await, "schedule sweep was not paused\n");
    let told = operator.json(&["schedules", "list"]).await;
    assert_eq!(
        (&told["schedules"][1]["name"], &told["schedules"][1]["paused_since"]),
        (&"sweep".into(), &serde_json::Value::Null)
    );
    let next = told["schedules"][1]["next"].as_array().unwrap();
    assert_eq!(next.len(), 5);
    assert!(next.iter().all(|at| humantime::parse_rfc3339(at.as_str().unwrap()).is_ok()));
}
