//! The same behaviour from every provider: each test runs on native processes and in containers.
//!
//! The container tests are skipped, in one line, where no Docker daemon answers or it has no images; with
//! `SEAWORTHY_REQUIRE_DOCKER=1` that is a failure.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use seaworthy_harness::{
    App, Error, Fault, History, Postgres, ProviderChoice, Redis, Schedule, Signal, Stack, StackBuilder,
};
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;

/// Runs each async function as a test on each provider.
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
                if super::docker_is_here().await {
                    super::$test(super::stack_of(super::ProviderChoice::Docker)).await;
                }
            })*
        }
    };
}

on_every_provider!(
    services_answer_directly_and_through_their_proxies,
    a_killed_service_is_gone_and_comes_back_at_its_address_with_its_data,
    a_paused_service_is_silent_and_goes_on,
    network_faults_are_felt_and_heal,
    a_full_disk_refuses_writes_and_recovers,
    an_application_is_told_its_port_and_is_ready_when_it_says_so,
    an_application_that_ends_is_an_error_that_quotes_its_log,
    a_signal_reaches_the_process_alone_and_a_restart_is_over_when_the_application_says_so,
    what_every_service_uses_is_told,
    a_schedule_heals_what_it_broke,
    a_panic_leaves_nothing,
);

#[tokio::test]
async fn a_single_threaded_runtime_is_an_error_that_says_what_to_do() {
    let error = Stack::builder().provider(ProviderChoice::Native).start().await.unwrap_err();
    assert!(error.to_string().contains("multi_thread"), "{error}");
}

fn stack_of(provider: ProviderChoice) -> StackBuilder {
    Stack::builder().provider(provider).ready_deadline(Duration::from_secs(20))
}

async fn docker_is_here() -> bool {
    static SAID: std::sync::Once = std::sync::Once::new();
    match Stack::builder().provider(ProviderChoice::Docker).start().await {
        Ok(_) => true,
        Err(error) if std::env::var_os("SEAWORTHY_REQUIRE_DOCKER").is_some() => {
            panic!("SEAWORTHY_REQUIRE_DOCKER is set: {error}")
        }
        Err(error) => {
            // Past the test runner's capture, so that it is seen.
            SAID.call_once(|| {
                use std::io::Write;
                let _ = writeln!(std::io::stderr(), "the container tests are skipped: {error}");
            });
            false
        }
    }
}

async fn ping(url: &str) -> redis::RedisResult<String> {
    let client = redis::Client::open(url)?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    redis::cmd("PING").query_async(&mut connection).await
}

async fn execute(url: &str, statement: &'static str) -> sqlx::Result<u64> {
    let mut connection = PgConnection::connect(url).await?;
    Ok(sqlx::query(statement).execute(&mut connection).await?.rows_affected())
}

async fn services_answer_directly_and_through_their_proxies(builder: StackBuilder) {
    let stack = builder.postgres(Postgres::new()).redis(Redis::new()).start().await.unwrap();
    for url in [stack.postgres().url(), stack.postgres().direct_url()] {
        assert_eq!(execute(&url, "select 1").await.unwrap(), 1);
    }
    for url in [stack.redis().url(), stack.redis().direct_url()] {
        assert_eq!(ping(&url).await.unwrap(), "PONG");
    }
    assert_ne!(stack.redis().url(), stack.redis().direct_url());
    assert!(matches!(stack.service("kafka"), Err(Error::UnknownService { .. })));
    let folder = stack.folder().to_owned();
    stack.stop().await;
    assert_nothing_left(&folder);
}

async fn a_killed_service_is_gone_and_comes_back_at_its_address_with_its_data(builder: StackBuilder) {
    let postgres = Postgres::new().durable(true);
    let stack = builder.postgres(postgres).redis(Redis::new().durable(true)).start().await.unwrap();
    let (postgres, redis) = (stack.postgres(), stack.redis());
    execute(&postgres.url(), "create table kept as select 1 as one").await.unwrap();
    let urls = (postgres.direct_url(), redis.direct_url());

    let kills = [postgres.inject(Fault::Kill).await.unwrap(), redis.inject(Fault::Kill).await.unwrap()];
    assert!(execute(&urls.0, "select 1").await.is_err());
    assert!(ping(&urls.1).await.is_err());
    assert!(postgres.ended().await.is_some());
    for kill in kills {
        kill.heal().await.unwrap();
    }
    assert_eq!((postgres.direct_url(), redis.direct_url()), urls);
    assert_eq!(execute(&postgres.url(), "select one from kept").await.unwrap(), 1);
    assert_eq!(ping(&redis.url()).await.unwrap(), "PONG");
    assert!(postgres.ended().await.is_none());
}

