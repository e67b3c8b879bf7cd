//! What stands above all strategies: ids, bounds, levels, sampling, the queue.

use std::time::{Duration, Instant};

use seaworthy_telemetry::{
    logging::{Logging, MAX_FIELDS, MAX_LINE, MAX_VALUE, Value},
    settings::Settings,
    trace::{Context, Work},
};
use tracing::{Level, debug, dispatcher, error, info, info_span, trace, warn};

use crate::collect::{Collect, eventually, text};

const SHA: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

const SOON: Duration = Duration::from_secs(10);

/// Runs this with a pipeline that ends in a collection, and returns that when all is written.
fn logged(settings: Settings, run: impl FnOnce(&Logging)) -> Collect {
    let collect = Collect::default();
    let (logging, dispatch) = Logging::with_sink(&settings, collect.clone()).unwrap();
    dispatcher::with_default(&dispatch, || run(&logging));
    assert!(logging.handle().flush(SOON));
    collect
}

fn settings() -> Settings {
    Settings::new("test").level("trace")
}

#[tokio::test]
async fn every_line_of_a_request_carries_its_ids() {
    let collect = Collect::default();
    let (logging, dispatch) = Logging::with_sink(&settings(), collect.clone()).unwrap();
    let _default = dispatcher::set_default(&dispatch);
    let context = Context::from_caller(None, Some("order-42"));
    let ids = format!("request order-42 of trace {} runs", context.trace_id());
    let work = Work::new("POST /orders", context.clone());
    work.run(async {
        info!("{ids}");
        tokio::task::yield_now().await;
        info!("more");
    })
    .await;
    info!("outside");
    let short = Context::from_caller(None, Some("9"));
    Work::new("test", short).run(async { info!("key {SHA}") }).await;
    assert!(logging.handle().flush(SOON));
    let lines = collect.lines();
    for line in &lines[..2] {
        let own = line.ids.as_ref().unwrap();
        assert_eq!(
            (own.request_id.as_str(), &own.trace_id, &own.span_id),
            ("order-42", &context.trace_id(), &context.span_id())
        );
    }
    assert_eq!(lines[0].message, ids, "the ids of the request are not taken for secrets");
    assert_eq!(lines[2].ids, None);
    assert_eq!(lines[3].message, "key [redacted]", "a short id lets nothing through that begins like it");
}

#[test]
fn fields_of_spans_come_along_redacted_even_if_they_are_recorded_later() {
    let collect = logged(settings(), |_| {
        let span =
            info_span!("checkout", route = "/orders", customer = "Ada", status = tracing::field::Empty);
        let _entered = span.enter();
        span.record("status", "paid");
        info!(
            attempt = 2,
            ok = true,
            note = "private",
            pin = 1234,
            card_or_not = 4111_1111_1111_1111_u64,
            "done"
        );
    });
    let line = &collect.lines()[0];
    assert_eq!(line.message, "done");
    assert_eq!(line.fields[0].value, Value::Integer(2));
    assert_eq!(line.fields[1].value, Value::Bool(true));
    for hidden in ["note", "pin", "card_or_not"] {
        assert_eq!(text(&line.fields, hidden), "[redacted]", "{hidden}");
    }
    let span = &line.spans[0];
    assert_eq!(
        (text(&span.fields, "route"), text(&span.fields, "customer"), text(&span.fields, "status")),
        ("/orders", "[redacted]", "paid")
    );
    assert!(line.file.as_deref().unwrap().ends_with("pipeline.rs"));
}

