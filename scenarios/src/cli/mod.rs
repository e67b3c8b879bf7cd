//! The `seaworthy` command: `doctor`, `up`, `down`, `list`, `run`, `replay`, `shrink` and `report`.
//!
//! Exit codes: 0 all held, 1 something that must hold did not (or could not be judged), 2 wrong usage, 3 the environment:
//! a service could not be started, 130 after Ctrl-C.

mod again;
mod doctor;
mod report;
mod run;
mod up;

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand};
use seaworthy_harness::ProviderChoice;

use crate::scenario;

/// How the command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Held,
    Violated,
    Usage,
    Environment,
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(match exit {
            Exit::Held => 0,
            Exit::Violated => 1,
            Exit::Usage => 2,
            Exit::Environment => 3,
            // What a shell reports for a command that Ctrl-C ended.
            Exit::Interrupted => 130,
        })
    }
}

/// Prove that a service is seaworthy before it sails: real services, real faults, a report.
#[derive(Debug, Parser)]
#[command(name = "seaworthy", version)]
struct Seaworthy {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say which provider would be taken, what was found, and what is missing.
    Doctor(doctor::Doctor),
    /// Start Postgres and Redis, print their URLs, and hold them until Ctrl-C.
    Up(up::Up),
    /// End the stacks that tests share, also those that SEAWORTHY_KEEP=1 keeps.
    Down,
    /// List the scenarios.
    List,
    /// Play scenarios and write a report.
    Run(run::Run),
    /// Play a run's faults again, and say how often it ends the same way.
    Replay(again::Replay),
    /// Find the least of a run's faults that still makes it fail.
    Shrink(again::ShrinkRun),
    /// Render the report of a run again, compare two runs, or look at many.
    Report(report::Report),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("seaworthy: no runtime could be started: {error}");
            return Exit::Environment.into();
        }
    };
    // The shop is built in, so that one program is enough to play scenarios; it is no command for people.
    if args.get(1).is_some_and(|command| command == "shop") {
        return runtime.block_on(seaworthy_shop::run_command(args.into_iter().skip(1)));
    }
    let command = match Seaworthy::try_parse_from(args) {
        Ok(seaworthy) => seaworthy.command,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Held.into() };
        }
    };
    let exit = runtime.block_on(async {
        tokio::select! {
            exit = execute(command) => exit,
            // Dropping what is under way ends its services.
            () = interrupted() => Exit::Interrupted,
        }
    });
    exit.into()
}

async fn execute(command: Command) -> Exit {
    match command {
        Command::Doctor(doctor) => doctor.execute().await,
        Command::Up(up) => up.execute().await,
        Command::Run(run) => run.execute().await,
        Command::Replay(replay) => replay.execute().await,
        Command::Shrink(shrink) => shrink.execute().await,
        Command::Down => match seaworthy_harness::take_down() {
            Ok(0) => {
                println!("no stack of yours is shared by tests now");
                Exit::Held
            }
            Ok(stacks) => {
                println!("ended {stacks} of your stacks; what belongs to them is gone within seconds");
                Exit::Held
            }
            Err(error) => environment(&error),
        },
        Command::Report(report) => report.execute(),
        Command::List => {
            for scenario in scenario::scenarios() {
                println!("{:<26} {}", scenario.name, scenario.summary);
            }
            Exit::Held
        }
    }
}

/// Ctrl-C, or SIGTERM.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        },
        Err(_) => drop(tokio::signal::ctrl_c().await),
    }
}

/// The provider of a `--provider` option, else of the environment.
fn provider(option: Option<&str>) -> Result<ProviderChoice, String> {
    option.map_or_else(ProviderChoice::from_env, str::parse)
}

/// Whether colours are welcome on a terminal, by the convention of <https://no-color.org>.
fn wants_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn usage(error: &str) -> Exit {
    eprintln!("seaworthy: {error}");
    Exit::Usage
}

fn environment(error: &dyn std::fmt::Display) -> Exit {
    eprintln!("seaworthy: {error}");
    Exit::Environment
}
