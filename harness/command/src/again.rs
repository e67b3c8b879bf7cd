//! `seaworthy replay` and `seaworthy shrink`: a run's schedule again, and the least of it that still fails.

use std::{
    collections::BTreeSet,
    fs::File,
    path::{Path, PathBuf},
};

use clap::Args;
use seaworthy_harness::{
    Play, ProviderChoice, Rate, Scenario, Schedule, Shrink, Trial,
    reports::{Run, ScenarioRecord, Verdict},
};

use crate::{
    Exit,
    chosen::{find, parse, schedule_file},
    environment,
    report::LOG,
    usage,
};

/// Play a run's faults again, and say how often it ends the same way.
#[derive(Debug, Args)]
pub struct Replay {
    #[command(flatten)]
    what: What,
    /// How often to play it.
    #[arg(long, default_value_t = 1)]
    times: u32,
}

/// Find the least of a run's faults that still makes it fail.
#[derive(Debug, Args)]
pub struct ShrinkRun {
    #[command(flatten)]
    what: What,
    /// How often schedules are played at most.
    #[arg(long, default_value_t = 200)]
    plays: u32,
}

#[derive(Debug, Args)]
struct What {
    /// The folder of the run's report.
    #[arg(default_value = "target/seaworthy/report")]
    run: PathBuf,
    /// The scenario, where the run has several that failed.
    #[arg(long)]
    scenario: Option<String>,
    /// Where the services come from; by itself, from where the run had them.
    #[arg(long)]
    provider: Option<String>,
}

/// One scenario of a run, ready to be played again.
struct Again<'a> {
    scenario: &'a Scenario,
    /// Its name in that run.
    name: String,
    seed: u64,
    provider: ProviderChoice,
    schedule: Schedule,
    /// The checks that were violated.
    violated: BTreeSet<String>,
}

impl Replay {
    pub(crate) async fn execute(self, scenarios: &[Scenario]) -> Exit {
        let again = match self.what.find(scenarios) {
            Ok(again) => again,
            Err(why) => return usage(&why),
        };
        let mut rate = Rate::default();
        let mut last = Exit::Held;
        for number in 1..=self.times.max(1) {
            let record = match again.play(&again.schedule).await {
                Ok(record) => record,
                Err(why) => return environment(&why),
            };
            let violated = violations(&record);
            rate.plays += 1;
            rate.fails += u32::from(!violated.is_empty());
            let names = violated.into_iter().collect::<Vec<_>>().join("; ");
            println!(
                "play {number}: {}{}{names}",
                record.verdict(),
                if names.is_empty() { "" } else { ": " }
            );
            last = if record.verdict() == Verdict::Held { Exit::Held } else { Exit::Violated };
        }
        println!("{} of {} plays were violated", rate.fails, rate.plays);
        if rate.fails > 0 { Exit::Violated } else { last }
    }
}

impl ShrinkRun {
    pub(crate) async fn execute(self, scenarios: &[Scenario]) -> Exit {
        let again = match self.what.find(scenarios) {
            Ok(again) => again,
            Err(why) => return usage(&why),
        };
        if again.violated.is_empty() {
            return usage(&format!(
                "{} was not violated in that run: there is nothing to shrink",
                again.name
            ));
        }
        eprintln!(
            "looking for the least of {} faults with which it still fails",
            again.schedule.events.len()
        );
        let shrunk = Shrink::default()
            .most_plays(self.plays)
            .run(&again.schedule, |schedule| again.trial(schedule))
            .await;
        let Some(shrunk) = shrunk else {
            println!(
                "the run's faults did not make it fail again: try `seaworthy replay --times 10` to see how often they do"
            );
            return Exit::Held;
        };
        for step in &shrunk.steps {
            println!(
                "{:>3} faults, on for {:>7.1?}  failed {} of {}  {}",
                step.events, step.total, step.rate.fails, step.rate.plays, step.change
            );
        }
        let file = self.what.folder().join(format!("{}.shrunk.json", again.name));
        if let Err(error) = shrunk.schedule.save(&file) {
            return environment(&error);
        }
        let given_up = if shrunk.gave_up { ", when the plays came to their limit" } else { "" };
        println!(
            "{} faults are enough{given_up}; they failed {} of {} plays ({} plays in all)\n{}\nagain: seaworthy run {} --seed {} --schedule {}",
            shrunk.schedule.events.len(),
            shrunk.rate.fails,
            shrunk.rate.plays,
            shrunk.plays,
            shrunk.schedule.to_json().trim_end(),
            again.scenario.name(),
            again.seed,
            file.display(),
        );
        Exit::Violated
    }
}

