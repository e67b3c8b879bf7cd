//! Plays a scenario: the shop on real services, load and watchers, faults, and the checks.

use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use futures_util::future::join_all;
use seaworthy_factories::{Factory, Seed};
use seaworthy_harness::{
    App, Counts, Error, History, Operation, Outcome, PeakMemory, Postgres, Profile, ProviderChoice, Redis,
    Schedule, Stack, Workload, check,
    reports::{FaultWindow, LogLine, Number, Resources, ScenarioRecord, Status, Unit, Verdict},
};
use seaworthy_queue::Stats;
use seaworthy_shop::Bug;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::{
    Evidence, Scenario, logs,
    orders::{Customer, OrderFactory},
    regular::Regular,
    truth::{Canary, Truth},
    watcher::Watcher,
};

/// Orders per second.
const RATE: f64 = 40.0;
/// How long the load goes on after the last fault.
const CALM: Duration = Duration::from_secs(2);
/// How long a customer waits for an answer.
const DEADLINE: Duration = Duration::from_secs(3);
/// Workers, each a process.
const WORKERS: usize = 2;
/// WebSocket clients, among which the orders are divided.
const WATCHERS: usize = 4;
/// How long the queue may take to come to rest in the end.
const REST_LIMIT: Duration = Duration::from_secs(30);
/// How long watchers may take to hear the last news.
const NEWS_LIMIT: Duration = Duration::from_secs(5);
/// What the shop's supervisor says when a new process has taken over.
const TAKEN_OVER: &str = "a new process serves";
/// How long Postgres may take to say how many connections it has; there is no sample while it is broken.
const CONNECTIONS_LIMIT: Duration = Duration::from_millis(300);
/// A pause between two looks at the truth.
const LOOK: Duration = Duration::from_millis(25);

/// How a scenario is to be played.
#[derive(Debug, Clone)]
pub struct Voyage {
    /// The program that is the shop when its first argument is `shop`.
    pub program: PathBuf,
    /// Where the services come from.
    pub provider: ProviderChoice,
    /// The seed of the orders, the schedule and the faults.
    pub seed: u64,
    /// A bug to plant, in a program that was built with bugs.
    pub bug: Option<Bug>,
    /// The faults, instead of those that the seed gives.
    pub schedule: Option<Schedule>,
}

/// A look at a scenario while it is played.
#[derive(Debug, Clone)]
pub struct Progress {
    /// The time since the load began.
    pub elapsed: Duration,
    /// How the requests so far ended.
    pub counts: Counts,
    /// The faults that are on now, `target fault` each.
    pub faults: Vec<String>,
}

/// A scenario's record, and where it was played.
#[derive(Debug)]
pub struct Played {
    /// The record.
    pub record: ScenarioRecord,
    /// The provider that was taken, and why.
    pub provider: String,
}

impl Voyage {
    /// Plays the scenario. A machine or provider that can't inject its faults makes it skipped, which is not held.
    ///
    /// # Errors
    ///
    /// Whatever kept the services from running.
    pub async fn play(&self, scenario: &Scenario, progress: impl Fn(Progress)) -> Result<Played, Error> {
        let started = Instant::now();
        let mut played = match self.sail(scenario, progress).await {
            Err(error @ Error::Unsupported { .. }) => {
                let mut record = ScenarioRecord::new(scenario.name, scenario.summary);
                record.status = Status::Skipped(error.to_string());
                Played { record, provider: String::new() }
            }
            other => other?,
        };
        played.record.took = started.elapsed();
        Ok(played)
    }

