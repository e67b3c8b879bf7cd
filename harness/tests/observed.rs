//! What the fault proxies heard, between real clients and real servers.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::{SinkExt, StreamExt};
use insta::assert_snapshot;
use seaworthy_fault_proxy::{
    Outcome, Postgres as OnPostgres, Protocol, Proxies, Proxy, ProxyConfig, Statement, Tap, Toxic, What,
};
use seaworthy_harness::{
    Postgres, ProviderChoice, Queries, Redis, Stack, Transcript, assert_no_n_plus_one, assert_queries,
    observed::{Kind, closed, opened, received, sent},
};
use sqlx::{Connection, Executor, PgConnection, PgPool, postgres::PgPoolOptions};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{accept_async, client_async, tungstenite::Message};

const DEADLINE: Duration = Duration::from_secs(20);

async fn postgres() -> Stack {
    let stack = Stack::builder().provider(ProviderChoice::Native).postgres(Postgres::new());
    let stack = stack.start().await.unwrap();
    let mut direct = PgConnection::connect(&stack.postgres().direct_url()).await.unwrap();
    direct
        .execute("create type mood as enum ('calm', 'storm'); create table t (n int primary key, mood mood)")
        .await
        .unwrap();
    stack
}

async fn connect(stack: &Stack) -> PgConnection {
    PgConnection::connect(&stack.postgres().url()).await.unwrap()
}

async fn pool(stack: &Stack) -> PgPool {
    PgPoolOptions::new().max_connections(3).connect(&stack.postgres().url()).await.unwrap()
}

/// What a panic says, with times taken out.
fn complaint(panics: impl FnOnce()) -> String {
    let panic = std::panic::catch_unwind(AssertUnwindSafe(panics)).expect_err("it should panic");
    without_times(panic.downcast_ref::<String>().expect("a message"))
}

/// As wide as a time is the space ahead of it, so that goes, too.
fn without_times(text: &str) -> String {
    let mut parts = text.split(" ms").peekable();
    let mut shown = String::new();
    while let Some(part) = parts.next() {
        let is_time = parts.peek().is_some();
        let before = part.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
        shown += &if is_time { before.trim_end_matches(' ').to_owned() + " 0.0 ms" } else { part.to_owned() };
    }
    shown
}

