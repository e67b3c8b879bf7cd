//! Tests in environments of their own, as users write them.

use std::time::{Duration, Instant};

use redis::AsyncCommands;
use seaworthy_harness::{Env, env::Schema};
use sqlx::{Connection, PgConnection};

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
