//! How well flaws are found: measured, and written down, when somebody asks for it.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use seaworthy_harness::{
    Schedule, Shrink, Shrunk, Trial,
    reports::{ScenarioRecord, Verdict},
};

use crate::{
    sea::{Wreck, play, violated},
    wrecks,
};

/// Storms in which a flaw has to show.
const STORMS: u64 = 40;
/// Storms in all that the sound services have to hold in.
const CLEAN: u64 = 200;
/// How often what was found is played again.
const REPLAYS: u32 = 20;
/// Services in a storm at once.
const AT_ONCE: usize = 2;

/// What became of a flaw.
struct Found {
    wreck: Wreck,
    storms: u64,
    given: usize,
    shrunk: Shrunk,
    took: Duration,
    again: u32,
}

/// Of all of them (`full`), or of those that are named, with commas between: each flaw is found, shrunk to three faults at most and reproduced, and the
/// sound services hold. It takes about an hour.
pub(crate) async fn of(asked: &str) {
    let chosen: Vec<Wreck> = wrecks()
        .into_iter()
        .filter(|wreck| asked == "full" || asked.split(',').any(|name| name == wreck.name))
        .collect();
    let found: Vec<Found> = stream::iter(chosen.clone()).map(find).buffered(AT_ONCE).collect().await;
    let alarms = AtomicU32::new(0);
    let storms = CLEAN / 10 * chosen.len() as u64;
    stream::iter(0..storms)
        .map(|number| holds(chosen[number as usize % chosen.len()], 10_000 + number))
        .buffer_unordered(AT_ONCE)
        .for_each(async |held| {
            alarms.fetch_add(u32::from(!held), Ordering::Relaxed);
        })
        .await;
    let alarms = alarms.into_inner();
    println!("{}\n{alarms} false alarms in {storms} storms", table(&found));
    for Found { wreck, shrunk, again, .. } in &found {
        assert!(shrunk.schedule.events.len() <= 3, "{}: {}", wreck.name, shrunk.schedule.to_json());
        assert!(*again >= REPLAYS - 1, "{}: {again} of {REPLAYS}", wreck.name);
    }
    assert_eq!(alarms, 0);
}

/// Looks for a storm that shows the flaw, and shrinks it.
async fn find(wreck: Wreck) -> Found {
    for seed in 1..=STORMS {
        let schedule = wreck.storm(seed);
        assert!(schedule.events.len() >= 20, "seed {seed} of {} is no storm", wreck.name);
        if !violated(&play(&wreck, true, seed, &schedule).await, wreck.check) {
            continue;
        }
        let started = Instant::now();
        let trial = |schedule: Schedule| async move {
            let fails = violated(&play(&wreck, true, seed, &schedule).await, wreck.check);
            if fails { Trial::Fails } else { Trial::Passes }
        };
        let Some(shrunk) = Shrink::default().run(&schedule, trial).await else { continue };
        let took = started.elapsed();
        let mut again = 0;
        for _ in 0..REPLAYS {
            again += u32::from(trial(shrunk.schedule.clone()).await == Trial::Fails);
        }
        let found = Found { wreck, storms: seed, given: schedule.events.len(), shrunk, took, again };
        println!("{}{}", table(std::slice::from_ref(&found)), found.shrunk.schedule.to_json());
        return found;
    }
    panic!("{} was not found in {STORMS} storms", wreck.name);
}

async fn holds(wreck: Wreck, seed: u64) -> bool {
    let record: ScenarioRecord = play(&wreck, false, seed, &wreck.storm(seed)).await;
    let held = record.verdict() == Verdict::Held;
    if !held {
        println!("{} seed {seed}: {:#?}", wreck.name, record.checks);
    }
    held
}

fn table(found: &[Found]) -> String {
    let mut text = "| flaw | storms until found | events | shrunk to | plays | took | again |\n".to_owned();
    for Found { wreck, storms, given, shrunk, took, again } in found {
        let events: Vec<String> = shrunk
            .schedule
            .events
            .iter()
            .map(|event| format!("{} {}", event.target, event.fault.name()))
            .collect();
        let _ = writeln!(
            text,
            "| {} | {storms} | {given} | {} ({}) | {} | {:.0} s | {again} of {REPLAYS} |",
            wreck.name,
            events.len(),
            events.join(", "),
            shrunk.plays,
            took.as_secs_f64(),
        );
    }
    text
}
