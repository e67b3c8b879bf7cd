//! Workers, connections and Postgres itself are killed, again and again.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use seaworthy_harness::{BoxError, Fault, Postgres, Profile, Scenario, Schedule, Stack, Voyage, check};
use tokio::time::sleep;

use super::{
    Flaw, Form, QueueScenarios,
    ledger::{Ledger, Producer},
    rescues::{rescued_within, rescues},
    worker::Hand,
};

/// Jobs per second.
const RATE: f64 = 100.0;
/// How long a producer waits for its answer.
const DEADLINE: Duration = Duration::from_secs(3);
/// Workers, each a process.
const WORKERS: u64 = 4;
/// How soon the jobs of a dead worker must run again, in 99 of 100 cases.
const RESCUE_LIMIT: Duration = Duration::from_secs(15);
/// When the first kill comes: so that the workers are at work.
const FIRST: Duration = Duration::from_millis(1_000);

pub(super) fn scenario(of: &QueueScenarios) -> Scenario {
    let of = of.clone();
    let kills = Kills::of(of.form);
    let summary = format!(
        "{} kills: of workers, of connections to Postgres, and of Postgres itself, while jobs are enqueued and run.",
        kills.all()
    );
    Scenario::new("queue-kills", summary)
        .faults(move |seed| kills.draw(seed).0)
        .sail(move |voyage| sail(of.clone(), voyage))
}

/// How many kills of what.
#[derive(Debug, Clone, Copy)]
struct Kills {
    workers: usize,
    connections: usize,
    postgres: usize,
    /// From one to the next.
    every: Duration,
}

#[derive(Debug, Clone, Copy)]
enum Victim {
    Worker,
    Connection,
    Postgres,
}

/// When a connection ends, and which one: of those that there are, in the order of their beginnings.
type Ends = Vec<(Duration, u32)>;

impl Kills {
    fn of(form: Form) -> Self {
        let ms = Duration::from_millis;
        let short = Kills { workers: 10, connections: 8, postgres: 2, every: ms(400) };
        form.choose(short, Kills { workers: 52, connections: 40, postgres: 8, every: ms(600) })
    }

    fn all(self) -> usize {
        self.workers + self.connections + self.postgres
    }

    /// The kills that a seed gives. Those of connections are no part of the schedule: they end something that is not there again when they heal.
    fn draw(self, seed: u64) -> (Schedule, Ends) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut victims = vec![Victim::Worker; self.workers];
        victims.extend(vec![Victim::Connection; self.connections]);
        victims.extend(vec![Victim::Postgres; self.postgres]);
        victims.shuffle(&mut random);
        let (mut schedule, mut ends) = (Schedule::quiet(), Ends::new());
        for (number, victim) in (0..).zip(victims) {
            let at = FIRST + self.every * number + Duration::from_millis(random.random_range(0..300));
            let down = Duration::from_millis(random.random_range(100..400));
            match victim {
                Victim::Worker => {
                    let worker = format!("worker-{}", random.random_range(1..=WORKERS));
                    schedule = schedule.fault(at, down, worker, Fault::Kill);
                }
                Victim::Postgres => schedule = schedule.fault(at, down, "postgres", Fault::Kill),
                Victim::Connection => ends.push((at, random.random_range(0..10_000))),
            }
        }
        (schedule, ends)
    }
}

async fn sail(of: QueueScenarios, voyage: Voyage) -> Result<(), BoxError> {
    let kills = Kills::of(of.form);
    let ends = kills.draw(voyage.seed()).1;
    let mut builder = Stack::builder().postgres(Postgres::new().durable(true));
    for number in 1..=WORKERS {
        let hand = hand(&of, number);
        let program = of.program.clone();
        builder = builder.app(hand.name.clone(), move |stack| hand.app(&program, stack.postgres().url()));
    }
    let stack = voyage.start(builder).await?;
    let ledger = Ledger::open(stack).await?;
    let producer = Producer::new(&stack.postgres().url())?.apart(of.has(Flaw::EnqueuedApart));

    let last = ends.iter().map(|(at, _)| *at).max().unwrap_or_default().max(voyage.schedule().end());
    let load = voyage.workload(Profile::constant(RATE, last + FIRST)).deadline(DEADLINE);
    let load = load.operation("enqueue", 1, move |call| {
        let (producer, key) = (producer.clone(), call.number() as i64);
        call.key(key.to_string());
        async move { producer.send(key).await }
    });
    let ending = async {
        end_connections(&voyage, &ledger, &ends).await;
        Ok(())
    };
    tokio::try_join!(voyage.sail(&load), ending)?;

    let limit = Duration::from_secs(of.form.choose(15, 60));
    let stats = ledger.check(&voyage, limit).await?;
    let windows = voyage.windows();
    let killed = windows.iter().filter(|window| window.target.starts_with("worker-"));
    let vanished: Vec<_> = killed.map(|window| (window.target.clone(), window.from)).collect();
    let (began, recorded) = (ledger.began(voyage.history()).await?, ledger.recorded(voyage.history()).await?);
    let rescues = rescues(&vanished, &began, &recorded);
    voyage.check(rescued_within("the jobs of a killed worker run again soon", &rescues, RESCUE_LIMIT));
    voyage.check(check::at_least("every kill happened", windows.len() as u64, kills.all() as u64));
    let rescued = u64::try_from(stats.rescued).unwrap_or(0);
    voyage.check(check::exercised(
        "workers died in the middle of jobs",
        rescued,
        "jobs were taken back from them",
    ));
    Ok(())
}

/// In the whole form as the queue sets it; in the short one it is noticed sooner that a worker is dead.
fn hand(of: &QueueScenarios, number: u64) -> Hand {
    let hand =
        Hand { takes_ms: 150, unfenced: of.has(Flaw::Unfenced), ..Hand::new(format!("worker-{number}")) };
    let hand = of.form.choose(Hand { heartbeat_ms: 500, lease_timeout_ms: 2_000, ..hand.clone() }, hand);
    if of.has(Flaw::NoRescue) { Hand { lease_timeout_ms: 3_600_000, ..hand } } else { hand }
}

/// Has Postgres end connections of workers and producers. One that finds Postgres away comes when it is back.
async fn end_connections(voyage: &Voyage, ledger: &Ledger, ends: &Ends) {
    const PAUSE: Duration = Duration::from_millis(50);
    const GIVE_UP: Duration = Duration::from_secs(10);
    let mut ends = ends.clone();
    ends.sort();
    for (at, which) in ends {
        sleep(at.saturating_sub(voyage.history().now())).await;
        while voyage.history().now() < at + GIVE_UP {
            let ended = sqlx::query_scalar::<_, bool>(
                "with those as materialized (
                    select pid, backend_start from pg_stat_activity where application_name in ('worker', 'producer')
                ), chosen as materialized (
                    select pid from those order by backend_start, pid
                    offset $1 % greatest(1, (select count(*) from those)) limit 1
                )
                select pg_terminate_backend(pid) from chosen",
            )
            .bind(i64::from(which))
            .fetch_optional(&ledger.pool)
            .await;
            if let Ok(Some(true)) = ended {
                drop(voyage.own_fault("postgres", "connection ended"));
                break;
            }
            sleep(PAUSE).await;
        }
    }
}
