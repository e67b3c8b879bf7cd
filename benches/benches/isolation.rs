//! What a fresh, migrated database costs a test, beside the ways that others take: creating and migrating one as `#[sqlx::test]` does, TRUNCATE, a
//! server and a container for each test; and how many databases a second there can be, beside bare `CREATE DATABASE` and `DROP DATABASE`.
//!
//! The schema is the same 40 tables for all, and all but the servers of their own run on the same Postgres.

use std::{
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group};
use seaworthy_benches::{Measured, TABLES, forty_tables, interleaved};
use seaworthy_harness::{Env, Postgres, ProviderChoice, Redis, Stack, env::Schema};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::runtime::Runtime;

const OURS: &str = "seaworthy: hand-out";
const OURS_USED: &str = "seaworthy: hand-out, connect, query";
const SQLX: &str = "create, migrate (sqlx::test)";
const TRUNCATE: &str = "truncate 40 tables";
const SERVER: &str = "a native server per test, migrated";
/// Says that the process is to join the stack, and how long that took.
const ATTACH: &str = "--attach";

fn env() -> Env {
    Env::builder().name("isolation").schema(Schema::new().migrator(forty_tables())).connections(2).build()
}

async fn run(connection: &mut PgConnection, statement: impl Into<String>) {
    connection.execute(sqlx::raw_sql(AssertSqlSafe(statement.into()))).await.unwrap();
}

async fn query(url: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    connection.execute("select count(*) from order_lines").await.unwrap();
    connection.close().await.unwrap();
}

/// The server that the tests share, and a template for those who copy it by hand.
struct Server {
    url: String,
    admin: PgConnection,
    truncated: PgConnection,
}

