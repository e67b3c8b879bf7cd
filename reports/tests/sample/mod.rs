//! A run as scenarios leave it: one violated, one held, one unknown, one skipped. Made without a clock and without chance.

use std::time::Duration;

use seaworthy_reports::{
    Check, Environment, FaultWindow, LogLine, Number, OutcomeKind, Run, ScenarioRecord, SingleOperation,
    Status, Unit, Verdict,
};

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn sample_run() -> Run {
    Run {
        version: "0.1.0".into(),
        started_at: 1_772_366_405,
        seed: 7,
        environment: Environment {
            provider: "native: postgres 15.14, redis-server 7.0.15 (no Docker daemon answers)".into(),
            system: "linux x86_64".into(),
            cores: 2,
            durability: "on (fsync, synchronous_commit and full_page_writes)".into(),
            versions: vec![Number::new("Kernel", "6.1.0")],
        },
        scenarios: vec![worker_crash(), disk_full(), redis_failure(), clock_jump()],
        cut_short: false,
    }
}

/// Numbers that look like chance: splitmix64.
fn noise(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 33
}

/// Forty operations a second for so long, each with the latency and outcome of its time.
fn operations(seconds: u64, faults: &[FaultWindow]) -> Vec<SingleOperation> {
    let one = |number: u64| {
        let at = ms(number * 25);
        let ill = faults.iter().any(|fault| fault.from <= at && at < fault.to);
        let (noise, chance) = (noise(number), noise(number ^ 0xabcd) % 100);
        let slow = if ill { 60 } else { 1 };
        let latency = Duration::from_micros(
            (1_800 + noise % 4_000 + if chance > 97 { noise % 30_000 } else { 0 }) * slow,
        );
        let (outcome, why) = match chance {
            0..35 if ill => (OutcomeKind::Failed, "503 Service Unavailable: no connection to the database"),
            35..42 if ill => (OutcomeKind::Unknown, "connection closed before message completed"),
            42..45 if ill => (OutcomeKind::TimedOut, "no answer in time"),
            _ => (OutcomeKind::Ok, ""),
        };
        // These two are acknowledged, and lost.
        let (outcome, why) =
            if [142, 147].contains(&number) { (OutcomeKind::Ok, "") } else { (outcome, why) };
        let latency = if outcome == OutcomeKind::TimedOut { ms(3_000) } else { latency };
        let kind = if number.is_multiple_of(4) { "look-at-order" } else { "place-order" };
        SingleOperation {
            kind: kind.into(),
            key: format!("order-{number:04}"),
            at,
            latency,
            outcome,
            why: why.into(),
        }
    };
    (0..seconds * 40).map(one).collect()
}

fn fault(target: &str, fault: &str, from: u64, to: u64) -> FaultWindow {
    FaultWindow { target: target.into(), fault: fault.into(), from: ms(from), to: ms(to) }
}

fn count(record: &mut ScenarioRecord, operations: &[SingleOperation]) {
    for operation in operations {
        record.operations.record(&operation.kind, operation.at, operation.latency, operation.outcome);
    }
}