fn statements(queries: &Queries) -> Vec<(String, String)> {
    let told = |statement: &Statement| {
        let outcome = match &statement.outcome {
            Outcome::Done { tag } => tag.to_string(),
            Outcome::Failed { code, .. } => code.to_string(),
            other => format!("{other:?}"),
        };
        (statement.sql.to_string(), outcome)
    };
    queries.own().iter().map(|ran| told(ran.statement())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_counts_the_applications_own_statements_in_it_and_has_its_value() {
    let stack = postgres().await;
    let (service, pool) = (stack.postgres(), pool(&stack).await);
    let found: i64 = assert_queries!(service, == 3, {
        let mut transaction = pool.begin().await.unwrap();
        for n in [1, 2] {
            let insert = sqlx::query("insert into t values ($1, 'calm')").bind(n);
            insert.execute(&mut *transaction).await.unwrap();
        }
        transaction.commit().await.unwrap();
        sqlx::query_scalar("select count(*) from t").fetch_one(&pool).await.unwrap()
    });
    assert_eq!(found, 2);
    assert_queries!(service, <= 3);
    assert_queries!(service, < 4, {});
    // sqlx looks the enum up by itself, and that is its own affair.
    let before = service.queries().mark();
    let row: Vec<sqlx::postgres::PgRow> = sqlx::query("select mood from t").fetch_all(&pool).await.unwrap();
    assert_eq!(row.len(), 2);
    let since = service.queries().since(before);
    assert_eq!(since.count(), 1, "{since}");
    let kinds: Vec<Kind> = since.all().iter().map(|ran| ran.kind()).collect();
    assert!(kinds.contains(&Kind::TypeLookup), "{kinds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_count_shows_the_statements_with_their_times() {
    let stack = postgres().await;
    let service = stack.postgres();
    let mut client = connect(&stack).await;
    client.execute("begin").await.unwrap();
    for n in 0..3 {
        client.execute(sqlx::AssertSqlSafe(format!("insert into t values ({n})"))).await.unwrap();
    }
    sqlx::query("insert into t values ($1)").bind(1).execute(&mut client).await.unwrap_err();
    client.execute("rollback").await.unwrap();
    client.execute("selec 1").await.unwrap_err();
    sqlx::query("select n frm t").execute(&mut client).await.unwrap_err();
    let message = complaint(|| assert_queries!(service, <= 2));
    assert_snapshot!(message, @r#"
    6 statements ran, and `<= 2` was expected:
        4 × 0.0 ms  insert into t values (…)  [1 × 23505 duplicate key value violates unique constraint "t_pkey"]
        1 × 0.0 ms  selec ?  [1 × 42601 syntax error at or near "selec"]
        1 × 0.0 ms  select n frm t  [1 × 42601 syntax error at or near "t"]
      not counted: 2 bounds of transactions and settings
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_in_a_loop_is_found_on_however_many_connections() {
    let stack = postgres().await;
    let (service, pool) = (stack.postgres(), pool(&stack).await);
    let ask = |n: i32| sqlx::query("select n from t where n = $1").bind(n).execute(&pool);
    assert_no_n_plus_one!(service, {
        for n in 0..4 {
            ask(n).await.unwrap();
        }
    });
    let queries = service.queries().from_now();
    futures_util::future::try_join_all((0..9).map(ask)).await.unwrap();
    let found = queries.repeated(5);
    assert_eq!((found.len(), found[0].times), (1, 9));
    assert!(found[0].connections > 1, "{}", found[0]);
    assert_no_n_plus_one!(queries, threshold = 10);
    let message = complaint(|| assert_no_n_plus_one!(queries));
    assert!(
        message.contains("9 times within") && message.contains("select n from t where n = $1"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_one_statement_and_faults_of_the_network_change_nothing_of_it() {
    let stack = postgres().await;
    let slow = Toxic::latency(Duration::from_millis(5));
    stack.postgres().proxy().unwrap().add_toxic(slow).unwrap();
    let mut client = connect(&stack).await;
    let mut copy = client.copy_in_raw("copy t (n) from stdin").await.unwrap();
    copy.send("1\n2\n".as_bytes()).await.unwrap();
    assert_eq!(copy.finish().await.unwrap(), 2);
    let mut copy = client.copy_in_raw("copy t (n) from stdin").await.unwrap();
    copy.send("3\nx\n".as_bytes()).await.unwrap();
    copy.finish().await.unwrap_err();
    client.execute("select 1").await.unwrap();
    let told = statements(&stack.postgres().queries());
    let told: Vec<(&str, &str)> =
        told.iter().map(|(sql, outcome)| (sql.as_str(), outcome.as_str())).collect();
    let copy = "copy t (n) from stdin";
    assert_eq!(told, [(copy, "COPY 2"), (copy, "22P02"), ("select 1", "SELECT 1")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_whose_connection_is_lost_has_no_answer_and_one_that_is_ended_its_error() {
    let stack = postgres().await;
    let service = stack.postgres();
    let proxy = service.proxy().unwrap().clone();
    let mut client = connect(&stack).await;
    let sleeping = tokio::spawn(async move { client.execute("select pg_sleep(60)").await.map(drop) });
    until(|| statements(&service.queries()).len() == 1).await;
    assert_eq!(statements(&service.queries())[0].1, "Pending");
    proxy.disable().await;
    timeout(DEADLINE, sleeping).await.unwrap().unwrap().unwrap_err();
    until(|| statements(&service.queries())[0].1 == "NoAnswer").await;
    proxy.enable().unwrap();

    let mut client = connect(&stack).await;
    client.execute("select pg_terminate_backend(pg_backend_pid())").await.unwrap_err();
    assert_eq!(statements(&service.queries())[1].1, "57P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_client_sent_is_recorded_also_where_a_toxic_makes_it_fail() {
    let stack = postgres().await;
    let toxic = Toxic::fail(OnPostgres::query("insert")).with_error("40001").named("fails");
    stack.postgres().proxy().unwrap().add_toxic(toxic).unwrap();
    let mut client = connect(&stack).await;
    let insert = sqlx::query("insert into t values ($1)").bind(1).execute(&mut client);
    assert_eq!(insert.await.unwrap_err().as_database_error().unwrap().code().unwrap(), "40001");
    client.execute("select 1").await.unwrap();
    let told = statements(&stack.postgres().queries());
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0].0, "insert into t values ($1)");
    // The server was sent something that it refuses, and that is what it answers.
    assert_ne!(told[0].1, "40001");
    assert_eq!(told[1], ("select 1".to_owned(), "SELECT 1".to_owned()));
}

/// A connection to Postgres that is written by hand, to pipeline as no driver here does.
async fn by_hand(stack: &Stack, proxy: &Proxy) -> TcpStream {
    let url = stack.postgres().direct_url();
    let user = url.split("://").nth(1).and_then(|rest| rest.split([':', '@']).next()).unwrap();
    let database = url.rsplit('/').next().unwrap();
    let mut direct = PgConnection::connect(&url).await.unwrap();
    let file: String = sqlx::query_scalar("show hba_file").fetch_one(&mut direct).await.unwrap();
    let trust =
        format!("copy (select 'host all all 127.0.0.1/32 trust') to '{file}'; select pg_reload_conf()");
    sqlx::raw_sql(sqlx::AssertSqlSafe(trust)).execute(&mut direct).await.unwrap();
    let open = format!("postgres://{user}:no-password@{}", url.rsplit('@').next().unwrap());
    timeout(DEADLINE, async { while PgConnection::connect(&open).await.is_err() {} }).await.unwrap();
    let mut stream = TcpStream::connect(proxy.listen()).await.unwrap();
    let body = format!("\0\u{3}\0\0user\0{user}\0database\0{database}\0\0");
    stream.write_all(&[&(body.len() as u32 + 4).to_be_bytes()[..], body.as_bytes()].concat()).await.unwrap();
    until_ready(&mut stream, 1).await;
    stream
}

/// Reads until the server was ready so many times.
async fn until_ready(stream: &mut TcpStream, mut times: usize) {
    let mut reader = tokio::io::BufReader::new(stream);
    while times > 0 {
        let tag = timeout(DEADLINE, reader.read_u8()).await.unwrap().unwrap();
        let length = reader.read_u32().await.unwrap() as usize;
        let mut body = vec![0; length - 4];
        reader.read_exact(&mut body).await.unwrap();
        assert!(tag != b'R' || body[..4] == [0; 4], "no password is asked for");
        times -= usize::from(tag == b'Z');
    }
}

fn message(tag: u8, body: &str) -> Vec<u8> {
    [&[tag][..], &(body.len() as u32 + 4).to_be_bytes(), body.as_bytes()].concat()
}

fn pipelined(sql: &str) -> Vec<u8> {
    let parts = [(b'P', format!("\0{sql}\0\0\0")), (b'B', "\0".repeat(8)), (b'E', "\0".repeat(5))];
    parts.iter().flat_map(|(tag, body)| message(*tag, body)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_an_error_in_a_pipeline_did_not_run() {
    let stack = postgres().await;
    let queries = stack.postgres().queries();
    let mut stream = by_hand(&stack, stack.postgres().proxy().unwrap()).await;
    let sync = || message(b'S', "");
    let doomed = ["insert into t values (1)", "insert into t values (1)", "insert into t values (2)"];
    let mut bytes: Vec<u8> = doomed.iter().flat_map(|sql| pipelined(sql)).collect();
    bytes.extend([sync(), pipelined("select 1"), sync()].concat());
    stream.write_all(&bytes).await.unwrap();
    until_ready(&mut stream, 2).await;
    let told = statements(&queries);
    let outcomes: Vec<&str> = told.iter().map(|(_, outcome)| outcome.as_str()).collect();
    assert_eq!(outcomes, ["INSERT 0 1", "23505", "SELECT 1"]);
    let recorded = queries.recording().all().entries;
    let skipped = recorded.iter().filter(
        |entry| matches!(&entry.what, What::Statement(statement) if statement.outcome == Outcome::Skipped),
    );
    assert_eq!(skipped.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_statements_fit_a_hundred_entries_and_are_not_taken_for_few() {
    let stack = postgres().await;
    let proxies = Proxies::with_seed(1);
    let upstream = stack.postgres().proxy().unwrap().upstream();
    let proxy = proxies.create(ProxyConfig::new("small", upstream)).await.unwrap();
    let queries = Queries::of(proxy.record(Tap::on(Protocol::Postgres).entries(100)));
    let mut stream = by_hand(&stack, &proxy).await;
    for _ in 0..100 {
        stream.write_all(&message(b'Q', "select 1\0").repeat(100)).await.unwrap();
        until_ready(&mut stream, 100).await;
    }
    assert_eq!((queries.count(), queries.dropped()), (100, 9_900));
    assert_queries!(queries, >= 100);
    let few = complaint(|| assert_queries!(queries, <= 100));
    assert!(few.contains("can't be told") && few.contains("9900 earlier entries were dropped"), "{few}");
    // What is left is enough for what came last.
    assert_queries!(queries, == 1, {
        stream.write_all(&message(b'Q', "select 2\0")).await.unwrap();
        until_ready(&mut stream, 1).await;
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_encrypted_is_not_taken_for_one_without_statements() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = ProxyConfig::new("tls", server.local_addr().unwrap().to_string());
    let proxy = Proxies::with_seed(1).create(config).await.unwrap();
    let queries = Queries::on(&proxy);
    let mut client = TcpStream::connect(proxy.listen()).await.unwrap();
    let (mut accepted, _) = server.accept().await.unwrap();
    client.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]).await.unwrap();
    let mut hello = [0; 11];
    accepted.read_exact(&mut hello).await.unwrap();
    let message = complaint(|| assert_queries!(queries, <= 3));
    assert_snapshot!(message, @"
    whether `<= 3` statements ran can't be told; 0 statements ran that the recording has:
      no statement of the application's own
      a connection was not followed: it does not speak the protocol that is recorded; it may be encrypted
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_commands_are_told_without_their_values() {
    let stack = Stack::builder().provider(ProviderChoice::Native).redis(Redis::new()).start().await.unwrap();
    let client = redis::Client::open(stack.redis().url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mark = stack.redis().commands().mark();
    let _: () = redis::cmd("SET").arg("session:7").arg("secret").query_async(&mut connection).await.unwrap();
    redis::cmd("LPUSH").arg("session:7").arg("x").query_async::<()>(&mut connection).await.unwrap_err();
    let pipeline = redis::pipe().atomic().incr("n", 1).incr("m", 1).clone();
    let _: (i32, i32) = pipeline.query_async(&mut connection).await.unwrap();
    let commands = stack.redis().commands().since(mark);
    assert_eq!(commands.named("incrby").len(), 2);
    let shown: String = commands
        .to_string()
        .lines()
        .map(|line| line.split_once("#0  ").unwrap().1.to_owned() + "\n")
        .collect();
    assert_snapshot!(shown, @"
    SET session:7
    LPUSH session:7  failed: WRONGTYPE Operation against a key holding the wrong kind of value
    MULTI
    INCRBY n
    INCRBY m
    EXEC
    ");
}

/// A server that answers three times and closes, behind a proxy that is listened to.
async fn chat() -> (Proxy, tokio::task::JoinHandle<()>) {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = ProxyConfig::new("chat", server.local_addr().unwrap().to_string());
    let proxy = Proxies::with_seed(1).create(config).await.unwrap();
    let serving = tokio::spawn(async move {
        let mut socket = accept_async(server.accept().await.unwrap().0).await.unwrap();
        socket.next().await.unwrap().unwrap();
        for state in ["placed", "paid", "fulfilled"] {
            socket.send(Message::text(format!(r#"{{"state":"{state}"}}"#))).await.unwrap();
        }
        socket.send(Message::binary(vec![1, 2, 255])).await.unwrap();
        socket.close(None).await.unwrap();
        while socket.next().await.is_some_and(|message| message.is_ok()) {}
    });
    (proxy, serving)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transcript_says_what_was_said_and_in_which_order() {
    let (proxy, serving) = chat().await;
    let transcript = Transcript::on(&proxy);
    let stream = TcpStream::connect(proxy.listen()).await.unwrap();
    let (mut socket, _) = client_async("ws://chat/live?token=secret", stream).await.unwrap();
    socket.send(Message::text("watch 7\nnow")).await.unwrap();
    while timeout(DEADLINE, socket.next()).await.unwrap().is_some_and(|message| message.is_ok()) {}
    serving.await.unwrap();
    until(|| transcript.sent().len() == 2).await;

    let in_order = [
        opened(),
        sent("watch 7"),
        received("placed"),
        received(r#"{"state":"paid"}"#).exactly(),
        received("").when("longer than 20 bytes", |text| text.len() > 20),
        closed(),
    ];
    transcript.assert_order(&in_order);
    assert_eq!(transcript.connection(0).received().len(), 5);
    assert_eq!(transcript.connections(), [0]);
    assert_snapshot!(without_times(&transcript.to_string()), @r#"
    0.0 ms  #0  opened /live
    0.0 ms  #0  → watch 7\nnow
    0.0 ms  #0  ← {"state":"placed"}
    0.0 ms  #0  ← {"state":"paid"}
    0.0 ms  #0  ← {"state":"fulfilled"}
    0.0 ms  #0  ← 3 bytes: 0102ff
    0.0 ms  #0  ← close
    0.0 ms  #0  → close
    "#);

    let early = complaint(|| transcript.assert_order(&[received("paid"), received("placed")]));
    assert_snapshot!(early, @r#"
    message 2 of 2, a received message containing "placed", is out of order: it came before message 1, a received message containing "paid"
     0.0 ms  #0  opened /live
     0.0 ms  #0  → watch 7\nnow
     0.0 ms  #0  ← {"state":"placed"}
       1. 0.0 ms  #0  ← {"state":"paid"}
     0.0 ms  #0  ← {"state":"fulfilled"}
     0.0 ms  #0  ← 3 bytes: 0102ff
     0.0 ms  #0  ← close
     0.0 ms  #0  → close
    "#);
    let twice = complaint(|| transcript.assert_order(&[received("paid"), received("paid")]));
    assert!(
        twice.starts_with("message 2 of 2, a received message containing \"paid\", is there once"),
        "{twice}"
    );
    let missing = complaint(|| transcript.assert_order(&[sent("watch"), sent("paid")]));
    assert!(
        missing.starts_with("message 2 of 2, a sent message containing \"paid\", is missing"),
        "{missing}"
    );
}

async fn until(is_so: impl Fn() -> bool) {
    let polling = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(DEADLINE, polling).await.expect("it becomes so within the deadline");
}
