//! Records elsewhere than in Postgres.

use std::{collections::HashMap, fs};

use redis::AsyncCommands;
use seaworthy_factories::{Error, Factory, Seed};
use seaworthy_harness::Env;

use crate::shop::{LineItemFactory, OrderFactory, UserFactory};

#[test]
fn lines_of_json_and_csv_have_the_whole_plan_with_its_keys() -> Result<(), Error> {
    let folder = tempfile::tempdir().unwrap();
    let factory = || OrderFactory::new().seed(Seed(7)).count(2).has(LineItemFactory::new().count(2));
    assert_eq!(factory().write_json_lines(folder.path())?, 2 + 2 + 4 + 4);
    assert_eq!(factory().write_csv(folder.path())?, 12);
    let mut names: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "line_item.csv",
            "line_item.jsonl",
            "order.csv",
            "order.jsonl",
            "product.csv",
            "product.jsonl",
            "user.csv",
            "user.jsonl"
        ]
    );
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    insta::assert_snapshot!([read("order.jsonl"), read("line_item.csv"), read("user.csv")].join("\n"));
    Ok(())
}

#[test]
fn a_record_without_a_form_in_json_is_named_and_no_file_is_left() {
    #[derive(Debug, Factory)]
    struct Plain {
        #[factory(key)]
        _id: i64,
    }
    let folder = tempfile::tempdir().unwrap();
    let error = PlainFactory::new().write_json_lines(&folder).unwrap_err();
    insta::assert_snapshot!(error, @"factory `plain`: the record has no JSON form: derive `serde::Serialize` for it");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

#[seaworthy_harness::test]
async fn redis_has_a_hash_for_each(env: Env) -> Result<(), Error> {
    let redis = env.redis().await;
    let mut connection = redis.connection().await.unwrap();
    let rows =
        UserFactory::new().name("Ada").count(300).has(OrderFactory::new()).store(&mut connection).await?;
    assert_eq!(rows, 600);
    let user: HashMap<String, String> = connection.hgetall("user:300").await?;
    assert_eq!((user["name"].as_str(), user["id"].as_str()), ("Ada", "300"));
    assert!(user["settings"].starts_with("{\"dark\":"));
    let owner: String = connection.hget("order:7", "user_id").await?;
    assert_eq!(owner, "7");
    Ok(())
}
