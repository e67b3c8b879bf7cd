//! What holds of every run, however strange: nothing panics, everything is escaped, and the same log gives the same bytes.

use std::time::Duration;

use proptest::{collection::vec, prelude::*};
use quick_xml::{Reader, events::Event as Xml};
use seaworthy_reports::{
    Check, Comparison, Environment, FaultWindow, LogLine, Number, OutcomeKind, Run, ScenarioRecord,
    SingleOperation, Status, Trend, Unit, Verdict,
};

/// What a text must not become: an element, an attribute, a script, an end of what it stands in.
const EVIL: &str = r#"<i evil="1">'"&</script></style></svg>]]>--><img src=x onerror=alert(1)>"#;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => "\\PC{0,12}",
        1 => any::<String>(),
        1 => Just(EVIL.to_owned()),
        1 => Just("| `a` *b* \n# c\r\u{1b}[31m\u{0}\u{202e}\u{2028}@all".to_owned()),
        1 => Just("long ".repeat(900)),
    ]
}

fn time() -> impl Strategy<Value = Duration> {
    prop_oneof![
        6 => (0_u64..20_000_000_000).prop_map(Duration::from_nanos),
        1 => any::<u64>().prop_map(Duration::from_micros),
        1 => Just(Duration::MAX),
        1 => Just(Duration::ZERO),
    ]
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![Just(Verdict::Held), Just(Verdict::Unknown), Just(Verdict::Violated)]
}

fn outcome() -> impl Strategy<Value = OutcomeKind> {
    (0..4_usize).prop_map(|number| OutcomeKind::ALL[number])
}

fn check() -> impl Strategy<Value = Check> {
    (text(), verdict(), text(), vec(time(), 0..3), vec(text(), 0..3), vec(text(), 0..3)).prop_map(
        |(name, verdict, detail, moments, keys, story)| Check { name, verdict, detail, moments, keys, story },
    )
}

fn single() -> impl Strategy<Value = SingleOperation> {
    (text(), text(), time(), time(), outcome(), text()).prop_map(|(kind, key, at, latency, outcome, why)| {
        SingleOperation { kind, key, at, latency, outcome, why }
    })
}

fn scenario() -> impl Strategy<Value = ScenarioRecord> {
    let status = prop_oneof![
        4 => Just(Status::Played),
        1 => text().prop_map(Status::Skipped),
        1 => text().prop_map(Status::Interrupted),
    ];
    let fault = (text(), text(), time(), time()).prop_map(|(target, fault, from, to)| FaultWindow {
        target,
        fault,
        from,
        to,
    });
    let line = (time(), text(), text()).prop_map(|(at, service, line)| LogLine { at, service, line });
    let sample = (time(), text(), text(), any::<f64>());
    let words = (text(), text(), text(), time(), status);
    let lists = (
        vec(check(), 0..4),
        vec(fault, 0..4),
        vec((text(), text()), 0..3),
        vec(line, 0..6),
        vec(sample, 0..6),
    );
    (words, lists, vec(single(), 0..30)).prop_map(|(words, lists, singles)| {
        let (name, summary, replay, took, status) = words;
        let (checks, faults, numbers, lines, samples) = lists;
        let mut record =
            ScenarioRecord { name, summary, replay, took, status, checks, faults, ..Default::default() };
        record.numbers = numbers.into_iter().map(|(name, value)| Number { name, value }).collect();
        for single in &singles {
            record.operations.record(&single.kind, single.at, single.latency, single.outcome);
        }
        record.keep_operations(singles.iter().cloned());
        record.keep_logs(lines.iter().cloned());
        record.singles.extend(singles.into_iter().take(3));
        for (at, service, resource, value) in samples {
            record.resources.sample(at, &service, &resource, Unit::Bytes, value);
        }
        record
    })
}

fn run() -> impl Strategy<Value = Run> {
    let numbers = (any::<u64>(), any::<u64>(), any::<usize>(), any::<bool>());
    (text(), text(), numbers, vec(scenario(), 0..3)).prop_map(|(version, provider, numbers, scenarios)| {
        let (started_at, seed, cores, cut_short) = numbers;
        let environment = Environment { provider, cores, system: version.clone(), ..Environment::default() };
        Run { version, started_at, seed, environment, scenarios, cut_short }
    })
}

/// Every rendering of a run.
fn renderings(run: &Run) -> [String; 6] {
    [run.to_log(), run.to_html(), run.to_markdown(), run.to_junit(), run.to_json(), run.to_terminal(true)]
}

