//! The alerts, the dashboard and the guide speak of the families that there are, and of all of them.

mod every_family;
mod promtool;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use serde_json::{Value, json};

/// What Prometheus itself adds to what it scrapes.
const OF_PROMETHEUS: [&str; 1] = ["up"];

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn dashboard() -> Value {
    serde_json::from_str(&read("deploy/grafana/seaworthy.json")).unwrap()
}

fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row")
}

fn targets(panel: &Value) -> impl Iterator<Item = &Value> {
    panel["targets"].as_array().unwrap().iter()
}

/// Every query of the dashboard, with what Grafana puts in place of its variables.
fn queries(dashboard: &Value) -> Vec<String> {
    let of_panels = panels(dashboard).flat_map(targets);
    let annotations = dashboard["annotations"]["list"].as_array().unwrap();
    let all = of_panels.chain(annotations).map(|query| query["expr"].as_str().unwrap());
    all.map(|query| {
        query.replace("$__rate_interval", "5m").replace("$job", "shop").replace("$instance", ".*")
    })
    .collect()
}

/// The values of `key` in YAML, on one line or in an indented block after `|`.
fn values(yaml: &str, key: &str) -> Vec<String> {
    let lines: Vec<&str> = yaml.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let key = format!("{key}: ");
    let found = lines.iter().enumerate().filter_map(|(at, line)| {
        let rest = line.trim_start().trim_start_matches("- ").strip_prefix(&key)?;
        if rest != "|" {
            return Some(rest.to_owned());
        }
        let block = lines[at + 1..].iter().take_while(|below| indent(below) > indent(line));
        Some(block.map(|below| below.trim()).collect::<Vec<_>>().join(" "))
    });
    found.collect()
}

/// The names of series in a query: words that are no function, no keyword, no label and no text.
fn series(query: &str) -> BTreeSet<String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut found = BTreeSet::new();
    let mut rest = query;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => rest[1..].find('"').unwrap() + 2,
            '{' => rest.find('}').unwrap() + 1,
            '[' => rest.find(']').unwrap() + 1,
            first if is_word(first) => {
                let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                let (word, after) = (&rest[..length], rest[length..].trim_start());
                let labels =
                    matches!(word, "by" | "without" | "on" | "ignoring" | "group_left" | "group_right");
                let keyword = matches!(word, "and" | "or" | "unless" | "offset" | "bool");
                if labels && after.starts_with('(') {
                    rest = &after[after.find(')').unwrap() + 1..];
                    continue;
                }
                let called =
                    after.starts_with('(') || after.starts_with("by (") || after.starts_with("without (");
                if !keyword && !labels && !called && !first.is_ascii_digit() {
                    found.insert(word.to_owned());
                }
                length
            }
            first => first.len_utf8(),
        };
        rest = &rest[length..];
    }
    found
}

/// The series of a page with every family, each with the family that it belongs to, as `# TYPE` calls it.
fn exposed() -> BTreeMap<String, String> {
    let page = every_family::metrics().to_prometheus();
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let family = |name: &str| {
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        of_histogram.unwrap_or(name).to_owned()
    };
    lines
        .map(|line| line.split(['{', ' ']).next().unwrap())
        .map(|name| (name.to_owned(), family(name)))
        .collect()
}

#[test]
fn the_series_of_a_query_are_found() {
    let query = r#"sum by (job, le) (rate(hits_total{path="a{b"}[5m])) / ignoring (x) max_hits > 2 * 1e3
        and on (job) time() - start_seconds offset 1h unless up or other:hits"#;
    let found: Vec<String> = series(query).into_iter().collect();
    assert_eq!(found, ["hits_total", "max_hits", "other:hits", "start_seconds", "up"]);
}

