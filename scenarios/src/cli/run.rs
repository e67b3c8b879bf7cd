//! `seaworthy run`: plays scenarios and writes the report.

use std::{
    fs::{self, File},
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use clap::Args;
use seaworthy_harness::{
    ProviderChoice, Schedule,
    reports::{self, Environment, LogWriter, Number, ScenarioRecord, Status, Verdict},
};

use super::{Exit, environment, provider, report::LOG, usage, wants_colour};
use crate::{Progress, Scenario, Voyage, find, scenarios};

/// The name of the file in a report that has the faults of a scenario.
pub(super) fn schedule_file(scenario: &str) -> String {
    format!("{scenario}.schedule.json")
}

/// Play scenarios and write a report.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The scenarios to play; all of them when none is named.
    names: Vec<String>,
    /// The seed of every random decision; a random one otherwise.
    #[arg(long)]
    seed: Option<u64>,
    /// Where the services come from: auto, docker, native or external.
    #[arg(long)]
    provider: Option<String>,
    /// A file with the faults, instead of those that the seed gives; for one scenario.
    #[arg(long)]
    schedule: Option<PathBuf>,
    /// The folder for the report.
    #[arg(long, default_value = "target/seaworthy/report")]
    report: PathBuf,
    /// Print the record as JSON on standard output; the summary goes to standard error.
    #[arg(long)]
    json: bool,
}

impl Run {
    pub(crate) async fn execute(self) -> Exit {
        let chosen: Result<Vec<Scenario>, String> = self.names.iter().map(|name| find(name)).collect();
        let (chosen, provider) = match (chosen, provider(self.provider.as_deref())) {
            (Ok(chosen), Ok(provider)) => (chosen, provider),
            (Err(error), _) | (_, Err(error)) => return usage(&error),
        };
        let schedule = match self.schedule.as_deref().map(Schedule::load).transpose() {
            Ok(schedule) => schedule,
            Err(error) => return usage(&error.to_string()),
        };
        if schedule.is_some() && chosen.len() != 1 {
            return usage("a schedule is for one scenario: name it");
        }
        // Before anything is played: a run whose report can't be written is a run for nothing.
        if let Err(error) = fs::create_dir_all(&self.report) {
            return unwritable(&self.report, &error);
        }
        let named = !chosen.is_empty();
        let chosen = if named { chosen } else { scenarios().to_vec() };
        let seed = self.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
        let played = match play(&chosen, (provider, seed, schedule), &self.report).await {
            Ok(run) => run,
            Err(exit) => return exit,
        };
        let run = match write_report(&played, &self.report) {
            Ok(run) => run,
            Err(error) => return unwritable(&self.report, &error),
        };
        if self.json {
            print!("{}", run.to_json());
            eprint!("{}", run.to_terminal(io::stderr().is_terminal() && wants_colour()));
        } else {
            print!("{}", run.to_terminal(io::stdout().is_terminal() && wants_colour()));
        }
        eprintln!("report: {}", self.report.join("index.html").display());
        exit_of(&run, named)
    }
}

fn unwritable(folder: &Path, error: &io::Error) -> Exit {
    environment(&format!("the report can't be written to {}: {error}", folder.display()))
}

/// Plays the scenarios. The log grows with each of them, so that a run that is killed leaves what it has shown.
async fn play(
    chosen: &[Scenario],
    (provider, seed, schedule): (ProviderChoice, u64, Option<Schedule>),
    report: &Path,
) -> Result<reports::Run, Exit> {
    let program = std::env::current_exe().map_err(|error| environment(&error))?;
    let mut run = reports::Run {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        seed,
        environment: machine(),
        ..reports::Run::default()
    };
    eprintln!("seed {seed}");
    let voyage = Voyage { program, provider, seed, bug: None, schedule };
    let mut line = ProgressLine::new();
    let mut log = None;
    for scenario in chosen {
        line.show(&format!("{:<26} starting its services", scenario.name));
        let played = voyage.play(scenario, |progress| line.show(&describe(scenario, &progress))).await;
        let played = played.map_err(|error| {
            line.end();
            environment(&format!("{} could not be played: {}: {error}", scenario.name, error.code()))
        })?;
        if run.environment.provider.is_empty() && !played.provider.is_empty() {
            run.environment.provider = played.provider;
            line.keep(&format!("provider {}", run.environment.provider));
        }
        line.keep(&outcome_line(&played.record));
        run.scenarios.push(played.record);
        let faults = voyage.schedule.clone().unwrap_or_else(|| scenario.schedule(seed));
        faults.save(&report.join(schedule_file(scenario.name))).map_err(|error| environment(&error))?;
        append(&mut log, &run, report).map_err(|error| {
            line.end();
            unwritable(report, &error)
        })?;
    }
    line.end();
    Ok(run)
}