#[track_caller]
fn is_escaped_page(page: &str) {
    assert!(!page.contains("<i evil") && !page.contains("<img"), "a text became an element");
    for (element, times) in [("<script", 1), ("</script", 1), ("<style", 1), ("</style", 1), ("<html", 1)] {
        assert_eq!(page.matches(element).count(), times, "{element}");
    }
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
}

#[track_caller]
fn is_well_formed(xml: &str) {
    let mut reader = Reader::from_str(xml);
    while !matches!(reader.read_event().unwrap(), Xml::Eof) {}
    let allowed = |character: char| matches!(character, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    assert!(xml.chars().all(allowed), "XML forbids one of these characters");
}

/// Markdown without its own small print and without its blocks of code, in which nothing has a meaning.
fn outside_of_code(markdown: &str) -> String {
    let markdown = markdown.replace("<sub>", "").replace("</sub>", "");
    let mut code = false;
    let outside = markdown.lines().filter(|line| {
        let fence = line.starts_with("```");
        assert!(fence || !line.contains("```"), "a text ends a block of code: {line}");
        code ^= fence;
        !code && !fence
    });
    let outside = outside.collect();
    assert!(!code, "a block of code has no end");
    outside
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_run_is_rendered_escaped_and_the_same_again(run in run()) {
        let rendered = renderings(&run);
        let [log, page, markdown, junit, json, terminal] = &rendered;
        let again = Run::from_log(log).unwrap();
        prop_assert_eq!(again.verdict(), run.verdict(), "the log has another verdict");
        prop_assert_eq!(&Run::from_log(&again.to_log()).unwrap(), &again, "the log reads back as something else");
        prop_assert!(renderings(&again)[1..] == rendered[1..], "rendered again, it is something else");

        is_escaped_page(page);
        is_well_formed(junit);
        for svg in run.scenarios.iter().map(ScenarioRecord::to_svg) {
            is_well_formed(&svg);
        }
        prop_assert!(!outside_of_code(markdown).contains('<'));
        prop_assert!(serde_json::from_str::<serde_json::Value>(json).is_ok());
        let codes = ["\x1b[1;31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"];
        let plain = codes.iter().fold(terminal.clone(), |text, code| text.replace(code, ""));
        prop_assert!(!plain.chars().any(|character| character.is_control() && character != '\n'), "{plain:?}");
    }

    #[test]
    fn every_two_runs_are_compared_and_followed(before in run(), after in run()) {
        let comparison = Comparison::new((EVIL, &before), ("after", &after));
        is_escaped_page(&comparison.to_html());
        comparison.to_terminal(true);
        comparison.to_json();
        prop_assert!(!outside_of_code(&comparison.to_markdown()).contains('<'));
        let mut trend = Trend::default();
        trend.add(EVIL, &before);
        trend.add("after", &after);
        is_escaped_page(&trend.to_html());
        trend.to_terminal(true);
        trend.to_json();
        prop_assert!(!trend.to_markdown().contains('<'));
    }

    #[test]
    fn a_log_that_is_cut_off_anywhere_or_garbled_is_read_or_refused(run in run(), share in 0.0..1.0_f64, noise in any::<Vec<u8>>()) {
        let log = run.to_log().into_bytes();
        let cut = ((log.len() as f64) * share) as usize;
        match Run::read_log(&log[..cut]) {
            Ok(run) => prop_assert!(run.cut_short || cut == log.len()),
            Err(_) => prop_assert!(!log[..cut].contains(&b'\n'), "what came before the cut is lost"),
        }
        let _ = Run::read_log([&log[..cut], &noise[..]].concat().as_slice());
        let _ = Run::read_log(&noise[..]);
    }

    #[test]
    fn a_quantile_is_within_its_bound_of_the_latency_that_has_this_rank(micros in vec(0_u64..100_000_000, 1..200), share in 0.0..=1.0_f64) {
        let mut record = ScenarioRecord::new("s", "");
        for micros in &micros {
            record.operations.record("k", Duration::from_micros(*micros), Duration::from_micros(*micros), OutcomeKind::Ok);
        }
        let mut sorted = micros;
        sorted.sort_unstable();
        let rank = ((share * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len());
        let (exact, found) = (sorted[rank - 1] as f64, record.latency_quantile(share).unwrap().as_micros() as f64);
        prop_assert!((found - exact).abs() <= exact * 0.004 + 1.0, "{found} instead of {exact}");
    }
}
