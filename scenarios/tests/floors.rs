//! The floors of the house: a crate may import from lower floors only, and a few know nothing of the rest.

use std::{collections::BTreeMap, process::Command};

/// Each of our crates and those of our crates that it may depend on; the second list is for its tests alone.
const FLOORS: [(&str, &[&str], &[&str]); 16] = [
    ("seaworthy-reports", &[], &[]),
    ("seaworthy-fault-proxy", &[], &[]),
    ("seaworthy-factories-derive", &[], &[]),
    ("seaworthy-factories", &["seaworthy-factories-derive"], &["seaworthy-factories", "seaworthy-harness"]),
    ("seaworthy-harness-macros", &[], &[]),
    ("seaworthy-history", &["seaworthy-reports"], &[]),
    (
        "seaworthy-harness",
        &[
            "seaworthy-errors",
            "seaworthy-reports",
            "seaworthy-fault-proxy",
            "seaworthy-harness-macros",
            "seaworthy-history",
        ],
        &[],
    ),
    ("seaworthy-command", &["seaworthy-harness"], &[]),
    ("seaworthy-errors", &[], &[]),
    ("seaworthy-telemetry", &["seaworthy-errors"], &["seaworthy-harness", "seaworthy-factories"]),
    (
        "seaworthy-queue",
        &["seaworthy-errors", "seaworthy-telemetry"],
        &["seaworthy-harness", "seaworthy-factories"],
    ),
    ("seaworthy-queue-command", &["seaworthy-telemetry", "seaworthy-queue"], &["seaworthy-harness"]),
    ("seaworthy", &["seaworthy-errors", "seaworthy-telemetry", "seaworthy-queue"], &[]),
    (
        "seaworthy-shop",
        &["seaworthy-errors", "seaworthy-telemetry", "seaworthy-queue"],
        &["seaworthy-harness", "seaworthy-factories"],
    ),
    (
        "seaworthy-scenarios",
        &[
            "seaworthy-shop",
            "seaworthy-queue",
            "seaworthy-queue-command",
            "seaworthy-errors",
            "seaworthy-telemetry",
            "seaworthy-command",
            "seaworthy-harness",
            "seaworthy-factories",
        ],
        &["seaworthy-shop", "seaworthy-errors", "seaworthy-fault-proxy"],
    ),
    (
        "seaworthy-benches",
        &[
            "seaworthy-errors",
            "seaworthy-factories",
            "seaworthy-queue",
            "seaworthy-harness",
            "seaworthy-history",
            "seaworthy-fault-proxy",
        ],
        &[],
    ),
];

struct Import {
    from: String,
    to: String,
    only_in_tests: bool,
}

/// What is wrong with these imports, in sentences.
fn violations(crates: &[String], imports: &[Import]) -> Vec<String> {
    let floors: BTreeMap<&str, (&[&str], &[&str])> =
        FLOORS.iter().map(|(name, uses, tests)| (*name, (*uses, *tests))).collect();
    let unplaced = crates.iter().filter(|name| !floors.contains_key(name.as_str()));
    let mut wrong: Vec<String> =
        unplaced.map(|name| format!("{name} has no floor: give it one here")).collect();
    for Import { from, to, only_in_tests } in imports {
        let Some((uses, tests)) = floors.get(from.as_str()) else { continue };
        let allowed = uses.contains(&to.as_str()) || (*only_in_tests && tests.contains(&to.as_str()));
        if !allowed {
            let how = if *only_in_tests { " in its tests" } else { "" };
            wrong.push(format!("{from} must not import {to}{how}"));
        }
    }
    wrong
}

fn workspace() -> (Vec<String>, Vec<Import>) {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let packages = metadata["packages"].as_array().unwrap();
    let crates: Vec<String> = packages.iter().map(|package| text(&package["name"])).collect();
    let mut imports = Vec::new();
    for package in packages {
        for dependency in package["dependencies"].as_array().unwrap() {
            let (from, to) = (text(&package["name"]), text(&dependency["name"]));
            if crates.contains(&to) {
                imports.push(Import { from, to, only_in_tests: dependency["kind"] == "dev" });
            }
        }
    }
    (crates, imports)
}

#[test]
fn no_crate_imports_from_a_higher_floor() {
    let (crates, imports) = workspace();
    assert!(imports.len() >= 8, "the workspace was not read: {} imports", imports.len());
    assert_eq!(violations(&crates, &imports), Vec::<String>::new());
}

#[test]
fn an_import_from_a_higher_floor_and_a_crate_without_one_are_found() {
    let import =
        |from: &str, to: &str, only_in_tests| Import { from: from.into(), to: to.into(), only_in_tests };
    let crates = ["seaworthy-queue".to_owned(), "seaworthy-helpers".to_owned()];
    let imports = [
        import("seaworthy-queue", "seaworthy-harness", true),
        import("seaworthy-queue", "seaworthy-harness", false),
        import("seaworthy-harness", "seaworthy-queue", true),
    ];
    assert_eq!(
        violations(&crates, &imports),
        [
            "seaworthy-helpers has no floor: give it one here",
            "seaworthy-queue must not import seaworthy-harness",
            "seaworthy-harness must not import seaworthy-queue in its tests",
        ]
    );
}
