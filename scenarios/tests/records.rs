//! The factories of the shop's and the queue's records, and the command that fills tables with them.

use std::process::Command;

use seaworthy_harness::{Env, env::Schema};
use seaworthy_queue::Queue;
use seaworthy_scenarios::records::{DeadLetterFactory, JobFactory, OrderFactory, ReadyJobFactory, lint};
use sqlx::PgPool;

fn shop() -> Schema {
    Schema::new().run("shop-and-queue-v1", |pool| async move { Ok(seaworthy_shop::migrate(&pool).await?) })
}

async fn count(db: &PgPool, table: &str) -> i64 {
    sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select count(*) from {table}")))
        .fetch_one(db)
        .await
        .unwrap()
}

#[seaworthy_harness::test(schema = shop())]
async fn every_factory_in_every_state_fits_the_shop_and_the_queue(env: Env) {
    let db = env.postgres().await;
    assert_eq!(lint().run(&db).await.unwrap(), 9);
}

#[seaworthy_harness::test(schema = shop())]
async fn the_queue_takes_made_jobs_for_its_own(env: Env) {
    let db = env.postgres().await;
    JobFactory::new().count(300).has(ReadyJobFactory::new()).create(&db).await.unwrap();
    DeadLetterFactory::new().count(5).create(&db).await.unwrap();
    let stats = Queue::new(db.pool().clone()).stats().await.unwrap();
    assert_eq!((stats.ready, stats.dead), (300, 5));
}

#[seaworthy_harness::test(schema = shop())]
async fn orders_come_in_bursts_and_some_items_sell_most(env: Env) {
    let db = env.postgres().await;
    OrderFactory::new().count(2_000).insert(&db).await.unwrap();
    let busiest: i64 = sqlx::query_scalar(
        "select count(*) from shop.orders group by date_trunc('day', created_at) order by count(*) desc limit 1",
    )
    .fetch_one(&*db)
    .await
    .unwrap();
    // Spread evenly it would be 22 a day.
    assert!(busiest > 100, "{busiest}");
    let by_item: Vec<(String, i64)> =
        sqlx::query_as("select item, count(*) from shop.orders group by item order by count(*) desc")
            .fetch_all(&*db)
            .await
            .unwrap();
    assert_eq!(by_item[0].0, "rope");
}

#[seaworthy_harness::test(schema = shop())]
async fn the_command_fills_a_database_and_files(env: Env) {
    let db = env.postgres().await;
    let seed = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_seaworthy"))
            .args(["seed", "--seed", "7"])
            .args(args)
            .env("DATABASE_URL", db.url())
            .output()
            .unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said)
    };
    let (code, said) = seed(&["--factory", "fulfilled-order", "--count", "200"]);
    assert!(code == Some(0) && said.starts_with("400 rows in "), "{said}");
    assert_eq!((count(&db, "shop.orders").await, count(&db, "shop.fulfilment").await), (200, 200));
    let (code, said) = seed(&["--factory", "order", "--count", "5", "--starting-at", "200"]);
    assert!(code == Some(0) && said.starts_with("5 rows in "), "{said}");
    // The same numbers of the same seed are the same records, and their ids are there.
    let (code, said) = seed(&["--factory", "order", "--count", "1"]);
    assert!(
        code == Some(3) && said.contains("factory `order`: field `id` of record number 0: duplicate key"),
        "{said}"
    );
    let folder = std::env::temp_dir().join(format!("seaworthy-test-seed-{}", std::process::id()));
    let (code, said) = seed(&["--factory", "dead-letter", "--count", "3", "--csv", folder.to_str().unwrap()]);
    assert!(code == Some(0) && said.starts_with("6 rows in "), "{said}");
    let lines = std::fs::read_to_string(folder.join("dead_letter.csv")).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(lines.lines().count(), 4);
}