#[test]
fn lines_are_bounded_and_hold_no_control_characters() {
    let long = "\"é".repeat(MAX_VALUE);
    let collect = logged(settings().allow(["a", "b", "c", "d", "e"]), |_| {
        info!(
            a = long,
            b = long,
            c = long,
            d = long,
            e = long,
            reason = "x\u{1b}[31m\r\n2026 INFO forged\u{202e}",
            "{long}"
        );
        info!(reason = "x".repeat(MAX_VALUE), "fits");
        macro_rules! many {
            ($($name:ident)*) => { info!($($name = 1,)* "many") };
        }
        many!(a0 a1 a2 a3 a4 a5 a6 a7 a8 a9 b0 b1 b2 b3 b4 b5 b6 b7 b8 b9 c0 c1 c2 c3 c4 c5 c6 c7 c8 c9 d0);
        let span = info_span!(
            "wide",
            a0 = 1,
            a1 = 1,
            a2 = 1,
            a3 = 1,
            a4 = 1,
            a5 = 1,
            a6 = 1,
            a7 = 1,
            a8 = 1,
            a9 = 1,
            b0 = 1,
            b1 = 1,
            b2 = 1,
            b3 = 1,
            b4 = 1,
            b5 = 1,
            b6 = 1,
            b7 = 1,
            b8 = 1,
            b9 = 1,
            c0 = 1,
            c1 = 1,
            c2 = 1,
            c3 = 1,
            c4 = 1
        );
        span.in_scope(|| {
            info_span!(
                "wider",
                a0 = 1,
                a1 = 1,
                a2 = 1,
                a3 = 1,
                a4 = 1,
                a5 = 1,
                a6 = 1,
                a7 = 1,
                a8 = 1,
                a9 = 1,
                b0 = 1,
                b1 = 1,
                b2 = 1,
                b3 = 1,
                b4 = 1,
                b5 = 1,
                b6 = 1,
                b7 = 1,
                b8 = 1,
                b9 = 1,
                c0 = 1,
                c1 = 1,
                c2 = 1,
                c3 = 1,
                c4 = 1
            )
            .in_scope(|| many!(a0 a1 a2 a3 a4 a5 a6 a7 a8 a9 b0 b1 b2 b3 b4 b5 b6 b7 b8 b9))
        });
    });
    let lines = collect.lines();
    for line in &lines {
        let all = line.fields.iter().chain(line.spans.iter().flat_map(|span| span.fields.iter()));
        assert!(all.clone().count() <= MAX_FIELDS);
        let size: usize = all.map(|field| format!("{:?}", field.value).len()).sum();
        assert!(size + line.message.len() < MAX_LINE);
    }
    let mark = format!("…[cut, {} bytes]", long.len());
    assert!(
        lines[0].message.ends_with(&mark) && lines[0].message.len() <= MAX_VALUE,
        "{}",
        &lines[0].message[8000..]
    );
    assert!(lines[0].left_out > 0);
    assert_eq!(text(&lines[0].fields, "reason"), "x\\u{1b}[31m\\r\\n2026 INFO forged\\u{202e}");
    assert_eq!(text(&lines[1].fields, "reason").len(), MAX_VALUE);
    assert_eq!((lines[2].fields.len(), lines[2].left_out), (31, 0));
    assert!(lines[3].left_out > 0);
    assert_eq!(lines[3].spans[1].fields.len(), 25, "the innermost span comes first");
}

