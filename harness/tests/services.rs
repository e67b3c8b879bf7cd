//! More than one server of a kind, versions, settings, and servers that the harness does not know by itself: on native processes and in
//! containers.

use std::{io::Write, path::Path, process::Command, sync::Once, time::Duration};

use seaworthy_harness::{
    Error, Fault, Image, Nats, Port, Postgres, Program, ProviderChoice, Readiness, Redis, Software, Stack,
    StackBuilder, binaries,
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
    nats_carries_messages_and_comes_back_with_what_it_kept,
    each_port_of_a_server_is_behind_a_proxy_of_its_own,
    a_server_is_ready_by_whichever_sign_it_gives,
    a_server_that_never_answers_leaves_nothing,
    a_setting_that_the_server_refuses_is_an_error_that_quotes_it,
);

fn stack_of(provider: ProviderChoice) -> StackBuilder {
    Stack::builder().provider(provider).ready_deadline(PATIENCE)
}

fn docker_is_here() -> bool {
    static SAID: Once = Once::new();
    let info = Command::new("docker").arg("info").output();
    let here = info.is_ok_and(|info| info.status.success());
    if !here {
        assert!(std::env::var_os("SEAWORTHY_REQUIRE_DOCKER").is_none(), "SEAWORTHY_REQUIRE_DOCKER is set");
        SAID.call_once(|| say("the container tests are skipped: no Docker daemon answers"));
    }
    here
}

/// Past the test runner's capture, so that it is seen.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A stack with NATS, where this machine has it.
async fn with_nats(builder: StackBuilder) -> Option<Stack> {
    match builder.service("nats", Nats).start().await {
        Ok(stack) => Some(stack),
        Err(error @ (Error::BinaryMissing { .. } | Error::Image { .. })) => {
            say(&format!("a test with NATS is skipped: {error}"));
            None
        }
        Err(error) => panic!("{error}"),
    }
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
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
}