    async fn sail(&self, scenario: &Scenario, progress: impl Fn(Progress)) -> Result<Played, Error> {
        let stack = self.fit_out(scenario).await?;
        let shop_url = stack.websocket().url();
        let truth = Truth::connect(&stack.postgres().direct_url()).await.map_err(postgres_failed)?;
        let canary = Canary::connect(&stack.postgres().direct_url()).await.map_err(postgres_failed)?;

        let memory = PeakMemory::watch(&stack);
        let schedule = self.schedule.clone().unwrap_or_else(|| scenario.schedule(self.seed));
        let (history, begun) = (History::start(), SystemTime::now());
        let connections = Mutex::new(Resources::default());
        let lookups = History::start();
        let watchers: Arc<[Watcher]> = (0..WATCHERS).map(|_| Watcher::start(&shop_url)).collect();
        let customer = Customer::new(&shop_url, DEADLINE);
        let faults_on = Mutex::new(Vec::new());
        let over = AtomicBool::new(false);

        let (seed, watching) = (self.seed, watchers.clone());
        let workload = Workload::new(Profile::constant(RATE, schedule.end() + CALM))
            .seed(seed)
            .deadline(DEADLINE)
            .operation("place-order", 1, move |call| {
                let order = OrderFactory.make_one(Seed(seed), call.number());
                watching[call.number() as usize % WATCHERS].watch(order.id);
                call.key(order.id.to_string());
                let customer = customer.clone();
                async move { customer.place(order).await }
            });
        let placing = workload.run(&history);
        let visiting = join_all((0..scenario.regulars).map(|number| {
            let regular = Regular {
                number,
                seed: self.seed,
                customer: Customer::new(&shop_url, DEADLINE),
                deadline: DEADLINE,
                orders: &history,
                lookups: &lookups,
            };
            let watcher = &watchers[number as usize % WATCHERS];
            regular.visit(&over, |order| watcher.watch(order))
        }));
        let breaking = async {
            let windows = schedule.play(&stack, &history, |event, begins| {
                let name = format!("{} {}", event.target, event.fault.name());
                let mut on = faults_on.lock().unwrap_or_else(PoisonError::into_inner);
                if begins { on.push(name) } else { on.retain(|other| *other != name) }
            });
            let windows = windows.await?;
            over.store(true, Ordering::Relaxed);
            let drained = drain(&truth, &accepted(&history), scenario.drain_limit).await;
            Ok::<_, Error>((windows, drained))
        };
        let reporting = async {
            loop {
                let faults = faults_on.lock().unwrap_or_else(PoisonError::into_inner).clone();
                progress(Progress { elapsed: history.now(), counts: history.counts(), faults });
                if let Ok(Ok(number)) = timeout(CONNECTIONS_LIMIT, truth.connections()).await {
                    let mut resources = connections.lock().unwrap_or_else(PoisonError::into_inner);
                    resources.sample(history.now(), "postgres", "connections", Unit::Count, number as f64);
                }
                sleep(Duration::from_secs(1)).await;
            }
        };
        let loading = async {
            tokio::join!(placing, visiting);
            Ok(())
        };
        let ((), (windows, drained)) = tokio::select! {
            both = async { tokio::try_join!(loading, breaking) } => both?,
            () = reporting => unreachable!("reporting never ends"),
        };

        let rested = rest(&truth).await;
        let outcome = Outcomes {
            history: &history,
            lookups: &lookups,
            watchers: &watchers,
            truth: &truth,
            windows,
            drained,
            rested,
            processes: processes(&stack.websocket().lines(TAKEN_OVER).await),
        };
        let postgres = PostgresFate {
            survived: canary.still_lives().await,
            met_full_disk: stack.postgres().said("No space left on device").await,
        };
        let ended = ended(&stack).await;
        let mut record = outcome.judge(scenario, postgres).await.map_err(postgres_failed)?;
        record.checks.push(check::none("no process ended by itself", &ended));
        if record.verdict() != Verdict::Held {
            record.keep_operations(history.operations().iter().map(Operation::single));
            let lines = logs::since(&stack, begun).await.into_iter();
            record
                .keep_logs(lines.map(|line| LogLine { service: on_page(&line.service).to_owned(), ..line }));
        }
        record.resources = connections.into_inner().unwrap_or_else(PoisonError::into_inner);
        for series in memory.samples().series() {
            for (at, value) in series.points() {
                record.resources.sample(*at, on_page(&series.service), &series.resource, series.unit, *value);
            }
        }
        record
            .numbers
            .extend(memory.end().await.into_iter().map(|(service, bytes)| peak_memory(&service, bytes)));
        record.replay =
            format!("seaworthy run {} --seed {} --provider {}", scenario.name, self.seed, stack.provider());
        let provider = stack.provider_line().to_owned();
        stack.stop().await;
        Ok(Played { record, provider })
    }

    /// Starts Postgres (durable), Redis, the shop and its workers.
    async fn fit_out(&self, scenario: &Scenario) -> Result<Stack, Error> {
        let mut postgres = Postgres::new().durable(scenario.durable);
        if let Some(mib) = scenario.disk_limit_mib {
            postgres = postgres.disk_limit_mib(mib);
        }
        let role = if scenario.regulars > 0 { "supervise" } else { "serve" };
        let server = App::server(&self.program, "/readyz")
            .args(["shop", role, "--listen", "127.0.0.1:{port}"])
            .restarts_gracefully(TAKEN_OVER);
        let bug = self.bug;
        let stack = Stack::builder()
            .provider(self.provider)
            .seed(self.seed)
            .postgres(postgres)
            .redis(Redis::new())
            .websocket(move |stack| crew(server, stack, bug))
            .start()
            .await?;
        for number in 1..=WORKERS {
            let worker = App::worker(&self.program, "a worker is at work")
                .args(["shop", "work", "--heartbeat-ms", "500", "--lease-timeout-ms", "2000"])
                .args(["--packing-ms", "100", "--concurrency", "8"]);
            stack.start_app(&format!("worker-{number}"), crew(worker, &stack, bug)).await?;
        }
        Ok(stack)
    }
}

