//! Sails the shop through a scenario: its services, its load and its watchers, and what is looked at in the end.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use seaworthy_factories::{Factory, Seed};
use seaworthy_harness::{
    App, BoxError, Error, History, Outcome, Postgres, Profile, Redis, Stack, Voyage, check,
};
use seaworthy_queue::Stats;
use seaworthy_shop::Bug;
use tokio::time::sleep;
use uuid::Uuid;

use crate::{
    Shop,
    course::{Course, Evidence},
    orders::{Customer, OrderFactory},
    regular::Regular,
    seen::{Seen, failures, most_frequent_refusals},
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
/// What the shop's supervisor says when a new process has taken over.
const TAKEN_OVER: &str = "a new process serves";
/// What Postgres says when its disk is full, and whoever hears it from Postgres.
const FULL: &str = "No space left on device";
/// A pause between two looks at the truth.
const LOOK: Duration = Duration::from_millis(25);

/// Sails the shop along this course.
pub(crate) async fn sail(shop: Shop, course: &Course, voyage: Voyage) -> Result<(), BoxError> {
    let stack = fit_out(&shop, course, &voyage).await?;
    let truth = Truth::connect(&stack.postgres().direct_url()).await?;
    let canary = Canary::connect(&stack.postgres().direct_url()).await?;
    let shop_url = stack.websocket().url();
    let watchers: Arc<[Watcher]> = (0..WATCHERS).map(|_| Watcher::start(&shop_url)).collect();

    let (history, lookups) = (voyage.history(), History::start());
    // Regular customers are a load of their own, beside which the others are fewer.
    let rate = if course.regulars > 0 { RATE / 4.0 } else { RATE };
    let load = voyage.workload(Profile::constant(rate, voyage.schedule().end() + CALM)).deadline(DEADLINE);
    let (customer, seed, watching) = (Customer::new(&shop_url, DEADLINE), voyage.seed(), watchers.clone());
    let load = load.operation("place-order", 1, move |call| {
        let order = OrderFactory.make_one(Seed(seed), call.number());
        call.key(order.id.to_string());
        watching[call.number() as usize % WATCHERS].watch(order.id);
        customer.clone().place(order)
    });
    let over = AtomicBool::new(false);
    let visiting = join_all((0..course.regulars).map(|number| {
        let customer = Customer::new(&shop_url, DEADLINE);
        let watcher = &watchers[number as usize % WATCHERS];
        Regular { number, seed, customer, deadline: DEADLINE, orders: history, lookups: &lookups }
            .visit(&over, |order| watcher.watch(order))
    }));
    let placing = async {
        let placed = voyage.sail(&load).await;
        over.store(true, Ordering::Relaxed);
        placed
    };
    let (placed, _) = tokio::join!(placing, visiting);
    placed?;

    voyage.phase("waiting until work has drained");
    let drained = drain(&truth, &accepted(history), course.drain_limit).await;
    let rested = rest(&truth).await;
    let seen = Seen {
        accepted: accepted(history),
        fulfilments: truth.fulfilments().await?,
        watched: truth.watched(&watchers).await?,
    };
    let evidence = Evidence {
        refused: history.counts().failed + history.counts().unknown,
        failures: [history, &lookups].into_iter().flat_map(failures).collect(),
        lookups: lookups.counts().total(),
        processes: processes(&stack.websocket().lines(TAKEN_OVER).await),
        queue: rested.map(|(stats, _)| stats).unwrap_or_default(),
        windows: voyage.windows(),
        fulfilled_at: seen.fulfilments.iter().map(|(_, ago)| history.now().saturating_sub(*ago)).collect(),
        postgres_survived: canary.still_lives().await,
        postgres_met_full_disk: stack.postgres().said(FULL).await,
        queue_met_full_disk: met_full_disk(stack).await,
    };
    seen.check(&voyage);
    voyage.check(check::all_answered("every request is answered within its deadline", history, DEADLINE));
    voyage.check(check::within("work drains after the last fault", drained, course.drain_limit));
    let rest = rested.map(|(_, took)| took);
    voyage.check(check::within("the queue comes to rest after the load", rest, REST_LIMIT));
    (course.exercised)(&evidence).into_iter().for_each(|check| voyage.check(check));
    number(&voyage, course, &seen, &evidence, drained);
    Ok(())
}

/// Starts Postgres, Redis, the shop and its workers.
async fn fit_out<'a>(shop: &Shop, course: &Course, voyage: &'a Voyage) -> Result<&'a Stack, Error> {
    let mut postgres = Postgres::new().durable(course.durable);
    if let Some(mib) = course.disk_limit_mib {
        postgres = postgres.disk_limit_mib(mib);
    }
    let role = if course.regulars > 0 { "supervise" } else { "serve" };
    let server = App::server(&shop.program, "/readyz")
        .args(["shop", role, "--listen", "127.0.0.1:{port}"])
        .restarts_gracefully(TAKEN_OVER);
    let (program, bug) = (shop.program.clone(), shop.bug);
    let mut builder = Stack::builder()
        .postgres(postgres)
        .redis(Redis::new())
        .websocket(move |stack| crew(server, stack, bug));
    for number in 1..=WORKERS {
        let worker = App::worker(&program, "a worker is at work")
            .args(["shop", "work", "--heartbeat-ms", "500", "--lease-timeout-ms", "2000"])
            .args(["--packing-ms", "100", "--concurrency", "8"]);
        builder = builder.app(format!("worker-{number}"), move |stack| crew(worker, stack, bug));
    }
    voyage.start(builder).await
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

