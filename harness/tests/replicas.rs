//! Replicas of Postgres and Redis: how they follow, fall behind, take over and are followed, on native processes and in containers.
//!
//! The container tests are skipped, in one line, where no Docker daemon answers; with `SEAWORTHY_REQUIRE_DOCKER=1` that is a failure.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use redis::AsyncCommands;
use seaworthy_harness::{Error, Fault, Postgres, ProviderChoice, Redis, Service, Stack, StackBuilder};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

macro_rules! on_every_provider {
    ($($test:ident),* $(,)?) => {
        mod native {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(super::stack_of(super::ProviderChoice::Native)).await;
            })*
        }

        mod docker {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                if super::docker_is_here() {
                    super::$test(super::stack_of(super::ProviderChoice::Docker)).await;
                }
            })*
        }
    };
}

on_every_provider!(
    a_postgres_replica_follows_falls_behind_and_takes_over,
    a_cut_replication_goes_on_where_it_was_however_much_was_written,
    what_was_promoted_can_have_a_replica_in_its_turn,
    a_redis_replica_follows_falls_behind_and_takes_over,
    an_old_primary_follows_what_was_promoted_and_takes_over_again,
    a_slow_replication_slows_nobody_else,
    a_killed_replica_follows_again,
    a_replica_that_can_not_start_leaves_nothing,
    a_redis_replica_that_can_not_start_leaves_nothing,
);

fn stack_of(provider: ProviderChoice) -> StackBuilder {
    Stack::builder().provider(provider).ready_deadline(Duration::from_secs(20))
}

fn docker_is_here() -> bool {
    static SAID: std::sync::Once = std::sync::Once::new();
    let here = Command::new("docker").arg("info").output().is_ok_and(|info| info.status.success());
    if !here {
        assert!(std::env::var_os("SEAWORTHY_REQUIRE_DOCKER").is_none(), "SEAWORTHY_REQUIRE_DOCKER is set");
        // Past the test runner's capture, so that it is seen.
        SAID.call_once(|| {
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "the container tests are skipped: no Docker daemon answers");
        });
    }
    here
}

async fn execute(url: &str, statement: &str) -> sqlx::Result<u64> {
    let mut connection = PgConnection::connect(url).await?;
    let done = connection.execute(sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))).await?;
    connection.close().await?;
    Ok(done.rows_affected())
}

async fn one(url: &str, query: &'static str) -> String {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap()
}

async fn redis_at(url: &str) -> redis::aio::MultiplexedConnection {
    redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap()
}

async fn put(service: &Service, key: &str, value: &str) {
    let _: () = redis_at(&service.url()).await.set(key, value).await.unwrap();
}

async fn get(url: &str, key: &str) -> Option<String> {
    redis_at(url).await.get(key).await.unwrap()
}

async fn a_postgres_replica_follows_falls_behind_and_takes_over(builder: StackBuilder) {
    // A replica whose max_connections is below its primary's refuses to start.
    let postgres = Postgres::new().durable(true).setting("max_connections", "150").replica("standby");
    let stack = builder.postgres(postgres).start().await.unwrap();
    let (primary, replica) = (stack.postgres(), stack.replica("standby").unwrap());
    execute(&primary.url(), "create table kept (n int); insert into kept values (1)").await.unwrap();
    replica.caught_up().await.unwrap();
    assert_eq!(one(&replica.url(), "select count(*)::text from kept").await, "1");
    assert_eq!(one(&replica.url(), "show fsync").await, "on", "it is as durable as its primary");
    assert!(execute(&replica.url(), "insert into kept values (2)").await.is_err(), "a replica is read-only");
    let lag = replica.lag().await.unwrap();
    assert!(lag.connected && lag.bytes < 10_000, "{lag:?}");

    let cut = replica.link().down().inject().await.unwrap();
    execute(&primary.url(), "insert into kept select generate_series(1, 1000)").await.unwrap();
    let lag = replica.lag().await.unwrap();
    assert!(lag.bytes > 50_000 && lag.behind > Duration::ZERO, "{lag:?}");
    cut.heal().await.unwrap();
    replica.caught_up().await.unwrap();

    let _crash = primary.inject(Fault::Kill).await.unwrap();
    replica.take_over().await.unwrap();
    execute(&primary.url(), "insert into kept values (2)").await.unwrap();
    assert_eq!(one(&primary.url(), "select count(*)::text from kept").await, "1002");
    // It stays what it has become.
    replica.service().inject(Fault::Kill).await.unwrap().heal().await.unwrap();
    execute(&primary.url(), "insert into kept values (3)").await.unwrap();
}