async fn a_server_takes_its_settings_and_its_version(builder: StackBuilder) {
    let major = seaworthy_harness::binaries::postgres().unwrap().version;
    let major = major.split('.').next().unwrap().to_owned();
    let stack = builder
        .postgres(Postgres::new().version(&major).setting("work_mem", "7MB"))
        .redis(Redis::new().settings([("maxmemory", "64mb"), ("maxmemory-policy", "allkeys-lru")]))
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
    let Some(stack) = with_nats(builder).await else { return };
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

async fn each_port_of_a_server_is_behind_a_proxy_of_its_own(builder: StackBuilder) {
    let Some(stack) = with_nats(builder).await else { return };
    let nats = stack.service("nats").unwrap();
    let health = format!("http://{}/healthz", nats.address_of("monitoring").unwrap());
    assert!(reqwest::get(&health).await.unwrap().status().is_success());
    let down = nats.inject(Fault::Down).await.unwrap();
    assert!(reqwest::get(&health).await.unwrap().status().is_success(), "only the main port is down");
    down.heal().await.unwrap();
    nats.proxy_of("monitoring").unwrap().disable().await;
    assert!(reqwest::get(&health).await.is_err());
    Client::to(&nats.url()).await;
    let unknown = nats.address_of("metrics").unwrap_err();
    assert!(unknown.to_string().contains("`nats.metrics`; it has monitoring"), "{unknown}");
}

/// NATS by another sign of readiness than its greeting.
#[derive(Debug)]
struct NatsThat(Readiness);

#[async_trait::async_trait]
impl Software for NatsThat {
    fn program(&self) -> Program {
        Nats.program()
    }

    fn image(&self) -> Image {
        Nats.image()
    }

    fn scheme(&self) -> &str {
        Nats.scheme()
    }

    fn more_ports(&self) -> Vec<Port> {
        Nats.more_ports()
    }

    fn readiness(&self) -> Readiness {
        self.0.clone()
    }
}

async fn a_server_is_ready_by_whichever_sign_it_gives(builder: StackBuilder) {
    let Some(stack) = with_nats(builder).await else { return };
    let mut provider = stack.provider().parse().map(stack_of).unwrap();
    let signs = [
        ("connects", Readiness::answers()),
        ("path", Readiness::path("/healthz").on_port("monitoring")),
        ("log", Readiness::says("Server is ready")),
    ];
    for (name, sign) in signs {
        provider = provider.service(name, NatsThat(sign));
    }
    let stack = provider.start().await.unwrap();
    for service in stack.all() {
        Client::to(&service.url()).await;
        service.inject(Fault::Kill).await.unwrap().heal().await.unwrap();
        Client::to(&service.url()).await;
    }
    let wrong = [
        (Readiness::path("/nowhere").on_port("monitoring"), "404"),
        (Readiness::says("I am not NATS"), "it has not said `I am not NATS` yet"),
    ];
    for (sign, why) in wrong {
        let builder = stack.provider().parse().map(stack_of).unwrap().ready_deadline(Duration::from_secs(3));
        let error = builder.service("nats", NatsThat(sign)).start().await.unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    let builder = stack.provider().parse().map(stack_of).unwrap();
    let no_port = NatsThat(Readiness::path("/").on_port("metrics"));
    let error = builder.service("nats", no_port).start().await.unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
}

/// A server that tells its arguments and its environment, and never becomes ready.
#[derive(Debug)]
struct Mute {
    seconds: String,
}

impl Mute {
    fn script(&self) -> [String; 2] {
        let script = "echo listening on $ADDRESS, $1, and $2; exec sleep \"$3\"";
        ["-c".to_owned(), script.to_owned()]
    }

    fn args(&self) -> impl Iterator<Item = String> {
        let more = ["mute", "monitoring on {port.monitoring}", "files in {data}", &self.seconds];
        self.script().into_iter().chain(more.map(str::to_owned))
    }
}

#[async_trait::async_trait]
impl Software for Mute {
    fn program(&self) -> Program {
        Program::new("/bin/sh").args(self.args()).env("ADDRESS", "127.0.0.1:{port}")
    }

    fn image(&self) -> Image {
        let image = Image::new("seaworthy/app:offline").or("debian:stable-slim").listens_on(77);
        image.args(["sh".to_owned()].into_iter().chain(self.args())).env("ADDRESS", "127.0.0.1:{port}")
    }

    fn scheme(&self) -> &str {
        "mute"
    }

    fn more_ports(&self) -> Vec<Port> {
        vec![Port::new("monitoring", 78)]
    }

    async fn answers(&self, _address: &str) -> Result<(), String> {
        Err("it has not said a word".to_owned())
    }
}

/// Whether a process with these words in its command runs, also in a container.
fn runs(words: &str) -> bool {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .map(|process| std::fs::read(process.path().join("cmdline")).unwrap_or_default())
        .any(|command| String::from_utf8_lossy(&command).split('\0').any(|word| word == words))
}

fn containers_with(words: &str) -> String {
    let list =
        Command::new("docker").args(["ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Command}}"]).output();
    let list = list.map(|list| String::from_utf8_lossy(&list.stdout).into_owned()).unwrap_or_default();
    list.lines().filter(|line| line.contains(words)).collect()
}

async fn a_server_that_never_answers_leaves_nothing(builder: StackBuilder) {
    // By which this test finds its own.
    let seconds = format!("600.{}", uuid::Uuid::new_v4().as_u128() % 1_000_000_007);
    let mute = Mute { seconds: seconds.clone() };
    let builder = builder.ready_deadline(Duration::from_secs(4)).redis(Redis::new()).service("mute", mute);
    let start = tokio::spawn(builder.start());
    let give_up = Instant::now() + PATIENCE;
    while !runs(&seconds) {
        assert!(Instant::now() < give_up && !start.is_finished(), "it never ran");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let error = start.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "{error}");
    let said = error.to_string();
    assert!(said.contains("it has not said a word"), "{said}");
    assert!(!said.contains('{') && said.contains("listening on 127.0.0.1:"), "{said}");
    assert!(said.contains("monitoring on ") && said.contains("files in /"), "{said}");
    assert!(!runs(&seconds), "its process is left");
    assert_eq!(containers_with(&seconds), "", "its container is left");
    if let Some((_, data)) = said.split_once("files in ") {
        let data = Path::new(data.lines().next().unwrap_or_default());
        // Natively it is in the stack's folder; in a container it went with that.
        assert!(!data.exists(), "{} is left", data.display());
    }
}

async fn a_setting_that_the_server_refuses_is_an_error_that_quotes_it(builder: StackBuilder) {
    let builder = builder.postgres(Postgres::new().setting("work_mem", "a lot"));
    let error = builder.start().await.unwrap_err();
    assert!(matches!(error, Error::Start { .. }), "{error}");
    assert!(error.to_string().contains("work_mem"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_run_already_are_taken_only_if_they_are_of_the_version() {
    let theirs = stack_of(ProviderChoice::Native).postgres(Postgres::new()).redis(Redis::new());
    let theirs = theirs.start().await.unwrap();
    let urls = [theirs.postgres().direct_url(), theirs.redis().direct_url()];
    let output = tokio::task::spawn_blocking(move || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "on_servers_that_run_already", "--ignored", "--nocapture"])
            .envs([("SEAWORTHY_POSTGRES_URL", &urls[0]), ("SEAWORTHY_REDIS_URL", &urls[1])])
            .output()
    });
    let output = output.await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "another test runs it, beside servers for it"]
async fn on_servers_that_run_already() {
    let external = || stack_of(ProviderChoice::External);
    let major = |version: String| version.split('.').next().unwrap().to_owned();
    let here = major(binaries::postgres().unwrap().version);
    let named = Postgres::new().version(&here);
    let redis = Redis::new().version(major(binaries::redis().unwrap().version));
    let stack = external()
        .postgres_named("orders", named)
        .postgres_named("the-ledger", Postgres::new())
        .redis(redis)
        .start()
        .await
        .unwrap();
    let (orders, ledger) = (stack.service("orders").unwrap(), stack.service("the-ledger").unwrap());
    execute(&orders.url(), "create table orders (id int)").await.unwrap();
    assert!(execute(&ledger.url(), "select * from orders").await.is_err(), "each has a database of its own");
    let error = stack.start_replica("standby", "orders").await.unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    stack.stop().await;

    for builder in
        [external().postgres(Postgres::new().version("9.6")), external().redis(Redis::new().version("5"))]
    {
        let error = builder.start().await.unwrap_err();
        assert!(matches!(error, Error::VersionMissing { .. }), "{error}");
        assert!(error.to_string().contains("a server of version "), "{error}");
    }
    let url = std::env::var("SEAWORTHY_POSTGRES_URL").unwrap();
    assert_eq!(one(&url, "select count(*)::text from pg_database where datname ^@ 'seaworthy_'").await, "0");
}

/// Programs as they come with other versions: scripts that only say one.
#[test]
fn a_version_is_found_among_several_and_what_is_not_here_is_told_with_the_command() {
    use std::os::unix::fs::PermissionsExt;
    let folder = std::env::temp_dir().join(format!("seaworthy-test-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&folder).unwrap();
    let fake = folder.join("postgres");
    std::fs::write(&fake, "#!/bin/sh\necho asked >>\"$0.log\"\necho 'postgres (PostgreSQL) 99.4 (Test)'\n")
        .unwrap();
    std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "beside_another_postgres", "--ignored", "--nocapture"])
        .env("PATH", format!("{}:{}", folder.display(), std::env::var("PATH").unwrap()))
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .env_remove("SEAWORTHY_POSTGRES")
        .output()
        .unwrap();
    let asked = std::fs::read_to_string(folder.join("postgres.log")).unwrap_or_default();
    std::fs::remove_dir_all(&folder).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "{said}");
    assert_eq!(asked.lines().count(), 1, "it is asked once, however often it is looked for");
}

#[test]
#[ignore = "another test runs it, with a PATH for it"]
fn beside_another_postgres() {
    assert_eq!(binaries::postgres().unwrap().version, "99.4");
    assert_eq!(binaries::postgres_of("99").unwrap().version, "99.4");
    assert_eq!(binaries::postgres_of("99.4").unwrap().version, "99.4");
    let error = binaries::postgres_of("9").unwrap_err().to_string();
    assert!(error.contains("postgres of version 9 was not found, only 99.4 at "), "{error}");
    assert!(
        error.contains("postgresql-9`") || error.contains("postgresql9-server`") || error.contains("@9`"),
        "{error}"
    );
    let error = binaries::redis_of("1").unwrap_err().to_string();
    assert!(error.contains("redis-server of version 1 was not found, only "), "{error}");
}
