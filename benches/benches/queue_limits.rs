//! What must hold of the queue when it gets hard: many workers, a million jobs, rates that several processes keep to together, transactions that others leave open.
//!
//! `cargo bench -p seaworthy-benches --bench queue_limits` plays all of them, in some fourteen minutes; `-- workers`, `-- memory`, `-- rates`, `-- pinned` or `-- producer` plays one, and
//! `-- --test` plays them for moments. `SEAWORTHY_BENCH_PINNED=30m` (or `90s`) says for how long a snapshot is held.

use std::{
    io::Read as _,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use seaworthy_benches::{
    Measured, in_turns,
    queues::{BATCH, Contender, Ours, Server, Tally, Work, peak_memory_mib},
};
use seaworthy_queue::{Limit, NewJob};
use sqlx::{Connection as _, Executor as _, PgConnection, PgPool};
use tokio::{runtime::Runtime, task::JoinSet, time::sleep};

/// How long and how much.
struct Extent {
    rounds: usize,
    backlog: u64,
    /// Jobs in all, and how many of them are the yardstick.
    many: u64,
    few: u64,
    pinned: Duration,
    /// The time over which a throughput is taken.
    window: Duration,
    open: Duration,
}

impl Extent {
    fn whole() -> Self {
        let pinned = std::env::var("SEAWORTHY_BENCH_PINNED").ok();
        Extent {
            rounds: 3,
            backlog: 100_000,
            many: 1_000_000,
            few: 100_000,
            pinned: pinned.map_or(Duration::from_secs(300), |time| duration(&time)),
            window: Duration::from_secs(20),
            open: Duration::from_secs(60),
        }
    }

    fn smoke() -> Self {
        let (pinned, window, open) =
            (Duration::from_millis(300), Duration::from_millis(100), Duration::from_millis(200));
        Extent { rounds: 1, backlog: 2000, many: 4000, few: 2000, pinned, window, open }
    }
}

/// `90s` or `30m`.
fn duration(text: &str) -> Duration {
    let (number, unit) = text.split_at(text.len() - 1);
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        _ => panic!("SEAWORTHY_BENCH_PINNED is a number of seconds or minutes, such as 90s or 30m"),
    };
    Duration::from_secs(number.parse::<u64>().expect("a whole number") * unit)
}

fn workers(runtime: &Runtime, ours: &Ours, extent: &Extent) {
    const WAYS: [(&str, usize, usize); 5] = [
        ("1 worker, concurrency 16", 1, 16),
        ("1 worker, concurrency 100", 1, 100),
        ("4 workers, concurrency 25 each", 4, 25),
        ("10 workers, concurrency 10 each", 10, 10),
        ("100 workers, concurrency 1 each", 100, 1),
    ];
    let measured = in_turns(&WAYS.map(|way| way.0), extent.rounds, |name| {
        let (_, workers, concurrency) = WAYS.into_iter().find(|way| way.0 == name).unwrap();
        let per_second = runtime.block_on(together(ours, extent.backlog, workers, concurrency)).unwrap();
        eprintln!("{name}: {per_second:.0} jobs/s");
        per_second
    });
    println!("\na backlog of {} jobs, medians of {} rounds in turns\n", extent.backlog, extent.rounds);
    println!("| workers | jobs/s | of the first |\n|---|---|---|");
    for way in &measured {
        println!("| {} | {:.0} | {:.2} |", way.name, way.median(), way.median() / measured[0].median());
    }
}

/// Jobs a second of so many workers with this concurrency each, once all of them are there.
async fn together(ours: &Ours, jobs: u64, workers: usize, concurrency: usize) -> anyhow::Result<f64> {
    let queue = ours.queue();
    queue.pause("default").await?;
    for batch in Work::numbered(0..jobs).chunks(BATCH as usize) {
        ours.enqueue(batch).await?;
    }
    let tally = Arc::new(Tally::default());
    let mut running = Vec::new();
    for _ in 0..workers {
        running.push(ours.start(concurrency, tally.clone()).await?);
    }
    let registered = async || {
        let count = sqlx::query_scalar("select count(*) from seaworthy_queue.worker");
        count.fetch_one(ours.pool()).await.map(|count: i64| count as usize)
    };
    while registered().await? < workers {
        sleep(Duration::from_millis(10)).await;
    }
    let began = Instant::now();
    queue.resume("default").await?;
    tally.reach(jobs, Duration::from_secs(120)).await?;
    while ours.has_unfinished().await? {
        sleep(Duration::from_millis(1)).await;
    }
    let took = began.elapsed();
    for worker in running {
        worker.stop().await?;
    }
    Ok(jobs as f64 / took.as_secs_f64())
}

