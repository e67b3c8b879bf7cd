//! Plays a scenario once.

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use seaworthy_reports::{Check, LogLine, Number, Run as Report, ScenarioRecord, Status, Unit, Verdict};
use sqlx::{Connection, PgConnection};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{
    BoxError, Interrupt, Scenario, Voyage, logs,
    news::{News, Progress},
};
use crate::{Error, Operation, ProviderChoice, Schedule, Stack, check};

/// How often those who watch hear of a play.
const TICK: Duration = Duration::from_secs(1);
/// How often it is looked at what services use.
const LOOK: Duration = Duration::from_millis(500);
/// How long a service may take to say what it uses; there is no sample while it is broken.
const LOOK_LIMIT: Duration = Duration::from_millis(300);
/// How long the services may take to say what they logged, and whether they still run.
const LAST_LOOK_LIMIT: Duration = Duration::from_secs(20);
/// How long tasks of a scenario that was cut short may hold on to its services.
const LET_GO_LIMIT: Duration = Duration::from_secs(2);

/// How a scenario is played.
///
/// The same seed gives the same load and the same faults. Real services are not deterministic: what becomes of them may differ, and how often can
/// be measured by playing again.
#[derive(Debug, Clone)]
#[must_use]
pub struct Play {
    seed: u64,
    provider: ProviderChoice,
    schedule: Option<Schedule>,
    interrupt: Interrupt,
}

/// A scenario's record, and where it was played.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Played {
    /// The record.
    pub record: ScenarioRecord,
    /// The faults that it was played with.
    pub schedule: Schedule,
    /// Every operation that was kept, for checks of one's own and for export.
    pub operations: Vec<Operation>,
    /// The provider that was taken, and why; empty when nothing was started.
    pub provider: String,
}

impl Play {
    /// With this seed, and the provider `auto`.
    pub fn new(seed: u64) -> Self {
        Play { seed, provider: ProviderChoice::Auto, schedule: None, interrupt: Interrupt::default() }
    }

    /// Where the services come from.
    pub fn provider(mut self, provider: ProviderChoice) -> Self {
        self.provider = provider;
        self
    }

