//! More than one server of a kind, versions, settings, replicas, and servers that the harness does not know by itself: on native processes and in
//! containers.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use redis::AsyncCommands;
use seaworthy_harness::{
    Error, Fault, Image, Nats, Postgres, Program, ProviderChoice, Redis, Replica, Software, Stack,
    StackBuilder,
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::{Instant, timeout},
};

const PATIENCE: Duration = Duration::from_secs(20);

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
                if super::docker_is_here() {
                    super::$test(super::stack_of(super::ProviderChoice::Docker)).await;
                }
            })*
        }
    };
}

on_every_provider!(
    servers_of_a_kind_have_names_of_their_own,
    a_name_that_is_doubled_or_malformed_is_refused_before_anything_starts,
    a_server_takes_its_settings_and_its_version,
    a_version_that_is_not_here_is_refused_with_what_is,
    a_postgres_replica_follows_lags_and_takes_over,
    a_redis_replica_follows_lags_and_takes_over,
    nats_carries_messages_and_comes_back_with_what_it_kept,
    a_server_that_never_answers_leaves_nothing,
);

fn stack_of(provider: ProviderChoice) -> StackBuilder {
    Stack::builder().provider(provider).ready_deadline(PATIENCE)
}

fn docker_is_here() -> bool {
    let info = std::process::Command::new("docker").arg("info").output();
    let here = info.is_ok_and(|info| info.status.success());
    assert!(
        here || std::env::var_os("SEAWORTHY_REQUIRE_DOCKER").is_none(),
        "SEAWORTHY_REQUIRE_DOCKER is set"
    );
    here
}

async fn execute(url: &str, statement: &str) -> sqlx::Result<u64> {
    let mut connection = PgConnection::connect(url).await?;
    let done = connection.execute(sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))).await?;
    connection.close().await?;
    Ok(done.rows_affected())
}

async fn one(url: &str, query: &'static str) -> String {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap()
}

async fn redis_at(url: &str) -> redis::aio::MultiplexedConnection {
    redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap()
}

async fn servers_of_a_kind_have_names_of_their_own(builder: StackBuilder) {
    let stack = builder
        .postgres_named("orders", Postgres::new())
        .postgres_named("ledger", Postgres::new())
        .redis_named("sessions", Redis::new())
        .redis(Redis::new())
        .start()
        .await
        .unwrap();
    let (orders, ledger) = (stack.service("orders").unwrap(), stack.service("ledger").unwrap());
    execute(&orders.url(), "create table orders (id int)").await.unwrap();
    assert!(execute(&ledger.url(), "select * from orders").await.is_err());
    let down = orders.inject(Fault::Down).await.unwrap();
    assert!(execute(&orders.url(), "select 1").await.is_err());
    execute(&ledger.url(), "select 1").await.unwrap();
    down.heal().await.unwrap();
    assert_ne!(stack.service("sessions").unwrap().url(), stack.redis().url());
}

async fn a_name_that_is_doubled_or_malformed_is_refused_before_anything_starts(builder: StackBuilder) {
    let doubled = stack_of(ProviderChoice::Native).redis(Redis::new()).redis_named("redis", Redis::new());
    let error = doubled.start().await.unwrap_err();
    assert!(matches!(error, Error::ServiceExists { .. }), "{error}");
    for name in ["", "a/b", "../up", "a b", &"x".repeat(60)] {
        let error =
            stack_of(ProviderChoice::Native).redis_named(name, Redis::new()).start().await.unwrap_err();
        assert!(error.to_string().contains("a service's name has"), "{name}: {error}");
    }
    let malformed = Postgres::new().setting("work_mem; drop", "1MB");
    let error = builder.postgres(malformed).start().await.unwrap_err();
    assert!(error.to_string().contains("can't have the setting"), "{error}");
}