/// Writes the latest scenario to the log, which begins when the provider is known, or was not needed.
fn append(log: &mut Option<LogWriter<File>>, run: &reports::Run, report: &Path) -> io::Result<()> {
    let log = match log {
        Some(log) => log,
        None => log.insert(LogWriter::start(File::create(report.join(LOG))?, run)?),
    };
    run.scenarios.last().map_or(Ok(()), |latest| log.scenario(latest))
}

/// Where the run takes place, as far as that is known before a service runs.
fn machine() -> Environment {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.trim();
    let versions = if kernel.is_empty() { Vec::new() } else { vec![Number::new("Kernel", kernel)] };
    Environment {
        provider: String::new(),
        system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        durability: "on (fsync, synchronous_commit and full_page_writes), unless a scenario says otherwise"
            .to_owned(),
        versions,
    }
}

fn describe(scenario: &Scenario, progress: &Progress) -> String {
    let counts = progress.counts;
    let faults = if progress.faults.is_empty() { "none".to_owned() } else { progress.faults.join(", ") };
    format!(
        "{:<26} {:>4.0} s  {:>4} ok {:>4} refused {:>3} unknown {:>3} without answer  faults: {faults}",
        scenario.name,
        progress.elapsed.as_secs_f64(),
        counts.ok,
        counts.failed,
        counts.unknown,
        counts.timed_out,
    )
}

fn outcome_line(record: &ScenarioRecord) -> String {
    match &record.status {
        Status::Skipped(why) => format!("{:<26} skipped: {why}", record.name),
        Status::Played | Status::Interrupted(_) => {
            let wrong = record.checks.iter().filter(|check| check.verdict != Verdict::Held);
            let wrong: Vec<String> = wrong
                .map(|check| format!("\n  {}: {}: {}", check.verdict, check.name, check.detail))
                .collect();
            format!(
                "{:<26} {} in {:.1} s{}",
                record.name,
                record.verdict(),
                record.took.as_secs_f64(),
                wrong.concat()
            )
        }
    }
}

/// The log, and its renderings beside it.
fn write_report(run: &reports::Run, folder: &Path) -> io::Result<reports::Run> {
    fs::write(folder.join(LOG), run.to_log())?;
    // Rendered from what was written, so that each of them can be made again from the log.
    let run = reports::Run::read_log(File::open(folder.join(LOG))?).map_err(io::Error::other)?;
    fs::write(folder.join("run.json"), run.to_json())?;
    fs::write(folder.join("index.html"), run.to_html())?;
    fs::write(folder.join("report.md"), run.to_markdown())?;
    fs::write(folder.join("junit.xml"), run.to_junit())?;
    for record in run.scenarios.iter().filter(|record| record.status == Status::Played) {
        fs::write(folder.join(format!("{}.svg", record.name)), record.to_svg())?;
    }
    Ok(run)
}

/// A scenario that was asked for by name and could not be played is a failure of the environment; among all of them, it is
/// reported as skipped.
fn exit_of(run: &reports::Run, named: bool) -> Exit {
    let skipped = run.scenarios.iter().filter(|record| record.status != Status::Played).count();
    if run.verdict() != Verdict::Held && skipped < run.scenarios.len() {
        Exit::Violated
    } else if skipped == run.scenarios.len() || (named && skipped > 0) {
        Exit::Environment
    } else {
        Exit::Held
    }
}

/// Progress on standard error: one line that changes on a terminal, a line now and then elsewhere.
struct ProgressLine {
    terminal: bool,
}

impl ProgressLine {
    fn new() -> Self {
        ProgressLine { terminal: std::io::stderr().is_terminal() }
    }

    fn show(&self, text: &str) {
        if self.terminal {
            eprint!("\r\x1b[2K{text}");
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("{text}");
        }
    }

    fn keep(&mut self, text: &str) {
        self.end();
        eprintln!("{text}");
    }

    fn end(&mut self) {
        if self.terminal {
            eprint!("\r\x1b[2K");
        }
    }
}
