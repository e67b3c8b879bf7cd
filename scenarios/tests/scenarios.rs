//! Every scenario holds as the shop is, and turns red when the shop has the bug that it is there to find.

use seaworthy_harness::{
    Play, ProviderChoice,
    reports::{ScenarioRecord, Status, Verdict},
};
use seaworthy_scenarios::Shop;
use seaworthy_shop::Bug;
use tokio::sync::Semaphore;

const SEED: u64 = 7;

/// How much of the machine the scenarios may take together: with more of them at once, requests would be late for want of a processor.
static PLACES: Semaphore = Semaphore::const_new(4);

async fn play(name: &str, bug: Option<Bug>) -> ScenarioRecord {
    // Its clients hardly rest, and not one of their requests may be late.
    let places = if name == "graceful-restart" { 4 } else { 1 };
    let _places = PLACES.acquire_many(places).await.unwrap();
    let shop = Shop { program: env!("CARGO_BIN_EXE_seaworthy").into(), bug };
    let play = Play::new(SEED).provider(ProviderChoice::from_env().unwrap());
    let record = play.of(&shop.scenario(name)).await.unwrap().record;
    assert_eq!(record.status, Status::Played);
    record
}

async fn holds(name: &str) {
    let record = play(name, None).await;
    assert_eq!(record.verdict(), Verdict::Held, "{:#?}\n{:#?}", record.checks, record.numbers);
}

/// The check that the bug breaks must be the one that says so: a scenario that is red for another reason proves nothing.
async fn finds(name: &str, bug: Bug, check: &str) {
    let record = play(name, Some(bug)).await;
    let verdict = record.checks.iter().find(|other| other.name == check).map(|check| check.verdict);
    assert_eq!(verdict, Some(Verdict::Violated), "{:#?}\n{:#?}", record.checks, record.numbers);
}

/// As [`finds`], and everything else holds.
async fn finds_alone(name: &str, bug: Bug, check: &str) {
    let record = play(name, Some(bug)).await;
    let red = record.checks.iter().filter(|check| check.verdict != Verdict::Held);
    let red: Vec<_> = red.map(|check| (check.name.as_str(), check.verdict)).collect();
    assert_eq!(red, [(check, Verdict::Violated)], "{:#?}\n{:#?}", record.checks, record.numbers);
}

macro_rules! scenarios {
    ($($(#[$attribute:meta])* $test:ident: $call:expr;)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            $call.await;
        }
    )*};
}

scenarios! {
    worker_crash_holds: holds("worker-crash");
    postgres_connection_loss_holds: holds("postgres-connection-loss");
    redis_failure_holds: holds("redis-failure");
    disk_full_holds: holds("disk-full");
    graceful_restart_holds: holds("graceful-restart");
    storm_holds: holds("storm");

    worker_crash_finds_a_fulfilment_without_fencing:
        finds("worker-crash", Bug::NoFencing, "no fulfilment is recorded twice");
    postgres_connection_loss_finds_an_answer_before_the_commit:
        finds("postgres-connection-loss", Bug::AcknowledgeBeforeCommit, "every accepted order is fulfilled");
    redis_failure_finds_news_that_are_published_once:
        finds("redis-failure", Bug::PublishOnce, "every WebSocket client ends with the true states");
    disk_full_finds_jobs_that_are_not_retried:
        finds("disk-full", Bug::NoRetry, "every accepted order is fulfilled");
    graceful_restart_finds_a_server_that_does_not_drain: finds_alone("graceful-restart", Bug::DropOnRestart, "no request failed");
}
