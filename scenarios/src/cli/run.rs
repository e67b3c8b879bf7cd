//! `seaworthy run`: plays scenarios and writes the report.

use std::{
    fs,
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use clap::Args;
use comfy_table::{Table, presets};
use seaworthy_harness::{
    ProviderChoice,
    reports::{self, Environment, OutcomeKind, ScenarioRecord, Status, Verdict},
};

use super::{Exit, environment, provider, usage};
use crate::{Progress, Scenario, Voyage, find, scenarios};

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
        // Before anything is played: a run whose report can't be written is a run for nothing.
        if let Err(error) = fs::create_dir_all(&self.report) {
            return environment(&format!(
                "the report can't be written to {}: {error}",
                self.report.display()
            ));
        }
        let named = !chosen.is_empty();
        let chosen = if named { chosen } else { scenarios().to_vec() };
        let seed = self.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
        let run = match play(&chosen, provider, seed).await {
            Ok(run) => run,
            Err(exit) => return exit,
        };
        if let Err(error) = write_report(&run, &self.report) {
            return environment(&format!(
                "the report can't be written to {}: {error}",
                self.report.display()
            ));
        }
        if self.json {
            println!("{}", run.to_json());
            eprintln!("{}", summary(&run));
        } else {
            println!("{}", summary(&run));
        }
        eprintln!("report: {}", self.report.join("index.html").display());
        exit_of(&run, named)
    }
}

async fn play(chosen: &[Scenario], provider: ProviderChoice, seed: u64) -> Result<reports::Run, Exit> {
    let program = std::env::current_exe().map_err(|error| environment(&error))?;
    let started_at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    eprintln!("seed {seed}");
    let voyage = Voyage { program, provider, seed, bug: None };
    let mut line = ProgressLine::new();
    let mut records = Vec::new();
    let mut provider_line = String::new();
    for scenario in chosen {
        line.show(&format!("{:<26} starting its services", scenario.name));
        let played = voyage.play(scenario, |progress| line.show(&describe(scenario, &progress))).await;
        let played = played.map_err(|error| {
            line.end();
            environment(&format!("{} could not be played: {}: {error}", scenario.name, error.code()))
        })?;
        if provider_line.is_empty() && !played.provider.is_empty() {
            provider_line = played.provider;
            line.keep(&format!("provider {provider_line}"));
        }
        line.keep(&outcome_line(&played.record));
        records.push(played.record);
    }
    line.end();
    Ok(reports::Run {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at,
        seed,
        environment: Environment {
            provider: provider_line,
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            durability:
                "on (fsync, synchronous_commit and full_page_writes), unless a scenario says otherwise"
                    .to_owned(),
        },
        scenarios: records,
    })
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
        Status::Played => {
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

/// A table with a line per scenario.
fn summary(run: &reports::Run) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header([
        "scenario",
        "verdict",
        "ok",
        "refused",
        "unknown",
        "no answer",
        "p50",
        "p99",
        "drained",
        "faults",
    ]);
    for record in &run.scenarios {
        let quantile = |share| {
            let latency = record.latency_quantile(share);
            latency.map_or_else(String::new, |latency| format!("{:.1} ms", latency.as_secs_f64() * 1e3))
        };
        let verdict = match record.status {
            Status::Played => record.verdict().to_string(),
            Status::Skipped(_) => "skipped".to_owned(),
        };
        let drained = record.numbers.iter().find(|number| number.name.contains("drained"));
        table.add_row([
            record.name.clone(),
            verdict,
            record.count(OutcomeKind::Ok).to_string(),
            record.count(OutcomeKind::Failed).to_string(),
            record.count(OutcomeKind::Unknown).to_string(),
            record.count(OutcomeKind::TimedOut).to_string(),
            quantile(0.5),
            quantile(0.99),
            drained.map_or_else(String::new, |number| number.value.clone()),
            record.faults.len().to_string(),
        ]);
    }
    table
}

/// The page, the record, and the plots as pictures of their own.
fn write_report(run: &reports::Run, folder: &Path) -> std::io::Result<()> {
    let json = run.to_json();
    fs::write(folder.join("run.json"), &json)?;
    // Rendered from what was written, which rounds times, so that the page can be made again from the record.
    let run = reports::Run::from_json(&json)?;
    fs::write(folder.join("index.html"), run.to_html())?;
    for record in run.scenarios.iter().filter(|record| record.status == Status::Played) {
        fs::write(folder.join(format!("{}.svg", record.name)), record.to_svg())?;
    }
    Ok(())
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
