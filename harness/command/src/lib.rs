//! A command line for scenarios: play them, play a failure again, shrink it, and look at the reports.
//!
//! A team with scenarios of its own needs one line for a program that has it all:
//!
//! ```no_run
//! use std::process::ExitCode;
//! use seaworthy_harness::Scenario;
//!
//! fn main() -> ExitCode {
//!     let transfers = Scenario::new("transfers", "Money moves while Postgres goes away.");
//!     seaworthy_command::main([transfers])
//! }
//! ```
//!
//! Exit codes: 0 all held, 1 something that must hold did not (or could not be judged), 2 wrong usage, 3 the environment:
//! a service could not be started, 130 after Ctrl-C.

mod again;
mod chosen;
mod doctor;
mod exit;
mod history;
mod log;
mod progress;
mod report;
mod rounds;
mod run;
mod schedule;

use std::{ffi::OsString, future::Future, process::ExitCode};

use clap::{Parser, Subcommand};
use seaworthy_harness::{ProviderChoice, Scenario};

use exit::without_logins;
pub use exit::{Exit, environment, usage};

/// Prove that a service is seaworthy before it sails: real services, real faults, a report.
#[derive(Debug, Parser)]
#[command(version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

/// What the command line can do. A program with more commands of its own flattens these into them.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say which provider would be taken, what was found, and what is missing.
    Doctor(doctor::Doctor),
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
    /// Show the faults of a scenario, or export and import them in the forms of other tools.
    Schedule(schedule::Faults),
    /// Print what clients did in a run, in the forms of other checkers.
    History(history::HistoryFile),
    /// Render the report of a run again, compare two runs, or look at many.
    Report(report::Report),
}

/// Runs the command that the process was started with, on these scenarios.
pub fn main(scenarios: impl IntoIterator<Item = Scenario>) -> ExitCode {
    let scenarios: Vec<Scenario> = scenarios.into_iter().collect();
    run(std::env::args_os(), |line: CommandLine| async move { line.command.execute(&scenarios).await })
}

/// Reads arguments and does what they say, on a runtime of its own. Ctrl-C ends what does not end by itself, its services too.
pub fn run<P: Parser, F: Future<Output: Into<ExitCode>>>(
    args: impl IntoIterator<Item = OsString>,
    execute: impl FnOnce(P) -> F,
) -> ExitCode {
    let line = match P::try_parse_from(args) {
        Ok(line) => line,
        Err(error) => {
            if !error.use_stderr() {
                let _ = error.print();
                return Exit::Held.into();
            }
            eprint!("{}", without_logins(&error.render().to_string()));
            return Exit::Usage.into();
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return environment(&format!("no runtime could be started: {error}")).into(),
    };
    runtime.block_on(execute(line)).into()
}

impl Command {
    /// Does it, on these scenarios.
    pub async fn execute(self, scenarios: &[Scenario]) -> Exit {
        match self {
            // It ends by itself, with a report, when it is interrupted.
            Command::Run(run) => run.execute(scenarios).await,
            other => until_interrupted(other.execute_quietly(scenarios)).await,
        }
    }

    async fn execute_quietly(self, scenarios: &[Scenario]) -> Exit {
        match self {
            Command::Doctor(doctor) => doctor.execute().await,
            Command::Run(run) => run.execute(scenarios).await,
            Command::Replay(replay) => replay.execute(scenarios).await,
            Command::Shrink(shrink) => shrink.execute(scenarios).await,
            Command::Report(report) => report.execute(),
            Command::Schedule(faults) => faults.execute(scenarios),
            Command::History(history) => history.execute(),
            Command::Down => down(),
            Command::List => {
                for scenario in scenarios {
                    println!("{:<26} {}", scenario.name(), scenario.summary());
                }
                Exit::Held
            }
        }
    }
}

/// Does this until Ctrl-C or SIGTERM; dropping what is under way ends its services.
pub async fn until_interrupted(work: impl Future<Output = Exit>) -> Exit {
    tokio::select! {
        exit = work => exit,
        () = interrupted() => Exit::Interrupted,
    }
}

fn down() -> Exit {
    match seaworthy_harness::take_down() {
        Ok(0) => println!("no stack of yours is shared by tests now"),
        Ok(stacks) => println!("ended {stacks} of your stacks; what belongs to them is gone within seconds"),
        Err(error) => return environment(&error),
    }
    Exit::Held
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
///
/// # Errors
///
/// A sentence that names those that there are.
pub fn provider(option: Option<&str>) -> Result<ProviderChoice, String> {
    option.map_or_else(ProviderChoice::from_env, str::parse)
}

/// Whether colours are welcome on a terminal, by the convention of <https://no-color.org>.
fn wants_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
