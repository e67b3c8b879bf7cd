//! Our queue beside the queues on Postgres that a Rust team would pick, on one durable server, in turns: how fast a backlog is worked off, how fast jobs come in, how soon
//! an idle worker begins a job, and what all of that writes.
//!
//! `cargo bench` in this folder prints the tables of `docs/queue-benchmarks.md`. `-- --test` only checks that everything works; `-- drain`, `-- enqueue` or `-- pickup`
//! measures that alone.

use std::collections::HashMap;

use seaworthy_bench_queues::{Apalis, Graphile, SqlxMq};
use seaworthy_benches::{
    Measured, in_turns,
    queues::{Burst, Contender, Ours, RawBatches, Server, burst, enqueue, pickup},
};
use sqlx::AssertSqlSafe;
use tokio::runtime::Runtime;

const CONCURRENCY: usize = 16;
/// Connections that each contender's pool may have.
const CONNECTIONS: u32 = CONCURRENCY as u32 + 4;

/// How much is measured.
struct Extent {
    rounds: usize,
    jobs: u64,
    pickups: u64,
}

async fn contenders(server: &Server) -> anyhow::Result<Vec<Box<dyn Contender>>> {
    let pool = |name| server.database(name, CONNECTIONS);
    Ok(vec![
        Box::new(Ours::create(pool("ours").await?).await?),
        Box::new(Graphile::create(pool("graphile").await?).await?),
        Box::new(Apalis::create(pool("apalis").await?).await?),
        Box::new(SqlxMq::create(pool("sqlxmq").await?, CONNECTIONS).await?),
        Box::new(RawBatches::create(pool("raw").await?).await?),
    ])
}

fn names(contenders: &[Box<dyn Contender>]) -> Vec<&'static str> {
    contenders.iter().map(|contender| contender.name()).collect()
}

fn find<'a>(contenders: &'a [Box<dyn Contender>], name: &str) -> &'a dyn Contender {
    let contender = contenders.iter().find(|contender| contender.name() == name);
    contender.expect("names are those of contenders").as_ref()
}

fn median(mut results: Vec<f64>) -> f64 {
    results.sort_by(f64::total_cmp);
    Measured { name: "", results }.median()
}

fn rates(
    title: &str,
    contenders: &[Box<dyn Contender>],
    rounds: usize,
    mut measure: impl FnMut(&dyn Contender) -> Burst,
) {
    let mut wal: HashMap<&str, Vec<f64>> = HashMap::new();
    let measured = in_turns(&names(contenders), rounds, |name| {
        let burst = measure(find(contenders, name));
        eprintln!("{name}: {:.0} jobs/s", burst.per_second);
        wal.entry(name).or_default().push(burst.wal_per_job);
        burst.per_second
    });
    println!("\n{title}; medians of {rounds} rounds in turns\n");
    println!(
        "| queue | jobs/s | slowest – fastest round | ours is so many times as fast | WAL a job |\n|---|---|---|---|---|"
    );
    let ours = measured[0].median();
    for way in &measured {
        println!(
            "| {} | {:.0} | {:.0} – {:.0} | {:.2} | {:.0} B |",
            way.name,
            way.median(),
            way.quantile(0.0),
            way.quantile(1.0),
            ours / way.median(),
            median(wal.remove(way.name).unwrap_or_default()),
        );
    }
}

fn pickups(runtime: &Runtime, contenders: &[Box<dyn Contender>], rounds: usize, jobs: u64) {
    let mut seen: HashMap<&str, (Vec<f64>, Vec<f64>)> = HashMap::new();
    let _turns = in_turns(&names(contenders), rounds, |name| {
        let picked = runtime.block_on(pickup(find(contenders, name), jobs)).unwrap();
        let (from_call, from_commit) = seen.entry(name).or_default();
        from_call.extend(picked.iter().map(|one| one.from_call));
        from_commit.extend(picked.iter().map(|one| one.from_commit));
        0.0
    });
    println!("\nuntil an idle worker begins a job, in ms; {rounds} rounds of {jobs} jobs in turns\n");
    println!(
        "| queue | from the call that enqueues it: p50 | p99 | from its commit: p50 | p99 |\n|---|---|---|---|---|"
    );
    for name in names(contenders) {
        let (from_call, from_commit) = seen.remove(name).unwrap_or_default();
        let sorted = |mut results: Vec<f64>| {
            results.sort_by(f64::total_cmp);
            Measured { name, results }
        };
        let (call, commit) = (sorted(from_call), sorted(from_commit));
        let of = |way: &Measured, share| way.quantile(share);
        println!(
            "| {name} | {:.2} | {:.2} | {:.2} | {:.2} |",
            of(&call, 0.5),
            of(&call, 0.99),
            of(&commit, 0.5),
            of(&commit, 0.99)
        );
    }
}

/// What an enqueuing round left behind is not for the next one to work off.
async fn forget(contender: &dyn Contender) -> sqlx::Result<()> {
    let tables = match contender.name() {
        "seaworthy-queue" => "seaworthy_queue.ready",
        "graphile_worker" => "graphile_worker._private_jobs",
        "apalis-postgres" => "apalis.jobs",
        "sqlxmq" => "mq_payloads",
        _ => "raw_batch",
    };
    let statement = match contender.name() {
        "sqlxmq" => "select mq_clear_all()".to_owned(),
        _ => format!("truncate {tables} cascade"),
    };
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(contender.pool()).await?;
    Ok(())
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let wants = |what: &str| {
        let mut filters = arguments.iter().filter(|argument| !argument.starts_with("--")).peekable();
        filters.peek().is_none() || filters.any(|filter| what.contains(filter.as_str()))
    };
    let extent = if arguments.iter().any(|argument| argument == "--test") {
        Extent { rounds: 1, jobs: 1000, pickups: 5 }
    } else {
        Extent { rounds: 5, jobs: 100_000, pickups: 200 }
    };
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(Server::start()).unwrap();
    let contenders = runtime.block_on(contenders(&server)).unwrap();
    let jobs = |contender: &dyn Contender| (extent.jobs / contender.times_fewer()).max(10);
    if wants("drain") {
        let title = format!("a backlog of {} jobs, concurrency {CONCURRENCY}", extent.jobs);
        rates(&title, &contenders, extent.rounds, |contender| {
            runtime.block_on(burst(contender, jobs(contender), &[CONCURRENCY])).unwrap()
        });
    }
    if wants("enqueue") {
        rates("jobs enqueued in batches of 1000", &contenders, extent.rounds, |contender| {
            runtime.block_on(async {
                let jobs = jobs(contender).max(extent.jobs / 10);
                let measured = enqueue(contender, jobs).await.unwrap();
                forget(contender).await.unwrap();
                measured
            })
        });
    }
    if wants("pickup") {
        pickups(&runtime, &contenders, extent.rounds, extent.pickups);
    }
    runtime.block_on(server.stop());
}
