//! The queue holds in what its scenarios do to it, and each scenario turns red over the mistake that it is there to find.

use seaworthy_harness::{
    Play, ProviderChoice,
    reports::{ScenarioRecord, Status, Verdict},
};
use seaworthy_scenarios::{Flaw, QueueScenarios};
use tokio::sync::Semaphore;

const SEED: u64 = 7;

/// How many plays may have the machine at once. Those that measure how fast something is take all of it.
static PLACES: Semaphore = Semaphore::const_new(3);

async fn play(name: &str, flaw: Option<Flaw>) -> Option<ScenarioRecord> {
    let measures = ["queue-open-transaction", "queue-pinned-snapshot"].contains(&name);
    let _places = PLACES.acquire_many(if measures { 3 } else { 1 }).await.unwrap();
    let scenarios = QueueScenarios { flaw, ..QueueScenarios::new(env!("CARGO_BIN_EXE_seaworthy")) };
    let play = Play::new(SEED).provider(ProviderChoice::from_env().unwrap());
    let record = play.of(&scenarios.scenario(name)).await.unwrap().record;
    if let Status::Skipped(why) = &record.status {
        eprintln!("{name} is skipped: {why}");
        return None;
    }
    assert_eq!(record.status, Status::Played);
    for check in &record.checks {
        println!("{name}: {} {}: {}", check.verdict, check.name, check.detail);
    }
    println!("{name} took {:?}", record.took);
    Some(record)
}

async fn holds(name: &str) {
    if let Some(record) = play(name, None).await {
        assert_eq!(record.verdict(), Verdict::Held, "{:#?}\n{:#?}", record.checks, record.numbers);
    }
}

/// The check that the mistake breaks must be the one that says so: a scenario that is red for another reason proves nothing.
async fn finds(name: &str, flaw: Flaw, checks: &[&str]) {
    let Some(record) = play(name, Some(flaw)).await else { return };
    for wanted in checks {
        let verdict = record.checks.iter().find(|check| check.name == *wanted).map(|check| check.verdict);
        assert_eq!(verdict, Some(Verdict::Violated), "{wanted}: {:#?}\n{:#?}", record.checks, record.numbers);
    }
}

macro_rules! scenarios {
    ($($test:ident: $call:expr;)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            $call.await;
        }
    )*};
}

scenarios! {
    the_queue_survives_kills_of_everything: holds("queue-kills");
    the_queue_survives_connections_that_go_dead: holds("queue-half-open");
    the_queue_survives_clocks_that_jump: holds("queue-clock-jump");
    the_queue_needs_no_connection_of_the_application: holds("queue-pool-exhaustion");
    a_transaction_that_is_left_open_holds_up_nobody_else: holds("queue-open-transaction");
    a_pinned_snapshot_slows_the_queue_down_but_little: holds("queue-pinned-snapshot");

    kills_find_a_handler_without_fencing:
        finds("queue-kills", Flaw::Unfenced, &["no job is recorded twice"]);
    kills_find_a_row_that_is_committed_before_its_job:
        finds("queue-kills", Flaw::EnqueuedApart, &["no row is without its job, and no job without its row"]);
    kills_find_jobs_that_nobody_takes_back:
        finds("queue-kills", Flaw::NoRescue, &["every job comes to its end", "the jobs of a killed worker run again soon"]);
    dead_connections_find_a_worker_that_waits_for_ever:
        finds("queue-half-open", Flaw::NoRescue, &["the worker notices a connection that went dead"]);
}
