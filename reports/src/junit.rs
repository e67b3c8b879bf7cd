//! The run for build servers: JUnit's XML. A scenario is a suite, a check is a case.

use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};

use crate::record::{Check, Run, ScenarioRecord, Status, Verdict};

impl Run {
    /// The run as JUnit XML. A check that could not tell is an error, since a green report must mean that everything held.
    ///
    /// # Panics
    ///
    /// Never: the document is written to memory.
    pub fn to_junit(&self) -> String {
        let run = self.as_logged();
        let mut report = Report::new("seaworthy");
        // Whoever reads the file knows when it came; without it, an unreadable clock can't spoil it.
        report.add_test_suites(run.scenarios.iter().map(|scenario| suite(&run, scenario)));
        if run.cut_short {
            let mut suite = TestSuite::new("run");
            suite.add_test_case(case(
                "run",
                "the run comes to its end",
                &error("its log ends before it did"),
            ));
            report.add_test_suite(suite);
        }
        report.to_string().expect("memory takes every line")
    }
}

fn suite(run: &Run, scenario: &ScenarioRecord) -> TestSuite {
    let mut suite = TestSuite::new(&scenario.name);
    suite.set_time(scenario.took);
    for (name, value) in [
        ("seed", run.seed.to_string()),
        ("version", run.version.clone()),
        ("provider", run.environment.provider.clone()),
        ("system", run.environment.system.clone()),
        ("cores", run.environment.cores.to_string()),
        ("durability", run.environment.durability.clone()),
        ("replay", scenario.replay.clone()),
    ] {
        suite.add_property(Property::new(name, value));
    }
    for check in &scenario.checks {
        suite.add_test_case(check_case(scenario, check));
    }
    match &scenario.status {
        Status::Skipped(why) => {
            let mut skipped = TestCaseStatus::skipped();
            skipped.set_message(why.as_str());
            suite.add_test_case(case(&scenario.name, "it can be played here", &skipped));
        }
        Status::Interrupted(why) => {
            suite.add_test_case(case(&scenario.name, "it is played to its end", &error(why)));
        }
        Status::Played if scenario.checks.is_empty() => {
            suite.add_test_case(case(&scenario.name, "something is checked", &error("nothing was")));
        }
        Status::Played => {}
    }
    suite
}

fn check_case(scenario: &ScenarioRecord, check: &Check) -> TestCase {
    let kind = match check.verdict {
        Verdict::Held => return case(&scenario.name, &check.name, &TestCaseStatus::success()),
        Verdict::Unknown => NonSuccessKind::Error,
        Verdict::Violated => NonSuccessKind::Failure,
    };
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(check.verdict.as_str()).set_message(check.detail.as_str());
    let mut story = check.story.clone();
    if !scenario.replay.is_empty() {
        story.push(format!("play it again: {}", scenario.replay));
    }
    status.set_description(story.join("\n"));
    case(&scenario.name, &check.name, &status)
}

fn case(scenario: &str, name: &str, status: &TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(name, status.clone());
    case.set_classname(scenario);
    case
}

fn error(why: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status.set_type(Verdict::Unknown.as_str()).set_message(why);
    status
}