async fn a_cut_replication_goes_on_where_it_was_however_much_was_written(builder: StackBuilder) {
    let stack = builder.postgres(Postgres::new().replica("standby")).start().await.unwrap();
    let (primary, replica) = (stack.postgres(), stack.replica("standby").unwrap());
    execute(&primary.url(), "create table kept (n int)").await.unwrap();
    let cut = replica.link().down().inject().await.unwrap();
    for _ in 0..3 {
        // Each time, the primary would have no more use for what it has written before.
        execute(&primary.url(), "insert into kept values (1)").await.unwrap();
        execute(&primary.url(), "select pg_switch_wal()").await.unwrap();
        execute(&primary.url(), "checkpoint").await.unwrap();
    }
    cut.heal().await.unwrap();
    replica.caught_up().await.unwrap();
    assert_eq!(one(&replica.url(), "select count(*)::text from kept").await, "3");
}

async fn what_was_promoted_can_have_a_replica_in_its_turn(builder: StackBuilder) {
    let stack = builder.postgres(Postgres::new().replica("second")).start().await.unwrap();
    let _crash = stack.postgres().inject(Fault::Kill).await.unwrap();
    stack.replica("second").unwrap().take_over().await.unwrap();
    let third = stack.start_replica("third", "second").await.unwrap();
    execute(&stack.postgres().url(), "create table kept as select 1 as one").await.unwrap();
    third.caught_up().await.unwrap();
    assert_eq!(one(&third.url(), "select count(*)::text from kept").await, "1");
    let error = stack.follow_promoted("second").await.unwrap_err();
    assert!(error.to_string().contains("start_replica"), "{error}");
}

async fn a_redis_replica_follows_falls_behind_and_takes_over(builder: StackBuilder) {
    let redis = Redis::new().setting("maxmemory", "48mb").replica("standby");
    let stack = builder.redis(redis).start().await.unwrap();
    let (primary, replica) = (stack.redis(), stack.replica("standby").unwrap());
    put(&primary, "kept", "1").await;
    replica.caught_up().await.unwrap();
    assert_eq!(get(&replica.url(), "kept").await.as_deref(), Some("1"));
    let refused: redis::RedisResult<()> = redis_at(&replica.url()).await.set("kept", 2).await;
    assert!(refused.is_err(), "a replica is read-only");
    let ask = redis::cmd("CONFIG").arg("GET").arg("maxmemory").clone();
    let setting: Vec<String> = ask.query_async(&mut redis_at(&replica.url()).await).await.unwrap();
    assert_eq!(setting[1], (48 * 1024 * 1024).to_string(), "it has its primary's settings");

    let cut = replica.link().down().inject().await.unwrap();
    put(&primary, "later", &"x".repeat(1000)).await;
    let lag = replica.lag().await.unwrap();
    assert!(lag.bytes >= 1000, "{lag:?}");
    cut.heal().await.unwrap();
    replica.caught_up().await.unwrap();

    let _crash = primary.inject(Fault::Kill).await.unwrap();
    replica.take_over().await.unwrap();
    put(&primary, "kept", "3").await;
    assert_eq!(get(&primary.url(), "later").await.unwrap().len(), 1000);
}

async fn an_old_primary_follows_what_was_promoted_and_takes_over_again(builder: StackBuilder) {
    let redis = Redis::new().durable(true).replica("standby");
    let stack = builder.redis(redis).start().await.unwrap();
    let (first, second) = (stack.redis(), stack.replica("standby").unwrap());
    put(&first, "before", "1").await;
    second.caught_up().await.unwrap();

    let crash = first.inject(Fault::Kill).await.unwrap();
    second.take_over().await.unwrap();
    put(&first, "during", "2").await;
    crash.heal().await.unwrap();
    let turned = stack.follow_promoted("standby").await.unwrap();
    // As an application would, on a task of its own.
    let waits = turned.clone();
    tokio::spawn(async move { waits.caught_up().await }).await.unwrap().unwrap();
    assert_eq!(get(&first.direct_url(), "during").await.as_deref(), Some("2"));
    assert_eq!(turned.primary().name(), "standby");

    // Who leads and who follows outlives a crash of either.
    for service in [second.service(), turned.service()] {
        service.inject(Fault::Kill).await.unwrap().heal().await.unwrap();
    }
    turned.caught_up().await.unwrap();
    let cut = turned.link().down().inject().await.unwrap();
    put(&first, "after", "3").await;
    assert!(turned.lag().await.unwrap().bytes > 0);
    assert_eq!(get(&first.direct_url(), "after").await, None, "what it hears comes through its link");
    cut.heal().await.unwrap();
    turned.caught_up().await.unwrap();

    turned.take_over().await.unwrap();
    for url in [first.url(), second.url()] {
        assert_eq!(get(&url, "after").await.as_deref(), Some("3"));
    }
    put(&first, "back", "4").await;
    assert_eq!(get(&first.direct_url(), "back").await.as_deref(), Some("4"));
    assert_eq!(get(&second.service().direct_url(), "back").await, None);
}

