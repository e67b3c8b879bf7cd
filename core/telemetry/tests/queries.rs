//! What the query log says of an application's statements.

mod database;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use database::pool;
use seaworthy_telemetry::{
    queries::{self, Callers, QueryLog, Settings, Statement},
    trace::{self, Context, Work},
};
use sqlx::PgPool;
use tracing::{Dispatch, instrument::WithSubscriber as _};
use tracing_subscriber::{EnvFilter, Layer as _, layer::SubscriberExt as _};

const DEADLINE: Duration = Duration::from_secs(20);

/// An application's subscriber: a log with a level, and a query log.
struct Logs {
    queries: QueryLog,
    dispatch: Dispatch,
    text: Arc<Mutex<Vec<u8>>>,
    statements: Arc<Mutex<Vec<Statement>>>,
}

impl Logs {
    fn new(level: &str, settings: Settings) -> Self {
        let queries = settings.start().unwrap();
        let text: Arc<Mutex<Vec<u8>>> = Arc::default();
        let sink = Sink(text.clone());
        let log = tracing_subscriber::fmt::layer()
            .without_time()
            .with_ansi(false)
            .with_writer(move || sink.clone());
        let subscriber =
            tracing_subscriber::registry().with(log.with_filter(EnvFilter::new(level))).with(queries.layer());
        let statements: Arc<Mutex<Vec<Statement>>> = Arc::default();
        let sink = statements.clone();
        queries.on_statement(move |statement| sink.lock().unwrap().push(statement.clone()));
        Logs { queries, dispatch: Dispatch::new(subscriber), text, statements }
    }

    async fn run<F: Future>(&self, future: F) -> F::Output {
        future.with_subscriber(self.dispatch.clone()).await
    }

    /// The lines of the log, once all of them are written.
    fn lines(&self) -> Vec<String> {
        assert!(self.queries.flush(DEADLINE), "the log was not written in time");
        String::from_utf8(self.text.lock().unwrap().clone()).unwrap().lines().map(str::to_owned).collect()
    }

    fn texts(&self) -> Vec<String> {
        self.statements.lock().unwrap().iter().map(|statement| statement.text.to_string()).collect()
    }
}

#[derive(Clone)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn work(id: &str) -> Arc<Work> {
    Work::new("GET /orders", Context::from_caller(None, Some(id)))
}

