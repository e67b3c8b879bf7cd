//! Somebody watches a queue, without a terminal.

use std::process::Stdio;

use seaworthy_harness::Env;
use seaworthy_queue::NewJob;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader, Lines},
    time::timeout,
};

use crate::operator::{self, DEADLINE, Operator};

/// One queue with a dead letter and a job that is ready.
async fn with_a_failure(env: &Env) -> Operator {
    let operator = Operator::of(env).await;
    operator.enqueue(NewJob::new("bad", &()).unwrap().max_attempts(1)).await;
    operator.work_until(|stats| stats.dead == 1).await;
    operator.enqueue(NewJob::new("good", &()).unwrap()).await;
    operator
}

#[seaworthy_harness::test(schema = operator::schema(), connections = 12)]
async fn lines_tell_of_queues_at_each_look_and_of_a_failure_once(env: Env) {
    let operator = with_a_failure(&env).await;
    let told = operator.says(&["watch", "--every", "100ms", "--for", "1s"]).await;
    let looks =
        told.lines().filter(|line| line.contains("default: 1 ready, 0 scheduled, 0 leased, 1 dead")).count();
    assert!(looks >= 2, "{told}");
    assert_eq!(
        told.matches("default: bad 1 failed, dead: no such host: mail.example.com").count(),
        1,
        "{told}"
    );
    assert!(!told.contains('\x1b'), "{told}");
}

#[seaworthy_harness::test(schema = operator::schema(), connections = 12)]
async fn programs_get_a_line_of_json_for_each_look(env: Env) {
    let operator = with_a_failure(&env).await;
    let told = operator.says(&["watch", "--every", "100ms", "--for", "1s", "--json"]).await;
    let looks: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(looks.len() >= 2, "{told}");
    for look in looks {
        assert!(humantime::parse_rfc3339(look["at"].as_str().unwrap()).is_ok());
        assert_eq!((&look["queues"][0]["name"], &look["queues"][0]["dead"]), (&"default".into(), &1.into()));
        assert_eq!(look["failures"][0]["job"], 1);
    }
}

async fn until(lines: &mut Lines<BufReader<impl AsyncRead + Unpin>>, text: &str) {
    let seen = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains(text) {
                return;
            }
        }
        panic!("it ended before it said `{text}`");
    };
    timeout(DEADLINE, seen).await.unwrap_or_else(|_| panic!("it does not say `{text}`"));
}

#[seaworthy_harness::test(schema = operator::schema(), connections = 12)]
async fn a_watch_outlives_an_outage_of_the_database_and_ends_when_it_is_told_to(env: Env) {
    let operator = with_a_failure(&env).await;
    let mut command = operator.program(&["watch", "--every", "100ms"]);
    let mut watch = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut problems = BufReader::new(watch.stderr.take().unwrap()).lines();
    until(&mut told, "default: 1 ready").await;
    let outage = env.service("postgres").faults().down().inject().await.unwrap();
    until(&mut problems, "seaworthy: ").await;
    outage.heal().await.unwrap();
    until(&mut told, "default: 1 ready").await;
    let pid = rustix::process::Pid::from_raw(watch.id().unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = timeout(DEADLINE, watch.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(130));
}