impl Again<'_> {
    async fn play(&self, schedule: &Schedule) -> Result<ScenarioRecord, String> {
        let play = Play::new(self.seed).provider(self.provider).schedule(schedule.clone());
        let played = play.of(self.scenario).await;
        played
            .map(|played| played.record)
            .map_err(|error| format!("{} could not be played: {error}", self.name))
    }

    /// A smaller schedule does not exercise all that the whole one did, so only what was violated counts.
    async fn trial(&self, schedule: Schedule) -> Trial {
        match self.play(&schedule).await {
            Ok(record) if !violations(&record).is_disjoint(&self.violated) => Trial::Fails,
            Ok(_) => Trial::Passes,
            Err(why) => {
                eprintln!("seaworthy: {why}");
                Trial::Void
            }
        }
    }
}

impl What {
    fn folder(&self) -> &Path {
        if self.run.is_dir() { &self.run } else { self.run.parent().unwrap_or(Path::new("")) }
    }

    fn find<'a>(&self, scenarios: &'a [Scenario]) -> Result<Again<'a>, String> {
        let log = if self.run.is_dir() { self.run.join(LOG) } else { self.run.clone() };
        let wrong = |why: String| format!("{}: {why}", log.display());
        let file = File::open(&log).map_err(|error| wrong(error.to_string()))?;
        let run = Run::read_log(file).map_err(|error| wrong(error.to_string()))?;
        let record = self.record(&run)?;
        let (name, seed) = parse(&record.name, run.seed);
        let scenario = find(scenarios, name)?;
        let file = self.folder().join(schedule_file(&record.name));
        let schedule = if file.is_file() {
            Schedule::load(&file).map_err(|error| error.to_string())?
        } else {
            scenario.schedule(seed)
        };
        let took = run.environment.provider.split([' ', ':']).next().unwrap_or_default();
        let provider: ProviderChoice = self.provider.as_deref().unwrap_or(took).parse()?;
        Ok(Again {
            scenario,
            name: record.name.clone(),
            seed,
            provider,
            schedule,
            violated: violations(record),
        })
    }

    fn record<'a>(&self, run: &'a Run) -> Result<&'a ScenarioRecord, String> {
        let names = || run.scenarios.iter().map(|record| record.name.as_str()).collect::<Vec<_>>().join(", ");
        if let Some(name) = &self.scenario {
            let found = run.scenarios.iter().find(|record| record.name == *name);
            return found.ok_or_else(|| format!("the run has no scenario `{name}`; it has {}", names()));
        }
        let mut failed = run.scenarios.iter().filter(|record| record.verdict() == Verdict::Violated);
        match (failed.next(), failed.next(), run.scenarios.as_slice()) {
            (Some(one), None, _) | (None, _, [one]) => Ok(one),
            (None, ..) => {
                Err(format!("no scenario of the run was violated; name one with --scenario: {}", names()))
            }
            _ => Err(format!(
                "several scenarios of the run were violated; name one with --scenario: {}",
                names()
            )),
        }
    }
}

fn violations(record: &ScenarioRecord) -> BTreeSet<String> {
    let violated = record.checks.iter().filter(|check| check.verdict == Verdict::Violated);
    violated.map(|check| check.name.clone()).collect()
}