impl Server {
    async fn of(env: &Env) -> Self {
        let url = env.postgres().await.direct_url();
        let (url, _) = url.rsplit_once('/').unwrap();
        let url = url.to_owned();
        let mut admin = PgConnection::connect(&format!("{url}/postgres")).await.unwrap();
        for name in ["bench_template", "bench_truncated"] {
            run(&mut admin, format!("drop database if exists {name}")).await;
            run(&mut admin, format!("create database {name}")).await;
            let mut connection = PgConnection::connect(&format!("{url}/{name}")).await.unwrap();
            forty_tables().run(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        }
        let truncated = PgConnection::connect(&format!("{url}/bench_truncated")).await.unwrap();
        Server { url, admin, truncated }
    }

    async fn create_and_migrate(&mut self) -> Duration {
        let started = Instant::now();
        run(&mut self.admin, "create database bench_migrated").await;
        let mut connection = PgConnection::connect(&format!("{}/bench_migrated", self.url)).await.unwrap();
        forty_tables().run(&mut connection).await.unwrap();
        let took = started.elapsed();
        connection.close().await.unwrap();
        run(&mut self.admin, "drop database bench_migrated").await;
        took
    }

    async fn truncate(&mut self) -> Duration {
        let tables: Vec<String> = sqlx::query_scalar(
            "select quote_ident(relname) from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace
             and relname <> '_sqlx_migrations'",
        )
        .fetch_all(&mut self.truncated)
        .await
        .unwrap();
        assert_eq!(tables.len(), TABLES);
        let started = Instant::now();
        run(&mut self.truncated, format!("truncate {} restart identity cascade", tables.join(", "))).await;
        started.elapsed()
    }
}

async fn hand_out(env: &Env, used: bool) -> Duration {
    let env = env.fresh();
    let started = Instant::now();
    let db = env.postgres().await;
    if used {
        db.execute("select count(*) from order_lines").await.unwrap();
    }
    let took = started.elapsed();
    env.finish().await;
    // While the pool keeps up: what it does when it can't is the next table.
    tokio::time::sleep(Duration::from_millis(60)).await;
    took
}

async fn server_per_test() -> Duration {
    let started = Instant::now();
    let stack =
        Stack::builder().provider(ProviderChoice::Native).postgres(Postgres::new()).start().await.unwrap();
    let mut connection = PgConnection::connect(&stack.postgres().direct_url()).await.unwrap();
    forty_tables().run(&mut connection).await.unwrap();
    let took = started.elapsed();
    stack.stop().await;
    took
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn print(what: &str, unit: &str, measured: &[Measured], base: f64) {
    println!("{what}");
    for way in measured {
        let (median, p99, most) = (way.median(), way.quantile(0.99), way.quantile(1.0));
        println!(
            "  {:38} p50 {median:9.3} {unit}  p99 {p99:9.3}  max {most:9.3}  {:8.1}x",
            way.name,
            median / base
        );
    }
}

fn latencies(runtime: &Runtime, env: &Env) {
    let mut server = runtime.block_on(Server::of(env));
    let mut measure = |name: &'static str| {
        runtime.block_on(async {
            millis(match name {
                OURS => hand_out(env, false).await,
                OURS_USED => hand_out(env, true).await,
                SQLX => server.create_and_migrate().await,
                TRUNCATE => server.truncate().await,
                _ => server_per_test().await,
            })
        })
    };
    let measured = interleaved([OURS, OURS_USED, SQLX, TRUNCATE, SERVER], 30, &mut measure);
    print("until a fresh, migrated database is there, in turns", "ms", &measured, measured[0].median());
    let [many] = interleaved([OURS], 300, &mut measure);
    print("the same, ours 300 times", "ms", &[many], measured[0].median());
    match runtime.block_on(container_per_test(&mut server)) {
        Some(container) => print("a container per test, migrated", "ms", &[container], measured[0].median()),
        None => println!("a container per test: no Docker to measure with"),
    }
}

/// What testcontainers does for a test: a Postgres in a container of its own.
async fn container_per_test(_server: &mut Server) -> Option<Measured> {
    let mut results = Vec::new();
    for _ in 0..5 {
        let started = Instant::now();
        let stack =
            Stack::builder().provider(ProviderChoice::Docker).postgres(Postgres::new()).start().await.ok()?;
        let mut connection = PgConnection::connect(&stack.postgres().direct_url()).await.ok()?;
        forty_tables().run(&mut connection).await.ok()?;
        results.push(millis(started.elapsed()));
        stack.stop().await;
    }
    results.sort_by(f64::total_cmp);
    Some(Measured { name: "a container per test, migrated", results })
}

/// Databases a second with so many clients: ours, and bare statements.
fn rates(runtime: &Runtime, env: &Env, databases: usize) {
    let server = runtime.block_on(Server::of(env));
    println!("fresh databases a second, used by nobody, made and dropped");
    for clients in [1, 4, 8] {
        let each = databases / clients;
        let [bare, ours] = interleaved(["bare", "ours"], 5, |name| {
            let started = Instant::now();
            runtime.block_on(async {
                let work: Vec<_> = (0..clients)
                    .map(|client| match name {
                        "bare" => tokio::spawn(bare_pairs(server.url.clone(), client, each)),
                        _ => tokio::spawn(our_pairs(env.clone(), each)),
                    })
                    .collect();
                for one in work {
                    one.await.unwrap();
                }
            });
            (clients * each) as f64 / started.elapsed().as_secs_f64()
        });
        let (bare, ours) = (bare.median(), ours.median());
        println!("  {clients} clients: bare {bare:6.1}/s  seaworthy {ours:6.1}/s  {:.2}x", ours / bare);
    }
    let starved = runtime.block_on(env.starved()).unwrap();
    println!("  {starved} tests found no database ready and made their own");
}

async fn bare_pairs(url: String, client: usize, count: usize) {
    let mut admin = PgConnection::connect(&format!("{url}/postgres")).await.unwrap();
    for _ in 0..count {
        let name = format!("bench_bare_{client}");
        run(&mut admin, format!("create database {name} template bench_template strategy file_copy")).await;
        run(&mut admin, format!("drop database {name}")).await;
    }
    admin.close().await.unwrap();
}

async fn our_pairs(env: Env, count: usize) {
    for _ in 0..count {
        let env = env.fresh();
        env.postgres().await;
        env.finish().await;
    }
}

/// What a process of a test runner waits for: the stack from nothing, and the stack that is there.
fn starts(runtime: &Runtime) {
    let [cold] = interleaved(["Postgres and Redis, from nothing"], 9, |_| {
        runtime.block_on(async {
            let started = Instant::now();
            let builder = Stack::builder().provider(ProviderChoice::Native);
            let stack = builder.postgres(Postgres::new()).redis(Redis::new()).start().await.unwrap();
            let took = millis(started.elapsed());
            stack.stop().await;
            took
        })
    });
    let [attach] = interleaved(["a process that joins the stack"], 15, |_| {
        let joined = Command::new(std::env::current_exe().unwrap()).arg(ATTACH).output().unwrap();
        String::from_utf8_lossy(&joined.stdout).trim().parse().unwrap()
    });
    print("starts", "ms", &[cold, attach.clone()], attach.median());
}

fn attach() {
    let started = Instant::now();
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let env = env();
        let db = env.postgres().await;
        query(&db.url()).await;
        println!("{:.3}", millis(started.elapsed()));
        env.finish().await;
    });
}

fn isolation(criterion: &mut Criterion) {
    let runtime = Arc::new(Runtime::new().unwrap());
    let _entered = runtime.enter();
    let env = env();
    runtime.block_on(env.postgres());
    if std::env::args().any(|argument| argument == "--bench") && !std::env::args().any(|it| it == "--test") {
        starts(&runtime);
        latencies(&runtime, &env);
        rates(&runtime, &env, 240);
    }
    let mut group = criterion.benchmark_group("a fresh database");
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    group.bench_function("seaworthy", |bencher| {
        bencher.iter(|| runtime.block_on(our_pairs(env.clone(), 1)));
    });
    group.finish();
}

criterion_group!(benches, isolation);

fn main() {
    if std::env::args().any(|argument| argument == ATTACH) {
        return attach();
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}
