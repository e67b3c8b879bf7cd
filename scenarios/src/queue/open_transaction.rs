//! A producer enqueues a job, and leaves its transaction open.

use std::{collections::HashMap, time::Duration};

use seaworthy_harness::{
    BoxError, Operation, Outcome, Postgres, Profile, Scenario, Stack, Voyage,
    check::{self, Objective},
    reports::{Check, FaultWindow, Verdict},
};
use seaworthy_queue::NewJob;
use tokio::time::sleep;

use super::{
    QueueScenarios,
    ledger::{self, KIND, Ledger, Producer},
    worker::Hand,
};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Jobs per second of the others.
const RATE: f64 = 100.0;
/// By how much their enqueues may be slower, at p99.
const SLOWER: Duration = ms(10);
/// How soon their jobs are recorded, and the one that waited for its commit.
const SOON: Duration = ms(1_000);
/// The key of the job that waits for its commit.
const LATE: i64 = -1;

pub(super) fn scenario(of: &QueueScenarios) -> Scenario {
    let open = of.form.choose(ms(6_000), ms(60_000));
    let summary =
        format!("A producer enqueues a job and leaves its transaction open for {} s.", open.as_secs());
    Scenario::new("queue-open-transaction", summary).sail(move |voyage| sail(open, voyage))
}

async fn sail(open: Duration, voyage: Voyage) -> Result<(), BoxError> {
    let stack = voyage.start(Stack::builder().postgres(Postgres::new().durable(true))).await?;
    let ledger = Ledger::open(stack).await?;
    let url = stack.postgres().url();
    let worker = |name| {
        Ok::<_, sqlx::Error>(
            Hand { takes_ms: 5, ..Hand::new(name) }.start(ledger::pool(&url, "worker", 16, SOON)?),
        )
    };
    let workers = [worker("worker-1")?, worker("worker-2")?];
    let producer = Producer::new(&url)?;
    let calm = open / 2;
    let load = voyage.workload(Profile::constant(RATE, calm + open + calm));
    let load = load.operation("enqueue", 1, move |call| {
        let (producer, key) = (producer.clone(), call.number() as i64);
        call.key(key.to_string());
        async move { producer.send(key).await }
    });
    let late = leave_open(&voyage, &ledger, calm, open);
    let (_, committed) = tokio::try_join!(async { Ok(voyage.sail(&load).await?) }, late)?;

    ledger.check(&voyage, ms(20_000)).await?;
    drop(workers);
    let operations = voyage.history().operations();
    voyage.check(no_slower(&operations, &voyage.windows()));
    let recorded = ledger.recorded(voyage.history()).await?;
    let at: HashMap<String, Duration> = recorded.iter().map(|line| (line.key.to_string(), line.at)).collect();
    let runs: Vec<Operation> = operations
        .iter()
        .filter(|operation| during(&voyage.windows(), operation))
        .filter_map(|operation| {
            let run = Operation::new("run", &operation.key, operation.intended);
            Some(run.ended(*at.get(&operation.key)?, Outcome::Ok))
        })
        .collect();
    voyage
        .check(Objective::latency(0.99, SOON).at_least(100).check("jobs of others run on meanwhile", &runs));
    let ran = ledger.began(voyage.history()).await?.into_iter().find(|line| line.key == LATE);
    let waited = ran.map(|line| line.at.saturating_sub(committed));
    voyage.check(check::within("its own job runs once it commits", waited, SOON));
    Ok(())
}

/// Enqueues a job, does nothing for so long, and commits. Says when that was.
async fn leave_open(
    voyage: &Voyage,
    ledger: &Ledger,
    after: Duration,
    open: Duration,
) -> Result<Duration, BoxError> {
    sleep(after.saturating_sub(voyage.history().now())).await;
    let mut tx = ledger.pool.begin().await?;
    sqlx::query("insert into ledger.wanted (key) values ($1)").bind(LATE).execute(&mut *tx).await?;
    ledger.queue.enqueue(&mut tx, &NewJob::new(KIND, &LATE)?).await?;
    let fault = voyage.own_fault("postgres", "transaction left open");
    sleep(open).await;
    let before = voyage.history().now();
    tx.commit().await?;
    drop(fault);
    Ok(before)
}

fn during(windows: &[FaultWindow], operation: &Operation) -> bool {
    windows.iter().any(|window| window.from <= operation.intended && operation.ended <= window.to)
}

/// Compares the p99 of enqueues while the transaction was open with the time before and after. Of each, it is the median of the p99s of its seconds: what a busy machine does
/// in one of them says nothing about the queue.
fn no_slower(operations: &[Operation], windows: &[FaultWindow]) -> Check {
    let name = "others enqueue as fast as before";
    let p99 = |is_open: bool| {
        let mut seconds: HashMap<u64, Vec<Duration>> = HashMap::new();
        for operation in operations {
            let touches = windows
                .iter()
                .any(|window| window.from <= operation.ended && operation.intended <= window.to);
            let counts = if is_open { during(windows, operation) } else { !touches };
            if counts && operation.outcome == Outcome::Ok {
                seconds.entry(operation.intended.as_secs()).or_default().push(operation.latency());
            }
        }
        let of_each = seconds.into_values().filter(|second| second.len() as f64 > RATE / 2.0);
        let mut of_each: Vec<Duration> = of_each.map(|second| quantile(second, 99)).collect();
        of_each.sort();
        of_each.get(of_each.len() / 2).copied()
    };
    let (Some(calm), Some(open)) = (p99(false), p99(true)) else {
        return Check::new(name, Verdict::Unknown, "too few jobs were enqueued");
    };
    let millis = |duration: Duration| format!("{:.1} ms", duration.as_secs_f64() * 1000.0);
    let detail = format!(
        "p99 {} while it was open, {} before and after, {} more are allowed",
        millis(open),
        millis(calm),
        millis(SLOWER)
    );
    Check::new(name, if open <= calm + SLOWER { Verdict::Held } else { Verdict::Violated }, detail)
}

fn quantile(mut of: Vec<Duration>, share: usize) -> Duration {
    of.sort();
    of[(of.len() * share).div_ceil(100) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enqueues_that_take_longer_while_it_is_open_are_found() {
        let window =
            FaultWindow { target: String::new(), fault: String::new(), from: ms(2_000), to: ms(6_000) };
        let verdict = |open: u64| {
            let enqueue = |at: u64| {
                let takes = if (2_000..6_000).contains(&at) { open } else { 5 };
                Operation::new("enqueue", "", ms(at)).ended(ms(at + takes), Outcome::Ok)
            };
            let operations: Vec<_> = (0..800).map(|number| enqueue(number * 10)).collect();
            no_slower(&operations, std::slice::from_ref(&window)).verdict
        };
        assert_eq!(verdict(15), Verdict::Held);
        assert_eq!(verdict(16), Verdict::Violated);
        assert_eq!(no_slower(&[], &[window]).verdict, Verdict::Unknown);
    }
}