/// Says to a process of this program that it is a worker, and on which database.
const WORKER: &str = "SEAWORTHY_BENCH_WORKER";
/// Of those that keep to a rate together.
const PROCESSES: usize = 4;

/// A worker in a process of its own, which ends when this is dropped.
struct Fellow(Child);

impl Fellow {
    fn start(database: &str) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        Ok(Fellow(command.env(WORKER, database).stdin(Stdio::piped()).spawn()?))
    }

    /// What the process does: it works until its standard input is closed, also by the death of who started it.
    async fn work(database: &str) -> anyhow::Result<()> {
        let ours = Ours::create(PgPool::connect(database).await?).await?;
        let worker = ours.start(16, Arc::new(Tally::default())).await?;
        tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
        worker.stop().await
    }
}

impl Drop for Fellow {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Jobs of one key that several processes together do in a second, where so many are allowed.
async fn rate(ours: &Ours, database: &str, allowed: u64, window: Duration) -> anyhow::Result<f64> {
    let queue = ours.queue();
    queue.set_limit("tenant", Limit::rate(Duration::from_secs(1), allowed)).await?;
    // Enough for the window, and for what comes before it.
    let enough = allowed * (3 + 2 * window.as_secs());
    let jobs = Work::numbered(0..enough);
    let jobs = jobs.iter().map(|work| Ok(NewJob::of(work)?.limited_by("tenant", "one")));
    for batch in jobs.collect::<anyhow::Result<Vec<_>>>()?.chunks(BATCH as usize) {
        queue.push_many(batch).await?;
    }
    let fellows = (0..PROCESSES).map(|_| Fellow::start(database)).collect::<Result<Vec<_>, _>>()?;
    while queue.stats().await?.completed < allowed as i64 {
        sleep(Duration::from_millis(5)).await;
    }
    let (before, began) = (queue.stats().await?.completed, Instant::now());
    sleep(window).await;
    let done = queue.stats().await?.completed - before;
    let took = began.elapsed();
    drop(fellows);
    Ok(done as f64 / took.as_secs_f64())
}

/// Keeps a backlog of up to so many jobs in front of the workers.
async fn feed(ours: Ours, tally: Arc<Tally>, backlog: u64, until: u64) {
    let mut enqueued = tally.jobs();
    while enqueued < until {
        if enqueued.saturating_sub(tally.jobs()) > backlog {
            sleep(Duration::from_millis(2)).await;
            continue;
        }
        let next = until.min(enqueued + 5 * BATCH);
        ours.enqueue(&Work::numbered(enqueued..next)).await.unwrap();
        enqueued = next;
    }
}

async fn memory(ours: &Ours, extent: &Extent) -> anyhow::Result<()> {
    let tally = Arc::new(Tally::default());
    let worker = ours.start(16, tally.clone()).await?;
    let began = Instant::now();
    let feeding = tokio::spawn(feed(ours.clone(), tally.clone(), 20 * BATCH, extent.many));
    tally.reach(extent.few, Duration::from_secs(600)).await?;
    let few = peak_memory_mib()?;
    tally.reach(extent.many, Duration::from_secs(3600)).await?;
    let many = peak_memory_mib()?;
    feeding.await?;
    worker.stop().await?;
    println!("\npeak memory of the process, producer and worker in one\n");
    println!(
        "| after | MiB |\n|---|---|\n| {} jobs | {few:.1} |\n| {} jobs | {many:.1} |",
        extent.few, extent.many
    );
    let per_second = extent.many as f64 / began.elapsed().as_secs_f64();
    println!("\n{per_second:.0} jobs/s, enqueued and done at the same time");
    Ok(())
}

/// Jobs a second over this time.
async fn throughput(tally: &Tally, window: Duration) -> f64 {
    let (jobs, began) = (tally.jobs(), Instant::now());
    sleep(window).await;
    (tally.jobs() - jobs) as f64 / began.elapsed().as_secs_f64()
}

async fn pinned(ours: &Ours, extent: &Extent) -> anyhow::Result<()> {
    let tally = Arc::new(Tally::default());
    let worker = ours.start(16, tally.clone()).await?;
    let mut feeding = JoinSet::new();
    feeding.spawn(feed(ours.clone(), tally.clone(), 20 * BATCH, u64::MAX));
    throughput(&tally, extent.window / 4).await;
    let before = throughput(&tally, extent.window).await;
    let mut other = ours.pool().acquire().await?.detach();
    other.execute("begin isolation level repeatable read; select count(*) from seaworthy_queue.job").await?;
    println!("\nenqueued and done at the same time, while another transaction holds a snapshot\n");
    println!("| | jobs/s | of those before |\n|---|---|---|\n| before | {before:.0} | |");
    let began = Instant::now();
    let mut steps = 1;
    while began.elapsed() < extent.pinned {
        let now = throughput(&tally, extent.window).await;
        if began.elapsed() >= extent.pinned * steps / 5 {
            let seconds = began.elapsed().as_secs();
            println!("| held for {seconds} s | {now:.0} | {:.2} |", now / before);
            steps += 1;
        }
    }
    other.execute("rollback").await?;
    other.close().await?;
    feeding.shutdown().await;
    worker.stop().await
}

/// What a producer waits for a job of its own to be enqueued, in milliseconds.
async fn producer(ours: &Ours, time: Duration) -> anyhow::Result<Measured> {
    let mut results = Vec::new();
    let began = Instant::now();
    while began.elapsed() < time {
        let called = Instant::now();
        ours.push(Work { number: 1 }).await?;
        results.push(called.elapsed().as_secs_f64() * 1e3);
        sleep(Duration::from_millis(2)).await;
    }
    results.sort_by(f64::total_cmp);
    Ok(Measured { name: "", results })
}

async fn open_transaction(ours: &Ours, extent: &Extent) -> anyhow::Result<()> {
    let worker = ours.start(16, Arc::new(Tally::default())).await?;
    let before = producer(ours, extent.open / 2).await?;
    let mut other: PgConnection = ours.pool().acquire().await?.detach();
    other.execute("begin").await?;
    ours.queue().enqueue(&mut other, &seaworthy_queue::NewJob::of(&Work { number: 1 })?).await?;
    let beside = producer(ours, extent.open).await?;
    other.execute("rollback").await?;
    other.close().await?;
    worker.stop().await?;
    println!("\nwhat a producer waits, in ms, beside a transaction that enqueued a job and is left open\n");
    println!("| | p50 | p99 | longest |\n|---|---|---|---|");
    for (what, way) in [("before", before), ("beside it", beside)] {
        let of = |share| way.quantile(share);
        println!("| {what} | {:.2} | {:.2} | {:.2} |", of(0.5), of(0.99), of(1.0));
    }
    Ok(())
}

fn main() {
    if let Ok(database) = std::env::var(WORKER) {
        return Runtime::new().unwrap().block_on(Fellow::work(&database)).unwrap();
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let wants = |what: &str| {
        let mut filters = arguments.iter().filter(|argument| !argument.starts_with("--")).peekable();
        filters.peek().is_none() || filters.any(|filter| what.contains(filter.as_str()))
    };
    let is_smoke = arguments.iter().any(|argument| argument == "--test");
    let extent = if is_smoke { Extent::smoke() } else { Extent::whole() };
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(Server::start()).unwrap();
    let new =
        |name| runtime.block_on(async { Ours::create(server.database(name, 20).await?).await }).unwrap();
    // First: what others leave behind would count as memory.
    if wants("memory") {
        runtime.block_on(memory(&new("memory"), &extent)).unwrap();
    }
    if wants("workers") {
        workers(&runtime, &new("workers"), &extent);
    }
    if wants("rates") {
        println!("\nwhat {PROCESSES} processes together do of a key, in {:?}\n", extent.window);
        println!("| allowed, jobs/s | done, jobs/s | of what is allowed |\n|---|---|---|");
        for (name, allowed) in [("rate_10", 10), ("rate_100", 100), ("rate_1000", 1_000)] {
            let (ours, database) = (new(name), server.url(name).unwrap());
            let done = runtime.block_on(rate(&ours, &database, allowed, extent.window)).unwrap();
            println!("| {allowed} | {done:.2} | {:.4} |", done / allowed as f64);
        }
    }
    if wants("producer") {
        runtime.block_on(open_transaction(&new("producer"), &extent)).unwrap();
    }
    if wants("pinned") {
        runtime.block_on(pinned(&new("pinned"), &extent)).unwrap();
    }
    runtime.block_on(server.stop());
}