async fn a_paused_service_is_silent_and_goes_on(builder: StackBuilder) {
    let stack = builder.postgres(Postgres::new()).start().await.unwrap();
    let url = stack.postgres().url();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let pause = stack.postgres().inject(Fault::Pause).await.unwrap();
    let query = sqlx::query("select 1").execute(&mut connection);
    let silent = timeout(Duration::from_millis(300), query).await;
    assert!(silent.is_err(), "a paused server answered: {silent:?}");
    pause.heal().await.unwrap();
    assert_eq!(execute(&url, "select 1").await.unwrap(), 1);
}

async fn network_faults_are_felt_and_heal(builder: StackBuilder) {
    let stack = builder.redis(Redis::new()).start().await.unwrap();
    let redis = stack.redis();
    for fault in [Fault::Down, Fault::Reset] {
        let injected = redis.inject(fault).await.unwrap();
        assert!(ping(&redis.url()).await.is_err(), "{fault:?} was not felt");
        assert_eq!(ping(&redis.direct_url()).await.unwrap(), "PONG");
        injected.heal().await.unwrap();
        assert_eq!(ping(&redis.url()).await.unwrap(), "PONG");
    }
    let (latency, jitter) = (Duration::from_millis(120), Duration::from_millis(20));
    let slow = redis.inject(Fault::Latency { latency, jitter }).await.unwrap();
    let twice = redis.inject(Fault::Latency { latency, jitter }).await;
    assert!(matches!(twice, Err(Error::Proxy(_))), "the same fault twice is an error, not silence");
    let started = Instant::now();
    ping(&redis.url()).await.unwrap();
    assert!(started.elapsed() >= latency - jitter);
    // A drop heals what needs no waiting.
    drop(slow);
    assert!(redis.proxy().unwrap().toxics().is_empty());
    let refused = redis.inject(Fault::DiskFull).await.unwrap_err();
    assert!(matches!(refused, Error::Unsupported { .. }), "{refused}");
}

async fn a_full_disk_refuses_writes_and_recovers(builder: StackBuilder) {
    let stack = match builder.postgres(Postgres::new().durable(true).disk_limit_mib(96)).start().await {
        Ok(stack) => stack,
        // Only root can mount a filesystem; the message says what to do about it.
        Err(error @ Error::Unsupported { .. }) if !nix::unistd::Uid::effective().is_root() => {
            return eprintln!("skipped: {error}");
        }
        Err(error) => panic!("{error}"),
    };
    let postgres = stack.postgres();
    execute(&postgres.url(), "create table filler (text text)").await.unwrap();
    let full = postgres.inject(Fault::DiskFull).await.unwrap();
    let fill = "insert into filler select repeat('x', 1000) from generate_series(1, 1000)";
    let refused = execute(&postgres.url(), fill).await.unwrap_err();
    let code = refused.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
    assert_eq!(code.as_deref(), Some("53100"), "{refused}");
    full.heal().await.unwrap();
    assert_eq!(execute(&postgres.url(), fill).await.unwrap(), 1000);
}

async fn an_application_is_told_its_port_and_is_ready_when_it_says_so(builder: StackBuilder) {
    let stack = builder.start().await.unwrap();
    let script = "echo getting ready on $PORT; sleep 0.2; echo ready; exec sleep 600";
    let app = App::worker("/bin/sh", "ready").args(["-c", script]).env("PORT", "none");
    let app = stack.start_app("app", app).await.unwrap();
    assert!(app.log().await.contains("getting ready on none"));
    let kill = app.inject(Fault::Kill).await.unwrap();
    kill.heal().await.unwrap();
    assert_eq!(app.log().await.matches("getting ready").count(), 2);
    let refused = app.inject(Fault::Down).await.unwrap_err();
    assert!(refused.to_string().contains("it does not listen"), "{refused}");
}

async fn an_application_that_ends_is_an_error_that_quotes_its_log(builder: StackBuilder) {
    let stack = builder.start().await.unwrap();
    let app = App::server("/bin/sh", "/").args(["-c", "echo the migration failed >&2; exit 7"]);
    let error = stack.start_app("app", app).await.unwrap_err().to_string();
    assert!(error.contains("the migration failed") && error.contains('7'), "{error}");
    let error = stack.start_app("none", App::server("/nowhere/app", "/")).await.unwrap_err().to_string();
    assert!(error.contains("/nowhere/app"), "{error}");
}