fn worker_crash() -> ScenarioRecord {
    let mut record = ScenarioRecord::new(
        "worker-crash",
        "Workers die with jobs in their hands; the others take them over.",
    );
    record.faults = vec![
        fault("worker-1", "kill -9", 2_000, 2_600),
        fault("postgres", "latency 60 ms", 3_200, 4_900),
        fault("worker-2", "kill -9", 5_000, 5_700),
        fault("redis", "down", 6_300, 7_400),
    ];
    record.checks = vec![
        Check::new("no fulfilment is recorded twice", Verdict::Held, "361 happened, each once"),
        Check::new(
            "every accepted order is fulfilled",
            Verdict::Violated,
            "2 of 363 are missing: order-0142, order-0147",
        )
        .about("order-0142")
        .about("order-0147")
        .step("order-0142 is placed at 3.550 s and acknowledged after 214 ms, while postgres answers 60 ms late")
        .step("worker-2 claims it at 4.981 s")
        .step("worker-2 is killed at 5.000 s, having acknowledged the job before its commit")
        .step("nobody takes the job over: the queue counts it as done"),
        Check::new("work drains after the last fault", Verdict::Held, "412 ms of 8000 ms"),
    ];
    let operations = operations(10, &record.faults);
    count(&mut record, &operations);
    record.keep_operations(operations.iter().cloned());
    record.keep_logs(log().into_iter());
    for number in 0..40_u64 {
        let at = ms(number * 250);
        let mib = 1024.0 * 1024.0;
        let wave = (noise(number) % 100) as f64 / 100.0;
        let sample = &mut record.resources;
        sample.sample(at, "postgres", "memory", Unit::Bytes, (58.0 + number as f64 * 0.6 + wave) * mib);
        sample.sample(at, "redis", "memory", Unit::Bytes, (11.0 + wave) * mib);
        sample.sample(at, "the shop", "memory", Unit::Bytes, (23.0 + wave * 2.0) * mib);
        sample.sample(at, "postgres", "connections", Unit::Count, 14.0 + (noise(number) % 5) as f64);
    }
    record.numbers = vec![
        Number::new("Orders accepted", "363"),
        Number::new("Fulfilments recorded", "361"),
        Number::new("Jobs taken back from dead workers", "9"),
        Number::new("Work drained after the last fault in", "412 ms"),
    ];
    record.took = ms(13_412);
    record.replay = "seaworthy run worker-crash --seed 7 --provider native".into();
    record
}

fn log() -> Vec<LogLine> {
    let line = |at: u64, service: &str, line: &str| LogLine {
        at: ms(at),
        service: service.into(),
        line: line.into(),
    };
    vec![
        line(900, "postgres", "LOG:  far too early to matter"),
        line(3_540, "worker-2", r#"{"level":"INFO","message":"claimed 8 jobs","lease_ms":2000}"#),
        line(
            3_904,
            "postgres",
            "LOG:  duration: 214.310 ms  statement: insert into shop.orders (id, state) values ($1, 'placed')",
        ),
        line(4_981, "worker-2", r#"{"level":"INFO","message":"claimed 3 jobs","lease_ms":2000}"#),
        line(5_001, "postgres", "LOG:  could not receive data from client: Connection reset by peer"),
        line(5_204, "worker-2", "a worker is at work"),
    ]
}

fn disk_full() -> ScenarioRecord {
    let mut record = ScenarioRecord::new("disk-full", "Postgres' disk fills up, then there is space again.");
    record.faults = vec![fault("postgres", "disk full", 2_000, 4_500)];
    record.checks = vec![
        Check::new("every accepted order is fulfilled", Verdict::Held, "all 301 are there"),
        Check::new("Postgres survives the full disk", Verdict::Held, "an old connection still lives"),
    ];
    let operations = operations(8, &record.faults);
    count(&mut record, &operations);
    record.took = ms(10_120);
    record.replay = "seaworthy run disk-full --seed 7 --provider native".into();
    record
}

fn redis_failure() -> ScenarioRecord {
    let mut record = ScenarioRecord::new("redis-failure", "Redis dies under <load> & comes back.");
    record.checks = vec![
        Check::new(
            "every WebSocket client ends with the true states",
            Verdict::Unknown,
            "nobody watched anything",
        ),
        Check::new(
            "nothing is said twice",
            Verdict::Held,
            "0 | 1 said *twice* by `nobody` <b>bold</b> @everyone",
        ),
    ];
    record.took = ms(900);
    record.replay = "seaworthy run redis-failure --seed 7 --provider native".into();
    record
}

fn clock_jump() -> ScenarioRecord {
    let mut record = ScenarioRecord::new("clock-jump", "The clock jumps.");
    record.status = Status::Skipped("this machine's clock can't be changed: run it as root".into());
    record.replay = "seaworthy run clock-jump --seed 7".into();
    record
}
