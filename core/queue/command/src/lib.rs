//! A command line for those who operate a queue: look at jobs, try them again, cancel them, pause queues and schedules, and watch.
//!
//! It is the program `seaworthy-queue`, and `seaworthy queue`. An application with a command line of its own has it as a subcommand by one line, [`QueueCommand`]:
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use clap::{Parser, Subcommand};
//! use seaworthy_queue_command::QueueCommand;
//!
//! #[derive(Parser)]
//! struct Shop {
//!     #[command(subcommand)]
//!     command: Command,
//! }
//!
//! #[derive(Subcommand)]
//! enum Command {
//!     /// Look after the jobs.
//!     Queue(QueueCommand),
//! }
//!
//! #[tokio::main]
//! async fn main() -> ExitCode {
//!     match Shop::parse().command {
//!         Command::Queue(queue) => queue.execute().await.into(),
//!     }
//! }
//! ```
//!
//! Everything goes through the public interface of [`Queue`](seaworthy_queue::Queue), in statements that stay cheap however many jobs there are. The database's URL is shown nowhere.
//!
//! Exit codes: 0 all that was asked for is so, 1 nothing matched or something was refused, 2 wrong usage, 3 the database could not be reached or failed, 130 after Ctrl-C.

mod database;
mod dead;
mod exit;
mod jobs;
mod print;
mod queues;
mod schedules;
mod story;
mod table;
mod watch;
mod words;
mod workers;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use seaworthy_telemetry::redaction::scrub;

use database::Database;
use exit::Problem;

pub use exit::Exit;

/// Look after the jobs of a queue.
#[derive(Debug, Parser)]
#[command(name = "seaworthy-queue", version)]
struct CommandLine {
    #[command(flatten)]
    queue: QueueCommand,
}

/// Look after the jobs of a queue: list them, try them again, cancel them, pause queues and schedules, watch.
#[derive(Debug, Args)]
pub struct QueueCommand {
    #[command(flatten)]
    database: Database,
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// List jobs, the newest first.
    List(jobs::List),
    /// Tell everything about one job, with every attempt.
    Show(story::Show),
    /// Enqueue jobs that were given up again.
    Retry(jobs::Named),
    /// Cancel jobs, also running ones, and what waits for them.
    Cancel(jobs::Named),
    /// Let workers claim nothing more from queues; what they have comes to its end.
    Pause(queues::Pause),
    /// Let workers claim from queues again.
    Resume(queues::Resume),
    /// Tell what waits in each queue, and what happened lately by kind of job.
    Stats(queues::Stats),
    /// Look again and again: queues, workers, and what failed.
    Watch(watch::Watch),
    /// Look at what was given up, try it again, or forget it.
    #[command(subcommand)]
    Dead(dead::Dead),
    /// Look at periodic jobs, and pause them.
    #[command(subcommand)]
    Schedules(schedules::Schedules),
    /// List the workers and their heartbeats.
    Workers(workers::Workers),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) if error.use_stderr() => {
            // A URL that was put in a wrong place would be repeated.
            eprint!("{}", scrub(&error.render().to_string()));
            return Exit::Usage.into();
        }
        Err(help) => {
            let _ = help.print();
            return Exit::Done.into();
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return Problem::unreachable(format!("no runtime could be started: {error}")).tell().into();
        }
    };
    runtime.block_on(line.queue.execute()).into()
}

impl QueueCommand {
    /// Does it, and says on standard error what was wrong. Needs a tokio runtime with time and signals.
    pub async fn execute(self) -> Exit {
        match self.attempt().await {
            Ok(exit) => exit,
            Err(problem) => problem.tell(),
        }
    }

    async fn attempt(self) -> Result<Exit, Problem> {
        let (queue, database) = self.database.open().await?;
        match self.task {
            Task::List(list) => list.execute(&queue).await,
            Task::Show(show) => show.execute(&queue).await,
            Task::Retry(named) => named.retry(&queue).await,
            Task::Cancel(named) => named.cancel(&queue).await,
            Task::Pause(pause) => pause.execute(&queue).await,
            Task::Resume(resume) => resume.execute(&queue).await,
            Task::Stats(stats) => stats.execute(&queue).await,
            Task::Watch(watch) => watch.execute(&queue, &database).await,
            Task::Dead(dead) => dead.execute(&queue).await,
            Task::Schedules(schedules) => schedules.execute(&queue).await,
            Task::Workers(workers) => workers.execute(&queue).await,
        }
    }
}
