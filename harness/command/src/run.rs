//! `run`: plays scenarios and writes the report.

use std::{
    fs::{self, File},
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    pin::pin,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Args;
use futures_util::{StreamExt as _, stream};
use seaworthy_harness::{
    Error, Interrupt, News, Operation, Play, Played, ProviderChoice, Scenario, Schedule,
    export::to_jsonl,
    reports::{self, Environment, Number, ScenarioRecord, Status, Verdict},
};
use tokio::task::JoinSet;

use crate::{
    Exit,
    chosen::{find, name_of, schedule_file},
    environment,
    history::history_file,
    interrupted,
    log::Log,
    progress::ProgressLine,
    provider,
    report::LOG,
    rounds::{Limits, Rounds, Turn, Uneventful},
    usage, wants_colour,
};

/// Play scenarios and write a report.
#[derive(Debug, Args)]
pub struct Run {
    /// The scenarios to play; all of them when none is named.
    names: Vec<String>,
    /// The seed of every random decision; a random one otherwise. Each further round has the next one.
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
    /// How many rounds to play.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: Option<u64>,
    /// Play rounds for this long, for example 90s or 1h; a play that has begun is played to its end.
    #[arg(long, value_parser = humantime::parse_duration)]
    soak: Option<Duration>,
    /// Play rounds until something does not hold.
    #[arg(long)]
    until_failure: bool,
    /// Begin nothing more when something does not hold.
    #[arg(long)]
    fail_fast: bool,
    /// How many scenarios to play at once; more than the machine has room for makes them fail for want of a processor.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
    /// Print the record as JSON on standard output; the summary goes to standard error.
    #[arg(long)]
    json: bool,
}

impl Run {
    pub(crate) async fn execute(self, scenarios: &[Scenario]) -> Exit {
        let chosen: Result<Vec<Scenario>, String> =
            self.names.iter().map(|name| find(scenarios, name).cloned()).collect();
        let (chosen, provider) = match (chosen, provider(self.provider.as_deref())) {
            (Ok(chosen), Ok(provider)) => (chosen, provider),
            (Err(error), _) | (_, Err(error)) => return usage(&error),
        };
        let schedule = match self.schedule.as_deref().map(Schedule::load).transpose() {
            Ok(schedule) => schedule,
            Err(error) => return usage(&error),
        };
        if schedule.is_some() && chosen.len() != 1 {
            return usage(&"a schedule is for one scenario: name it");
        }
        // Before anything is played: a run whose report can't be written is a run for nothing.
        if let Err(error) = fs::create_dir_all(&self.report) {
            return unwritable(&self.report, &error);
        }
        let named = !chosen.is_empty();
        let chosen = if named { chosen } else { scenarios.to_vec() };
        let seed = self.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
        let limits = Limits {
            rounds: self.rounds,
            soak: self.soak,
            until_failure: self.until_failure,
            fail_fast: self.fail_fast,
        };
        let taken = match seaworthy_harness::would_take(provider).await {
            Ok(taken) => taken,
            Err(error) => return environment(&format!("{}: {error}", error.code())),
        };
        let line = ProgressLine::new();
        line.keep(&format!("seed {seed}\nprovider {taken}"));
        let log = match Log::start(&self.report, &beginning(seed, taken)) {
            Ok(log) => log,
            Err(error) => return unwritable(&self.report, &error),
        };
        let session = Session {
            rounds: Rounds::new(&chosen, seed, limits),
            seed,
            provider,
            schedule,
            report: &self.report,
            log,
            line,
            interrupt: Interrupt::default(),
            uneventful: Mutex::default(),
        };
        let Some(failed) = session.play_all(usize::from(self.jobs)).await else {
            return Exit::Interrupted;
        };
        let was_interrupted = session.interrupt.why().is_some();
        if let Some((play, error)) = &failed {
            session.line.clear();
            let _ = environment(&format!("{play} could not be played: {}: {error}", error.code()));
        }
        let run = match session.finish() {
            Ok(run) => run,
            Err(error) => return unwritable(&self.report, &error),
        };
        if failed.is_some() && run.scenarios.iter().all(|record| record.checks.is_empty()) {
            return Exit::Environment;
        }
        self.show(&run);
        match failed {
            Some(_) => Exit::Environment,
            None if was_interrupted => Exit::Interrupted,
            None => exit_of(&run, named),
        }
    }

    fn show(&self, run: &reports::Run) {
        if self.json {
            print!("{}", run.to_json());
            eprint!("{}", run.to_terminal(io::stderr().is_terminal() && wants_colour()));
        } else {
            print!("{}", run.to_terminal(io::stdout().is_terminal() && wants_colour()));
        }
        eprintln!("report: {}", self.report.join("index.html").display());
    }
}

fn unwritable(folder: &Path, error: &io::Error) -> Exit {
    environment(&format!("the report can't be written to {}: {error}", folder.display()))
}

/// A run that is going on.
struct Session<'a> {
    rounds: Rounds<'a>,
    seed: u64,
    provider: ProviderChoice,
    schedule: Option<Schedule>,
    report: &'a Path,
    log: Log,
    line: ProgressLine,
    interrupt: Interrupt,
    uneventful: Mutex<Uneventful>,
}

