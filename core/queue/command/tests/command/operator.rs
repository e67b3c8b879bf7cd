//! Somebody who has the program and the URL of a test's database.

use std::{
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use seaworthy_harness::{Env, env::Schema};
use seaworthy_queue::{Backoff, Failure, JobId, NewJob, Queue, Stats, Worker};
use serde_json::Value;
use sqlx::PgPool;
use tokio::{process::Command, time::timeout};

pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A database with the queue's tables.
pub(crate) fn schema() -> Schema {
    Schema::new().migrator(Queue::migrations())
}

/// The program, in nobody's environment.
pub(crate) fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seaworthy-queue"));
    command.args(args).env_remove("DATABASE_URL").stdin(Stdio::null()).kill_on_drop(true);
    command
}

pub(crate) async fn output(command: &mut Command) -> Output {
    timeout(DEADLINE, command.output()).await.expect("the program ends").unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(crate) struct Operator {
    pub(crate) queue: Queue,
    pub(crate) pool: PgPool,
    pub(crate) url: String,
}

impl Operator {
    pub(crate) async fn of(env: &Env) -> Self {
        let database = env.postgres().await;
        let pool = database.pool().clone();
        Operator { queue: Queue::new(pool.clone()), pool, url: database.url() }
    }

    pub(crate) fn program(&self, args: &[&str]) -> Command {
        let mut command = program(args);
        command.env("DATABASE_URL", &self.url);
        command
    }

    /// Standard output of a command that ends well.
    #[track_caller]
    pub(crate) fn says(&self, args: &[&str]) -> impl Future<Output = String> {
        self.ends_with(0, args, &[])
    }

    /// Standard output of a command that ends with this code, and says these on standard error.
    #[track_caller]
    pub(crate) fn ends_with(&self, code: i32, args: &[&str], says: &[&str]) -> impl Future<Output = String> {
        let caller = std::panic::Location::caller();
        let mut command = self.program(args);
        let told = format!("{caller}: {args:?}");
        let says: Vec<String> = says.iter().map(|text| (*text).to_owned()).collect();
        async move {
            let output = output(&mut command).await;
            let stderr = text(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{told}: {stderr}");
            for text in says {
                assert!(stderr.contains(&text), "{told} does not say `{text}`: {stderr}");
            }
            text(&output.stdout)
        }
    }

    pub(crate) async fn json(&self, args: &[&str]) -> Value {
        let args = [args, &["--json"]].concat();
        serde_json::from_str(&self.says(&args).await).unwrap()
    }

    pub(crate) async fn enqueue(&self, job: NewJob) -> JobId {
        self.queue.push(&job).await.unwrap()
    }

    /// Runs what is ready until the counts are as wanted: jobs of kind `good` end well, those of kind `bad` don't.
    pub(crate) async fn work_until(&self, wanted: impl Fn(&Stats) -> bool) {
        let brief = Backoff::exponential(Duration::from_millis(2), Duration::from_millis(20));
        let working = Worker::new(self.queue.clone())
            .poll(Duration::from_millis(2))
            .backoff(brief)
            .handle("good", |job| async { Ok(job.done_with(&"sent")?) })
            .handle("bad", |job| async move {
                let why = format!("no such host: mail.example.com\n\x1b[2J, attempt {}", job.attempt());
                Err(Failure::retry(why))
            })
            .start();
        let give_up = Instant::now() + DEADLINE;
        loop {
            let stats = self.queue.stats().await.unwrap();
            if wanted(&stats) {
                break;
            }
            assert!(Instant::now() < give_up, "{stats:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(working.drain(DEADLINE).await);
    }

    /// What happened until now happened three hours ago, and each handler took 12 ms: what people read is the same each time then.
    pub(crate) async fn three_hours_pass(&self) {
        for change in [
            "job set created_at = created_at - interval '3 hours'",
            "dead_letter set at = at - interval '3 hours'",
            "done_batch set at = at - interval '3 hours', ran = array_fill(0.012::real, array[cardinality(job_ids)])",
            "paused set since = since - interval '3 hours'",
            "schedule set paused_at = paused_at - interval '3 hours'",
        ] {
            self.run(&format!("update seaworthy_queue.{change}")).await;
        }
    }

    pub(crate) async fn run(&self, sql: &str) {
        sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).execute(&self.pool).await.unwrap();
    }
}
