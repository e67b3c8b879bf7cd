//! Health as an orchestrator sees it, with real services that break.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
};
use http_body_util::BodyExt as _;
use seaworthy_harness::{Fault, Postgres, ProviderChoice, Redis, Stack};
use seaworthy_telemetry::health::{
    DiskCheck, Health, MemoryCheck, Outcome, PostgresCheck, RedisCheck, Status, backlog_check, routes,
};
use serde_json::Value;
use tower::ServiceExt as _;

const DEADLINE: Duration = Duration::from_millis(300);
/// What a probe may take at most, on a machine that is busy.
const SLOW: Duration = Duration::from_secs(5);

async fn get(health: &Health, path: &str) -> (StatusCode, Value) {
    let app: Router = Router::new().merge(routes(health.clone()));
    let response = app.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status();
    if status != StatusCode::NOT_FOUND {
        assert_eq!(response.headers()["content-type"], "application/health+json");
        assert_eq!(response.headers()["cache-control"], "no-store");
    }
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

async fn until(health: &Health, path: &str, wanted: StatusCode) {
    let give_up = Instant::now() + Duration::from_secs(20);
    loop {
        let (status, body) = get(health, path).await;
        if status == wanted {
            return;
        }
        assert!(Instant::now() < give_up, "{path} stays {status}: {body}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_as_ready_as_its_postgres_and_redis_and_stays_alive() {
    let provider = ProviderChoice::from_env().unwrap();
    let stack = Stack::builder()
        .provider(provider)
        .postgres(Postgres::new())
        .redis(Redis::new())
        .start()
        .await
        .unwrap();
    let pool =
        sqlx::postgres::PgPoolOptions::new().max_connections(8).acquire_timeout(Duration::from_millis(200));
    let pool = pool.connect(&stack.postgres().url()).await.unwrap();
    let redis = redis_client(&stack);
    let each_time = |settings: seaworthy_telemetry::health::CheckSettings| {
        settings.deadline(DEADLINE).every(Duration::ZERO)
    };
    let health = Health::builder("shop")
        .check_with("postgres", each_time, PostgresCheck::new(pool.clone()))
        .check_with("redis", each_time, RedisCheck::new(redis))
        .build();
    assert_eq!(get(&health, "/readyz").await.0, StatusCode::OK);

    let outage = stack.redis().inject(Fault::Down).await.unwrap();
    let (status, body) = get(&health, "/readyz").await;
    assert_eq!(
        (status, &body["components"]["redis"]),
        (StatusCode::SERVICE_UNAVAILABLE, &Value::from("fail"))
    );
    assert_eq!(body["components"]["postgres"], "pass");
    assert_eq!(get(&health, "/livez").await.0, StatusCode::OK, "a restart would not mend Redis");
    outage.heal().await.unwrap();
    until(&health, "/readyz", StatusCode::OK).await;

    let pause = stack.postgres().inject(Fault::Pause).await.unwrap();
    let began = Instant::now();
    let (status, _) = get(&health, "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(began.elapsed() < SLOW, "a probe waits for a check's deadline, not for Postgres");
    let (_, body) = get(&health, "/health").await;
    // By the check's deadline, or by the pool's own when the check would need a new connection.
    let output = body["checks"]["postgres"][0]["output"].as_str().unwrap();
    assert!(["no answer within 300ms", "it does not answer"].contains(&output), "{output}");
    pause.heal().await.unwrap();
    until(&health, "/readyz", StatusCode::OK).await;

    let mut taken = Vec::new();
    while let Ok(connection) = pool.acquire().await {
        taken.push(connection);
    }
    let (_, body) = get(&health, "/health").await;
    assert_eq!(body["checks"]["postgres"][0]["output"], "all 8 connections of the pool are in use");
    drop(taken);
    until(&health, "/readyz", StatusCode::OK).await;
    let (_, body) = get(&health, "/health").await;
    let changes = body["checks"]["postgres"][0]["changes"].as_array().unwrap();
    let states: Vec<&str> = changes.iter().map(|change| change["status"].as_str().unwrap()).collect();
    assert_eq!(states, ["pass", "fail", "pass", "fail", "pass"], "{changes:?}");
    assert!(!body.to_string().contains("postgres://"));
}

fn redis_client(stack: &Stack) -> redis::Client {
    redis::Client::open(stack.redis().url()).unwrap()
}

#[tokio::test]
async fn however_many_probes_ask_a_component_is_checked_once() {
    let checks = Arc::new(AtomicU32::new(0));
    let counted = checks.clone();
    let check = move || {
        let counted = counted.clone();
        async move {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(30)).await;
            Outcome::pass()
        }
    };
    let health = Health::builder("shop")
        .check_with("slow", |settings| settings.every(Duration::from_secs(3_600)), check)
        .build();
    // Some of the clients leave before the answer.
    for probe in 0..200 {
        let health = health.clone();
        let probe_task = tokio::spawn(async move { health.is_ready().await });
        if probe % 3 == 0 {
            tokio::task::yield_now().await;
            probe_task.abort();
        }
    }
    assert!(health.is_ready().await);
    assert_eq!(checks.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_check_that_hangs_or_panics_is_a_failed_component_and_no_more() {
    let health = Health::builder("shop")
        .check_with(
            "hangs",
            |settings| settings.deadline(Duration::from_millis(20)),
            std::future::pending::<Outcome>,
        )
        .check("panics", async || if true { panic!("hunter2") } else { Outcome::pass() })
        .check("fine", async || Outcome::pass().observed(f64::NAN, "ms").observed(1.5, "ms"))
        .build();
    let (status, body) = get(&health, "/health").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!body.to_string().contains("hunter2"), "{body}");
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "<time>");
    settings.bind(|| {
        insta::assert_snapshot!(serde_json::to_string_pretty(&body).unwrap(), @r#"
    {
      "checks": {
        "fine": [
          {
            "changes": [
              {
                "output": "",
                "status": "pass",
                "time": "<time>"
              }
            ],
            "componentName": "fine",
            "observedUnit": "ms",
            "observedValue": 1.5,
            "required": true,
            "status": "pass",
            "time": "<time>"
          }
        ],
        "hangs": [
          {
            "changes": [
              {
                "output": "no answer within 20ms",
                "status": "fail",
                "time": "<time>"
              }
            ],
            "componentName": "hangs",
            "output": "no answer within 20ms",
            "required": true,
            "status": "fail",
            "time": "<time>"
          }
        ],
        "panics": [
          {
            "changes": [
              {
                "output": "the check itself failed",
                "status": "fail",
                "time": "<time>"
              }
            ],
            "componentName": "panics",
            "output": "the check itself failed",
            "required": true,
            "status": "fail",
            "time": "<time>"
          }
        ]
      },
      "serviceId": "shop",
      "status": "fail"
    }
    "#)
    });
}

#[tokio::test]
async fn a_component_that_is_optional_or_of_another_group_keeps_nobody_from_being_ready() {
    let health = Health::builder("shop")
        .check_with("mail", |settings| settings.optional(), async || Outcome::fail("no answer"))
        .check_with("reports", |settings| settings.groups(["night"]), async || Outcome::fail("no answer"))
        .build();
    let (status, body) = get(&health, "/readyz").await;
    assert_eq!((status, body["status"].as_str()), (StatusCode::OK, Some("warn")));
    assert_eq!(get(&health, "/health").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get(&health, "/health/night").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get(&health, "/health/ready").await.0, StatusCode::OK);
    assert_eq!(get(&health, "/health/none").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_service_has_started_once_it_was_ready_and_is_not_ready_while_it_drains() {
    let up = Arc::new(AtomicBool::new(false));
    let answer = up.clone();
    let check = move || {
        let up = answer.load(Ordering::Relaxed);
        async move { if up { Outcome::pass() } else { Outcome::fail("not yet") } }
    };
    let health =
        Health::builder("shop").check_with("stock", |settings| settings.every(Duration::ZERO), check).build();
    assert_eq!(get(&health, "/startupz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    up.store(true, Ordering::Relaxed);
    assert_eq!(get(&health, "/startupz").await.0, StatusCode::OK);
    up.store(false, Ordering::Relaxed);
    assert_eq!(get(&health, "/startupz").await.0, StatusCode::OK, "it started once");
    assert_eq!(get(&health, "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    up.store(true, Ordering::Relaxed);
    assert_eq!(get(&health, "/readyz").await.0, StatusCode::OK);
    health.drain();
    assert_eq!(get(&health, "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get(&health, "/livez").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_pulse_that_stops_is_the_end_of_life_until_it_beats_again() {
    let health = Health::builder("shop").build();
    let pulse = health.pulse("relay", Duration::from_millis(50));
    assert_eq!(get(&health, "/livez").await.0, StatusCode::OK);
    until(&health, "/livez", StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(health.stopped_pulses(), ["relay"]);
    pulse.beat();
    until(&health, "/livez", StatusCode::OK).await;
    until(&health, "/livez", StatusCode::SERVICE_UNAVAILABLE).await;
    drop(pulse);
    assert_eq!(get(&health, "/livez").await.0, StatusCode::OK, "what ended in order is not dead");
}

#[tokio::test]
async fn resources_warn_before_they_run_out() {
    let age = Duration::from_secs;
    let ask =
        |waiting: u64, seconds: u64| move || async move { Ok::<_, std::io::Error>((waiting, age(seconds))) };
    let health = Health::builder("shop")
        .check("plenty of disk", DiskCheck::new("/").below(0.0, 0.0))
        .check("little disk", DiskCheck::new("/").below(1.1, 0.0))
        .check("no disk", DiskCheck::new("/").below(1.1, 1.1))
        .check("no such folder", DiskCheck::new("/no/such/folder"))
        .check("memory", MemoryCheck::new().above(0.99, 1.0))
        .check("no memory", MemoryCheck::new().above(0.0, 0.0))
        .check("short queue", backlog_check(10, age(60), ask(10, 60)))
        .check("long queue", backlog_check(10, age(60), ask(11, 1)))
        .check("old queue", backlog_check(10, age(60), ask(1, 61)))
        .check("no queue", backlog_check(10, age(60), async || Err(std::io::Error::other("hunter2"))))
        .build();
    let seen: Vec<(&str, Status)> =
        health.components().await.iter().map(|checked| (checked.name, checked.status)).collect();
    use Status::{Fail, Pass, Warn};
    assert_eq!(
        seen,
        [
            ("plenty of disk", Pass),
            ("little disk", Warn),
            ("no disk", Fail),
            ("no such folder", Fail),
            ("memory", Pass),
            ("no memory", Fail),
            ("short queue", Pass),
            ("long queue", Warn),
            ("old queue", Warn),
            ("no queue", Fail),
        ]
    );
}
