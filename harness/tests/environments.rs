//! Tests in environments of their own, as users write them.

use std::{
    borrow::Cow,
    time::{Duration, Instant},
};

use redis::AsyncCommands;
use seaworthy_harness::{
    Env, Postgres, ProviderChoice, Redis, Stack, assert_no_n_plus_one, assert_queries, env::Schema,
};
use sqlx::{
    Connection, Executor, PgConnection, SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
};

const ORDERS: &str = "create table orders (id serial primary key, customer text not null)";

fn orders() -> Schema {
    Schema::new().sql(ORDERS).run("one-order", |pool| async move {
        sqlx::query("insert into orders (customer) values ('Ada')").execute(&pool).await?;
        Ok(())
    })
}

async fn count(env: &Env) -> i64 {
    let db = env.postgres().await;
    sqlx::query_scalar("select count(*) from orders").fetch_one(&*db).await.unwrap()
}

#[seaworthy_harness::test(schema = orders())]
async fn a_test_has_its_schema_and_its_seeds(env: Env) {
    assert_eq!(count(&env).await, 1);
}

#[seaworthy_harness::test(migrations = "tests/database/migrations", seeds = "tests/database/seeds.sql")]
async fn migrations_and_seeds_are_found_from_the_crates_folder(env: Env) {
    let db = env.postgres().await;
    let paid: Vec<String> =
        sqlx::query_scalar("select customer from orders where paid").fetch_all(&*db).await.unwrap();
    assert_eq!(paid, ["Ada"]);
}

/// As `sqlx::migrate!` makes one, which needs a feature of sqlx that we do not.
static MIGRATOR: Migrator = Migrator { migrations: Cow::Borrowed(&[]), ..Migrator::DEFAULT };

#[seaworthy_harness::test(migrator = MIGRATOR)]
async fn a_migrator_of_the_program_is_taken(env: Env) {
    let db = env.postgres().await;
    let ran: i64 = sqlx::query_scalar("select count(*) from _sqlx_migrations").fetch_one(&*db).await.unwrap();
    assert_eq!(ran, 0);
}

fn one_migration() -> Migrator {
    let sql = "create table orders (id serial primary key, customer text not null)";
    let migration = Migration::new(1, "orders".into(), MigrationType::Simple, sql.into_sql_str(), false);
    Migrator::with_migrations(vec![migration])
}

#[seaworthy_harness::test(schema = Schema::new().migrator(one_migration()), seeds = "tests/database/more-seeds.sql")]
async fn other_seeds_make_another_template(env: Env) {
    assert_eq!(count(&env).await, 1);
    let unseeded = Env::builder().schema(Schema::new().migrator(one_migration())).build();
    assert_eq!(count(&unseeded).await, 0);
}

#[seaworthy_harness::test(schema = orders())]
async fn what_a_test_writes_no_other_sees(env: Env) {
    let db = env.postgres().await;
    sqlx::query("insert into orders (customer) values ('Grace')").execute(&*db).await.unwrap();
    let other = env.fresh();
    assert_eq!((count(&env).await, count(&other).await), (2, 1));
}

#[seaworthy_harness::test]
async fn keys_and_channels_are_private(env: Env) {
    let (redis, others) = (env.redis().await, env.fresh().redis().await);
    let _: () = redis.connection().await.unwrap().set("greeting", "ahoy").await.unwrap();
    let seen: Option<String> = others.connection().await.unwrap().get("greeting").await.unwrap();
    assert_eq!(seen, None);
    let heard: i64 = others.connection().await.unwrap().publish("news", "land").await.unwrap();
    assert_eq!(heard, 0);
}

#[seaworthy_harness::test]
async fn a_fault_is_on_for_its_time_and_for_this_test_alone(env: Env) {
    let (db, other) = (env.postgres().await, env.fresh());
    let undisturbed = other.postgres().await;
    sqlx::query("select 1").execute(&*db).await.unwrap();
    env.postgres_faults().latency(Duration::from_millis(150)).for_secs(60);
    let asked = Instant::now();
    sqlx::query("select 1").execute(&*db).await.unwrap();
    assert!(asked.elapsed() >= Duration::from_millis(150));
    assert!(undisturbed.service().proxy().unwrap().toxics().is_empty());
    env.postgres_faults().down().to_the_end();
    assert!(PgConnection::connect(&db.url()).await.is_err());
    assert!(PgConnection::connect(&db.direct_url()).await.is_ok());
}