impl Session<'_> {
    /// Plays everything; the first play that could not be played, and why, ends it all. `None` when it was to end at once.
    async fn play_all(&self, jobs: usize) -> Option<Option<(String, Error)>> {
        let turns = stream::iter(std::iter::from_fn(|| self.rounds.next()));
        let playing = turns.map(|turn| self.play(turn)).buffer_unordered(jobs);
        let mut playing = pin!(playing.fold(None, |first, failed| async { first.or(failed) }));
        tokio::select! {
            failed = &mut playing => return Some(failed),
            () = interrupted() => {
                self.line.keep("healing the faults and writing the report; once more ends at once");
                self.rounds.stop();
                self.interrupt.now("it was interrupted");
            }
        }
        tokio::select! {
            failed = &mut playing => Some(failed),
            () = interrupted() => None,
        }
    }

    async fn play(&self, turn: Turn<'_>) -> Option<(String, Error)> {
        let (scenario, name) = (turn.scenario, name_of(turn.scenario, turn.seed, self.seed));
        let mut play = Play::new(turn.seed).provider(self.provider).interrupt(self.interrupt.clone());
        if let Some(schedule) = &self.schedule {
            play = play.schedule(schedule.clone());
        }
        if turn.is_kept {
            self.save_schedule(&name, &self.schedule.clone().unwrap_or_else(|| scenario.schedule(turn.seed)));
        }
        let number = turn.is_kept.then(|| self.log.begin(&name, scenario.summary()));
        let told = (self.log.clone(), self.line.clone(), name.clone());
        let watch = move |news: News| {
            let (log, line, name) = &told;
            if let Some(number) = number {
                log.news(number, &news);
            }
            if let News::Progress(progress) = news {
                line.show(name, progress);
            }
        };
        // A task of its own: what one play does for long, such as starting its services, must not move the faults of another.
        let (playing, scenario) = (play.clone(), scenario.clone());
        let mut task = JoinSet::new();
        task.spawn(async move { playing.watched(&scenario, watch).await });
        match task.join_next().await?.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())) {
            Ok(played) => self.keep(turn, number, &name, played),
            Err(error) => {
                self.rounds.stop();
                self.interrupt.now(format!("{name} could not be played"));
                return Some((name, error));
            }
        }
        None
    }

    fn keep(&self, turn: Turn<'_>, number: Option<u32>, name: &str, played: Played) {
        if turn.is_kept || played.record.verdict() != Verdict::Held {
            self.save_history(name, &played.operations);
        }
        let record = ScenarioRecord { name: name.to_owned(), ..played.record };
        let verdict = if record.was_played() { record.verdict() } else { Verdict::Held };
        self.rounds.ended(verdict);
        match number {
            Some(number) => self.log.end(number, &record),
            None if verdict == Verdict::Held => {
                let mut uneventful = self.uneventful.lock().unwrap_or_else(PoisonError::into_inner);
                uneventful.add(turn.scenario, &record);
            }
            None => {
                self.save_schedule(name, &played.schedule);
                self.log.whole(&record);
            }
        }
        self.line.ended(name, &outcome_line(&record));
    }

    /// The faults are there also if the run is killed.
    fn save_schedule(&self, name: &str, schedule: &Schedule) {
        if let Err(error) = schedule.save(&self.report.join(schedule_file(name))) {
            self.line.keep(&format!("the faults of {name} could not be saved: {error}"));
        }
    }

    fn save_history(&self, name: &str, operations: &[Operation]) {
        if let Err(error) = fs::write(self.report.join(history_file(name)), to_jsonl(operations)) {
            self.line.keep(&format!("the history of {name} could not be saved: {error}"));
        }
    }

    /// Ends the log, and renders it.
    fn finish(self) -> io::Result<reports::Run> {
        let uneventful = self.uneventful.into_inner().unwrap_or_else(PoisonError::into_inner);
        uneventful.records().for_each(|record| self.log.whole(&record));
        self.log.finish()?;
        self.line.clear();
        render(self.report)
    }
}

/// The run before anything is played.
fn beginning(seed: u64, provider: String) -> reports::Run {
    reports::Run {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        seed,
        environment: Environment { provider, ..machine() },
        ..reports::Run::default()
    }
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

/// The renderings, beside the log and from it alone, so that each of them can be made again.
fn render(folder: &Path) -> io::Result<reports::Run> {
    let run = reports::Run::read_log(File::open(folder.join(LOG))?).map_err(io::Error::other)?;
    fs::write(folder.join("run.json"), run.to_json())?;
    fs::write(folder.join("index.html"), run.to_html())?;
    fs::write(folder.join("report.md"), run.to_markdown())?;
    fs::write(folder.join("junit.xml"), run.to_junit())?;
    for record in run.scenarios.iter().filter(|record| record.was_played()) {
        fs::write(folder.join(format!("{}.svg", record.name)), record.to_svg())?;
    }
    Ok(run)
}

/// A scenario that was asked for by name and could not be played is a failure of the environment; among all of them, it is
/// reported as skipped.
fn exit_of(run: &reports::Run, named: bool) -> Exit {
    let skipped = run.scenarios.iter().filter(|record| !record.was_played()).count();
    if run.verdict() != Verdict::Held && skipped < run.scenarios.len() {
        Exit::Violated
    } else if skipped == run.scenarios.len() || (named && skipped > 0) {
        Exit::Environment
    } else {
        Exit::Held
    }
}