/// How often workers said that the disk kept them from doing their work or from recording it.
async fn met_full_disk(stack: &Stack) -> u64 {
    let mut lines = 0;
    for number in 1..=WORKERS {
        if let Ok(worker) = stack.service(&format!("worker-{number}")) {
            lines += worker.lines(FULL).await.len() as u64;
        }
    }
    lines
}

/// The orders that customers were told were placed.
fn accepted(history: &History) -> Vec<Uuid> {
    let operations = history.operations();
    let placed = operations.iter().filter(|operation| operation.outcome == Outcome::Ok);
    placed.filter_map(|operation| operation.key.parse().ok()).collect()
}

/// How many different processes these lines name.
fn processes(lines: &[String]) -> usize {
    let pids = lines.iter().filter_map(|line| line.split(" pid=").nth(1)?.split_whitespace().next());
    pids.collect::<HashSet<_>>().len()
}

/// When the last fault was healed.
fn last_healed(voyage: &Voyage) -> Duration {
    voyage.windows().iter().map(|window| window.to).max().unwrap_or_default()
}

/// How long after the last fault and the last order it takes until these orders are fulfilled; nothing when they aren't within the limit, or never
/// will be.
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

/// What is worth a look beside the checks.
fn number(voyage: &Voyage, course: &Course, seen: &Seen, evidence: &Evidence, drained: Option<Duration>) {
    let operations = voyage.history().operations();
    let not_ok = operations.iter().filter(|operation| operation.outcome != Outcome::Ok);
    let last_refused = not_ok.map(|operation| operation.ended).max().unwrap_or_default();
    let refused_for = last_refused.saturating_sub(last_healed(voyage)).as_millis();
    let drained = drained.map_or_else(|| "never".to_owned(), |took| format!("{} ms", took.as_millis()));
    voyage.number("Orders accepted", seen.accepted.len().to_string());
    voyage.number("Fulfilments recorded", seen.fulfilments.len().to_string());
    voyage.number("Jobs taken back from dead workers", evidence.queue.rescued.to_string());
    voyage.number("Dead letters", evidence.queue.dead.to_string());
    voyage.number("Refusals went on after the last fault for", format!("{refused_for} ms"));
    voyage.number("Work drained after the last fault in", drained);
    for (why, times) in most_frequent_refusals(&operations) {
        voyage.number(format!("Refused {times} times"), why);
    }
    if !course.durable {
        voyage.number("Durability of Postgres", "off: nothing of Postgres is broken here");
    }
}
