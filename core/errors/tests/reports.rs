//! Errors reach their reporters, grouped and bounded, and nobody waits for them.

use std::{
    io,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use seaworthy_errors::{Error, JsonLines, Log, Report, Reporter, ReporterError, Reports, http_codes};
use tokio::sync::Semaphore;

/// Keeps what it gets. Takes a report only when the test lets it.
#[derive(Clone)]
struct Gate {
    open: Arc<Semaphore>,
    taken: Arc<Mutex<Vec<Report>>>,
}

impl Gate {
    fn open() -> Self {
        Gate { open: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)), taken: Arc::default() }
    }

    fn closed() -> Self {
        Gate { open: Arc::new(Semaphore::new(0)), taken: Arc::default() }
    }

    fn taken(&self) -> Vec<Report> {
        self.taken.lock().unwrap().clone()
    }
}

#[async_trait::async_trait]
impl Reporter for Gate {
    fn name(&self) -> &str {
        "gate"
    }

    async fn report(&self, report: &Report) -> Result<(), ReporterError> {
        self.open.acquire().await.unwrap().forget();
        self.taken.lock().unwrap().push(report.clone());
        Ok(())
    }
}

const SOON: Duration = Duration::from_secs(5);

fn failure(order: u32) -> Error {
    Error::new(&http_codes::UNAVAILABLE)
        .caused_by(io::Error::other(format!("order {order} at 10.0.0.7")))
        .with("order", order)
}

#[tokio::test]
async fn like_errors_are_reported_once_and_counted() {
    let gate = Gate::open();
    let reports =
        Reports::builder().to(gate.clone()).queue(2_000).interval(Duration::from_millis(300)).start();
    for order in 0..1_000 {
        reports.send(failure(order));
    }
    assert!(reports.flush(SOON).await);
    let taken = gate.taken();
    assert_eq!(taken.len(), 1);
    assert_eq!((taken[0].code, taken[0].count), ("HTTP-0503", 1));
    assert_eq!(taken[0].context["order"], "0");
    assert!(taken[0].sources[0].contains("10.0.0.7"));
    assert_eq!(reports.counts().grouped, 999);

    let give_up = Instant::now() + SOON;
    while gate.taken().len() < 2 && Instant::now() < give_up {
        reports.send(failure(7));
        reports.flush(SOON).await;
    }
    assert!(gate.taken()[1].count >= 1_000, "the next report has the count of those that were held back");
}

#[tokio::test]
async fn sending_never_waits_and_what_is_lost_is_counted() {
    let gate = Gate::closed();
    let reports =
        Reports::builder().to(gate.clone()).queue(10).per_second(u32::MAX).interval(Duration::ZERO).start();
    let began = Instant::now();
    for order in 0..10_000 {
        reports.send(failure(order));
        if order % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    assert!(began.elapsed() < SOON, "nobody waits for a reporter that hangs");
    assert!(!reports.flush(Duration::from_millis(50)).await, "and a flush says that it could not");
    let give_up = Instant::now() + SOON;
    gate.open.add_permits(Semaphore::MAX_PERMITS);
    while !reports.flush(SOON).await && Instant::now() < give_up {}
    let counts = reports.counts();
    assert!(counts.dropped > 9_000, "{counts:?}");
    assert_eq!(counts.delivered + counts.dropped, 10_000, "each is delivered or counted: {counts:?}");
}

#[tokio::test]
async fn a_reporter_that_hangs_or_fails_holds_up_no_other() {
    let (hanging, fine) = (Gate::closed(), Gate::open());
    let reports = Reports::builder()
        .to(hanging)
        .to(JsonLines::new("/proc/no-such-folder/errors.jsonl"))
        .to(fine.clone())
        .to(Log)
        .deadline(Duration::from_millis(50))
        .start();
    reports.send(failure(1));
    assert!(reports.flush(SOON).await);
    assert_eq!(fine.taken().len(), 1);
    let counts = reports.counts();
    assert_eq!((counts.delivered, counts.failed), (2, 2), "{counts:?}");
}

#[tokio::test]
async fn different_errors_in_one_second_are_limited() {
    let gate = Gate::open();
    let reports = Reports::builder().to(gate.clone()).per_second(3).start();
    for code in http_codes::CODES.iter().take(10) {
        reports.send(Error::new(code));
    }
    assert!(reports.flush(SOON).await);
    let counts = reports.counts();
    assert!((3..=6).contains(&gate.taken().len()), "two seconds may have met: {counts:?}");
    assert_eq!(counts.delivered + counts.dropped, 10, "{counts:?}");
}

#[tokio::test]
async fn a_file_has_a_line_of_json_for_each_report_without_what_is_redacted() {
    let folder = std::env::temp_dir().join(format!("seaworthy-reports-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("errors.jsonl");
    let reports = Reports::builder()
        .to(JsonLines::new(&path))
        .redact_with(|text| text.replace("10.0.0.7", "[address]"))
        .start();
    reports.send(failure(1));
    reports.send(Error::new(&http_codes::INTERNAL).caused_by(io::Error::other("line\nbreak \u{1b}[31m")));
    assert!(reports.flush(SOON).await);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["sources"][0], "order 1 at [address]");
    assert_eq!(lines[1]["sources"][0], "line break \u{fffd}[31m");
}