#[seaworthy_harness::test(schema = orders())]
fn a_test_need_not_be_async(env: Env) {
    assert_eq!(env.block_on(count(&env)), 1);
    assert_eq!(Env::current().name(), env.name());
}

#[seaworthy_harness::test(schema = orders(), isolation = "transaction")]
async fn a_transaction_is_rolled_back(env: Env) {
    for _ in 0..2 {
        let mut transaction = env.transaction().await;
        sqlx::query("insert into orders (customer) values ('Grace')")
            .execute(&mut *transaction)
            .await
            .unwrap();
        let count: i64 =
            sqlx::query_scalar("select count(*) from orders").fetch_one(&mut *transaction).await.unwrap();
        assert_eq!(count, 2);
    }
    let refused = env.try_postgres().await.unwrap_err();
    assert!(refused.to_string().contains("env.transaction()"), "{refused}");
}

#[seaworthy_harness::test(schema = orders())]
async fn a_test_may_return_an_error() -> Result<(), sqlx::Error> {
    let db = Env::current().postgres().await;
    sqlx::query("select 1").execute(&*db).await?;
    Ok(())
}

mod with_rstest {
    use rstest::rstest;
    use seaworthy_harness::{Env, env::fixture as env};

    #[rstest]
    #[case("Ada", 3)]
    #[case("Grace", 5)]
    #[seaworthy_harness::test(schema = crate::orders())]
    async fn each_case_has_a_world_of_its_own(env: Env, #[case] customer: &str, #[case] orders: i64) {
        let db = env.postgres().await;
        for _ in 0..orders {
            sqlx::query("insert into orders (customer) values ($1)")
                .bind(customer)
                .execute(&*db)
                .await
                .unwrap();
        }
        assert_eq!(super::count(&env).await, orders + 1);
    }
}

mod with_proptest {
    use proptest::prelude::*;
    use seaworthy_harness::Env;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

        #[seaworthy_harness::test(schema = super::orders())]
        fn every_customer_is_kept_as_it_was(customers in prop::collection::vec("[a-z' ]{0,12}", 0..6)) {
            let env = Env::current().fresh();
            let kept: sqlx::Result<Vec<String>> = env.block_on(async {
                let db = env.postgres().await;
                for customer in &customers {
                    sqlx::query("insert into orders (customer) values ($1)").bind(customer).execute(&*db).await?;
                }
                sqlx::query_scalar("select customer from orders order by id offset 1").fetch_all(&*db).await
            });
            prop_assert_eq!(kept.map_err(|error| TestCaseError::fail(error.to_string()))?, customers);
        }
    }
}

/// Runs one of this program's ignored tests, and gives what it printed and whether it passed.
fn play(test: &str, settings: &[(&str, &str)]) -> (String, bool) {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--include-ignored", "--nocapture"])
        .envs(settings.iter().copied())
        .env("RUST_BACKTRACE", "0")
        .env_remove("NEXTEST")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (String::from_utf8_lossy(&said).into_owned(), output.status.success())
}

#[seaworthy_harness::test(schema = orders())]
#[ignore = "it is to fail, for another test"]
async fn a_failing_test(env: Env) {
    let db = env.postgres().await;
    let script = "echo the shop is open; exec sleep 600";
    let shop = seaworthy_harness::App::worker("/bin/sh", "open").args(["-c", script]);
    env.app("shop", shop).await;
    sqlx::query("select 1").execute(&*db).await.unwrap();
    let _: () = env.redis().await.connection().await.unwrap().set("greeting", "a secret").await.unwrap();
    env.postgres_faults().latency(Duration::from_millis(1)).to_the_end();
    let refused = sqlx::query("select nothing from nowhere").execute(&*db).await.unwrap_err();
    panic!("{refused}");
}

#[test]
fn a_failing_test_says_what_one_needs_to_know() {
    let (said, passed) = play("a_failing_test", &[("SEAWORTHY_SEED", "77")]);
    assert!(!passed, "{said}");
    let expected = [
        "── a_failing_test failed after",
        "kept while tests run",
        "psql 'postgres://",
        "a fault was on: postgres: Latency",
        "postgres was told:",
        "select 1  [SELECT 1,",
        "select nothing from nowhere  [failed: 42P01 relation \"nowhere\" does not exist,",
        "redis was told:",
        "SET greeting",
        "postgres logged:",
        "relation \"nowhere\" does not exist",
        "STATEMENT:  select nothing from nowhere",
        "shop logged:",
        "the shop is open",
        "SEAWORTHY_SEED=77 cargo test -p seaworthy-harness a_failing_test -- --exact",
    ];
    for text in expected {
        assert!(said.contains(text), "`{text}` is not in:\n{said}");
    }
    assert!(!said.contains("a secret"), "{said}");
}

