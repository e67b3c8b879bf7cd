//! The sea that every wreck sails: Postgres and Redis, a storm of short faults, and a load.

use std::time::Duration;

use seaworthy_harness::{
    BoxError, Fault, Play, Postgres, Profile, ProviderChoice, Redis, Scenario, Schedule, Stack, Storm,
    Voyage, Workload,
    reports::{ScenarioRecord, Status, Verdict},
};
use sqlx::{PgPool, postgres::PgPoolOptions};

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// How long a storm is.
const STORM: Duration = ms(5_000);
/// How long the load goes on after it.
const CALM: Duration = ms(600);
/// Slow answers, which every now and then overtake each other's effects.
const SLOW: Fault = Fault::Latency { latency: ms(150), jitter: ms(100) };

/// A small service with a flaw that can be left out.
#[derive(Clone, Copy)]
pub(crate) struct Wreck {
    pub(crate) name: &'static str,
    /// The check that the flaw violates.
    pub(crate) check: &'static str,
    pub(crate) scenario: fn(Scenario, flawed: bool) -> Scenario,
}

impl Wreck {
    /// Twenty faults or more.
    pub(crate) fn storm(&self, seed: u64) -> Schedule {
        let storm = Storm::over(STORM)
            .hazard("postgres", Fault::Reset, 3)
            .hazard("postgres", Fault::Down, 2)
            .hazard("postgres", SLOW, 2)
            .hazard("redis", Fault::Reset, 3)
            .hazard("redis", Fault::Down, 2)
            .hazard("redis", SLOW, 2)
            .hazard("redis", Fault::Pause, 2)
            .events(20..=26)
            .lasting(ms(60)..=ms(1_000))
            .at_once(6)
            // With a subset of these few hazards there is no room for twenty events.
            .swarm(false);
        storm.schedule(seed)
    }
}

/// Plays the service in this weather. What can't be judged is a defect of the wreck.
pub(crate) async fn play(wreck: &Wreck, flawed: bool, seed: u64, schedule: &Schedule) -> ScenarioRecord {
    let scenario = Scenario::new(wreck.name, "A small service in random weather.").within(ms(60_000));
    let scenario = (wreck.scenario)(scenario, flawed);
    let play = Play::new(seed).provider(ProviderChoice::Native).schedule(schedule.clone());
    let record = play.of(&scenario).await.unwrap().record;
    assert_eq!(record.status, Status::Played);
    record
}

/// Whether this check was violated.
pub(crate) fn violated(record: &ScenarioRecord, check: &str) -> bool {
    record.checks.iter().any(|other| other.name == check && other.verdict == Verdict::Violated)
}

/// Starts Postgres with this schema, and Redis.
pub(crate) async fn start<'a>(voyage: &'a Voyage, schema: &'static str) -> Result<&'a Stack, BoxError> {
    let stack = voyage.start(Stack::builder().postgres(Postgres::new()).redis(Redis::new())).await?;
    sqlx::raw_sql(schema).execute(&direct(stack).await?).await?;
    Ok(stack)
}

/// The service's own connections to Postgres, which meet the weather.
pub(crate) fn pool(stack: &Stack) -> Result<PgPool, sqlx::Error> {
    let options =
        PgPoolOptions::new().max_connections(40).acquire_timeout(ms(1_000)).test_before_acquire(false);
    options.connect_lazy(&stack.postgres().url())
}

/// Connections past the weather, to see what is true.
pub(crate) async fn direct(stack: &Stack) -> Result<PgPool, sqlx::Error> {
    PgPoolOptions::new().max_connections(2).connect(&stack.postgres().direct_url()).await
}

/// So many operations a second until the storm is over, and a little longer.
pub(crate) fn load(voyage: &Voyage, rate: f64) -> Workload {
    voyage.workload(Profile::constant(rate, STORM + CALM)).deadline(ms(3_000))
}