    /// These faults, instead of those that the seed gives.
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = Some(schedule);
        self
    }

    /// Ends before its time when this says so.
    pub fn interrupt(mut self, interrupt: Interrupt) -> Self {
        self.interrupt = interrupt;
        self
    }

    /// Plays the scenario. A machine or provider that can't inject its faults makes it skipped, which is not held.
    ///
    /// # Errors
    ///
    /// Whatever kept the services from starting.
    pub async fn of(&self, scenario: &Scenario) -> Result<Played, Error> {
        self.watched(scenario, |_| {}).await
    }

    /// As [`of`](Self::of); `watch` hears what happens meanwhile. Every operation and every fault of the record is among the news.
    ///
    /// # Errors
    ///
    /// As [`of`](Self::of).
    pub async fn watched(
        &self,
        scenario: &Scenario,
        watch: impl Fn(News) + Send + Sync + 'static,
    ) -> Result<Played, Error> {
        let started = Instant::now();
        let schedule = self.schedule.clone().unwrap_or_else(|| scenario.schedule(self.seed));
        let voyage = Voyage::new(self.seed, self.provider, schedule.clone(), Box::new(watch));
        let ended = {
            let sailing = AssertUnwindSafe(scenario.begin(voyage.clone())).catch_unwind();
            tokio::select! {
                ended = timeout(scenario.limit(), sailing) => match ended {
                    Ok(Ok(Ok(()))) => Ended::Well,
                    Ok(Ok(Err(error))) => Ended::Failed(error),
                    Ok(Err(panic)) => Ended::Panicked(said(&*panic)),
                    Err(_) => Ended::TooLong(scenario.limit()),
                },
                why = self.interrupt.wait() => Ended::Interrupted(why),
                never = telling(&voyage) => match never {},
                never = looking(&voyage) => match never {},
            }
        };
        let ended = match (ended, voyage.has_started()) {
            // Nothing was played: that is the machine's or the provider's affair.
            (Ended::Failed(error), None) => match error.downcast::<Error>() {
                Ok(error) if !matches!(*error, Error::Unsupported { .. }) => return Err(*error),
                Ok(error) => Ended::Failed(error),
                Err(error) => Ended::Failed(error),
            },
            (ended, _) => ended,
        };
        let mut record = self.conclude(scenario, &voyage, ended).await;
        let operations = voyage.has_history().map(crate::History::operations).unwrap_or_default();
        let provider = voyage.has_started().map(|stack| stack.provider_line().to_owned()).unwrap_or_default();
        end(voyage).await;
        record.took = started.elapsed();
        Ok(Played { record, schedule, operations, provider })
    }

    async fn conclude(&self, scenario: &Scenario, voyage: &Voyage, ended: Ended) -> ScenarioRecord {
        let mut record = ScenarioRecord::new(scenario.name(), scenario.summary());
        voyage.phase("judging");
        if voyage.has_history().is_some() {
            voyage.all_healed();
            voyage.tell(News::Operations(voyage.history().take_fresh()));
            record.operations = voyage.history().counted();
        }
        let mut checks = std::mem::take(&mut voyage.seen().checks);
        match ended {
            Ended::Well => {
                if let Some(stack) = voyage.has_started() {
                    checks.extend(timeout(LAST_LOOK_LIMIT, ended_by_itself(stack)).await.ok());
                }
            }
            Ended::Interrupted(why) => record.status = Status::Interrupted(why),
            Ended::Failed(error) => match error.downcast::<Error>() {
                Ok(error) if matches!(*error, Error::Unsupported { .. }) => {
                    record.status = Status::Skipped(error.to_string());
                }
                Ok(error) => checks.push(not_judged(format!("{}: {error}", error.code()))),
                Err(error) => checks.push(not_judged(chain(&*error))),
            },
            Ended::Panicked(said) => checks.push(not_judged(format!("it panicked: {said}"))),
            Ended::TooLong(limit) => checks.push(not_judged(format!("it was not over after {limit:?}"))),
        }
        if let Some(stack) = voyage.has_started() {
            let provider = stack.provider();
            record.replay =
                format!("seaworthy run {} --seed {} --provider {provider}", scenario.name(), self.seed);
        }
        let operations = voyage.has_history().map(crate::History::operations).unwrap_or_default();
        let seen = std::mem::take(&mut *voyage.seen());
        check::tell(&mut checks, &operations, &seen.windows);
        record.checks = checks;
        record.faults = seen.windows;
        record.faults.sort_by_key(|window| (window.from, window.to));
        record.numbers = seen.numbers;
        record.numbers.extend(seen.resources.series().filter(|series| series.resource == "memory").map(
            |series| {
                let mib = series.peak() / (1024.0 * 1024.0);
                Number::new(format!("Peak memory of {}", series.service), format!("{mib:.1} MiB"))
            },
        ));
        record.resources = seen.resources;
        if record.verdict() != Verdict::Held && record.was_played() {
            record.keep_operations(operations.iter().map(Operation::single));
            if let (Some(stack), Some(_)) = (voyage.has_started(), voyage.has_history()) {
                let lines =
                    timeout(LAST_LOOK_LIMIT, logs::since(stack, voyage.begun().1)).await.unwrap_or_default();
                record.keep_logs(
                    lines.into_iter().map(|line| LogLine { service: on_page(&line.service), ..line }),
                );
            }
        }
        record
    }
}

impl Played {
    /// The record as a terminal shows it, without colours.
    pub fn text(&self) -> String {
        Report { scenarios: vec![self.record.clone()], ..Report::default() }.to_terminal(false)
    }

    /// The record, if everything that had to hold did: for tests.
    ///
    /// # Panics
    ///
    /// When something did not hold or could not be judged; the message has the whole record and the command that plays it again.
    #[track_caller]
    pub fn expect_held(self) -> ScenarioRecord {
        assert!(
            self.record.was_played() && self.record.verdict() == Verdict::Held,
            "{}\n{}",
            self.text(),
            self.schedule.to_json()
        );
        self.record
    }
}

