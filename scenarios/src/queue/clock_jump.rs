//! The clocks of workers, and that of Postgres, jump.

use std::{fs, path::Path, time::Duration};

use seaworthy_harness::{App, BoxError, Error, Postgres, Profile, Scenario, Stack, Voyage, check};
use tokio::time::sleep;

use super::{
    QueueScenarios,
    ledger::{Ledger, Producer},
    worker::Hand,
};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Jobs per second.
const RATE: f64 = 60.0;
/// By how much clocks jump, in seconds: more than every timeout of the queue together.
const JUMP: i64 = 86_400;
/// The file, within the folder that a process runs in, that sets its clock.
const CLOCK: &str = "clock";
const WORKERS: [&str; 2] = ["worker-1", "worker-2"];
/// Where libfaketime is after its package was installed.
const LIBRARIES: [&str; 5] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/local/lib/faketime/libfaketimeMT.so.1",
];

pub(super) fn scenario(of: &QueueScenarios) -> Scenario {
    let of = of.clone();
    let summary =
        "The clocks of two workers jump a day ahead and a day back, then that of Postgres jumps ahead.";
    Scenario::new("queue-clock-jump", summary).sail(move |voyage| sail(of.clone(), voyage))
}

async fn sail(of: QueueScenarios, voyage: Voyage) -> Result<(), BoxError> {
    let library = LIBRARIES.map(Path::new).into_iter().find(|path| path.exists());
    let library: &'static Path =
        library.ok_or_else(|| cannot("libfaketime is missing: on Debian, apt-get install faketime"))?;
    let mut builder = Stack::builder().postgres(under(library, Postgres::new(), Postgres::env));
    for name in WORKERS {
        let hand = Hand { heartbeat_ms: 500, lease_timeout_ms: 2_000, ..Hand::new(name) };
        let program = of.program.clone();
        builder = builder
            .app(name, move |stack| under(library, hand.app(&program, stack.postgres().url()), App::env));
    }
    let stack = voyage.start(builder).await?;
    if stack.provider() != "native" {
        return Err(cannot(
            "the services must find libfaketime where it is here, as they do with the provider `native`",
        )
        .into());
    }
    forget_shared_memory(stack.folder());
    let ledger = Ledger::open(stack).await?;
    let producer = Producer::new(&stack.postgres().url())?;
    let load = voyage.workload(Profile::constant(RATE, ms(8_000)));
    let load = load.operation("enqueue", 1, move |call| {
        let (producer, key) = (producer.clone(), call.number() as i64);
        call.key(key.to_string());
        async move { producer.send(key).await }
    });
    let jumping = jump(&voyage, &ledger);
    let (_, seen) = tokio::try_join!(async { Ok(voyage.sail(&load).await?) }, jumping)?;
    ledger.check(&voyage, ms(20_000)).await?;

    let dead: Vec<String> = (0..seen.rescued).map(|_| "a job was taken back".to_owned()).collect();
    voyage.check(check::none("no worker is taken for dead since its own clock is wrong", &dead));
    voyage.check(check::exercised(
        "workers worked with clocks that were wrong",
        seen.begun_off,
        "jobs were begun half a day off, or more",
    ));
    Ok(())
}

/// What was seen while the clocks of workers were wrong, and that of Postgres was not.
struct Seen {
    /// Jobs that were taken back from workers.
    rescued: i64,
    /// Jobs that were begun by a worker whose clock was wrong.
    begun_off: u64,
}

/// Has the clocks of workers jump, then that of Postgres.
async fn jump(voyage: &Voyage, ledger: &Ledger) -> Result<Seen, BoxError> {
    const LASTS: Duration = ms(1_500);
    sleep(ms(1_000)).await;
    for (name, by) in WORKERS.into_iter().zip([JUMP, -JUMP]) {
        let folder = voyage.stack().folder().join(name).join("data");
        let fault = voyage.own_fault(name, format!("clock jumps {by:+} s"));
        set_clock(&folder, by)?;
        sleep(LASTS).await;
        set_clock(&folder, 0)?;
        drop(fault);
    }
    let rescued = ledger.queue.stats().await?.rescued;
    let begun_off: i64 = sqlx::query_scalar(
        "select count(*) from ledger.began where abs(extract(epoch from at - workers_clock)) > $1::float8 / 2",
    )
    .bind(JUMP as f64)
    .fetch_one(&ledger.pool)
    .await?;
    let folder: String = sqlx::query_scalar("show data_directory").fetch_one(&ledger.pool).await?;
    // Every lease is out of date then, at once. It does not jump back: what is to come would be late by as much, as with any clock.
    let fault = voyage.own_fault("postgres", format!("clock jumps {JUMP:+} s"));
    set_clock(Path::new(&folder), JUMP)?;
    sleep(LASTS).await;
    drop(fault);
    Ok(Seen { rescued, begun_off: begun_off.unsigned_abs() })
}

/// A process whose clock is set by a file in the folder that it runs in.
fn under<T>(library: &Path, process: T, set: fn(T, &'static str, String) -> T) -> T {
    let process = set(process, "LD_PRELOAD", library.display().to_string());
    let process = set(process, "FAKETIME_TIMESTAMP_FILE", CLOCK.to_owned());
    let process = set(process, "FAKETIME_NO_CACHE", "1".to_owned());
    set(process, "FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned())
}

/// In one step: a process may read it at any moment.
fn set_clock(folder: &Path, by: i64) -> std::io::Result<()> {
    let draft = folder.join("clock.draft");
    fs::write(&draft, format!("{by:+}"))?;
    fs::rename(draft, folder.join(CLOCK))
}

/// libfaketime names what a process shares with its children, and forgets it only if that ends by itself. They have it by now, and need no name.
fn forget_shared_memory(stack: &Path) {
    for file in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        let pid =
            ["faketime_shm_", "sem.faketime_sem_"].into_iter().find_map(|start| name.strip_prefix(start));
        let is_ours = |pid: &str| {
            fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|folder| folder.starts_with(stack))
        };
        if pid.is_some_and(is_ours) {
            // One that is gone already is what is wanted.
            let _ = fs::remove_file(file.path());
        }
    }
}

fn cannot(why: &str) -> Error {
    Error::Unsupported { fault: "a clock jump", service: WORKERS[0].to_owned(), why: why.to_owned() }
}