async fn a_server_takes_its_settings_and_its_version(builder: StackBuilder) {
    let major = seaworthy_harness::binaries::postgres().unwrap().version;
    let major = major.split('.').next().unwrap().to_owned();
    let stack = builder
        .postgres(Postgres::new().version(&major).setting("work_mem", "7MB"))
        .redis(Redis::new().setting("maxmemory", "64mb"))
        .start()
        .await
        .unwrap();
    let url = stack.postgres().url();
    assert_eq!(one(&url, "show work_mem").await, "7MB");
    assert!(one(&url, "show server_version").await.starts_with(&major));
    let ask = redis::cmd("CONFIG").arg("GET").arg("maxmemory").clone();
    let setting: Vec<String> = ask.query_async(&mut redis_at(&stack.redis().url()).await).await.unwrap();
    assert_eq!(setting[1], (64 * 1024 * 1024).to_string());
}

async fn a_version_that_is_not_here_is_refused_with_what_is(builder: StackBuilder) {
    let error = builder.postgres(Postgres::new().version("9.6")).start().await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("9.6"), "{text}");
    assert!(matches!(error, Error::VersionMissing { .. } | Error::Image { .. }), "{text}");
}

async fn a_postgres_replica_follows_lags_and_takes_over(builder: StackBuilder) {
    let stack = builder.postgres(Postgres::new().durable(true)).start().await.unwrap();
    let primary = stack.postgres();
    execute(&primary.url(), "create table kept (n int); insert into kept values (1)").await.unwrap();
    let replica = stack.start_replica("standby", "postgres").await.unwrap();
    replica.caught_up().await.unwrap();
    assert_eq!(one(&replica.url(), "select count(*)::text from kept").await, "1");
    assert!(execute(&replica.url(), "insert into kept values (2)").await.is_err(), "a replica is read-only");

    let cut = replica.link().down().inject().await.unwrap();
    execute(&primary.url(), "insert into kept select generate_series(1, 1000)").await.unwrap();
    let lag = replica.lag().await.unwrap();
    assert!(lag.bytes > 0, "{lag:?}");
    cut.heal().await.unwrap();
    replica.caught_up().await.unwrap();

    fail_over(&primary, &replica).await;
    execute(&primary.url(), "insert into kept values (2)").await.unwrap();
    assert_eq!(one(&primary.url(), "select count(*)::text from kept").await, "1002");
}

async fn a_redis_replica_follows_lags_and_takes_over(builder: StackBuilder) {
    let stack = builder.redis(Redis::new()).start().await.unwrap();
    let primary = stack.redis();
    let _: () = redis_at(&primary.url()).await.set("kept", 1).await.unwrap();
    let replica = stack.start_replica("standby", "redis").await.unwrap();
    replica.caught_up().await.unwrap();
    let kept: i32 = redis_at(&replica.url()).await.get("kept").await.unwrap();
    assert_eq!(kept, 1);
    let refused: redis::RedisResult<()> = redis_at(&replica.url()).await.set("kept", 2).await;
    assert!(refused.is_err(), "a replica is read-only");

    let cut = replica.link().down().inject().await.unwrap();
    let _: () = redis_at(&primary.url()).await.set("later", "x".repeat(1000)).await.unwrap();
    assert!(replica.lag().await.unwrap().bytes > 0);
    cut.heal().await.unwrap();
    replica.caught_up().await.unwrap();

    fail_over(&primary, &replica).await;
    let mut connection = redis_at(&primary.url()).await;
    let _: () = connection.set("kept", 3).await.unwrap();
    let later: String = connection.get("later").await.unwrap();
    assert_eq!(later.len(), 1000);
}

/// The primary is killed, and its users find the replica where it was.
async fn fail_over(primary: &seaworthy_harness::Service, replica: &Replica) {
    let crash = primary.inject(Fault::Kill).await.unwrap();
    replica.take_over().await.unwrap();
    drop(crash);
}

/// A client of NATS, as its protocol is written down: lines of text.
struct Client {
    lines: Lines<BufReader<OwnedReadHalf>>,
    write: OwnedWriteHalf,
}

impl Client {
    async fn to(url: &str) -> Self {
        let address = url.strip_prefix("nats://").unwrap();
        let (read, write) = TcpStream::connect(address).await.unwrap().into_split();
        let mut client = Client { lines: BufReader::new(read).lines(), write };
        assert!(client.line().await.starts_with("INFO"));
        client.say("CONNECT {\"verbose\":false}\r\n").await;
        client.settle().await;
        client
    }