#[test]
fn an_error_is_shown_with_its_causes_and_without_secrets() {
    #[derive(Debug, thiserror::Error)]
    #[error("the order was not stored")]
    struct Outer(#[source] std::io::Error);
    let collect = logged(settings(), |_| {
        let error = Outer(std::io::Error::other("refused by postgres://shop:hunter2@db/shop"));
        error!(error = &error as &dyn std::error::Error, other = &error as &dyn std::error::Error, "failed");
        error!(%error, err = ?error, "failed");
    });
    let lines = collect.lines();
    let whole = "the order was not stored: refused by postgres://[redacted]@db/shop";
    assert_eq!(text(&lines[0].fields, "error"), whole);
    assert_eq!(text(&lines[0].fields, "other"), whole);
    assert_eq!(text(&lines[1].fields, "error"), "the order was not stored");
    assert!(text(&lines[1].fields, "err").contains("postgres://[redacted]@db"));
}

#[test]
fn levels_change_while_the_service_runs_and_go_back_by_themselves() {
    let collect = logged(Settings::new("test").level("warn"), |logging| {
        let handle = logging.handle();
        // One place in the program each time, so that nothing remembers that it was off.
        let log = || {
            debug!(target: "shop::cart", "shop");
            info!(target: "other", "other");
            warn!(target: "other", "warning");
        };
        log();
        handle.set_level("info,shop=debug").unwrap();
        log();
        handle.set_level_for("off", Duration::from_millis(50)).unwrap();
        log();
        assert_eq!(handle.level(), "off");
        eventually("the level goes back", || handle.level() == "info,shop=debug");
        log();
        handle.set_level_for("error", Duration::from_millis(10)).unwrap();
        handle.set_level("warn").unwrap();
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(handle.level(), "warn", "a change for good replaces one for a while");
        handle.set_level_for("error", Duration::from_millis(10)).unwrap();
        handle.set_level_for("off", Duration::from_secs(60)).unwrap();
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(handle.level(), "off", "a change for longer replaces one for a while");
        handle.set_level("warn").unwrap();
        for bad in ["", "inof", "shop=", "=info", "info,,", "shop=debug=info", "9"] {
            let error = handle.set_level(bad).unwrap_err().to_string();
            assert!(error.contains("error, warn, info, debug, trace"), "{error}");
        }
        assert_eq!(handle.level(), "warn");
    });
    let said: Vec<String> = collect.lines().into_iter().map(|line| line.message).collect();
    assert_eq!(said, ["warning", "shop", "other", "warning", "shop", "other", "warning"]);
}

#[test]
fn sampling_keeps_its_share_and_every_warning() {
    let sampling = "info=0.25,shop:debug=0.5,shop::cart=1,quiet=0".parse().unwrap();
    let collect = logged(settings().sampling(sampling).queue(100_000), |logging| {
        for _ in 0..4000 {
            info!(target: "other", "info");
            debug!(target: "shop::orders", "debug");
            debug!(target: "shopping", "no part of the shop");
            info!(target: "shop::cart", "cart");
            trace!(target: "quiet", "nothing");
            warn!(target: "quiet", "warning");
        }
        assert!(logging.handle().flush(SOON));
        assert_eq!(logging.handle().counters().dropped, 0);
    });
    let lines = collect.lines();
    let count = |message: &str| lines.iter().filter(|line| line.message == message).count();
    // Six standard deviations around the mean.
    assert!((835..=1165).contains(&count("info")), "{}", count("info"));
    assert!((1810..=2190).contains(&count("debug")), "{}", count("debug"));
    assert_eq!(["no part of the shop", "cart", "nothing", "warning"].map(count), [4000, 4000, 0, 4000]);
}

#[tokio::test]
async fn a_request_is_sampled_as_a_whole_and_what_is_left_out_is_counted() {
    let collect = Collect::default();
    let settings = settings().sampling("info=0.5,debug=0.1".parse().unwrap()).queue(100_000);
    let (logging, dispatch) = Logging::with_sink(&settings, collect.clone()).unwrap();
    let _default = dispatcher::set_default(&dispatch);
    for number in 0..1000 {
        // Ids as a careless client makes them: they differ in few bits.
        let traceparent = format!("00-{:032x}-00000000000000ff-01", number + 1);
        let work = Work::new("GET /", Context::from_caller(Some(&traceparent), None));
        work.run(async {
            for _ in 0..3 {
                info!("info");
                debug!("debug");
            }
        })
        .await;
    }
    assert!(logging.handle().flush(SOON));
    let lines = collect.lines();
    let mut requests = std::collections::BTreeMap::<_, (usize, usize)>::new();
    for line in &lines {
        let (info, debug) = requests.entry(line.ids.clone().unwrap().trace_id).or_default();
        *(if line.level == Level::INFO { info } else { debug }) += 1;
    }
    for (id, counts) in &requests {
        assert!([(3, 0), (3, 3)].contains(counts), "{id}: {counts:?}");
    }
    assert!((400..=600).contains(&requests.len()), "{}", requests.len());
    assert_eq!(logging.handle().counters().sampled_out, 6000 - lines.len() as u64);
}

#[test]
fn wrong_sampling_is_refused() {
    for bad in
        ["", "info", "info=2", "info=-1", "info=NaN", "=0.5", "warn=0.5", "shop:error=0.1", "shop:loud=0.1"]
    {
        assert!(bad.parse::<seaworthy_telemetry::logging::Sampling>().is_err(), "{bad}");
    }
}

#[test]
fn a_full_queue_drops_counts_exactly_and_blocks_nobody() {
    let collect = Collect::default();
    let (logging, dispatch) = Logging::with_sink(&settings().queue(10), collect.clone()).unwrap();
    let handle = logging.handle();
    dispatcher::with_default(&dispatch, || {
        collect.close();
        info!("held by the writer");
        collect.blocked();
        let start = Instant::now();
        for number in 0..1000 {
            info!(number, "line");
        }
        assert!(start.elapsed() < SOON);
        assert_eq!(handle.counters().dropped, 990);
        assert!(!handle.flush(Duration::from_millis(10)), "a flush keeps its deadline");
        collect.open();
        assert!(handle.flush(SOON));
        assert_eq!(collect.lines().len(), 11);
        assert_eq!(collect.lines()[10].fields[0].value, Value::Integer(9), "the oldest are kept");
        info!("there is room again");
        drop(logging);
        assert_eq!(collect.lines().len(), 12, "the end waits for the last line");
        info!("too late");
        assert_eq!(handle.counters().dropped, 991);
    });
}

#[test]
fn an_end_does_not_wait_for_a_sink_that_hangs() {
    let collect = Collect::default();
    let settings = settings().flush_within(Duration::from_millis(20));
    let (logging, dispatch) = Logging::with_sink(&settings, collect.clone()).unwrap();
    let handle = logging.handle();
    collect.close();
    dispatcher::with_default(&dispatch, || info!("stuck"));
    collect.blocked();
    drop(logging);
    assert_eq!(handle.counters().failed, 1);
    collect.open();
}

#[test]
fn a_sink_that_panics_loses_its_lines_and_no_others() {
    struct Moody(Collect, bool);
    impl seaworthy_telemetry::logging::Sink for Moody {
        fn write(
            &mut self,
            lines: &[seaworthy_telemetry::logging::Line],
        ) -> Result<(), seaworthy_telemetry::logging::Failure> {
            if std::mem::take(&mut self.1) {
                panic!("the sink is moody");
            }
            self.0.write(lines)
        }
    }
    let collect = Collect::default();
    let (logging, dispatch) = Logging::with_sink(&settings(), Moody(collect.clone(), true)).unwrap();
    dispatcher::with_default(&dispatch, || {
        info!("lost");
        assert!(logging.handle().flush(SOON));
        info!("kept");
        assert!(logging.handle().flush(SOON));
    });
    assert_eq!(logging.handle().counters().failed, 1);
    assert_eq!(collect.lines()[0].message, "kept");
}
