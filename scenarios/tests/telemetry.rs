//! What the shop tells about itself, from outside: ids that follow a request to its worker, problems, health, metrics, and no secrets.

use std::time::{Duration, Instant};

use reqwest::{Client, Response, StatusCode, header};
use seaworthy_harness::{App, Fault, Postgres, ProviderChoice, Redis, Service, Stack};
use serde_json::{Value, json};
use uuid::Uuid;

/// In every place where a careless service would let it out.
const SECRET: &str = "hunter2-c4n4ry";
const TOKEN: &str = "a-token-for-the-debug-routes";
const DEADLINE: Duration = Duration::from_secs(20);

async fn shop() -> Stack {
    let program = env!("CARGO_BIN_EXE_seaworthy");
    let dress = |app: App, stack: &Stack| {
        app.env("DATABASE_URL", stack.postgres().url())
            .env("REDIS_URL", stack.redis().url())
            .env("SEAWORTHY_LOG", "json")
            .env("SEAWORTHY_LOG_LEVEL", "debug")
            .env("SEAWORTHY_DEBUG_TOKEN", TOKEN)
    };
    let server = App::server(program, "/readyz").args(["shop", "serve", "--listen", "127.0.0.1:{port}"]);
    let stack = Stack::builder()
        .provider(ProviderChoice::from_env().unwrap())
        .postgres(Postgres::new())
        .redis(Redis::new())
        .websocket(move |stack| dress(server, stack))
        .start()
        .await
        .unwrap();
    let worker = App::worker(program, "a worker is at work").args(["shop", "work", "--packing-ms", "1"]);
    stack.start_app("worker", dress(worker, &stack)).await.unwrap();
    stack
}

async fn place(url: &str, order: &Value) -> Response {
    Client::new()
        .post(format!("{url}/orders?token={SECRET}"))
        .header("x-request-id", "order-from-the-test")
        .header(header::AUTHORIZATION, format!("Bearer {SECRET}"))
        .json(order)
        .send()
        .await
        .unwrap()
}

