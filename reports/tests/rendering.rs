//! What people read of a record, and that nothing is lost between record and file.

use std::time::Duration;

use seaworthy_reports::{
    Check, Environment, FaultWindow, Number, OutcomeKind, Run, Sample, ScenarioRecord, Status, Verdict,
};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn sample_run() -> Run {
    let mut lost = ScenarioRecord::new("disk-full", "The disk fills up, then space returns.");
    lost.checks = vec![
        Check::new("every order is fulfilled", Verdict::Violated, "2 of 5 are missing: <a> & b"),
        Check::new("nothing happens twice", Verdict::Held, "5 happened, each once"),
    ];
    lost.faults = vec![FaultWindow {
        target: "postgres".into(),
        fault: "disk full".into(),
        from: ms(500),
        to: ms(1500),
    }];
    lost.numbers = vec![Number { name: "Orders accepted".into(), value: "5".into() }];
    let outcomes =
        [OutcomeKind::Ok, OutcomeKind::Failed, OutcomeKind::Unknown, OutcomeKind::TimedOut, OutcomeKind::Ok];
    lost.samples = (0_u64..)
        .zip(outcomes)
        .map(|(number, outcome)| Sample { at: ms(number * 400), latency: ms(5 + number * 300), outcome })
        .collect();
    lost.took = ms(2500);
    lost.replay = "seaworthy run disk-full --seed 7".into();
    let mut skipped = ScenarioRecord::new("clock-jump", "The clock jumps.");
    skipped.status = Status::Skipped("this machine's clock can't be changed".into());
    Run {
        version: "0.1.0".into(),
        started_at: 1_700_000_000,
        seed: 7,
        environment: Environment {
            provider: "native: Postgres 15".into(),
            system: "linux x86_64".into(),
            cores: 2,
            durability: "on".into(),
        },
        scenarios: vec![lost, skipped],
    }
}

#[test]
fn the_record_reads_as_json_and_reads_back_as_it_was() {
    let run = sample_run();
    insta::assert_snapshot!(run.to_json());
    assert_eq!(Run::from_json(&run.to_json()).unwrap(), run);
    let error = Run::from_json(r#"{"version": 1}"#).unwrap_err().to_string();
    assert!(error.contains("expected a string"), "{error}");
}

#[test]
fn the_page_says_everything_in_text_and_escapes_what_it_quotes() {
    let page = sample_run().to_html();
    assert_eq!(page, sample_run().to_html(), "the same record gives the same bytes");
    // Without the pictures and the style, which are looked at, not read.
    let mut text = page.clone();
    for (open, close) in [("<svg", "</svg>"), ("<style", "</style>")] {
        while let Some(start) = text.find(open) {
            let end = text[start..].find(close).unwrap() + start + close.len();
            text.replace_range(start..end, "");
        }
    }
    insta::assert_snapshot!(text.replace("><", ">\n<"));
}

#[test]
fn the_plot_has_a_dot_per_operation_and_a_shade_per_fault() {
    let svg = sample_run().scenarios[0].to_svg();
    assert_eq!(svg.matches("<circle").count(), 5);
    assert!(svg.contains("disk full"));
    let empty = ScenarioRecord::new("empty", "").to_svg();
    assert!(empty.starts_with("<svg") && !empty.contains("<circle"));
}

#[test]
fn the_worst_verdict_counts_and_nothing_checked_is_unknown() {
    assert!(Verdict::Held < Verdict::Unknown && Verdict::Unknown < Verdict::Violated);
    assert_eq!(sample_run().verdict(), Verdict::Violated);
    assert_eq!(ScenarioRecord::new("empty", "").verdict(), Verdict::Unknown);
    assert_eq!(Run::default().verdict(), Verdict::Unknown);
}

#[test]
fn a_latency_quantile_is_a_latency_that_was_measured() {
    let run = sample_run();
    let quantile = |share| run.scenarios[0].latency_quantile(share);
    assert_eq!(quantile(0.0), Some(ms(5)));
    assert_eq!(quantile(0.5), Some(ms(605)));
    assert_eq!(quantile(1.0), Some(ms(1205)));
    assert_eq!(run.scenarios[1].latency_quantile(0.5), None);
}