#[test]
fn every_query_asks_for_series_that_there_are() {
    let exposed = exposed();
    let (alerts, dashboard) = (values(&read("deploy/prometheus/alerts.yml"), "expr"), queries(&dashboard()));
    assert!(alerts.len() > 10 && dashboard.len() > 30, "{} and {}", alerts.len(), dashboard.len());
    for query in alerts.iter().chain(&dashboard) {
        let asked = series(query);
        assert!(!asked.is_empty(), "{query}");
        for name in asked {
            assert!(
                exposed.contains_key(&name) || OF_PROMETHEUS.contains(&name.as_str()),
                "nothing exposes `{name}`: {query}"
            );
        }
    }
}

#[test]
fn every_family_is_on_the_dashboard_and_in_the_guide() {
    let exposed = exposed();
    let shown: BTreeSet<String> = queries(&dashboard()).iter().flat_map(|query| series(query)).collect();
    let shown: BTreeSet<&String> = shown.iter().filter_map(|name| exposed.get(name)).collect();
    let guide = read("docs/metrics-and-health.md");
    let families: BTreeSet<&String> = exposed.values().collect();
    for family in families {
        assert!(shown.contains(family), "no panel shows `{family}`");
        assert!(guide.contains(&format!("\n| `{family}` | ")), "the guide's table has no `{family}`");
    }
}

#[test]
fn every_panel_says_what_it_shows_in_which_unit_and_has_a_place_of_its_own() {
    let dashboard = dashboard();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "two panels have the id {}", panel["id"]);
    }
    let mut taken = BTreeSet::new();
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().unwrap();
        assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{title}");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} has no unit");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        let legends: BTreeSet<&str> =
            targets(panel).map(|target| target["legendFormat"].as_str().unwrap()).collect();
        assert_eq!(legends.len(), targets(panel).count(), "{title} calls two things alike");
        assert!(!legends.contains(""), "{title}");
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for x in place("x")..place("x") + place("w") {
            assert!(x < 24, "{title} is beyond the edge");
            for y in place("y")..place("y") + place("h") {
                assert!(taken.insert((x, y)), "{title} covers another panel");
            }
        }
    }
}

#[test]
fn every_alert_says_how_bad_it_is_and_what_to_do_and_is_tested() {
    let alerts = read("deploy/prometheus/alerts.yml");
    let tests = read("deploy/prometheus/alerts.test.yml");
    let names = values(&alerts, "alert");
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    for rule in alerts.split("- alert: ").skip(1) {
        let name = rule.lines().next().unwrap();
        for part in ["for: ", "labels: {severity: ", "summary: ", "description: "] {
            assert!(rule.contains(part), "{name} has no `{part}`");
        }
        // In each test all that fires is asked for, before the alert is due, too: so it is known to be silent as well.
        let fires = format!("'ALERTS{{alertname=\"{name}\", alertstate=\"firing\", ");
        let of_it = tests.split("\n  - name: ").find(|test| test.contains(&fires));
        let of_it = of_it.unwrap_or_else(|| panic!("no test sees {name} fire"));
        assert!(of_it.contains("exp_samples: []"), "no test sees {name} be silent");
    }
}

#[test]
fn promtool_takes_the_alerts_the_settings_and_the_queries_of_the_dashboard() {
    let file = |name: &str| path("deploy/prometheus").join(name).to_str().unwrap().to_owned();
    promtool::accepts(&["check", "rules", &file("alerts.yml")], None);
    promtool::accepts(&["check", "config", &file("prometheus.yml")], None);

    // Rules are YAML, of which JSON is a part.
    let queries = queries(&dashboard()).into_iter().enumerate();
    let rules: Vec<Value> =
        queries.map(|(at, query)| json!({ "record": format!("query_{at}"), "expr": query })).collect();
    let rules = json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    let folder = tempfile::tempdir().unwrap();
    let queries = folder.path().join("queries.yml");
    fs::write(&queries, rules.to_string()).unwrap();
    promtool::accepts(&["check", "rules", queries.to_str().unwrap()], None);
}

#[test]
fn every_alert_fires_when_it_must_and_is_silent_when_it_must_not() {
    let tests = path("deploy/prometheus/alerts.test.yml");
    promtool::accepts(&["test", "rules", tests.to_str().unwrap()], None);
}