async fn a_slow_replication_slows_nobody_else(builder: StackBuilder) {
    let stack = builder.postgres(Postgres::new().replica("standby")).start().await.unwrap();
    let (primary, replica) = (stack.postgres(), stack.replica("standby").unwrap());
    execute(&primary.url(), "create table kept (n int)").await.unwrap();
    replica.caught_up().await.unwrap();
    let late = Duration::from_millis(600);
    let slow = replica.link().latency(late).inject().await.unwrap();
    execute(&primary.url(), "insert into kept values (1)").await.unwrap();
    let written = Instant::now();
    assert_eq!(
        one(&replica.url(), "select count(*)::text from kept").await,
        "0",
        "an answer of the replica itself"
    );
    replica.caught_up().await.unwrap();
    assert!(written.elapsed() > late / 2, "{:?}", written.elapsed());
    slow.heal().await.unwrap();

    // The replica's users have a proxy of their own.
    let away = replica.service().inject(Fault::Down).await.unwrap();
    assert!(execute(&replica.url(), "select 1").await.is_err());
    execute(&primary.url(), "insert into kept values (2)").await.unwrap();
    replica.caught_up().await.unwrap();
    away.heal().await.unwrap();
}

async fn a_killed_replica_follows_again(builder: StackBuilder) {
    let builder = builder.postgres(Postgres::new().replica("one")).redis(Redis::new().replica("two"));
    let stack = builder.start().await.unwrap();
    let replicas = [stack.replica("one").unwrap(), stack.replica("two").unwrap()];
    for replica in &replicas {
        let kill = replica.service().inject(Fault::Kill).await.unwrap();
        assert!(replica.lag().await.is_err(), "nobody can tell");
        kill.heal().await.unwrap();
        replica.caught_up().await.unwrap();
    }
    put(&stack.redis(), "kept", "1").await;
    replicas[1].caught_up().await.unwrap();
    assert_eq!(get(&replicas[1].url(), "kept").await.as_deref(), Some("1"));
}

async fn a_replica_that_can_not_start_leaves_nothing(builder: StackBuilder) {
    let stack = builder.postgres(Postgres::new()).start().await.unwrap();
    leaves_nothing(&stack, "postgres").await;
}

async fn a_redis_replica_that_can_not_start_leaves_nothing(builder: StackBuilder) {
    let stack = builder.ready_deadline(Duration::from_secs(4)).redis(Redis::new()).start().await.unwrap();
    leaves_nothing(&stack, "redis").await;
}

async fn leaves_nothing(stack: &Stack, of: &str) {
    let id = stack.folder().file_name().unwrap().to_string_lossy().replace("seaworthy-", "");
    let filter = format!("label=seaworthy.stack={id}");
    let containers = || {
        let listing = Command::new("docker").args(["ps", "-aq", "--filter", &filter]).output();
        listing.map_or(0, |listing| listing.stdout.split(|byte| *byte == b'\n').count())
    };
    assert!(matches!(stack.replica("late"), Err(Error::UnknownService { .. })));
    let before = containers();
    let pause = stack.service(of).unwrap().inject(Fault::Pause).await.unwrap();
    let error = stack.start_replica("late", of).await.unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "{error}");
    let names: Vec<String> = stack.all().iter().map(|service| service.name().to_owned()).collect();
    assert_eq!(names, [of]);
    assert!(!stack.folder().join("late").exists());
    let give_up = Instant::now() + Duration::from_secs(10);
    while containers() != before {
        assert!(Instant::now() < give_up, "a container is left");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    pause.heal().await.unwrap();

    // Its name is free again.
    let late = stack.start_replica("late", of).await.unwrap();
    late.caught_up().await.unwrap();
    let error = stack.start_replica("late", of).await.unwrap_err();
    assert!(matches!(error, Error::ServiceExists { .. }), "{error}");
    let error = stack.start_replica("a/b", of).await.unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
}