/// The statement that asks for one state, and the line that it is on.
async fn state(pool: &PgPool, id: i32) -> u32 {
    sqlx::query("select 'open' as state where $1 = 42").bind(id).fetch_optional(pool).await.unwrap();
    line!() - 1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_in_a_loop_is_one_finding_with_its_line() {
    for callers in [Callers::All, Callers::Findings] {
        let (pool, logs) = (pool().await, Logs::new("info", Settings::default().callers(callers)));
        let many = async {
            for id in 0..36 {
                state(&pool, id).await;
            }
            sqlx::query("select 1").execute(&pool).await.unwrap();
            state(&pool, 36).await
        };
        let line = logs.run(work("order-42").run(many)).await;
        let lines = logs.lines();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        let message = format!(
            "the same statement 37 times in one request, from tests/queries.rs:{line} (queries::state)"
        );
        assert!(lines[0].contains(&format!(" WARN seaworthy::sql: {message} ")), "{callers:?}: {}", lines[0]);
        for field in [
            "statement=\"select ? as state where $1 = ?\"",
            "times=37",
            "total_ms=",
            "request_id=\"order-42\"",
        ] {
            assert!(lines[0].contains(field), "{field}: {}", lines[0]);
        }
        assert!(lines[0].contains("work=\"GET /orders\""), "{}", lines[0]);
        assert_eq!(logs.queries.counters().repeated, 1);
        assert_eq!(logs.queries.counters().statements, 38);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_statement_of_many_requests_is_no_finding() {
    let (pool, logs) = (pool().await, Logs::new("info", Settings::default()));
    logs.run(async {
        for id in 0..37 {
            work("one-of-many").run(state(&pool, id)).await;
        }
        for id in 0..37 {
            state(&pool, id).await;
        }
    })
    .await;
    assert_eq!(logs.lines(), [""; 0]);
    assert_eq!(logs.queries.counters().statements, 74);
}

#[tokio::test(flavor = "multi_thread")]
async fn work_counts_its_statements_over_all_of_its_tasks() {
    let (pool, logs) = (pool().await, Logs::new("info", Settings::default().repeated_from(4)));
    let work = work("spread");
    let spread = async {
        let tasks: Vec<_> = (0..3)
            .map(|id| {
                let (pool, dispatch) = (pool.clone(), logs.dispatch.clone());
                trace::spawn(async move { state(&pool, id).await }.with_subscriber(dispatch))
            })
            .collect();
        state(&pool, 3).await;
        tasks
    };
    // The work goes on in its tasks after its first future has ended.
    for task in logs.run(work.run(spread)).await {
        task.await.unwrap();
    }
    let give_up = Instant::now() + DEADLINE;
    while logs.queries.counters().repeated == 0 {
        assert!(Instant::now() < give_up, "{:?}", logs.lines());
        tokio::task::yield_now().await;
    }
    let lines = logs.lines();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("the same statement 4 times in one request"), "{}", lines[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_work_says_what_it_did_until_then() {
    let (pool, logs) = (pool().await, Logs::new("info", Settings::default()));
    let (reached, is_there) = tokio::sync::oneshot::channel();
    let task = tokio::spawn({
        let pool = pool.clone();
        let endless = async move {
            for id in 0..12 {
                state(&pool, id).await;
            }
            reached.send(()).unwrap();
            sqlx::query("select pg_sleep(60)").execute(&pool).await.unwrap();
        };
        async move { work("cancelled").run(endless).await }.with_subscriber(logs.dispatch.clone())
    });
    is_there.await.unwrap();
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    let lines = logs.lines();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("the same statement 12 times in one request"), "{}", lines[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_statement_is_a_warning_with_its_line() {
    let settings = Settings::default().slow_after(Duration::from_millis(50)).callers(Callers::Findings);
    let (pool, logs) = (pool().await, Logs::new("info", settings));
    let line = logs
        .run(work("slow").run(async {
            sqlx::query("select 1").execute(&pool).await.unwrap();
            sqlx::query("select pg_sleep(0.06)").execute(&pool).await.unwrap();
            line!() - 1
        }))
        .await;
    let lines = logs.lines();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    let caller =
        format!("caller=\"tests/queries.rs:{line} (queries::a_slow_statement_is_a_warning_with_its_line)\"");
    for part in [
        " WARN seaworthy::sql: a statement is slow ms=",
        "statement=\"select pg_sleep(?)\"",
        "rows_returned=1",
        "rows_affected=1",
        "request_id=\"slow\"",
        &caller,
    ] {
        assert!(lines[0].contains(part), "{part}: {}", lines[0]);
    }
    assert_eq!(logs.queries.counters().slow, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_are_seen_whatever_the_level_of_the_log_is() {
    for level in ["off", "error", "warn", "info", "sqlx=off,trace"] {
        let (pool, logs) = (pool().await, Logs::new(level, Settings::default()));
        logs.run(async {
            sqlx::query("select 1").execute(&pool).await.unwrap();
            sqlx::query("select 'a long one, with more than four words' as words")
                .execute(&pool)
                .await
                .unwrap();
        })
        .await;
        assert_eq!(logs.texts(), ["select ?", "select ? as words"], "{level}");
        let sqlx = logs.lines().iter().filter(|line| line.contains("sqlx")).count();
        assert_eq!(sqlx, 0, "the other layer keeps to its level {level}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_tells_its_rows_and_whose_it_is() {
    let (pool, logs) = (pool().await, Logs::new("info", Settings::default()));
    let mut connection = pool.acquire().await.unwrap();
    sqlx::query("create temp table boats (id int)").execute(&mut *connection).await.unwrap();
    let work = work("rows");
    logs.run(work.run(async {
        let insert = sqlx::query("insert into boats values ($1), ($2), (4711)").bind(1).bind(2);
        insert.execute(&mut *connection).await.unwrap();
        sqlx::query("update boats set id = 3 where id in (1, 2)").execute(&mut *connection).await.unwrap();
        sqlx::query("select id from boats").fetch_all(&mut *connection).await.unwrap();
        sqlx::query("select nonsense").execute(&mut *connection).await.unwrap_err();
    }))
    .await;
    let statements = logs.statements.lock().unwrap();
    let rows: Vec<_> =
        statements.iter().map(|one| (one.kind(), &*one.text, one.rows_affected, one.rows_returned)).collect();
    assert_eq!(
        rows,
        [
            ("insert", "insert into boats values ($1), …", 3, 0),
            ("update", "update boats set id = ? where id in (…)", 2, 0),
            ("select", "select id from boats", 3, 3),
            ("select", "select nonsense", 0, 0),
        ]
    );
    assert!(statements.iter().all(|one| one.work.as_ref().unwrap().context().request_id() == "rows"));
    assert!(statements.iter().all(|one| one.time > Duration::ZERO && one.time < DEADLINE));
    assert_eq!(statements[0].work.as_ref().unwrap().statement_totals().statements, 0, "it has ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_statement_can_be_a_line_of_the_log_and_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sql.jsonl");
    let (pool, logs) =
        (pool().await, Logs::new("seaworthy=debug", Settings::default().lines(true).file(&file)));
    let secret = "select 'hunter2' as password, $1::text as parameter";
    let query = async { sqlx::query(secret).bind("swordfish").execute(&pool).await.unwrap() };
    logs.run(work("lines").run(query)).await;
    let lines = logs.lines();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    let text = "select ? as password, $1::text as parameter";
    assert!(lines[0].contains(&format!("DEBUG seaworthy::sql: {text} ms=")), "{}", lines[0]);
    let written = std::fs::read_to_string(&file).unwrap();
    for secret in ["hunter2", "swordfish"] {
        assert!(!lines[0].contains(secret) && !written.contains(secret), "{written}");
    }
    let json: serde_json::Value = serde_json::from_str(written.trim_end()).unwrap();
    assert_eq!((json["statement"].as_str(), json["request_id"].as_str()), (Some(text), Some("lines")));
    assert_eq!(json["caller"]["file"], "tests/queries.rs");
    assert_eq!(json["fingerprint"].as_str().unwrap().len(), 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_has_a_limit_and_one_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sql.jsonl");
    let (pool, logs) = (pool().await, Logs::new("info", Settings::default().file(&file).file_limit(2000)));
    let many = async {
        for _ in 0..30 {
            sqlx::query("select 1").execute(&pool).await.unwrap();
        }
    };
    logs.run(many).await;
    logs.lines();
    for path in [file, folder.path().join("sql.jsonl.1")] {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.is_empty() && text.len() <= 2000, "{}: {}", path.display(), text.len());
        assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{text}");
    }
    assert_eq!((logs.queries.counters().dropped, logs.queries.counters().failed), (0, 0));
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_that_names_it() {
    let error = Settings::default().file("/nowhere/sql.jsonl").start().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the query log's file /nowhere/sql.jsonl can't be opened for appending: No such file or directory (os error 2); \
         choose another with SEAWORTHY_SQL_FILE"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_finds_what_a_test_asks_for() {
    let pool = pool().await;
    let many = async {
        for id in 0..5 {
            state(&pool, id).await;
        }
        sqlx::query("select 1").execute(&pool).await.unwrap();
        let spawned = pool.clone();
        trace::spawn(async move { state(&spawned, 5).await }).await.unwrap()
    };
    let (line, recording) = queries::record(many).await;
    assert_eq!((recording.statements().len(), recording.left_out()), (7, 0));
    let repeated = recording.repeated(2);
    assert_eq!(repeated.len(), 1, "{recording}");
    assert_eq!((repeated[0].times, &*repeated[0].text), (6, "select ? as state where $1 = ?"));
    assert_eq!(
        repeated[0].caller.as_ref().unwrap().to_string(),
        format!("tests/queries.rs:{line} (queries::state)")
    );
    assert!(recording.repeated(7).is_empty());
    assert_eq!(repeated[0].time + recording.statements()[5].time, recording.time());
    let shown = recording.to_string();
    assert!(shown.starts_with("7 statements:\n   1  "), "{shown}");
    assert!(shown.contains(&format!("from tests/queries.rs:{line} (queries::state)")), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_uses_the_query_log_that_is_there() {
    let (pool, logs) = (pool().await, Logs::new("info", Settings::default().callers(Callers::None)));
    let query = async { sqlx::query("select 1").execute(&pool).await.unwrap() };
    let (_, recording) = logs.run(queries::record(query)).await;
    assert_eq!(recording.statements().len(), 1);
    assert!(recording.statements()[0].caller.is_some(), "a recording has callers, whatever the log is told");
    assert_eq!(logs.texts(), ["select ?"]);
}

/// What sqlx says of a statement.
fn tell(sql: &str) {
    tracing::debug!(
        target: "sqlx::query", summary = sql, db.statement = "", rows_affected = 1u64, rows_returned = 1u64,
        elapsed_secs = 0.001f64,
    );
}

#[tokio::test]
#[allow(clippy::await_holding_lock, reason = "the lock is what the writer waits for")]
async fn what_cannot_be_written_in_time_is_counted_and_holds_nobody_up() {
    const LINES: usize = 6000;
    let logs = Logs::new("seaworthy=debug", Settings::default().lines(true));
    {
        let _the_disk_hangs = logs.text.lock().unwrap();
        tracing::dispatcher::with_default(&logs.dispatch, || (0..LINES).for_each(|_| tell("select 1")));
        let many = async { (0..10).for_each(|_| tell("select 2")) };
        logs.run(work("finding").run(many)).await;
        assert!(!logs.queries.flush(Duration::from_millis(20)), "it hangs");
    }
    let lines = logs.lines();
    let counters = logs.queries.counters();
    assert!(counters.dropped > 0 && counters.statements == LINES as u64 + 10, "{counters:?}");
    let statements = lines.iter().filter(|line| line.contains("DEBUG")).count() as u64;
    assert_eq!(statements + counters.dropped, counters.statements);
    assert!(
        lines.iter().any(|line| line.contains("the same statement 10 times")),
        "findings have room of their own"
    );
}

#[tokio::test]
async fn a_full_disk_is_counted() {
    let logs = Logs::new("info", Settings::default().file("/dev/full"));
    tracing::dispatcher::with_default(&logs.dispatch, || tell("select 1"));
    logs.lines();
    assert!(logs.queries.counters().failed > 0, "{:?}", logs.queries.counters());
}

#[tokio::test]
async fn work_keeps_count_of_a_bounded_number_of_statements() {
    let logs = Logs::new("info", Settings::default());
    let work = work("many");
    let many = async {
        (0..255).for_each(|number| tell(&format!("select column_{number}")));
        (0..20).for_each(|_| tell("select the_last_one_with_room"));
        (0..20).for_each(|_| tell("select the_first_one_without"));
        work.statement_totals()
    };
    let totals = logs.run(work.run(many)).await;
    assert_eq!((totals.statements, totals.time), (295, Duration::from_millis(295)));
    let lines = logs.lines();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("the_last_one_with_room"), "{}", lines[0]);
}

/// Prints what a statement costs; run with `--nocapture` to see it.
#[tokio::test(flavor = "multi_thread")]
async fn the_cost_of_a_statement() {
    const TIMES: u32 = 300;
    let pool = pool().await;
    let round = async |name: &str| {
        let mut connection = pool.acquire().await.unwrap();
        let mut times = Vec::new();
        for _ in 0..TIMES {
            let start = Instant::now();
            let query =
                sqlx::query("select relname from pg_catalog.pg_class where oid = $1::int4::oid").bind(1259);
            query.fetch_one(&mut *connection).await.unwrap();
            times.push(start.elapsed());
        }
        times.sort();
        println!("{name:<40} median {:?}", times[times.len() / 2]);
    };
    round("without a query log").await;
    for (name, callers) in [("none", Callers::None), ("findings", Callers::Findings), ("all", Callers::All)] {
        let logs = Logs::new("info", Settings::default().callers(callers));
        logs.run(work("cost").run(round(&format!("with a query log, callers: {name}")))).await;
    }
    let log = Settings::default().callers(Callers::None).start().unwrap();
    for (name, callers) in [("none", Callers::None), ("all", Callers::All)] {
        let log = if callers == Callers::None { log.clone() } else { Settings::default().start().unwrap() };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(log.layer()), || {
            let event = || {
                tracing::debug!(
                    target: "sqlx::query", summary = "select id from orders …",
                    db.statement = "\n\nselect id from orders where customer = $1 and state = 'open' limit 10\n",
                    rows_affected = 1u64, rows_returned = 1u64, elapsed_secs = 0.001f64,
                );
            };
            event();
            let start = Instant::now();
            for _ in 0..1000 {
                event();
            }
            println!("the event alone, callers: {name:<14} {:?}", start.elapsed() / 1000);
        });
    }
}