async fn a_signal_reaches_the_process_alone_and_a_restart_is_over_when_the_application_says_so(
    builder: StackBuilder,
) {
    let stack = builder.redis(Redis::new()).ready_deadline(Duration::from_secs(30)).start().await.unwrap();
    // The child would end at the first signal, and the application with it.
    let script = "trap 'echo told' USR1; trap 'sleep 0.1; echo taken over' HUP
                  sleep 600 & echo ready
                  while kill -0 $!; do sleep 0.02; done; echo the child is dead";
    let app = App::worker("/bin/sh", "ready").args(["-c", script]).restarts_gracefully("taken over");
    let app = stack.start_app("app", app).await.unwrap();
    app.signal(Signal::User1).await.unwrap();
    let give_up = Instant::now() + Duration::from_secs(10);
    while app.lines("told").await.is_empty() {
        assert!(Instant::now() < give_up, "{}", app.log().await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for restarts in 1..=3 {
        app.inject(Fault::Restart).await.unwrap().heal().await.unwrap();
        assert_eq!(app.lines("taken over").await.len(), restarts);
    }
    assert!(app.ended().await.is_none(), "{}", app.log().await);

    let refused = stack.redis().inject(Fault::Restart).await.unwrap_err();
    assert!(refused.to_string().contains("restarts_gracefully"), "{refused}");
    let kill = app.inject(Fault::Kill).await.unwrap();
    assert!(app.signal(Signal::User1).await.is_err(), "a signal to nobody is an error");
    drop(kill);
}

async fn what_every_service_uses_is_told(builder: StackBuilder) {
    let stack = builder.postgres(Postgres::new()).redis(Redis::new()).start().await.unwrap();
    let mib = 1024 * 1024;
    for service in stack.all() {
        let used = service.usage().await;
        let bytes = used.memory.unwrap();
        assert!((mib..1024 * mib).contains(&bytes), "{}: {bytes} bytes", service.name());
        if stack.provider() == "native" {
            assert!((4..1000).contains(&used.handles.unwrap()), "{}: {used:?}", service.name());
            let least = if service.name() == "postgres" { mib } else { 0 };
            assert!((least..1024 * mib).contains(&used.disk.unwrap()), "{}: {used:?}", service.name());
        }
    }
}

async fn a_schedule_heals_what_it_broke(builder: StackBuilder) {
    let stack = builder.redis(Redis::new()).start().await.unwrap();
    let ms = Duration::from_millis;
    let schedule = Schedule::quiet().fault(ms(10), ms(100), "redis", Fault::Kill).fault(
        ms(20),
        ms(50),
        "redis",
        Fault::Down,
    );
    let mut changes = Vec::new();
    let history = History::start();
    let windows =
        schedule.play(&stack, &history, |event, begins| changes.push((event.fault, begins))).await.unwrap();
    // The two go their own ways, and a container takes its time to be killed: their order is not given.
    for fault in [Fault::Kill, Fault::Down] {
        let of_it: Vec<bool> = changes.iter().filter(|(of, _)| *of == fault).map(|(_, on)| *on).collect();
        assert_eq!(of_it, [true, false], "{fault:?} begins and is healed, once: {changes:?}");
    }
    assert!(windows.iter().all(|window| window.to > window.from), "{windows:?}");
    assert_eq!(ping(&stack.redis().url()).await.unwrap(), "PONG");

    let unknown = Schedule::quiet().fault(ms(0), ms(500), "redis", Fault::Down).fault(
        ms(5),
        ms(5),
        "kafka",
        Fault::Down,
    );
    let error = unknown.play(&stack, &History::start(), |_, _| {}).await.unwrap_err();
    assert!(error.to_string().contains("no service named `kafka`; it has redis"), "{error}");
    assert_eq!(ping(&stack.redis().url()).await.unwrap(), "PONG", "what was on when it failed is healed");
}

async fn a_panic_leaves_nothing(builder: StackBuilder) {
    let stack = builder.postgres(Postgres::new()).start().await.unwrap();
    let folder = stack.folder().to_owned();
    let panicked = tokio::spawn(async move {
        let _stack = stack;
        panic!("on purpose");
    });
    assert!(panicked.await.unwrap_err().is_panic());
    assert_nothing_left(&folder);
}

/// No folder, no process in it, and no container of its stack.
fn assert_nothing_left(folder: &Path) {
    assert!(!folder.exists(), "{} is left", folder.display());
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let runs_there =
            std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
        assert!(!runs_there, "process {:?} is left", entry.file_name());
    }
    let id = folder.file_name().unwrap().to_string_lossy().replace("seaworthy-", "");
    let filter = format!("label=seaworthy.stack={id}");
    if let Ok(listing) = Command::new("docker").args(["ps", "-aq", "--filter", &filter]).output() {
        assert_eq!(String::from_utf8_lossy(&listing.stdout), "", "containers are left");
    }
}
