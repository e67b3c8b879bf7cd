//! Scenarios leave a record whatever happens to them, and nothing else.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use seaworthy_harness::{
    BoxError, Error, Failure, Fault, Interrupt, News, Play, Played, Postgres, Profile, ProviderChoice, Redis,
    Scenario, Schedule, Stack, Voyage, check,
    reports::{Check, Operations, ScenarioRecord, Status, Verdict},
};
use sqlx::Connection as _;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A scenario on Redis with these faults, in which this is done when the services are there.
fn on_redis<F>(faults: Schedule, sail: impl Fn(Voyage) -> F + Clone + Send + Sync + 'static) -> Scenario
where
    F: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let scenario = Scenario::new("on-redis", "Something is done with Redis.");
    scenario.faults(move |_| faults.clone()).sail(move |voyage: Voyage| {
        let sail = sail.clone();
        async move {
            voyage.start(Stack::builder().redis(Redis::new())).await?;
            sail(voyage).await
        }
    })
}

/// Pings Redis, a connection for each.
async fn ping(voyage: Voyage, rate: f64, lasts: Duration) -> Result<(), BoxError> {
    let client = redis::Client::open(voyage.stack().redis().url())?;
    let load =
        voyage.workload(Profile::constant(rate, lasts)).deadline(ms(500)).operation("ping", 1, move |_| {
            let client = client.clone();
            async move {
                let mut connection = client.get_multiplexed_async_connection().await?;
                redis::cmd("PING").query_async::<String>(&mut connection).await
            }
        });
    voyage.sail(&load).await?;
    let pings = voyage.history().counts();
    voyage.check(check::at_least("most pings were answered", pings.ok, pings.total() / 2));
    Ok(())
}

fn play() -> Play {
    Play::new(7).provider(ProviderChoice::Native)
}

fn wrong(record: &ScenarioRecord) -> Vec<&Check> {
    record.checks.iter().filter(|check| check.verdict != Verdict::Held).collect()
}