    async fn say(&mut self, text: &str) {
        self.write.write_all(text.as_bytes()).await.unwrap();
    }

    async fn line(&mut self) -> String {
        timeout(PATIENCE, self.lines.next_line()).await.unwrap().unwrap().unwrap()
    }

    /// Until the server has seen all that was said.
    async fn settle(&mut self) {
        self.say("PING\r\n").await;
        while self.line().await != "PONG" {}
    }

    async fn publish(&mut self, subject: &str, text: &str) {
        self.say(&format!("PUB {subject} {}\r\n{text}\r\n", text.len())).await;
    }
}

async fn nats_carries_messages_and_comes_back_with_what_it_kept(builder: StackBuilder) {
    if !Path::new("/usr/sbin/nats-server").exists() {
        return eprintln!("skipped: there is no nats-server");
    }
    let stack = builder.service("nats", Nats).start().await.unwrap();
    let nats = stack.service("nats").unwrap();
    let mut hears = Client::to(&nats.url()).await;
    hears.say("SUB news 1\r\n").await;
    hears.settle().await;
    Client::to(&nats.url()).await.publish("news", "land ahoy").await;
    assert_eq!(hears.line().await, "MSG news 1 9");
    assert_eq!(hears.line().await, "land ahoy");

    let slow = nats.faults().latency(Duration::from_millis(150)).inject().await.unwrap();
    let asked = Instant::now();
    hears.settle().await;
    assert!(asked.elapsed() >= Duration::from_millis(150));
    slow.heal().await.unwrap();

    let stream = r#"{"name":"LOG","subjects":["log"],"storage":"file","num_replicas":1,"retention":"limits","discard":"old","max_consumers":-1,"max_msgs":-1,"max_bytes":-1,"max_age":0}"#;
    hears.say("SUB answers 2\r\n").await;
    hears.say(&format!("PUB $JS.API.STREAM.CREATE.LOG answers {}\r\n{stream}\r\n", stream.len())).await;
    assert!(hears.line().await.starts_with("MSG answers 2"));
    assert!(hears.line().await.contains("\"created\""));
    hears.say("PUB log answers 4\r\nkept\r\n").await;
    assert!(hears.line().await.starts_with("MSG answers 2"));
    assert!(hears.line().await.contains("\"seq\":1"));

    let kill = nats.inject(Fault::Kill).await.unwrap();
    kill.heal().await.unwrap();
    let mut again = Client::to(&nats.url()).await;
    again.say("SUB answers 1\r\nPUB $JS.API.STREAM.INFO.LOG answers 0\r\n\r\n").await;
    again.line().await;
    assert!(again.line().await.contains("\"messages\":1"));
}

/// A server that starts and never says a word.
#[derive(Debug)]
struct Mute;

#[async_trait::async_trait]
impl Software for Mute {
    fn program(&self) -> Program {
        Program::new("/bin/sleep").args(["600"])
    }

    fn image(&self) -> Image {
        Image::new("seaworthy/app:offline").or("debian:stable-slim").listens_on(1).args(["sleep", "600"])
    }

    fn scheme(&self) -> &str {
        "mute"
    }

    async fn answers(&self, _address: &str) -> Result<(), String> {
        Err("it has not said a word".to_owned())
    }
}

async fn a_server_that_never_answers_leaves_nothing(builder: StackBuilder) {
    let mine = || -> Vec<_> {
        let roots = [PathBuf::from("/dev/shm"), std::env::temp_dir()];
        let folders = roots.into_iter().flat_map(std::fs::read_dir).flatten();
        folders.flatten().map(|entry| entry.path()).filter(|path| path.join("mute").exists()).collect()
    };
    let builder = builder.ready_deadline(Duration::from_secs(1)).redis(Redis::new()).service("mute", Mute);
    let error = builder.start().await.unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "{error}");
    assert!(error.to_string().contains("it has not said a word"), "{error}");
    assert_eq!(mine(), Vec::<PathBuf>::new());
}
