//! Somebody watches a queue, without a terminal.

use std::{process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use seaworthy_harness::Env;
use seaworthy_queue::NewJob;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdout},
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

/// A watch that goes on until it is told to end.
struct Watching {
    program: Child,
    told: Lines<BufReader<ChildStdout>>,
    problems: Lines<BufReader<ChildStderr>>,
}

impl Watching {
    fn new(operator: &Operator, args: &[&str]) -> Self {
        let args = [&["watch", "--every", "100ms"], args].concat();
        let mut command = operator.program(&args);
        let mut program = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let told = BufReader::new(program.stdout.take().unwrap()).lines();
        let problems = BufReader::new(program.stderr.take().unwrap()).lines();
        Watching { program, told, problems }
    }

    async fn end(mut self) {
        let pid = Pid::from_raw(self.program.id().unwrap().cast_signed()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        let status = timeout(DEADLINE, self.program.wait()).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(130));
    }
}

/// The lines up to one with this text.
async fn until(lines: &mut Lines<BufReader<impl AsyncRead + Unpin>>, text: &str) -> Vec<String> {
    let read = async {
        let mut seen = Vec::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            let is_last = line.contains(text);
            seen.push(line);
            if is_last {
                return seen;
            }
        }
        panic!("it ended before it said `{text}`: {seen:?}");
    };
    timeout(DEADLINE, read).await.unwrap_or_else(|_| panic!("it does not say `{text}`"))
}

#[seaworthy_harness::test(schema = operator::schema(), connections = 12)]
async fn lines_tell_of_queues_at_each_look_and_of_a_failure_once(env: Env) {
    let operator = with_a_failure(&env).await;
    let mut watching = Watching::new(&operator, &[]);
    let mut told = Vec::new();
    for _ in 0..3 {
        told.extend(until(&mut watching.told, "default: 1 ready, 0 scheduled, 0 leased, 1 dead").await);
    }
    let failed = "default: bad 1 failed, dead: no such host: mail.example.com";
    assert_eq!(told.iter().filter(|line| line.contains(failed)).count(), 1, "{told:?}");
    assert!(!told.concat().contains('\x1b'), "{told:?}");
    watching.end().await;
}

#[seaworthy_harness::test(schema = operator::schema(), connections = 12)]
async fn programs_get_a_line_of_json_for_each_look(env: Env) {
    let operator = with_a_failure(&env).await;
    let mut watching = Watching::new(&operator, &["--json"]);
    for _ in 0..2 {
        let look: Value = serde_json::from_str(&until(&mut watching.told, "{").await[0]).unwrap();
        assert!(humantime::parse_rfc3339(look["at"].as_str().unwrap()).is_ok());
        assert_eq!((&look["queues"][0]["name"], &look["queues"][0]["dead"]), (&"default".into(), &1.into()));
        assert_eq!(look["failures"][0]["job"], 1);
    }
    watching.end().await;
}

#[seaworthy_harness::test(schema = operator::schema(), connections = 12)]
async fn a_watch_ends_by_itself_when_its_time_is_over(env: Env) {
    let operator = Operator::of(&env).await;
    operator.says(&["watch", "--every", "100ms", "--for", "300ms"]).await;
}

#[seaworthy_harness::test(schema = operator::schema(), connections = 12)]
async fn a_watch_outlives_an_outage_of_the_database(env: Env) {
    let operator = with_a_failure(&env).await;
    let mut watching = Watching::new(&operator, &[]);
    until(&mut watching.told, "default: 1 ready").await;
    let outage = env.service("postgres").faults().down().inject().await.unwrap();
    until(&mut watching.problems, "seaworthy: ").await;
    outage.heal().await.unwrap();
    // What was on its way when it began.
    while let Ok(Ok(Some(_))) = timeout(Duration::ZERO, watching.told.next_line()).await {}
    until(&mut watching.told, "default: 1 ready").await;
    watching.end().await;
}