/// What is not held, in a line.
fn why(played: &Played) -> String {
    let wrong = wrong(&played.record).into_iter();
    wrong.map(|check| format!("{}: {}: {}", check.verdict, check.name, check.detail)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_has_the_faults_the_operations_the_checks_and_what_was_used() {
    let faults = Schedule::quiet().fault(ms(150), ms(100), "redis", Fault::Down).fault(
        ms(200),
        ms(100),
        "redis",
        Fault::Latency { latency: ms(5), jitter: ms(0) },
    );
    let scenario = on_redis(faults.clone(), |voyage| ping(voyage, 100.0, ms(700)));
    let played = play().of(&scenario).await.unwrap();
    assert!(played.provider.starts_with("native"), "{}", played.provider);
    assert_eq!(played.schedule, faults);
    assert_eq!(played.operations.len(), 70);
    let record = played.expect_held();
    let faults: Vec<&str> = record.faults.iter().map(|window| window.fault.as_str()).collect();
    assert_eq!(faults, ["down", "latency"]);
    assert!(record.faults[0].from >= ms(150) && record.faults[0].to >= ms(250), "{:?}", record.faults);
    assert_eq!(record.operations.total().counts.total(), 70);
    assert!(record.operations.total().counts.failed > 0, "{:?}", record.operations.total().counts);
    let resources: Vec<&str> = record.resources.series().map(|series| series.resource.as_str()).collect();
    assert_eq!(resources, ["open files", "disk", "memory"]);
    assert_eq!(record.replay, "seaworthy run on-redis --seed 7 --provider native");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_the_scenarios_own_is_on_until_it_is_dropped() {
    let faults = Schedule::quiet().fault(ms(50), ms(20), "redis", Fault::Down);
    let scenario = on_redis(faults, |voyage| async move {
        let first = voyage.own_fault("redis", "a transaction left open");
        let second = voyage.own_fault("worker", "a clock that jumps");
        voyage.faults().await?;
        drop(first);
        voyage.check(check::at_least("the one that was dropped is over", voyage.windows().len() as u64, 2));
        drop(second);
        Ok(())
    });
    let mut record = play().of(&scenario).await.unwrap().expect_held();
    record.faults.sort_by(|one, other| one.fault.cmp(&other.fault));
    let faults: Vec<_> = record.faults.iter().map(|window| (&*window.target, &*window.fault)).collect();
    let own = [("worker", "a clock that jumps"), ("redis", "a transaction left open")];
    assert_eq!(faults, [own[0], own[1], ("redis", "down")]);
    assert!(record.faults[1].from < record.faults[2].from && record.faults[1].to >= record.faults[2].to);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_and_every_fault_is_among_the_news() {
    let faults = Schedule::quiet().fault(ms(100), ms(50), "redis", Fault::Reset);
    let scenario = on_redis(faults, |voyage| ping(voyage, 50.0, ms(1_300)));
    let heard = Arc::new(Mutex::new((Operations::default(), Vec::new(), Vec::new())));
    let hears = heard.clone();
    let watch = move |news| {
        let mut heard = hears.lock().unwrap();
        match news {
            News::Operations(operations) => {
                operations.slices().for_each(|slice| heard.0.add_slice(&slice));
                operations.kinds().for_each(|(kind, tally)| heard.0.add_kind(kind, tally));
            }
            News::FaultBegan { number, window } => {
                heard.1.push(format!("{number} {} {}", window.target, window.fault))
            }
            News::FaultHealed { number, .. } => heard.1.push(format!("{number} healed")),
            News::Progress(progress) => heard.2.push(progress.phase),
            _ => {}
        }
    };
    let record = play().watched(&scenario, watch).await.unwrap().expect_held();
    let (operations, faults, phases) = &*heard.lock().unwrap();
    assert_eq!(*operations, record.operations);
    assert_eq!(*faults, ["0 redis reset", "0 healed"]);
    assert!(phases.contains(&"under load".to_owned()), "{phases:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_before_its_time_is_unknown_and_says_why() {
    let check_it = |voyage: &Voyage| voyage.check(Check::new("all is well", Verdict::Held, "so far"));
    let fails = on_redis(Schedule::quiet(), move |voyage| async move {
        check_it(&voyage);
        Err("the truth could not be read".into())
    });
    let panics = on_redis(Schedule::quiet(), move |voyage| async move {
        check_it(&voyage);
        panic!("at the disco");
    });
    let hangs = on_redis(Schedule::quiet(), move |voyage| async move {
        check_it(&voyage);
        std::future::pending().await
    });
    for (scenario, expected) in [
        (fails, "unknown: the scenario comes to its end: the truth could not be read"),
        (panics, "unknown: the scenario comes to its end: it panicked: at the disco"),
        (hangs.within(ms(400)), "unknown: the scenario comes to its end: it was not over after 400ms"),
    ] {
        let played = play().of(&scenario).await.unwrap();
        assert_eq!(why(&played), expected);
        assert_eq!(played.record.verdict(), Verdict::Unknown);
        assert_eq!(played.record.status, Status::Played);
    }
    let nothing = Scenario::new("nothing", "Nothing is done.");
    assert_eq!(play().of(&nothing).await.unwrap().record.verdict(), Verdict::Unknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_play_heals_its_faults_ends_its_services_and_leaves_a_record() {
    let faults = Schedule::quiet().fault(ms(0), ms(60_000), "redis", Fault::Pause);
    let place = Arc::new(Mutex::new(String::new()));
    let noted = place.clone();
    let scenario = on_redis(faults, move |voyage| {
        *noted.lock().unwrap() = voyage.stack().redis().direct_url();
        async move { ping(voyage, 20.0, ms(60_000)).await }
    });
    let interrupt = Interrupt::default();
    let stop = interrupt.clone();
    let watch = move |news| {
        if let News::FaultBegan { .. } = news {
            stop.now("somebody pressed Ctrl-C");
        }
    };
    let record = play().interrupt(interrupt).watched(&scenario, watch).await.unwrap().record;
    assert_eq!(record.status, Status::Interrupted("somebody pressed Ctrl-C".to_owned()));
    assert_eq!(record.verdict(), Verdict::Unknown);
    assert_eq!(record.faults.len(), 1, "the fault is in the record, with its end: {:?}", record.faults);
    assert!(record.faults[0].to < ms(10_000), "{:?}", record.faults);
    let url = place.lock().unwrap().clone();
    assert!(
        redis::Client::open(url).unwrap().get_connection_with_timeout(ms(500)).is_err(),
        "Redis still answers"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_do_not_start_are_an_error_and_faults_that_are_not_possible_skip_the_scenario() {
    let none = Scenario::new("none", "").sail(|voyage: Voyage| async move {
        voyage.start(Stack::builder().redis(Redis::new().port(1)).ready_deadline(ms(300))).await?;
        Ok::<_, BoxError>(())
    });
    let error = play().of(&none).await.unwrap_err();
    assert!(!matches!(error, Error::Unsupported { .. }), "{error}");

    // Nothing was asked for that could fill up.
    let full = Schedule::quiet().fault(ms(10), ms(10), "redis", Fault::DiskFull);
    let scenario = on_redis(full, |voyage| ping(voyage, 20.0, ms(100)));
    let record = play().of(&scenario).await.unwrap().record;
    assert!(matches!(&record.status, Status::Skipped(why) if why.contains("disk")), "{:?}", record.status);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_ends_by_itself_is_a_violation() {
    let scenario = on_redis(Schedule::quiet(), |voyage| async move {
        let mut connection = redis::Client::open(voyage.stack().redis().direct_url())?
            .get_multiplexed_async_connection()
            .await?;
        let gone = redis::cmd("SHUTDOWN").arg("NOSAVE").exec_async(&mut connection).await;
        assert!(gone.is_err());
        voyage.check(Check::new("all is well", Verdict::Held, "so it seems"));
        let redis = voyage.stack().redis();
        let down = || async { redis.ended().await.ok_or_else(|| "it runs".to_owned()) };
        seaworthy_harness::wait_until("Redis is down", ms(5_000), down).await?;
        Ok(())
    });
    let played = play().of(&scenario).await.unwrap();
    assert!(
        why(&played).starts_with("violated: no process ended by itself: 1 did: redis:"),
        "{}",
        why(&played)
    );
}

/// The same load from the same seed, so that a play can be compared with another.
#[tokio::test(flavor = "multi_thread")]
async fn a_seed_gives_the_same_load() {
    let scenario = Scenario::new("drawing", "").sail(|voyage: Voyage| async move {
        let load = voyage.workload(Profile::constant(500.0, ms(100)).random(voyage.seed()));
        let draw = |call: seaworthy_harness::Call| async move { Ok::<_, Failure>(call.pick(1_000_000)) };
        voyage.sail(&load.operation("a", 1, draw).operation("b", 2, draw)).await?;
        Ok::<_, BoxError>(())
    });
    let mut drawn = Vec::new();
    for _ in 0..2 {
        let played = play().of(&scenario).await.unwrap();
        let what = played.operations.into_iter().map(|operation| (operation.kind, operation.output));
        drawn.push(what.collect::<Vec<_>>());
    }
    assert_eq!(drawn[0], drawn[1]);
    assert!(drawn[0].len() > 20);
}

/// What a client's error says about an operation: refused for certain, or nobody knows.
#[tokio::test(flavor = "multi_thread")]
async fn errors_of_real_clients_tell_a_refusal_from_a_lost_answer() {
    let stack =
        Stack::builder().provider(ProviderChoice::Native).postgres(Postgres::new()).redis(Redis::new());
    let stack = stack.start().await.unwrap();
    let (url, direct) = (stack.postgres().url(), stack.postgres().direct_url());
    let mut truth = sqlx::PgConnection::connect(&direct).await.unwrap();
    sqlx::raw_sql("create table note (id int primary key); insert into note values (1)")
        .execute(&mut truth)
        .await
        .unwrap();
    let is_refused = |failure: Failure| matches!(failure, Failure::Refused(_));

    let mut client = sqlx::PgConnection::connect(&url).await.unwrap();
    let twice = sqlx::query("insert into note values (1)").execute(&mut client).await.unwrap_err();
    assert!(is_refused(twice.into()), "a constraint refuses for certain");

    let sleeping = sqlx::query("select pg_sleep(30)").execute(&mut client);
    let postgres = stack.postgres();
    let (slept, outage) = tokio::join!(sleeping, postgres.inject(Fault::Down));
    outage.unwrap().heal().await.unwrap();
    let failure = Failure::from(slept.unwrap_err());
    assert!(!is_refused(failure.clone()), "{failure}");

    let redis = redis::Client::open(stack.redis().url()).unwrap();
    let mut client = redis.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("SET").arg("word").arg("hello").exec_async(&mut client).await.unwrap();
    let wrong = redis::cmd("INCR").arg("word").exec_async(&mut client).await.unwrap_err();
    assert!(is_refused(wrong.into()), "no number can be counted up");
    let away = stack.redis().inject(Fault::Down).await.unwrap();
    let lost = redis::cmd("INCR").arg("counter").exec_async(&mut client).await.unwrap_err();
    let failure = Failure::from(lost);
    assert!(!is_refused(failure.clone()), "a command on a connection that breaks: {failure}");
    let nobody = redis.get_multiplexed_async_connection().await.unwrap_err();
    let failure = Failure::from(nobody);
    assert!(is_refused(failure.clone()), "nothing was sent: {failure}");
    away.heal().await.unwrap();
}
