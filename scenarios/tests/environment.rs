//! The shop in the environment of a test, as a team tests its own service: the example of the guide, whole.

use std::time::Duration;

use futures_util::SinkExt;
use seaworthy_harness::{
    App, Env, assert_no_n_plus_one, assert_queries, eventually,
    observed::{opened, received, sent},
};
use serde_json::json;
use tokio_tungstenite::{connect_async, tungstenite::Message};
use uuid::Uuid;

/// The shop's server and one of its workers.
async fn shop(env: &Env) -> String {
    let (db, redis) = (env.postgres().await, env.redis().await);
    let program = env!("CARGO_BIN_EXE_seaworthy");
    let dress = |app: App| app.env("DATABASE_URL", db.url()).env("REDIS_URL", redis.url());
    let server = App::server(program, "/readyz").args(["shop", "serve", "--listen", "127.0.0.1:{port}"]);
    let url = env.app("shop", dress(server)).await.url();
    let worker = App::worker(program, "a worker is at work").args(["shop", "work", "--packing-ms", "1"]);
    env.app("worker", dress(worker)).await;
    url
}

#[seaworthy_harness::test(connections = 40)]
async fn an_order_is_fulfilled_while_the_database_is_slow_and_its_watcher_hears_of_it(env: Env) {
    let url = shop(&env).await;
    let order = Uuid::new_v4();
    let (mut socket, _) = connect_async(format!("{}/ws", url.replacen("http", "ws", 1))).await.unwrap();
    socket.send(Message::text(json!({ "watch": [order] }).to_string())).await.unwrap();
    env.postgres_faults().latency(Duration::from_millis(50)).for_secs(1);

    let new = json!({ "id": order, "customer": "Ada", "item": "sextant", "quantity": 1 });
    let placed = assert_queries!(env, <= 40, {
        reqwest::Client::new().post(format!("{url}/orders")).json(&new).send().await.unwrap()
    });
    assert!(placed.status().is_success(), "{placed:?}");
    let transcript = env.transcript("shop");
    eventually("the watcher hears that the order is fulfilled", Duration::from_secs(20), || async {
        let heard = transcript.received();
        heard.iter().any(|message| message.text.as_str().contains("fulfilled"))
    })
    .await;
    transcript.assert_order(&[opened(), sent("watch"), received("fulfilled")]);
    assert_no_n_plus_one!(env, threshold = 1000);
}

#[seaworthy_harness::test(connections = 40)]
async fn each_test_has_a_shop_of_its_own(env: Env) {
    let other = env.fresh();
    let (url, others) = tokio::join!(shop(&env), shop(&other));
    let new = json!({ "id": Uuid::new_v4(), "customer": "Grace", "item": "rope", "quantity": 2 });
    let placed = reqwest::Client::new().post(format!("{url}/orders")).json(&new).send().await.unwrap();
    assert!(placed.status().is_success(), "{placed:?}");
    let id = new["id"].as_str().unwrap();
    let (here, there) = (format!("{url}/orders/{id}"), format!("{others}/orders/{id}"));
    assert!(reqwest::get(here).await.unwrap().status().is_success());
    assert_eq!(reqwest::get(there).await.unwrap().status(), reqwest::StatusCode::NOT_FOUND);
}