/// The log's lines, once one of them is as wanted.
async fn lines_with(service: &Service, what: &str, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
    let give_up = Instant::now() + DEADLINE;
    loop {
        let log = service.lines("").await;
        let lines: Vec<Value> = log.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
        if lines.iter().any(&wanted) {
            return lines;
        }
        assert!(Instant::now() < give_up, "{what} was not logged:\n{}", log.join("\n"));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn problem(response: Response) -> (StatusCode, Value) {
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    (response.status(), response.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_followed_to_its_worker_and_nothing_secret_is_told() {
    let stack = shop().await;
    let (shop, worker) = (stack.websocket(), stack.service("worker").unwrap());
    let url = shop.direct_url();
    let id = Uuid::new_v4();
    let order = json!({ "id": id, "customer": SECRET, "item": SECRET, "quantity": 1 });
    let placed = place(&url, &order).await;
    assert_eq!(placed.status(), StatusCode::CREATED);
    assert_eq!(placed.headers()["x-request-id"], "order-from-the-test");

    let of_this_request = |line: &Value| line["request_id"] == "order-from-the-test";
    let is_answer = |line: &Value| of_this_request(line) && line["message"] == "answered";
    let served = lines_with(&shop, "the answer", is_answer).await;
    let answer = served.iter().find(|line| is_answer(line)).unwrap();
    let is_job = |line: &Value| of_this_request(line) && line["message"] == "a job ended";
    let worked = lines_with(&worker, "the job's end", is_job).await;
    let job = worked.iter().find(|line| is_job(line)).unwrap();
    assert_eq!(answer["trace_id"], job["trace_id"]);
    assert_ne!(answer["span_id"], job["span_id"]);

    // Refused for what is in it, for its form, for its method, and for want of Postgres.
    let (status, said) =
        problem(place(&url, &json!({ "id": id, "customer": SECRET, "item": " ", "quantity": 1 })).await)
            .await;
    assert_eq!((status, said["code"].as_str()), (StatusCode::UNPROCESSABLE_ENTITY, Some("SHOP-0001")));
    assert_eq!(
        (said["detail"].as_str(), said["request_id"].as_str()),
        (Some("item is empty"), Some("order-from-the-test"))
    );
    let (_, said) = problem(
        place(&url, &json!({ "id": id, "customer": SECRET, "item": "rope", "quantity": SECRET })).await,
    )
    .await;
    assert!(said["detail"].as_str().unwrap().contains("at `quantity`"), "{said}");
    for (path, code) in
        [("/orders/hunter2-c4n4ry", "HTTP-0400"), ("/nothing", "HTTP-0404"), ("/orders", "HTTP-0405")]
    {
        let (_, said) = problem(reqwest::get(format!("{url}{path}")).await.unwrap()).await;
        assert_eq!(said["code"], code);
        assert!(!said.to_string().contains(SECRET), "{said}");
        let explained = reqwest::get(format!("{url}{}", said["type"].as_str().unwrap())).await.unwrap();
        assert_eq!(explained.json::<Value>().await.unwrap()["code"], code);
    }
    let outage = stack.postgres().inject(Fault::Down).await.unwrap();
    let other = json!({ "id": Uuid::new_v4(), "customer": SECRET, "item": "rope", "quantity": 1 });
    let (status, said) = problem(place(&url, &other).await).await;
    assert_eq!((status, said["code"].as_str()), (StatusCode::SERVICE_UNAVAILABLE, Some("SHOP-0002")));
    let (health, livez) = (reqwest::get(format!("{url}/health")), reqwest::get(format!("{url}/livez")));
    let (health, livez) = tokio::join!(health, livez);
    assert_eq!(livez.unwrap().status(), StatusCode::OK);
    let health = health.unwrap().text().await.unwrap();
    outage.heal().await.unwrap();
    let reported = |line: &Value| line["fields"]["code"] == "SHOP-0002" || line["code"] == "SHOP-0002";
    lines_with(&shop, "the refusal", reported).await;

    let metrics = reqwest::get(format!("{url}/metrics")).await.unwrap().text().await.unwrap();
    for wanted in [
        r#"http_requests_total{method="POST",route="/orders",status="201"} 1"#,
        r#"http_requests_total{method="GET",route="unmatched",status="404"} 1"#,
        r#"queue_jobs_enqueued_total{queue="default",kind="fulfil"} 1"#,
        r#"errors_total{code="SHOP-0002"} 1"#,
        r#"postgres_statements_total{kind="insert"}"#,
        r#"postgres_pool_max_connections{pool="shop"} 8"#,
    ] {
        assert!(metrics.contains(wanted), "no {wanted} in\n{metrics}");
    }
    let logs = [shop.lines("").await, worker.lines("").await].concat().join("\n");
    let told = [logs, metrics, health].concat();
    assert!(told.contains("order-from-the-test"));
    assert!(!told.contains(SECRET), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_level_of_the_log_changes_at_run_time_and_the_debug_routes_are_closed_to_others() {
    let stack = shop().await;
    let url = stack.websocket().direct_url();
    let level = format!("{url}/debug/log/level");
    let client = Client::new();
    assert_eq!(client.get(&level).send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let ask = |request: reqwest::RequestBuilder| request.bearer_auth(TOKEN).send();
    assert_eq!(ask(client.get(&level)).await.unwrap().text().await.unwrap(), "debug");
    assert_eq!(
        ask(client.put(&level).body("warn,seaworthy_queue=info")).await.unwrap().status(),
        StatusCode::OK
    );
    assert_eq!(ask(client.get(&level)).await.unwrap().text().await.unwrap(), "warn,seaworthy_queue=info");
    let (status, said) = problem(ask(client.put(&level).body("loud")).await.unwrap()).await;
    assert_eq!((status, said["code"].as_str()), (StatusCode::BAD_REQUEST, Some("TELEMETRY-0001")));
    assert!(said["detail"].as_str().unwrap().contains("loud"), "{said}");
    let profile = ask(client.get(format!("{url}/debug/profile/allocations?seconds=1"))).await.unwrap();
    assert!(profile.json::<Value>().await.unwrap()["peak_memory"].as_u64().unwrap() > 1 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_setting_keeps_the_shop_from_starting_and_is_named() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_seaworthy"))
        .args(["shop", "serve"])
        .env("DATABASE_URL", "postgres://localhost/none")
        .env("REDIS_URL", "redis://localhost")
        .env("SEAWORTHY_LOG", "jsonn")
        .env("SEAWORTHY_LOG_QUEUE", "many")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    for wanted in ["TELEMETRY-0001", "SEAWORTHY_LOG is `jsonn`", "SEAWORTHY_LOG_QUEUE is `many`"] {
        assert!(said.contains(wanted), "no `{wanted}` in: {said}");
    }
}
