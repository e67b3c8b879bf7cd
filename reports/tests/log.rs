//! The event log: what it keeps, how far a broken one is read, and what is refused.

mod sample;

use sample::{ms, sample_run};
use seaworthy_reports::{Event, LogError, LogWriter, OutcomeKind, Run, Status, Verdict};

const START: &str = r#"{"event":"run-started","format":1,"version":"0.1.0","started_at":1,"seed":7,"environment":{"provider":"","system":"","cores":2,"durability":""}}"#;
const SCENARIO: &str = r#"{"event":"scenario-started","scenario":0,"name":"s","summary":""}"#;

#[test]
fn a_line_of_the_log_says_what_happened_in_words() {
    let log = sample_run().to_log();
    for line in [
        r#"{"event":"fault-began","scenario":0,"fault":0,"target":"worker-1","name":"kill -9","at":2.0}"#,
        r#"{"event":"fault-ended","scenario":0,"fault":0,"at":2.6}"#,
        r#"{"event":"note","scenario":0,"name":"Orders accepted","value":"363"}"#,
        r#"{"event":"log","scenario":0,"at":4.981,"service":"worker-2","line":"{\"level\":\"INFO\",\"message\":\"claimed 3 jobs\",\"lease_ms\":2000}"}"#,
        r#"{"event":"run-ended"}"#,
    ] {
        assert!(log.lines().any(|other| other == line), "{line}\n{log}");
    }
    let slice = log.lines().find(|line| line.contains(r#""event":"operations""#)).unwrap();
    assert!(
        slice.starts_with(r#"{"event":"operations","scenario":0,"at":0.0,"lasts":0.1,"ok":4,"failed":0,"#),
        "{slice}"
    );
}

#[test]
fn a_log_reads_back_as_the_run_that_it_was() {
    let run = sample_run();
    assert_eq!(Run::from_log(&run.to_log()).unwrap().to_log(), run.to_log());
    assert_eq!(Run::from_log(&run.to_log()).unwrap().scenarios[0].checks, run.scenarios[0].checks);
}

#[test]
fn a_log_that_ends_early_is_read_as_far_as_it_goes() {
    let log = sample_run().to_log();
    let end = log.find(r#"{"event":"fault-ended","scenario":1"#).unwrap();
    let run = Run::from_log(&log[..end + 20]).unwrap();
    assert!(run.cut_short);
    assert_eq!(run.scenarios.len(), 2);
    assert_eq!(run.scenarios[0].verdict(), Verdict::Violated);
    let cut = &run.scenarios[1];
    assert!(matches!(&cut.status, Status::Interrupted(why) if why.contains("ends before")));
    assert_eq!(cut.verdict(), Verdict::Unknown);
    assert!(cut.faults[0].to > ms(4_300), "the fault lasts as long as the log: {:?}", cut.faults);
    assert!(run.to_html().contains("The run was cut short"));
}

#[test]
fn what_is_no_log_is_refused_with_the_line_and_the_reason() {
    let refused = |text: &str| Run::from_log(text).unwrap_err().to_string();
    let line_3 = |line: &str| refused(&format!("{START}\n{SCENARIO}\n{line}\n{{\"event\":\"run-ended\"}}\n"));
    for (said, says) in [
        (refused(""), "no event log"),
        (refused("{\"verdict\": \"held\"}\n"), "first line must be the event `run-started`"),
        (refused(SCENARIO), "it is another event"),
        (
            refused(&START.replace("\"format\":1", "\"format\":2")),
            "format 2, and this version reads formats up to 1",
        ),
        (line_3("{\"event\""), "line 3 of the log is wrong"),
        (
            line_3(r#"{"event":"note","scenario":4,"name":"","value":""}"#),
            "line 3 of the log is wrong: scenario 4 has not started",
        ),
        (line_3(SCENARIO), "scenario 0 starts twice"),
        (
            line_3(r#"{"event":"fault-ended","scenario":0,"fault":3,"at":1.0}"#),
            "fault 3 of scenario 0 ends and has not begun",
        ),
        (
            line_3(r#"{"event":"fault-ended","scenario":0,"fault":3,"at":-1.0}"#),
            "-1 is not a number of seconds",
        ),
        (line_3(&"x".repeat(2 << 20)), "more than 1048576 bytes"),
    ] {
        assert!(said.contains(says), "{said:?} does not say {says:?}");
    }
    assert!(matches!(Run::from_log(""), Err(LogError::NotALog { .. })));
}

#[test]
fn events_of_a_later_version_are_passed_over() {
    let log = format!(
        "{START}\n{SCENARIO}\n{{\"event\":\"moon-phase\",\"scenario\":0}}\n\n{{\"event\":\"run-ended\"}}\n"
    );
    assert_eq!(Run::from_log(&log).unwrap().scenarios.len(), 1);
}

#[test]
fn scenarios_that_are_played_at_once_write_to_one_log() {
    let mut log = Vec::new();
    let mut writer = LogWriter::start(&mut log, &Run { seed: 3, ..Run::default() }).unwrap();
    let one = writer.begin_scenario("one", "").unwrap();
    let two = writer.begin_scenario("two", "").unwrap();
    for (scenario, name) in [(two, "of two"), (one, "of one")] {
        let began =
            |at| Event::FaultBegan { scenario, fault: 0, target: name.into(), name: "down".into(), at };
        writer.event(&began(ms(5))).unwrap();
    }
    for scenario in [one, two] {
        writer.event(&Event::FaultEnded { scenario, fault: 0, at: ms(9) }).unwrap();
        let (status, replay) = (Status::Played, String::new());
        writer.event(&Event::ScenarioEnded { scenario, status, took: ms(20), replay }).unwrap();
    }
    writer.finish().unwrap();
    let run = Run::read_log(&log[..]).unwrap();
    let targets: Vec<_> = run.scenarios.iter().map(|record| record.faults[0].target.as_str()).collect();
    assert_eq!((targets, run.cut_short), (vec!["of one", "of two"], false));
}

#[test]
fn around_a_violation_what_it_is_about_is_kept_and_what_is_far_is_not() {
    let run = sample_run();
    let (record, check) = (&run.scenarios[0], &run.scenarios[0].checks[1]);
    assert_eq!(check.moments, [ms(142 * 25), ms(147 * 25)], "a check that names keys is given their moments");
    for key in &check.keys {
        assert!(record.singles.iter().any(|single| single.key == *key));
    }
    let focus = check.focus().unwrap();
    assert!(record.singles.iter().all(|single| focus.meets(single.at, single.at + single.latency)));
    let refused = record.singles.iter().filter(|single| single.outcome != OutcomeKind::Ok).count();
    assert!(record.singles.len() <= 150 && refused >= 20, "{refused} of {}", record.singles.len());
    assert_eq!(record.logs.len(), 5);
    assert!(run.scenarios[1].singles.is_empty(), "nothing was violated there");
}