/// How many different processes these lines name.
fn processes(lines: &[String]) -> usize {
    let pids = lines.iter().filter_map(|line| line.split(" pid=").nth(1)?.split_whitespace().next());
    pids.collect::<HashSet<_>>().len()
}

fn peak_memory(service: &str, bytes: u64) -> Number {
    let service = on_page(service);
    let mib = bytes as f64 / (1024.0 * 1024.0);
    Number { name: format!("Peak memory of {service}"), value: format!("{mib:.1} MiB") }
}

/// The name of a service in the report: what the stack calls `websocket` is the shop's server.
fn on_page(service: &str) -> &str {
    if service == "websocket" { "the shop" } else { service }
}

/// The services that are not running, and why.
async fn ended(stack: &Stack) -> Vec<String> {
    let mut ended = Vec::new();
    for service in stack.all() {
        if let Some(why) = service.ended().await {
            ended.push(format!("{}: {why}", service.name()));
        }
    }
    ended
}

/// Tells a process of the shop where its services are: behind their fault proxies.
fn crew(app: App, stack: &Stack, bug: Option<Bug>) -> App {
    let app = app.env("DATABASE_URL", stack.postgres().url()).env("REDIS_URL", stack.redis().url());
    // A line for every request would be read again whenever the harness looks for a word in the log; and to find the line behind a slow
    // statement, each process would read the debug information of this whole program, just when the machine is busy.
    let app = app
        .env("SEAWORTHY_LOG_LEVEL", "info,seaworthy_telemetry::requests=warn")
        .env("SEAWORTHY_SQL_CALLERS", "none");
    match bug {
        Some(bug) => app.env("SHOP_BUG", bug.name()),
        None => app,
    }
}

/// The orders that customers were told were placed.
fn accepted(history: &History) -> Vec<Uuid> {
    let operations = history.operations();
    let ok = operations.iter().filter(|operation| operation.outcome == Outcome::Ok);
    ok.filter_map(|operation| operation.key.parse().ok()).collect()
}

/// How long it takes until these orders are fulfilled; nothing when they aren't within the limit, or never will be.
async fn drain(truth: &Truth, orders: &[Uuid], limit: Duration) -> Option<Duration> {
    let started = Instant::now();
    while started.elapsed() <= limit {
        // Asked before the orders are counted: work that ends in between is seen as done.
        let idle = truth.queue().await.is_ok_and(|stats| stats.ready + stats.scheduled + stats.leased == 0);
        match truth.unfulfilled(orders).await {
            Ok(0) => return Some(started.elapsed()),
            Ok(_) if idle => return None,
            _ => sleep(LOOK).await,
        }
    }
    None
}

/// Waits until the queue has nothing left to do, so that whatever could still happen twice has happened.
async fn rest(truth: &Truth) -> Option<(Stats, Duration)> {
    let started = Instant::now();
    while started.elapsed() < REST_LIMIT {
        match truth.queue().await {
            Ok(stats) if stats.ready + stats.scheduled + stats.leased == 0 => {
                return Some((stats, started.elapsed()));
            }
            _ => sleep(LOOK).await,
        }
    }
    None
}

/// What became of Postgres.
struct PostgresFate {
    survived: bool,
    met_full_disk: bool,
}

struct Outcomes<'a> {
    history: &'a History,
    lookups: &'a History,
    watchers: &'a [Watcher],
    truth: &'a Truth,
    windows: Vec<FaultWindow>,
    drained: Option<Duration>,
    rested: Option<(Stats, Duration)>,
    processes: usize,
}

