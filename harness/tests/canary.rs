//! Many tests, in any order, each of which leaves behind whatever it can; none sees anything of another.
//!
//! `SEAWORTHY_ROUNDS` asks for more tests than a run of the whole suite has time for.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, StreamExt};
use rand::{RngExt as _, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use redis::AsyncCommands;
use seaworthy_harness::{
    Env,
    env::{Isolation, Schema},
};
use sqlx::{Connection, Executor, PgConnection, postgres::PgListener};
use tokio::runtime::Runtime;

/// What a test can leave, and how it shows in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trace {
    Table,
    Sequence,
    Role,
    Listen,
    Setting,
    Key,
    Channel,
    Script,
    RedisSetting,
}

const TRACES: [Trace; 9] = [
    Trace::Table,
    Trace::Sequence,
    Trace::Role,
    Trace::Listen,
    Trace::Setting,
    Trace::Key,
    Trace::Channel,
    Trace::Script,
    Trace::RedisSetting,
];

/// Where connections that nobody closes live on, as those of an application that was left running.
static LEAKS: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// How many tests run at a time.
const THREADS: u32 = 2;

#[test]
fn what_a_test_leaves_no_other_sees() {
    let tests: u32 = std::env::var("SEAWORTHY_ROUNDS").map_or(120, |rounds| rounds.parse().unwrap());
    let next = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::Relaxed) < tests {
                    a_test(u64::from(next.load(Ordering::Relaxed)));
                }
            });
        }
    });
}

/// One test, on a runtime of its own, as each has.
fn a_test(seed: u64) {
    let settings = Env::builder()
        .name(format!("canary {seed}"))
        .schema(Schema::new().sql("create table known (id int)"))
        .isolation(Isolation::Server)
        .connections(4)
        .seed(seed);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let env = settings.build();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut traces = TRACES;
        traces.shuffle(&mut random);
        for trace in traces {
            assert_eq!(
                sees(&env, trace).await,
                Vec::<String>::new(),
                "test {seed} sees {trace:?} of another"
            );
        }
        // A restart for a setting that can't be taken back is dear, so few do that.
        let leaves = traces.iter().filter(|trace| **trace != Trace::RedisSetting || random.random_bool(0.02));
        for trace in leaves {
            leave(&env, *trace).await;
            assert_ne!(sees(&env, *trace).await, Vec::<String>::new(), "{trace:?} would not be noticed");
        }
        match random.random_range(0..40) {
            0..20 => env.finish().await,
            20..39 => drop(env),
            // Its databases and its server stay for somebody to look at, so few do that.
            _ => {
                let died = std::panic::AssertUnwindSafe(async move {
                    let _env = env;
                    std::panic::resume_unwind(Box::new("on purpose"));
                });
                assert!(died.catch_unwind().await.is_err());
            }
        }
    });
    // As a test that leaves tasks running ends.
    runtime.shutdown_background();
}

async fn leave(env: &Env, trace: Trace) {
    let db = env.postgres().await;
    match trace {
        Trace::Table => execute(env, "create table canary (id int)").await,
        Trace::Sequence => execute(env, "create sequence canary_sequence").await,
        Trace::Role => {
            execute(env, "create role canary login").await;
            execute(env, "create schema canary_owned authorization canary").await;
        }
        Trace::Setting => {
            execute(env, "alter system set work_mem = '7MB'").await;
            execute(env, "alter role all set statement_timeout = '77s'").await;
        }
        Trace::Listen => {
            // Through no pool that the environment knows.
            let url = db.direct_url();
            let listen = async move {
                let mut listener = PgListener::connect(&url).await.unwrap();
                listener.listen("canary").await.unwrap();
                listener
            };
            let mut listener = LEAKS.spawn(listen).await.unwrap();
            LEAKS.spawn(async move { while listener.recv().await.is_ok() {} });
        }
        Trace::Key => {
            let _: () = redis(env).await.set("canary", 1).await.unwrap();
        }
        Trace::Channel => {
            let client = ::redis::Client::open(env.redis().await.direct_url()).unwrap();
            let subscribe = async move {
                let mut subscriber = client.get_async_pubsub().await.unwrap();
                subscriber.subscribe("canary").await.unwrap();
                subscriber
            };
            let mut subscriber = LEAKS.spawn(subscribe).await.unwrap();
            LEAKS.spawn(async move { while subscriber.on_message().next().await.is_some() {} });
        }
        Trace::Script => {
            let load = ::redis::cmd("SCRIPT").arg("LOAD").arg("return 'canary'").clone();
            let _: String = load.query_async(&mut redis(env).await).await.unwrap();
        }
        Trace::RedisSetting => {
            let set = ::redis::cmd("CONFIG").arg("SET").arg("maxmemory-policy").arg("allkeys-lru").clone();
            let _: () = set.query_async(&mut redis(env).await).await.unwrap();
        }
    }
}

async fn sees(env: &Env, trace: Trace) -> Vec<String> {
    let db = env.postgres().await;
    let query = match trace {
        Trace::Table => "select relname::text from pg_class where relkind = 'r' and relname like 'canary%'",
        Trace::Sequence => {
            "select relname::text from pg_class where relkind = 'S' and relname like 'canary%'"
        }
        Trace::Role => "select rolname::text from pg_roles where rolname like 'canary%'",
        Trace::Setting => {
            "select name from pg_file_settings where name = 'work_mem'
             union all select array_to_string(setconfig, ',') from pg_db_role_setting"
        }
        Trace::Listen => {
            return listeners(&db.direct_url()).await;
        }
        Trace::Key => {
            let keys: Vec<String> = redis(env).await.keys("*").await.unwrap();
            return keys;
        }
        Trace::Channel => {
            let ask = ::redis::cmd("PUBSUB").arg("CHANNELS").clone();
            return ask.query_async(&mut redis(env).await).await.unwrap();
        }
        Trace::Script => {
            // The SHA-1 of the script that others leave.
            let ask =
                ::redis::cmd("SCRIPT").arg("EXISTS").arg("8ad17056127415305e413dca0275af24eb4f9243").clone();
            let here: Vec<u8> = ask.query_async(&mut redis(env).await).await.unwrap();
            return if here == [1] { vec!["a script".to_owned()] } else { Vec::new() };
        }
        Trace::RedisSetting => {
            let ask = ::redis::cmd("CONFIG").arg("GET").arg("maxmemory-policy").clone();
            let setting: Vec<String> = ask.query_async(&mut redis(env).await).await.unwrap();
            return setting.into_iter().filter(|value| value == "allkeys-lru").collect();
        }
    };
    sqlx::query_scalar(query).fetch_all(&*db).await.unwrap()
}

/// Backends that listen to the canary's channel: those who get the note and are connected to the same database.
async fn listeners(url: &str) -> Vec<String> {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let query =
        "select 'pid ' || pid from pg_stat_activity where query ilike 'listen%' and pid <> pg_backend_pid()";
    let found = sqlx::query_scalar(query).fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    found
}

async fn execute(env: &Env, statement: &'static str) {
    env.postgres().await.execute(statement).await.unwrap();
}

async fn redis(env: &Env) -> ::redis::aio::MultiplexedConnection {
    tokio::time::timeout(Duration::from_secs(10), env.redis().await.connection()).await.unwrap().unwrap()
}
