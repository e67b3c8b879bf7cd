//! A page on which nothing is missing.

use std::time::Duration;

use seaworthy_errors::http_codes;
use seaworthy_telemetry::metrics::{
    Backlog, CacheOutcome, JobOutcome, MessageKind, Metrics, Pool, PoolState,
};

struct Fixed;

impl Pool for Fixed {
    fn state(&self) -> PoolState {
        PoolState { idle: 3, used: 5, max: 16 }
    }
}

/// Metrics in which every family has a series.
pub(crate) fn metrics() -> Metrics {
    let metrics = Metrics::new("shop", "1.2.0");
    let ms = Duration::from_millis;
    metrics.http().answered(
        "GET",
        "/orders/{id}",
        200,
        ms(3),
        Some("0af7651916cd43dd8448eb211c80319c".to_owned()),
    );
    let connection = metrics.websocket().opened();
    connection.received(MessageKind::Text);
    connection.sent(MessageKind::Binary, ms(1));
    connection.failed();
    metrics.queue().enqueued("default", "fulfil", 2);
    drop(metrics.queue().running("default", "fulfil", Some(ms(20))));
    metrics.queue().finished("default", "fulfil", JobOutcome::Completed, ms(12), None);
    metrics.queue().ended("default", "fulfil", JobOutcome::Rescued, 1);
    metrics.queue().backlog("default", Backlog { ready: 7, oldest: ms(1_500), ..Backlog::default() });
    metrics.queue().wanted("default", 2);
    metrics.cache().asked("prices", CacheOutcome::Hit);
    metrics.cache().loaded("prices", ms(2));
    metrics.cache().holds("prices", 10, 2_048);
    metrics.cache().evicted("prices", 1);
    metrics.pool().watch("shop", Fixed);
    metrics.pool().acquired("shop", ms(1));
    metrics.pool().timed_out("shop");
    metrics.pool().statement("select", ms(1));
    metrics.error(&http_codes::UNAVAILABLE);
    metrics
}
