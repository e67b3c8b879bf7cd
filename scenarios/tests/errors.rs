//! One registry for every code of every crate, and the page that documents them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use seaworthy_errors::{HTTP_CODES, Registry, TASK_CODES};

/// Checked for duplicates while it is compiled.
static REGISTRY: Registry = Registry::new(&[
    HTTP_CODES,
    TASK_CODES,
    seaworthy_telemetry::codes::CODES,
    seaworthy_queue::CODES,
    seaworthy_shop::codes::CODES,
    seaworthy_harness::codes::CODES,
]);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn the_page_of_errors_is_up_to_date() {
    let page = root().join("docs/errors.md");
    let current = REGISTRY.to_markdown();
    if std::env::var_os("SEAWORTHY_WRITE_DOCS").is_some() {
        fs::write(&page, &current).unwrap();
    }
    let written = fs::read_to_string(&page).unwrap_or_default();
    assert!(
        written == current,
        "docs/errors.md is not what the codes say; write it anew with \
         `SEAWORTHY_WRITE_DOCS=1 cargo test -p seaworthy-scenarios --test errors`"
    );
}

#[test]
fn every_code_that_is_declared_anywhere_is_in_the_registry() {
    let mut declared = Vec::new();
    for folder in ["core", "harness", "factories", "reports", "scenarios"] {
        collect(&root().join(folder), &mut declared);
    }
    assert!(declared.len() > 40, "the declarations were not found: {declared:?}");
    let missing: Vec<_> = declared.iter().filter(|(id, _)| REGISTRY.find(id).is_none()).collect();
    assert!(missing.is_empty(), "add the tables of these codes to the registry: {missing:?}");
}

/// The ids in lines like `pub NAME = "AREA-0001", Kind, "title" {` of the sources below this folder, tests and examples aside.
fn collect(folder: &Path, declared: &mut Vec<(String, PathBuf)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("tests") && !path.ends_with("target") {
                collect(&path, declared);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            for line in fs::read_to_string(&path).unwrap().lines() {
                let id = line.trim().strip_prefix("pub ").and_then(|rest| rest.split_once(" = \"")).and_then(
                    |(_, rest)| {
                        let (id, rest) = rest.split_once('"')?;
                        (rest.starts_with(", ") && rest.ends_with('{') && id.contains('-'))
                            .then(|| id.to_owned())
                    },
                );
                declared.extend(id.map(|id| (id, path.clone())));
            }
        }
    }
}
