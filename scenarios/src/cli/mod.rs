//! The `seaworthy` command: that of [`seaworthy_command`], with the scenarios of the shop and of the queue, `up`, `queue` and `seed`.

mod seed;
mod up;

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand};
use seaworthy_command::{environment, until_interrupted};
use seaworthy_queue_command::QueueCommand;

use crate::{Form, QueueScenarios, Shop, queue::run_worker};

/// Prove that a service is seaworthy before it sails: real services, real faults, a report.
#[derive(Debug, Parser)]
#[command(name = "seaworthy", version)]
struct Seaworthy {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Any(seaworthy_command::Command),
    /// Start Postgres and Redis, print their URLs, and hold them until Ctrl-C.
    Up(up::Up),
    /// Look after the jobs of a queue: list them, try them again, cancel them, pause queues and schedules, watch.
    Queue(QueueCommand),
    /// Fill the tables of the shop, or of its queue, with realistic records.
    Seed(seed::Fill),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    // The shop and the queue's worker are built in, so that one program is enough to play scenarios; they are no commands for people.
    let built_in = args
        .get(1)
        .and_then(|command| command.to_str())
        .filter(|name| ["shop", "queue-worker"].contains(name));
    if let Some(name) = built_in.map(str::to_owned) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let args = args.into_iter().skip(1);
        return match runtime {
            Ok(runtime) if name == "shop" => runtime.block_on(seaworthy_shop::run_command(args)),
            Ok(runtime) => runtime.block_on(run_worker(args)),
            Err(error) => environment(&format!("no runtime could be started: {error}")).into(),
        };
    }
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return environment(&error).into(),
    };
    seaworthy_command::run(args, |line: Seaworthy| async move {
        match line.command {
            Command::Any(command) => {
                let queue = QueueScenarios::new(&program).form(Form::from_env());
                command.execute(&[Shop::new(program).scenarios(), queue.scenarios()].concat()).await.into()
            }
            Command::Up(up) => until_interrupted(up.execute(program)).await.into(),
            Command::Queue(queue) => ExitCode::from(queue.execute().await),
            Command::Seed(fill) => until_interrupted(fill.execute()).await.into(),
        }
    })
}
