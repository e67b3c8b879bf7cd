//! Faults that know the protocol, between real clients and real servers.

use std::time::Duration;

use seaworthy_fault_proxy::{Postgres as OnPostgres, Redis as OnRedis, Toxic};
use seaworthy_harness::{Postgres, ProviderChoice, Redis, Stack};
use sqlx::{Connection, Executor, PgConnection, Row};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(10);

async fn postgres() -> Stack {
    let stack = Stack::builder().provider(ProviderChoice::Native).postgres(Postgres::new());
    let stack = stack.start().await.unwrap();
    let mut direct = PgConnection::connect(&stack.postgres().direct_url()).await.unwrap();
    direct.execute("create table t (n int primary key)").await.unwrap();
    stack
}

/// Inserts a row in a transaction of its own.
async fn insert(connection: &mut PgConnection, n: i32) -> Result<(), sqlx::Error> {
    let work = async {
        let mut transaction = connection.begin().await?;
        sqlx::query("insert into t values ($1)").bind(n).execute(&mut *transaction).await?;
        transaction.commit().await
    };
    timeout(DEADLINE, work).await.expect("an answer or an end within the deadline")
}

/// The rows that are there, as seen past the proxy.
async fn rows(stack: &Stack) -> Vec<i32> {
    let mut direct = PgConnection::connect(&stack.postgres().direct_url()).await.unwrap();
    let rows = direct.fetch_all("select n from t order by n").await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn until_there(stack: &Stack, wanted: &[i32]) {
    let polling = async {
        while rows(stack).await != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(DEADLINE, polling).await.is_ok(), "{:?} are there, not {wanted:?}", rows(stack).await);
}

fn sqlstate(outcome: Result<(), sqlx::Error>) -> String {
    let error = outcome.unwrap_err();
    let error = error.as_database_error().unwrap_or_else(|| panic!("no answer of the server: {error}"));
    error.code().unwrap_or_default().into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_cut_after_sending_is_committed_and_the_client_never_hears() {
    let stack = postgres().await;
    let proxy = stack.postgres().proxy().unwrap().clone();
    let mut client = PgConnection::connect(&stack.postgres().url()).await.unwrap();
    insert(&mut client, 1).await.unwrap();

    proxy.add_toxic(Toxic::cut(OnPostgres::query("COMMIT")).after_sending().once().named("lost")).unwrap();
    let error = insert(&mut client, 2).await.unwrap_err();
    assert!(error.as_database_error().is_none(), "the server's own answer came through: {error}");
    until_there(&stack, &[1, 2]).await;
    assert_eq!(proxy.hits("lost").unwrap(), 1);

    // Once is once: who tries again on another connection succeeds.
    let mut client = PgConnection::connect(&stack.postgres().url()).await.unwrap();
    insert(&mut client, 3).await.unwrap();
    assert_eq!(rows(&stack).await, [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_cut_before_sending_is_rolled_back() {
    let stack = postgres().await;
    stack.postgres().proxy().unwrap().add_toxic(Toxic::cut(OnPostgres::query("COMMIT")).once()).unwrap();
    let mut client = PgConnection::connect(&stack.postgres().url()).await.unwrap();
    insert(&mut client, 1).await.unwrap_err();
    let mut client = PgConnection::connect(&stack.postgres().url()).await.unwrap();
    insert(&mut client, 2).await.unwrap();
    assert_eq!(rows(&stack).await, [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_insert_that_is_cut_after_sending_takes_effect() {
    let stack = postgres().await;
    let toxic = Toxic::cut(OnPostgres::query("insert")).after_sending().once();
    stack.postgres().proxy().unwrap().add_toxic(toxic).unwrap();
    let mut client = PgConnection::connect(&stack.postgres().url()).await.unwrap();
    let inserting = sqlx::query("insert into t values ($1)").bind(7).execute(&mut client);
    assert!(timeout(DEADLINE, inserting).await.unwrap().is_err());
    until_there(&stack, &[7]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_fails_with_the_sqlstate_and_the_connection_lives_on() {
    let stack = postgres().await;
    let proxy = stack.postgres().proxy().unwrap().clone();
    let mut client = PgConnection::connect(&stack.postgres().url()).await.unwrap();

    proxy.add_toxic(Toxic::fail(OnPostgres::query("insert")).with_error("40001").nth(1).named("a")).unwrap();
    assert_eq!(sqlstate(insert(&mut client, 1).await), "40001");
    insert(&mut client, 2).await.unwrap();
    proxy.remove_toxic("a").unwrap();

    let commit = Toxic::fail(OnPostgres::query("COMMIT")).after_sending().with_error("40001");
    proxy.add_toxic(commit.named("b")).unwrap();
    assert_eq!(sqlstate(insert(&mut client, 3).await), "40001");
    proxy.remove_toxic("b").unwrap();
    insert(&mut client, 4).await.unwrap();
    assert_eq!(rows(&stack).await, [2, 3, 4], "the failed insert is not there, the failed commit is");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_command_fails_waits_or_is_lost_with_its_connection() {
    let stack = Stack::builder().provider(ProviderChoice::Native).redis(Redis::new()).start().await.unwrap();
    let proxy = stack.redis().proxy().unwrap().clone();
    let connect = async |url: String| {
        redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap()
    };
    let mut direct = connect(stack.redis().direct_url()).await;
    let mut client = connect(stack.redis().url()).await;
    let incr = async |client: &mut redis::aio::MultiplexedConnection| {
        let mut command = redis::cmd("INCR");
        let asking = command.arg("n").query_async::<i64>(client);
        timeout(DEADLINE, asking).await.expect("an answer or an end within the deadline")
    };

    proxy.add_toxic(Toxic::fail(OnRedis::command("incr")).with_error("LOADING later").first(1)).unwrap();
    let error = incr(&mut client).await.unwrap_err();
    assert!(error.to_string().contains("later"), "{error}");
    assert_eq!(incr(&mut client).await.unwrap(), 1);

    proxy.update_toxic(Toxic::fail(OnRedis::command("incr").with_key("n")).after_sending().first(1)).unwrap();
    incr(&mut client).await.unwrap_err();
    assert_eq!(incr(&mut direct).await.unwrap(), 3, "the one that failed was carried out");

    proxy.update_toxic(Toxic::cut(OnRedis::command("incr")).after_sending()).unwrap();
    incr(&mut client).await.unwrap_err();
    let mut counted = 0;
    while counted < 4 {
        counted = redis::cmd("GET").arg("n").query_async::<i64>(&mut direct).await.unwrap();
    }
    assert_eq!(counted, 4);
}
