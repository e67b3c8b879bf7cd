//! As in an application: one subscriber for the whole process.

mod database;

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use database::pool;
use seaworthy_telemetry::{
    queries::Settings,
    timeline::{self, Timelines},
    trace::{self, Context, Work},
};
use tracing::{Instrument as _, info};
use tracing_subscriber::{EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_has_its_own_log_lines_and_the_findings_and_no_others() {
    let sink = Sink::default();
    let writer = sink.clone();
    let queries = Settings::default().slow_after(Duration::from_millis(50)).start().unwrap();
    let timelines = Timelines::new(timeline::Settings::default());
    let log =
        tracing_subscriber::fmt::layer().without_time().with_ansi(false).with_writer(move || writer.clone());
    // The query log comes first, so that a line that it logged by itself would reach the other layer in the middle of an event.
    tracing_subscriber::registry()
        .with(queries.layer())
        .with(timelines.layer())
        .with(log.with_filter(EnvFilter::new("info")))
        .init();

    let pool = pool().await;
    let request = async {
        info!("begins");
        for _ in 0..10 {
            sqlx::query("select 1").execute(&pool).await.unwrap();
        }
        let task = trace::spawn(async move {
            sqlx::query("select pg_sleep(0.06)").execute(&pool).await.unwrap();
        });
        task.await.unwrap();
        info!("ends");
    };
    let work = Work::new("GET /orders", Context::new()).with_timeline(&timelines);
    work.run(request.instrument(tracing::info_span!("request"))).await;
    assert!(queries.flush(Duration::from_secs(20)));

    let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
    let count = |part: &str| text.lines().filter(|line| line.contains(part)).count();
    let found = ["begins", "ends", "the same statement 10 times", "a statement is slow"].map(count);
    assert_eq!((found, text.lines().count()), ([1; 4], 4), "{text}");
    let timeline = &timelines.latest()[0];
    assert_eq!(
        (&*timeline.entries[0].name, timeline.entries.len()),
        ("request", 12),
        "{}",
        timeline.to_text()
    );
    // The task that was spawned is in no span.
    let depths: Vec<_> = timeline.entries.iter().map(|entry| entry.depth).collect();
    assert_eq!(depths, [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0], "{}", timeline.to_text());
}
