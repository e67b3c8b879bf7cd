//! What a database of its own costs a test: the ways that others take, on one server in memory and not durable, in turns.
//!
//! Bare `CREATE DATABASE … TEMPLATE … STRATEGY FILE_COPY` and `DROP DATABASE` are the yardstick. `-- --test` only sees whether everything works,
//! and leaves containers out.

use std::{collections::BTreeMap, time::Duration};

use seaworthy_benches::{
    Measured,
    databases::{Databases, Result, Taken, rate},
    interleaved,
};
use seaworthy_harness::{Postgres, ProviderChoice, Stack, docker_version};
use sqlx::PgConnection;
use tokio::runtime::Runtime;

const TEMPLATE: &str = "template, FILE_COPY";
const MIGRATIONS: &str = "sqlx::test's way";
const TRUNCATE: &str = "truncate 40 tables";
const OURS: &str = "harness";
const SERVER: &str = "a native server each";
const CONTAINER: &str = "a container each";

/// How long things are measured.
struct Extent {
    rounds: usize,
    /// Of the ways that take a second or so.
    slow_rounds: usize,
    rate_rounds: usize,
    rate_time: Duration,
    containers: bool,
}

/// The harness' own way belongs here: a database handed out, connected to, and given back. Without one, its lines are left out.
async fn ours_hand_out(_databases: &Databases) -> Option<Result<Taken>> {
    None
}

/// What the rounds of one way took until the database was ready; those of the whole are [`Measured`] by the caller.
#[derive(Default)]
struct Ready(BTreeMap<&'static str, Vec<f64>>);

impl Ready {
    /// Keeps when it was ready, and gives the whole, in ms.
    fn note(&mut self, name: &'static str, taken: Taken) -> f64 {
        self.0.entry(name).or_default().push(millis(taken.ready));
        millis(taken.whole)
    }

    /// Without the round that warmed everything up.
    fn measured(&self, name: &'static str) -> Measured {
        let mut results = self.0.get(name).map(|all| all[1.min(all.len())..].to_vec()).unwrap_or_default();
        results.sort_by(f64::total_cmp);
        Measured { name, results }
    }

    fn print(&self, whole: &[Measured], yardstick: f64) {
        for whole in whole.iter().filter(|way| !way.median().is_nan()) {
            let ready = self.measured(whole.name);
            let three = |way: &Measured| {
                [0.5, 0.99, 1.0].map(|share| format!("{:9.1}", way.quantile(share))).concat()
            };
            let ratio = ready.median() / yardstick;
            println!("  {:22}{}   {}  {ratio:8.2}x", whole.name, three(&ready), three(whole));
        }
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn latencies(runtime: &Runtime, databases: &Databases, extent: &Extent) -> Result<()> {
    let (mut admin, mut emptied) = runtime.block_on(async {
        Ok::<(PgConnection, PgConnection), Box<dyn std::error::Error + Send + Sync>>((
            databases.admin().await?,
            databases.emptied().await?,
        ))
    })?;
    let mut ready = Ready::default();
    let quick = interleaved([TEMPLATE, MIGRATIONS, TRUNCATE, OURS], extent.rounds, |name| {
        let taken = runtime.block_on(async {
            match name {
                TEMPLATE => Some(databases.by_template(&mut admin).await),
                MIGRATIONS => Some(databases.by_migrations(&mut admin).await),
                TRUNCATE => Some(databases.by_truncation(&mut emptied).await),
                _ => ours_hand_out(databases).await,
            }
        });
        taken.map_or(f64::NAN, |taken| ready.note(name, taken.unwrap()))
    });
    let docker = extent.containers && runtime.block_on(docker_version()).is_ok();
    let slow = interleaved([SERVER, CONTAINER], extent.slow_rounds, |name| {
        let provider = match name {
            SERVER => ProviderChoice::Native,
            _ if docker => ProviderChoice::Docker,
            _ => return f64::NAN,
        };
        ready.note(name, runtime.block_on(databases.by_server(provider)).unwrap())
    });
    println!("a test's database, in ms");
    println!("  {:22}{:^27}   {:^27}", "", "until it is ready", "until it is gone again");
    let head = ["p50", "p99", "max"].map(|share| format!("{share:>9}")).concat();
    println!("  {:22}{head}   {head}  ready p50", "");
    let yardstick = ready.measured(TEMPLATE).median();
    ready.print(&quick, yardstick);
    ready.print(&slow, yardstick);
    let (rounds, slow_rounds) = (extent.rounds, extent.slow_rounds);
    println!("  ({rounds} rounds; {slow_rounds} of a server or a container each, with every migration)");
    if !docker {
        println!("  (no containers: no Docker answers, or `--test` leaves them out)");
    }
    Ok(())
}

fn rates(runtime: &Runtime, databases: &Databases, extent: &Extent) {
    let of = |name: &str, clients: usize| {
        if name == OURS && runtime.block_on(ours_hand_out(databases)).is_none() {
            return f64::NAN;
        }
        let admins = (0..clients).map(|_| runtime.block_on(databases.admin()).unwrap()).collect();
        let rate = rate(admins, extent.rate_time, |admin: &mut PgConnection| {
            runtime.block_on(async {
                match name {
                    TEMPLATE => databases.bare_copy(admin).await,
                    MIGRATIONS => databases.by_migrations(admin).await.map(drop),
                    _ => ours_hand_out(databases).await.map_or(Ok(()), |taken| taken.map(drop)),
                }
            })
        });
        rate.unwrap()
    };
    println!("databases/s, made and dropped     1 client   4 clients   8 clients       best");
    let by_clients = [1, 4, 8].map(|clients| {
        interleaved([TEMPLATE, MIGRATIONS, OURS], extent.rate_rounds, |name| of(name, clients))
    });
    let best = |way: usize| by_clients.iter().map(|ways| ways[way].median()).fold(f64::NAN, f64::max);
    for way in 0..3 {
        if !best(way).is_nan() {
            let rates = by_clients.each_ref().map(|ways| format!("{:12.1}", ways[way].median())).concat();
            println!("  {:30}{rates}{:10.2}x", by_clients[0][way].name, best(way) / best(0));
        }
    }
}

fn main() -> Result<()> {
    // `cargo test` and `cargo bench -- --test` only see whether it works.
    let measures = std::env::args().any(|it| it == "--bench") && !std::env::args().any(|it| it == "--test");
    let extent = match measures {
        true => Extent {
            rounds: 60,
            slow_rounds: 6,
            rate_rounds: 3,
            rate_time: Duration::from_secs(2),
            containers: true,
        },
        false => Extent {
            rounds: 1,
            slow_rounds: 1,
            rate_rounds: 1,
            rate_time: Duration::from_millis(50),
            containers: false,
        },
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let server = Stack::builder().provider(ProviderChoice::Native).postgres(Postgres::new());
    let stack = match runtime.block_on(server.start()) {
        Ok(stack) => stack,
        Err(why) => {
            println!("isolation: no Postgres to measure with: {why}");
            return Ok(());
        }
    };
    let databases = runtime.block_on(Databases::on(&stack.postgres().direct_url()))?;
    let (bytes, tables) = runtime.block_on(databases.size())?;
    println!("the template has {tables} tables and {:.1} MB", bytes as f64 / 1e6);
    latencies(&runtime, &databases, &extent)?;
    rates(&runtime, &databases, &extent);
    runtime.block_on(stack.stop());
    Ok(())
}