#[seaworthy_harness::test(schema = orders())]
async fn queries_are_counted_wherever_they_come_from(env: Env) {
    let db = env.postgres().await;
    let customers = assert_queries!(env, == 2, {
        // Somebody else's connection, as an application's.
        let mut connection = PgConnection::connect(&db.url()).await.unwrap();
        connection.execute("insert into orders (customer) values ('Grace')").await.unwrap();
        sqlx::query_scalar::<_, String>("select customer from orders order by id").fetch_all(&*db).await.unwrap()
    });
    assert_eq!(customers, ["Ada", "Grace"]);
    let mark = env.queries().mark();
    for customer in &customers {
        for _ in 0..3 {
            sqlx::query("select id from orders where customer = $1")
                .bind(customer)
                .fetch_all(&*db)
                .await
                .unwrap();
        }
    }
    let repeated = env.queries().since(mark).repeated(5);
    assert_eq!((repeated.len(), repeated[0].times), (1, 6));
    assert_no_n_plus_one!(env, threshold = 7);
    let undisturbed = env.fresh();
    undisturbed.postgres().await;
    assert_queries!(undisturbed, == 0);
}

#[seaworthy_harness::test(schema = Schema::new().sql("create table orders (id int);; selekt 1"))]
#[ignore = "it is to fail, for another test"]
async fn a_test_with_a_wrong_schema(env: Env) {
    env.postgres().await;
}

#[seaworthy_harness::test(migrations = "no-such-folder")]
#[ignore = "it is to fail, for another test"]
async fn a_test_with_no_migrations(env: Env) {
    env.postgres().await;
}

#[seaworthy_harness::test(connections = 5000)]
#[ignore = "it is to fail, for another test"]
async fn a_test_with_too_many_connections(env: Env) {
    env.postgres().await;
}

#[seaworthy_harness::test(timeout_secs = 1)]
#[ignore = "it is to fail, for another test"]
async fn a_test_that_hangs(_env: Env) {
    std::future::pending().await
}

#[seaworthy_harness::test]
#[ignore = "it is to fail, for another test"]
async fn a_test_that_returns_an_error() -> Result<(), String> {
    Err("the sea is rough".to_owned())
}

#[seaworthy_harness::test]
#[ignore = "it is to fail, for another test"]
async fn a_test_that_kills_what_others_use(env: Env) {
    let db = env.postgres().await;
    let refused = db.service().inject(seaworthy_harness::Fault::Kill).await.unwrap_err();
    panic!("{refused}");
}

#[seaworthy_harness::test]
#[ignore = "it is to fail, for another test"]
async fn a_test_that_faults_what_it_has_not(env: Env) {
    env.redis_faults().down().to_the_end();
}

#[test]
fn what_is_wrong_with_a_test_is_said_in_words() {
    let cases = [
        ("a_test_with_a_wrong_schema", "the schema of the test's database failed at `create table orders"),
        ("a_test_with_a_wrong_schema", "selekt"),
        ("a_test_with_no_migrations", "no-such-folder"),
        ("a_test_with_too_many_connections", "a test asks for 5000 connections at once"),
        ("a_test_that_hangs", "the test took longer than 1s"),
        ("a_test_that_returns_an_error", "the sea is rough"),
        ("a_test_that_returns_an_error", "run it again: SEAWORTHY_SEED="),
        ("a_test_that_kills_what_others_use", "other tests use it at the same time"),
        ("a_test_that_faults_what_it_has_not", "the test has no service `redis` yet"),
    ];
    for (test, text) in cases {
        let (said, passed) = play(test, &[]);
        assert!(!passed && said.contains(text), "{test}: `{text}` is not in:\n{said}");
    }
}

