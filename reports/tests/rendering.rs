//! What people and programs read of a run.

mod sample;

use std::collections::BTreeMap;

use quick_xml::{Reader, events::Event as Xml};
use sample::sample_run;
use seaworthy_reports::{Check, Comparison, OutcomeKind, Run, ScenarioRecord, Status, Trend, Verdict};

#[test]
fn the_terminal_shows_a_table_then_what_did_not_hold_and_how_to_play_it_again() {
    insta::assert_snapshot!(sample_run().to_terminal(false), @"
    ┌───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────┐
    │ scenario        verdict     ok   refused   unknown   no answer       p50      p95      p99      max   faults     took │
    ╞═══════════════════════════════════════════════════════════════════════════════════════════════════════════════════════╡
    │ worker-crash    violated   333        57         7           3   5.07 ms   333 ms   866 ms   3.00 s        4   13.4 s │
    │ disk-full       held       284        33         1           2   4.82 ms   318 ms   866 ms   3.00 s        1   10.1 s │
    │ redis-failure   unknown      0         0         0           0         –        –        –        –        0    0.9 s │
    │ clock-jump      skipped      0         0         0           0         –        –        –        –        0    0.0 s │
    └───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────┘

    worker-crash
      violated: every accepted order is fulfilled: 2 of 363 are missing: order-0142, order-0147
        1. order-0142 is placed at 3.550 s and acknowledged after 214 ms, while postgres answers 60 ms late
        2. worker-2 claims it at 4.981 s
        3. worker-2 is killed at 5.000 s, having acknowledged the job before its commit
        4. nobody takes the job over: the queue counts it as done
      p99     ▁▁▃▃▃▁▁▁▁▁▁████▆▆▃▃▆▆▇▇▇▆▆▆▆▆▆▆▇▇▇▆▆▆▆▆▆▆▆▆███▂▂▁▁▁▁▁▁▁▂▂▂▁▁  0 to 10.0 s
      faults  ···········━━━━━···━━━━━━━━━━━━━━━━··━━━━━━━━···············
      play it again: seaworthy run worker-crash --seed 7 --provider native

    redis-failure
      unknown: every WebSocket client ends with the true states: nobody watched anything
      play it again: seaworthy run redis-failure --seed 7 --provider native

    clock-jump skipped: this machine's clock can't be changed: run it as root

    violated: 1 of 3 scenarios held, under 5 faults and 720 operations. 1 could not be played.
    seed 7
    ");
}

#[test]
fn colours_are_added_to_verdicts_and_to_nothing_else() {
    let (plain, coloured) = (sample_run().to_terminal(false), sample_run().to_terminal(true));
    let codes = ["\x1b[1;31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"];
    assert_eq!(codes.iter().fold(coloured.clone(), |text, code| text.replace(code, "")), plain);
    for verdict in [
        "\x1b[1;31mviolated\x1b[0m",
        "\x1b[32mheld\x1b[0m",
        "\x1b[33munknown\x1b[0m",
        "\x1b[33mskipped\x1b[0m",
    ] {
        assert!(coloured.contains(verdict), "{coloured}");
    }
}

#[test]
fn markdown_says_what_a_reviewer_needs_and_takes_no_markup_from_others() {
    insta::assert_snapshot!(sample_run().to_markdown(), @r#"
    ## ❌ Seaworthy: violated

    1 of 3 scenarios held, under 5 faults and 720 operations. 1 could not be played.

    | | Scenario | Operations | Ok | p50 | p99 | max | Faults | Took |
    |---|---|--:|--:|--:|--:|--:|--:|--:|
    | ❌ | worker-crash | 400 | 83.25 % | 5.07 ms | 866 ms | 3.00 s | 4 | 13.4 s |
    | ❔ | redis-failure | 0 | – | – | – | – | 0 | 0.9 s |
    | ✅ | disk-full | 320 | 88.75 % | 4.82 ms | 866 ms | 3.00 s | 1 | 10.1 s |
    | ⏭ | clock-jump (skipped) | 0 | – | – | – | – | 0 | 0.0 s |

    ### worker-crash

    - ❌ **every accepted order is fulfilled** (violated): 2 of 363 are missing: order-0142, order-0147
      1. order-0142 is placed at 3.550 s and acknowledged after 214 ms, while postgres answers 60 ms late
      2. worker-2 claims it at 4.981 s
      3. worker-2 is killed at 5.000 s, having acknowledged the job before its commit
      4. nobody takes the job over: the queue counts it as done

    Play it again:

    ```sh
    seaworthy run worker-crash --seed 7 --provider native
    ```

    ### redis-failure

    - ❔ **every WebSocket client ends with the true states** (unknown): nobody watched anything

    Play it again:

    ```sh
    seaworthy run redis-failure --seed 7 --provider native
    ```

    ### clock-jump

    It could not be played: this machine's clock can't be changed: run it as root

    Play it again:

    ```sh
    seaworthy run clock-jump --seed 7
    ```

    <sub>Seed 7 · native: postgres 15.14, redis-server 7.0.15 (no Docker daemon answers) · linux x86\_64 · 2 cores · durability on (fsync, synchronous\_commit and full\_page\_writes) · Seaworthy 0.1.0 · 2026-03-01 12:00:05 UTC</sub>
    "#);
    let mut run = sample_run();
    run.scenarios[2].checks[1].verdict = Verdict::Violated;
    let text = run.to_markdown();
    let escaped = r"0 \| 1 said \*twice\* by \`nobody\` &lt;b&gt;bold&lt;/b&gt; @";
    assert!(text.contains(escaped) && !text.contains("@everyone"), "{text}");
}

#[test]
fn a_comment_stays_within_what_a_pull_request_takes() {
    let mut run = sample_run();
    for number in 0..400 {
        let mut scenario = ScenarioRecord::new(format!("scenario {number}"), "");
        scenario.checks = vec![Check::new("c", Verdict::Violated, "<".repeat(2_000)); 30];
        run.scenarios.push(scenario);
    }
    let text = run.to_markdown();
    assert!(text.len() < 65_000 && text.contains("More did not hold than fits here"), "{}", text.len());
}

#[test]
fn junit_names_every_check() {
    insta::assert_snapshot!(sample_run().to_junit(), @r#"
    <?xml version="1.0" encoding="UTF-8"?>
    <testsuites name="seaworthy" tests="8" skipped="1" failures="1" errors="1">
        <testsuite name="worker-crash" tests="3" skipped="0" errors="0" failures="1" time="13.412">
            <properties>
                <property name="seed" value="7"/>
                <property name="version" value="0.1.0"/>
                <property name="provider" value="native: postgres 15.14, redis-server 7.0.15 (no Docker daemon answers)"/>
                <property name="system" value="linux x86_64"/>
                <property name="cores" value="2"/>
                <property name="durability" value="on (fsync, synchronous_commit and full_page_writes)"/>
                <property name="replay" value="seaworthy run worker-crash --seed 7 --provider native"/>
            </properties>
            <testcase name="no fulfilment is recorded twice" classname="worker-crash"/>
            <testcase name="every accepted order is fulfilled" classname="worker-crash">
                <failure message="2 of 363 are missing: order-0142, order-0147" type="violated">order-0142 is placed at 3.550 s and acknowledged after 214 ms, while postgres answers 60 ms late
    worker-2 claims it at 4.981 s
    worker-2 is killed at 5.000 s, having acknowledged the job before its commit
    nobody takes the job over: the queue counts it as done
    play it again: seaworthy run worker-crash --seed 7 --provider native</failure>
            </testcase>
            <testcase name="work drains after the last fault" classname="worker-crash"/>
        </testsuite>
        <testsuite name="disk-full" tests="2" skipped="0" errors="0" failures="0" time="10.120">
            <properties>
                <property name="seed" value="7"/>
                <property name="version" value="0.1.0"/>
                <property name="provider" value="native: postgres 15.14, redis-server 7.0.15 (no Docker daemon answers)"/>
                <property name="system" value="linux x86_64"/>
                <property name="cores" value="2"/>
                <property name="durability" value="on (fsync, synchronous_commit and full_page_writes)"/>
                <property name="replay" value="seaworthy run disk-full --seed 7 --provider native"/>
            </properties>
            <testcase name="every accepted order is fulfilled" classname="disk-full"/>
            <testcase name="Postgres survives the full disk" classname="disk-full"/>
        </testsuite>
        <testsuite name="redis-failure" tests="2" skipped="0" errors="1" failures="0" time="0.900">
            <properties>
                <property name="seed" value="7"/>
                <property name="version" value="0.1.0"/>
                <property name="provider" value="native: postgres 15.14, redis-server 7.0.15 (no Docker daemon answers)"/>
                <property name="system" value="linux x86_64"/>
                <property name="cores" value="2"/>
                <property name="durability" value="on (fsync, synchronous_commit and full_page_writes)"/>
                <property name="replay" value="seaworthy run redis-failure --seed 7 --provider native"/>
            </properties>
            <testcase name="every WebSocket client ends with the true states" classname="redis-failure">
                <error message="nobody watched anything" type="unknown">play it again: seaworthy run redis-failure --seed 7 --provider native</error>
            </testcase>
            <testcase name="nothing is said twice" classname="redis-failure"/>
        </testsuite>
        <testsuite name="clock-jump" tests="1" skipped="1" errors="0" failures="0" time="0.000">
            <properties>
                <property name="seed" value="7"/>
                <property name="version" value="0.1.0"/>
                <property name="provider" value="native: postgres 15.14, redis-server 7.0.15 (no Docker daemon answers)"/>
                <property name="system" value="linux x86_64"/>
                <property name="cores" value="2"/>
                <property name="durability" value="on (fsync, synchronous_commit and full_page_writes)"/>
                <property name="replay" value="seaworthy run clock-jump --seed 7"/>
            </properties>
            <testcase name="it can be played here" classname="clock-jump">
                <skipped message="this machine&apos;s clock can&apos;t be changed: run it as root"/>
            </testcase>
        </testsuite>
    </testsuites>
    "#);
}

#[test]
fn junit_keeps_to_the_rules_of_the_common_schema() {
    let mut run = sample_run();
    run.cut_short = true;
    run.scenarios[0].checks[0].detail = "\u{0}\u{1b}[31m]]> & <x> \"'\u{fffe}".into();
    run.scenarios[1].status = Status::Interrupted("Ctrl-C".into());
    run.scenarios.push(ScenarioRecord::new("nothing checked", ""));
    let totals = junit_totals(&run.to_junit());
    assert_eq!(totals, (11, 1, 4, 1), "tests, failures, errors, skipped");
}

/// Checks the rules that the schemas of Jenkins and Surefire share, and says the totals: tests, failures, errors, skipped.
fn junit_totals(xml: &str) -> (u64, u64, u64, u64) {
    let mut reader = Reader::from_str(xml);
    let mut path: Vec<String> = Vec::new();
    let mut stated: Vec<BTreeMap<String, String>> = Vec::new();
    let mut counted: Vec<(u64, u64, u64, u64)> = Vec::new();
    loop {
        let (element, empty) = match reader.read_event().unwrap() {
            Xml::Start(element) => (element, false),
            Xml::Empty(element) => (element, true),
            Xml::End(_) => {
                path.pop();
                continue;
            }
            Xml::Eof => break,
            _ => continue,
        };
        let name = String::from_utf8(element.name().as_ref().to_vec()).unwrap();
        let attributes: BTreeMap<String, String> = element
            .attributes()
            .map(|attribute| {
                let attribute = attribute.unwrap();
                let value = String::from_utf8(attribute.value.to_vec()).unwrap();
                (String::from_utf8(attribute.key.as_ref().to_vec()).unwrap(), value)
            })
            .collect();
        let parent = path.last().map(String::as_str);
        let (parents, needed): (&[Option<&str>], &[&str]) = match name.as_str() {
            "testsuites" => (&[None], &[]),
            "testsuite" => (&[Some("testsuites")], &["name", "tests", "failures", "errors"]),
            "properties" => (&[Some("testsuite")], &[]),
            "property" => (&[Some("properties")], &["name", "value"]),
            "testcase" => (&[Some("testsuite")], &["name", "classname"]),
            "failure" | "error" | "skipped" => (&[Some("testcase")], &[]),
            other => panic!("{other} is no element of JUnit's"),
        };
        assert!(parents.contains(&parent), "{name} stands in {parent:?}");
        for attribute in needed {
            assert!(attributes.contains_key(*attribute), "{name} lacks {attribute}");
        }
        if let Some(time) = attributes.get("time") {
            assert!(time.parse::<f64>().unwrap() >= 0.0, "{time}");
        }
        match name.as_str() {
            "testsuites" | "testsuite" => {
                stated.push(attributes);
                counted.push((0, 0, 0, 0));
            }
            "testcase" | "failure" | "error" | "skipped" => {
                let last = counted.len() - 1;
                for place in [0, last] {
                    let (tests, failures, errors, skipped) = &mut counted[place];
                    *match name.as_str() {
                        "testcase" => tests,
                        "failure" => failures,
                        "error" => errors,
                        _ => skipped,
                    } += 1;
                }
            }
            _ => {}
        }
        if !empty {
            path.push(name);
        }
    }
    assert!(path.is_empty());
    for (stated, (tests, failures, errors, skipped)) in stated.iter().zip(&counted) {
        for (name, counted) in
            [("tests", tests), ("failures", failures), ("errors", errors), ("skipped", skipped)]
        {
            assert_eq!(stated[name], counted.to_string(), "{name} of {stated:?}");
        }
    }
    counted[0]
}

#[test]
fn json_says_verdicts_counts_and_quantiles() {
    let run: serde_json::Value = serde_json::from_str(&sample_run().to_json()).unwrap();
    assert_eq!((run["verdict"].as_str(), run["seed"].as_u64()), (Some("violated"), Some(7)));
    let scenario = &run["scenarios"][0];
    assert_eq!(scenario["operations"]["ok"], 333);
    assert_eq!(scenario["operations"]["latency_ms"]["max"], 3_000.0);
    assert_eq!(scenario["checks"][1]["keys"][0], "order-0142");
    assert_eq!(
        run["scenarios"][3]["status"]["skipped"],
        "this machine's clock can't be changed: run it as root"
    );
    assert!(run["scenarios"][2]["operations"]["latency_ms"].is_null());
}

#[test]
fn the_page_puts_verdicts_first_and_says_all_of_it_without_pictures() {
    let page = sample_run().to_html();
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("the page does not say `{text}`"));
    let order = [
        "<h1>One thing did not hold.",
        "What did not hold",
        "2 of 363 are missing",
        ">Scenarios<",
        "id=\"scenario-1\"",
        "nobody takes the job over",
        "Log of worker-2: 3 lines",
        "Latency and rate over time",
        "How latencies are spread",
        "Jobs taken back from dead workers",
        "At most: postgres 82.2 MiB, redis 12 MiB, the shop 25 MiB.",
        "seaworthy run worker-crash --seed 7 --provider native",
        "id=\"scenario-3\"",
        "id=\"scenario-2\"",
        "Not played: ",
        "full_page_writes",
    ];
    let places: Vec<usize> = order.iter().map(|text| place(text)).collect();
    assert!(places.is_sorted(), "{:?}", order.iter().zip(places).collect::<Vec<_>>());
    assert!(page.contains("Redis dies under &lt;load&gt; &amp; comes back."));
    assert!(!page.contains("far too early to matter"), "a line from long before is kept");
}

#[test]
fn a_picture_has_a_shade_per_fault_and_names_it() {
    let svg = sample_run().scenarios[0].to_svg();
    // Each fault shades latency and rate.
    assert_eq!(svg.matches("fill=\"#F6E9E4\"").count(), 2 * 4);
    assert!(svg.contains(">latency 60 ms<") && svg.contains(">worker-1<") && svg.contains(">p99<"));
    assert!(ScenarioRecord::new("empty", "").to_svg().starts_with("<svg"));
}

#[test]
fn two_runs_are_compared_measure_by_measure_and_check_by_check() {
    let before = sample_run();
    let mut after = sample_run();
    after.seed = 8;
    after.scenarios[0].checks[1].verdict = Verdict::Held;
    after.scenarios.remove(3);
    for number in 0..400 {
        after.scenarios[1].operations.record(
            "place-order",
            sample::ms(number * 20),
            sample::ms(20),
            OutcomeKind::Ok,
        );
    }
    let comparison = Comparison::new(("main", &before), ("branch", &after));
    let text = comparison.to_terminal(false);
    for says in [
        "Seed: 7 → 8",
        "worker-crash: violated → held",
        "every accepted order is fulfilled: violated → held",
        "clock-jump: skipped → missing",
        "× 4.1",
        "Repeat both, in turns",
    ] {
        assert!(text.contains(says), "{says}: {text}");
    }
    let json: serde_json::Value = serde_json::from_str(&comparison.to_json()).unwrap();
    assert_eq!(json["scenarios"][0]["changed_checks"][0]["after"], "held");
    assert!(comparison.to_markdown().contains("### worker-crash ❌ → ✅"));
    assert!(comparison.to_html().contains("Both on the same axes."));
}

#[test]
fn a_trend_stands_in_the_order_of_time_and_keeps_the_latest() {
    let mut trend = Trend::default();
    for number in (0..230).rev() {
        let mut scenario = ScenarioRecord::new("disk-full", "");
        let verdict = if number == 229 { Verdict::Violated } else { Verdict::Held };
        scenario.checks.push(Check::new("c", verdict, ""));
        trend.add(
            &format!("run {number}"),
            &Run { started_at: number, scenarios: vec![scenario], ..Run::default() },
        );
    }
    assert_eq!(trend.len(), 200);
    let text = trend.to_terminal(false);
    assert!(
        text.contains("disk-full: held in 199 of 200") && text.contains("the latest, run 229: violated"),
        "{text}"
    );
    assert!(trend.to_markdown().contains("✅✅❌ |"));
    let json: serde_json::Value = serde_json::from_str(&trend.to_json()).unwrap();
    assert_eq!(json["runs"][0]["name"], "run 30");
    assert!(trend.to_html().contains("199 of 200 runs held."));
}

#[test]
fn the_worst_verdict_counts_and_nothing_checked_is_unknown() {
    assert!(Verdict::Held < Verdict::Unknown && Verdict::Unknown < Verdict::Violated);
    assert_eq!(sample_run().verdict(), Verdict::Violated);
    assert_eq!(ScenarioRecord::new("empty", "").verdict(), Verdict::Unknown);
    assert_eq!(Run::default().verdict(), Verdict::Unknown);
    let mut run = sample_run();
    run.scenarios = vec![run.scenarios.remove(1)];
    assert_eq!(run.verdict(), Verdict::Held);
    run.cut_short = true;
    assert_eq!(run.verdict(), Verdict::Unknown, "what was not played to its end has not held");
    run.cut_short = false;
    run.scenarios[0].status = Status::Interrupted("Ctrl-C".into());
    assert_eq!(run.verdict(), Verdict::Unknown);
}