impl Outcomes<'_> {
    async fn judge(self, scenario: &Scenario, postgres: PostgresFate) -> Result<ScenarioRecord, sqlx::Error> {
        let states = self.truth.states().await?;
        let fulfilments = self.truth.fulfilments().await?;
        let now = self.history.now();
        let accepted = accepted(self.history);
        let counts = self.history.counts();
        let fulfilled: Vec<Uuid> = fulfilments.iter().map(|(order, _)| *order).collect();
        let present: HashSet<Uuid> = fulfilled.iter().copied().collect();
        let watched = self.watched_states(&states).await;

        let evidence = Evidence {
            refused: counts.failed + counts.unknown,
            failures: [self.history, self.lookups].into_iter().flat_map(failures).collect(),
            lookups: self.lookups.operations().len() as u64,
            processes: self.processes,
            queue: self.rested.map(|(stats, _)| stats).unwrap_or_default(),
            windows: self.windows.clone(),
            fulfilled_at: fulfilments.iter().map(|(_, ago)| now.saturating_sub(*ago)).collect(),
            postgres_survived: postgres.survived,
            postgres_met_full_disk: postgres.met_full_disk,
        };
        let mut record = ScenarioRecord::new(scenario.name, scenario.summary);
        record.checks = vec![
            check::nothing_lost("every accepted order is fulfilled", &accepted, &present),
            check::nothing_twice("no fulfilment is recorded twice", &fulfilled),
            check::all_answered("every request is answered within its deadline", self.history, DEADLINE),
            check::final_states_agree("every WebSocket client ends with the true states", &watched),
            check::within("work drains after the last fault", self.drained, scenario.drain_limit),
            check::within(
                "the queue comes to rest after the load",
                self.rested.map(|(_, took)| took),
                REST_LIMIT,
            ),
        ];
        record.checks.extend((scenario.exercised)(&evidence));
        record.numbers = self.numbers(&accepted, &fulfilled, &evidence);
        if !scenario.durable {
            let value = "off: nothing of Postgres is broken here".to_owned();
            record.numbers.push(Number { name: "Durability of Postgres".to_owned(), value });
        }
        record.operations = self.history.counted();
        record.faults = self.windows;
        Ok(record)
    }

    /// What each watcher saw last of each order, beside what is true, once the last news had time to arrive.
    async fn watched_states(
        &self,
        states: &std::collections::HashMap<Uuid, String>,
    ) -> Vec<(String, Option<String>, String)> {
        let give_up = Instant::now() + NEWS_LIMIT;
        loop {
            let seen: Vec<_> = states
                .iter()
                .map(|(order, state)| {
                    let seen = self.watchers.iter().find_map(|watcher| watcher.last_seen(*order));
                    (order.to_string(), seen, state.clone())
                })
                .collect();
            let agree = seen.iter().all(|(_, seen, state)| seen.as_ref() == Some(state));
            if agree || Instant::now() > give_up {
                return seen;
            }
            sleep(LOOK).await;
        }
    }

    fn numbers(&self, accepted: &[Uuid], fulfilled: &[Uuid], evidence: &Evidence) -> Vec<Number> {
        let number = |name: &str, value: String| Number { name: name.to_owned(), value };
        let last_fault = self.windows.iter().map(|window| window.to).max().unwrap_or_default();
        let operations = self.history.operations();
        let not_ok = operations.iter().filter(|operation| operation.outcome != Outcome::Ok);
        let last_refused = not_ok.map(|operation| operation.ended).max().unwrap_or_default();
        let drained =
            self.drained.map_or_else(|| "never".to_owned(), |took| format!("{} ms", took.as_millis()));
        let mut numbers = vec![
            number("Orders accepted", accepted.len().to_string()),
            number("Fulfilments recorded", fulfilled.len().to_string()),
            number("Jobs taken back from dead workers", evidence.queue.rescued.to_string()),
            number("Dead letters", evidence.queue.dead.to_string()),
            number(
                "Refusals went on after the last fault for",
                format!("{} ms", last_refused.saturating_sub(last_fault).as_millis()),
            ),
            number("Work drained after the last fault in", drained),
        ];
        numbers.extend(
            refusals(&operations)
                .into_iter()
                .map(|(why, times)| number(&format!("Refused {times} times"), why)),
        );
        numbers
    }
}

/// The operations that did not succeed, and why.
fn failures(history: &History) -> Vec<String> {
    let operations = history.operations().into_iter();
    let why = |operation: Operation| {
        let Operation { kind, key, ended, outcome, .. } = operation;
        let why = outcome.why();
        (outcome != Outcome::Ok).then(|| format!("{kind} {key} at {:.3} s: {why}", ended.as_secs_f64()))
    };
    operations.filter_map(why).collect()
}

/// The most frequent reasons for which requests were not accepted, with their counts.
fn refusals(operations: &[Operation]) -> Vec<(String, usize)> {
    const NAMED: usize = 3;
    const LONGEST: usize = 160;
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for operation in operations {
        if let Outcome::Failed(why) | Outcome::Unknown(why) = &operation.outcome {
            *times.entry(why.chars().take(LONGEST).collect()).or_default() += 1;
        }
    }
    let mut times: Vec<_> = times.into_iter().collect();
    times.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
    times.truncate(NAMED);
    times
}

fn postgres_failed(source: sqlx::Error) -> Error {
    Error::Database { service: "postgres".to_owned(), source }
}
