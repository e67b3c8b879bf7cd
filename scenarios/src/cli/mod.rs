//! The `seaworthy` command: that of [`seaworthy_command`], with the shop's scenarios, `up` and `seed`.

mod seed;
mod up;

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand};
use seaworthy_command::{environment, until_interrupted};

use crate::Shop;

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
    /// Fill the tables of the shop, or of its queue, with realistic records.
    Seed(seed::Fill),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    // The shop is built in, so that one program is enough to play scenarios; it is no command for people.
    if args.get(1).is_some_and(|command| command == "shop") {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        return match runtime {
            Ok(runtime) => runtime.block_on(seaworthy_shop::run_command(args.into_iter().skip(1))),
            Err(error) => environment(&format!("no runtime could be started: {error}")).into(),
        };
    }
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return environment(&error).into(),
    };
    seaworthy_command::run(args, |line: Seaworthy| async move {
        match line.command {
            Command::Any(command) => command.execute(&Shop::new(program).scenarios()).await,
            Command::Up(up) => until_interrupted(up.execute(program)).await,
            Command::Seed(fill) => until_interrupted(fill.execute()).await,
        }
    })
}