/// How a scenario's function ended.
enum Ended {
    Well,
    Failed(BoxError),
    Panicked(String),
    TooLong(Duration),
    Interrupted(String),
}

fn not_judged(why: String) -> Check {
    Check::new("the scenario comes to its end", Verdict::Unknown, why)
}

/// Tells those who watch, every second.
async fn telling(voyage: &Voyage) -> Never {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = (0, Instant::now());
    loop {
        ticks.tick().await;
        let mut progress = Progress { faults: voyage.faults_on(), ..Progress::default() };
        if let Some(history) = voyage.has_history() {
            progress.elapsed = history.now();
            progress.counts = history.counts();
            let ended = progress.counts.total();
            let since = before.1.elapsed().as_secs_f64().max(1e-3);
            progress.rate = (ended - before.0) as f64 / since;
            before = (ended, Instant::now());
            voyage.tell(News::Operations(history.take_fresh()));
        }
        {
            let seen = voyage.seen();
            progress.phase.clone_from(&seen.phase);
            progress.left = seen.phase_ends.map(|ends| ends.saturating_sub(progress.elapsed));
        }
        voyage.tell(News::Progress(progress));
    }
}

/// Looks at what the services use, a few times a second.
async fn looking(voyage: &Voyage) -> Never {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut asking: Option<PgConnection> = None;
    loop {
        ticks.tick().await;
        let Some(stack) = voyage.has_started() else { continue };
        for service in stack.all() {
            let Ok(used) = timeout(LOOK_LIMIT, service.usage()).await else { continue };
            let name = on_page(service.name());
            let values = [
                ("memory", Unit::Bytes, used.memory),
                ("open files", Unit::Count, used.handles),
                ("disk", Unit::Bytes, used.disk),
            ];
            for (resource, unit, value) in values {
                if let Some(value) = value {
                    voyage.sample(&name, resource, unit, value as f64);
                }
            }
        }
        if let Ok(postgres) = stack.service("postgres") {
            match timeout(LOOK_LIMIT, connections(&postgres.direct_url(), asking.take())).await {
                Ok(Ok((number, connection))) => {
                    voyage.sample("postgres", "connections", Unit::Count, number as f64);
                    asking = Some(connection);
                }
                // It is broken, which is what happens here; the next look opens a connection of its own.
                Ok(Err(_)) | Err(_) => asking = None,
            }
        }
    }
}

/// How many clients Postgres has, the one that asks not counted.
async fn connections(url: &str, open: Option<PgConnection>) -> Result<(i64, PgConnection), sqlx::Error> {
    let mut connection = match open {
        Some(connection) => connection,
        None => PgConnection::connect(url).await?,
    };
    let counted = "select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()";
    Ok((sqlx::query_scalar(counted).fetch_one(&mut connection).await?, connection))
}

/// No service may have ended, but for those that faults have ended and healing has started again.
async fn ended_by_itself(stack: &Stack) -> Check {
    let mut ended = Vec::new();
    for service in stack.all() {
        if let Some(why) = service.ended().await {
            ended.push(format!("{}: {why}", service.name()));
        }
    }
    check::none("no process ended by itself", &ended)
}

/// Ends the services. Tasks that the scenario has left behind may hold them for a moment.
async fn end(mut voyage: Voyage) {
    let give_up = Instant::now() + LET_GO_LIMIT;
    loop {
        match voyage.take_stack() {
            Ok(Some(stack)) => return stack.stop().await,
            Ok(None) => return,
            // Whoever holds them is the last to do so, and ends them by dropping them.
            Err(_) if Instant::now() > give_up => return,
            Err(held) => {
                voyage = held;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

/// The name of a service in the report: what a stack calls `websocket` is the application.
fn on_page(service: &str) -> String {
    if service == "websocket" { "application".to_owned() } else { service.to_owned() }
}

/// An error with its causes.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.contains(&cause) { text } else { format!("{text}: {cause}") }
    })
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}

/// What a future that has no end returns.
enum Never {}