#[seaworthy_harness::test(isolation = "server")]
async fn a_server_of_its_own_has_no_roles_of_others(env: Env) {
    let db = env.postgres().await;
    let roles: Vec<String> =
        sqlx::query_scalar("select rolname::text from pg_roles where not starts_with(rolname, 'pg_')")
            .fetch_all(&*db)
            .await
            .unwrap();
    assert_eq!(roles.len(), 1, "{roles:?}");
    db.execute("create role captain").await.unwrap();
}

#[seaworthy_harness::test(durability = "on")]
async fn a_durable_server_is_the_tests_own_and_survives_a_kill(env: Env) {
    let db = env.postgres().await;
    sqlx::query("create table kept as select 1 as one").execute(&*db).await.unwrap();
    let kill = db.service().inject(seaworthy_harness::Fault::Kill).await.unwrap();
    assert!(PgConnection::connect(&db.direct_url()).await.is_err());
    kill.heal().await.unwrap();
    let one: i32 = sqlx::query_scalar("select one from kept").fetch_one(&*db).await.unwrap();
    assert_eq!(one, 1);
}

/// Runs all tests of this program again with these settings, but those of these names.
fn replay(settings: &[(&str, String)], skipped: &[&str]) {
    let mut program = std::process::Command::new(std::env::current_exe().unwrap());
    for name in skipped.iter().chain(&["the_outcomes_are_the_same"]) {
        program.args(["--skip", name]);
    }
    let output = program.envs(settings.iter().map(|(name, value)| (name, value))).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "with {settings:?}: {said}");
    assert!(said.contains("a_transaction_is_rolled_back ... ok"), "{said}");
}

#[test]
fn the_outcomes_are_the_same_in_containers() {
    let info = std::process::Command::new("docker").arg("info").output();
    if info.is_ok_and(|info| info.status.success()) {
        replay(&[("SEAWORTHY_PROVIDER", "docker".to_owned())], &[]);
    } else {
        assert!(std::env::var_os("SEAWORTHY_REQUIRE_DOCKER").is_none(), "SEAWORTHY_REQUIRE_DOCKER is set");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outcomes_are_the_same_on_servers_that_run_already_and_nothing_else_there_is_touched() {
    let builder =
        Stack::builder().provider(ProviderChoice::Native).postgres(Postgres::new()).redis(Redis::new());
    let stack = builder.start().await.unwrap();
    let (postgres, redis) = (stack.postgres().direct_url(), stack.redis().direct_url());
    let mut admin = PgConnection::connect(&postgres).await.unwrap();
    admin.execute("create table theirs as select 1 as one").await.unwrap();
    admin.execute("create database seaworthy_but_theirs").await.unwrap();
    let client = redis::Client::open(redis.as_str()).unwrap();
    let mut theirs = client.get_multiplexed_async_connection().await.unwrap();
    let _: () = theirs.set("theirs", 1).await.unwrap();
    let settings = [
        ("SEAWORTHY_PROVIDER", "external".to_owned()),
        ("SEAWORTHY_POSTGRES_URL", postgres.clone()),
        ("SEAWORTHY_REDIS_URL", redis.clone()),
    ];
    // A server that is not ours has no log for us, and can be neither killed nor cleaned.
    let own_server = "a_server_of_its_own_has_no_roles_of_others";
    let skipped = ["a_failing_test_says", "a_durable_server", own_server];
    admin.execute("create role theirs").await.unwrap();
    tokio::task::spawn_blocking(move || {
        replay(&settings, &skipped);
        for _ in 0..2 {
            let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
            let (said, passed) = play(own_server, &settings);
            assert!(!passed && said.contains("others may use the server"), "{said}");
        }
    })
    .await
    .unwrap();
    let roles: i64 = sqlx::query_scalar("select count(*) from pg_roles where rolname = 'theirs'")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    assert_eq!(roles, 1);

    let give_up = Instant::now() + Duration::from_secs(20);
    loop {
        let databases: Vec<String> =
            sqlx::query_scalar("select datname from pg_database where not datistemplate order by 1")
                .fetch_all(&mut admin)
                .await
                .unwrap();
        if databases == ["postgres", "seaworthy_but_theirs"] {
            break;
        }
        assert!(Instant::now() < give_up, "{databases:?} are left");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let one: i32 = sqlx::query_scalar("select one from theirs").fetch_one(&mut admin).await.unwrap();
    let theirs: i32 = theirs.get("theirs").await.unwrap();
    assert_eq!((one, theirs), (1, 1));
}
