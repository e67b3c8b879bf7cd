//! The `seaworthy` command as a person meets it: what it prints, how it ends, and what it says of bad input.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use nix::unistd::Uid;
use seaworthy_harness::reports::{Check, OutcomeKind, Run, ScenarioRecord, Status, Verdict};

fn seaworthy(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seaworthy"));
    command.args(args).env_remove("SEAWORTHY_PROVIDER").stdin(Stdio::null());
    command
}

/// A folder of this test's own, gone when the test is over.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("seaworthy-test-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// Writes a program that does this.
    fn program(&self, name: &str, script: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// It must end with this code, and say each of these.
#[track_caller]
fn check(command: &mut Command, code: i32, says: &[&str]) {
    let output = command.output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{command:?}: {said}");
    for text in says {
        assert!(said.contains(text), "{command:?} does not say `{text}`: {said}");
    }
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_there_is() {
    check(&mut seaworthy(&["run", "tornado"]), 2, &["no scenario `tornado`", "worker-crash", "disk-full"]);
    check(&mut seaworthy(&["run", "--provider", "podman"]), 2, &["no provider `podman`", "docker", "native"]);
    check(&mut seaworthy(&["run", "--seed", "lucky"]), 2, &["--seed", "lucky"]);
    check(&mut seaworthy(&["sail"]), 2, &["unrecognized subcommand"]);
    check(seaworthy(&["up"]).env("SEAWORTHY_PROVIDER", "podman"), 2, &["no provider `podman`"]);
}

#[test]
fn the_queues_command_is_a_part_of_it_and_no_login_is_repeated() {
    check(seaworthy(&["queue", "list"]).env_remove("DATABASE_URL"), 2, &["which database", "DATABASE_URL"]);
    let away = "postgres://shop:hunter2@127.0.0.1:1/shop";
    check(&mut seaworthy(&["queue", "watch", "--url", away]), 3, &["127.0.0.1:1/shop could not be reached"]);
    let output = seaworthy(&["queue", "list", away]).output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("'postgres://[hidden]@127.0.0.1:1/shop'") && !said.contains("hunter2"), "{said}");
}

#[test]
fn list_names_every_scenario_with_a_sentence() {
    let output = seaworthy(&["list"]).output().unwrap();
    assert!(output.status.success());
    insta::assert_snapshot!(String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_binary_that_is_missing_broken_or_too_old_is_named_with_the_command_that_installs_it() {
    let folder = Folder::new("binaries");
    let old_postgres = folder.program("postgres", "echo 'postgres (PostgreSQL) 13.22'");
    let old_redis = folder.program("redis-server", "echo 'Redis server v=6.0.16 sha=0:0'");
    let broken = folder.program("broken", "echo Segmentation fault >&2; exit 139");
    let native = ["run", "--provider", "native"];
    let cases: [(&str, &str, &[&str]); 4] = [
        (
            "SEAWORTHY_POSTGRES",
            &old_postgres,
            &["version 13.22, and at least 14 is needed", "SEAWORTHY_POSTGRES"],
        ),
        ("SEAWORTHY_REDIS", &old_redis, &["version 6.0.16, and at least 6.2 is needed", "SEAWORTHY_REDIS"]),
        ("SEAWORTHY_POSTGRES", &broken, &["did not answer with a version: Segmentation fault"]),
        (
            "SEAWORTHY_REDIS",
            "/nowhere/redis-server",
            &["`redis-server` was not found in /nowhere/redis-server", "install"],
        ),
    ];
    for (setting, binary, says) in cases {
        check(seaworthy(&native).env(setting, binary), 3, says);
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let says = format!("port {port} for postgres is taken");
    check(&mut seaworthy(&["up", "--provider", "native", "--postgres-port", &port]), 3, &[&says]);
    let says = format!("port {port} for redis is taken");
    check(&mut seaworthy(&["up", "--provider", "native", "--redis-port", &port]), 3, &[&says]);
}

#[test]
fn a_folder_that_can_not_be_used_is_named() {
    let folder = Folder::new("folders");
    fs::write(folder.0.join("file"), "").unwrap();
    let native = ["run", "--provider", "native"];
    let missing = format!("{}/missing", folder.path());
    check(seaworthy(&native).env("SEAWORTHY_DIR", &missing), 3, &[&missing, "SEAWORTHY_DIR"]);
    let file = format!("{}/file", folder.path());
    check(seaworthy(&native).env("SEAWORTHY_DIR", &file), 3, &[&file, "SEAWORTHY_DIR"]);
    let strange = folder.0.join("a|b");
    fs::create_dir(&strange).unwrap();
    check(seaworthy(&native).env("SEAWORTHY_DIR", &strange), 3, &["a|b", "letters, digits"]);
    let unwritable = format!("{}/file/report", folder.path());
    check(
        &mut seaworthy(&["run", "worker-crash", "--provider", "native", "--report", &unwritable]),
        3,
        &[&unwritable],
    );
}

/// Root may write everywhere and mount filesystems; so these run as root only, and as root become somebody else.
#[cfg(target_os = "linux")]
#[test]
fn no_permission_and_no_space_are_named() {
    if !Uid::effective().is_root() {
        return;
    }
    let folder = Folder::new("limits");
    let mounted = |options: &str| {
        let options = format!("{options},mode=0755");
        let made =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs", folder.path()]).status();
        assert!(made.unwrap().success());
    };
    let unmount = || assert!(Command::new("umount").arg(folder.path()).status().unwrap().success());
    let native = ["run", "--provider", "native"];
    mounted("size=8m");
    check(seaworthy(&native).env("SEAWORTHY_DIR", folder.path()), 3, &["has 8 MiB free", "needs 192 MiB"]);
    unmount();
    mounted("size=512m,ro");
    check(
        seaworthy(&native).env("SEAWORTHY_DIR", folder.path()),
        3,
        &[folder.path(), "ead-only", "SEAWORTHY_DIR"],
    );
    unmount();

    // Somebody else, with a copy of the program that they may read.
    let program = folder.0.join("seaworthy");
    fs::copy(env!("CARGO_BIN_EXE_seaworthy"), &program).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program).args(native);
    let report = std::env::temp_dir().join(format!("seaworthy-nobody-{}", std::process::id()));
    command.arg("--report").arg(&report);
    check(
        command.env("SEAWORTHY_DIR", folder.path()),
        3,
        &[folder.path(), "ermission denied", "SEAWORTHY_DIR"],
    );
}

#[test]
fn docker_that_is_not_there_can_not_pull_or_can_not_start_a_container_is_named() {
    let docker = ["run", "--provider", "docker"];
    check(
        seaworthy(&docker).env("DOCKER_HOST", "unix:///nowhere/docker.sock"),
        3,
        &["no Docker daemon answers", "--provider native"],
    );
    let version = r#"{"Version":"99.0","ApiVersion":"1.44","MinAPIVersion":"1.24"}"#;
    let no_images =
        fake_daemon([("/version", 200, version), ("/images/create", 500, r#"{"message":"no route"}"#)]);
    check(
        seaworthy(&docker)
            .env("DOCKER_HOST", &no_images)
            .env("SEAWORTHY_POSTGRES_IMAGE", "example/unheard-of:1"),
        3,
        &["example/unheard-of:1", "can't be pulled", "no route", "SEAWORTHY_POSTGRES_IMAGE"],
    );
    let no_start = fake_daemon([
        ("/version", 200, version),
        ("/images/", 200, "{}"),
        ("/containers/create", 500, r#"{"message":"OCI runtime create failed"}"#),
    ]);
    check(
        seaworthy(&docker).env("DOCKER_HOST", &no_start),
        3,
        &["Docker could not start a container", "OCI runtime create failed"],
    );
}

/// A daemon that answers and can't do what it is asked for, which no real one does on demand: answers by path.
fn fake_daemon<const N: usize>(answers: [(&'static str, u16, &'static str); N]) -> String {
    use std::io::Write;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let mut lines = BufReader::new(&socket).lines();
            let Some(Ok(request)) = lines.next() else { continue };
            for line in lines.by_ref() {
                if line.is_ok_and(|line| line.is_empty()) {
                    break;
                }
            }
            let found = answers.iter().find(|(path, ..)| request.contains(path));
            let (status, body) =
                found.map_or((404, r#"{"message":"not found"}"#), |(_, status, body)| (*status, *body));
            let _ = write!(
                &socket,
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    format!("tcp://{address}")
}

#[test]
fn the_external_provider_names_the_setting_that_it_lacks() {
    let external = ["run", "worker-crash", "--provider", "external"];
    check(
        seaworthy(&external).env_remove("SEAWORTHY_POSTGRES_URL"),
        3,
        &["SEAWORTHY_POSTGRES_URL", "not set"],
    );
    let mut malformed = seaworthy(&external);
    malformed.env("SEAWORTHY_POSTGRES_URL", "postgres").env("SEAWORTHY_REDIS_URL", "redis://127.0.0.1");
    check(&mut malformed, 3, &["SEAWORTHY_POSTGRES_URL", "no URL"]);
}

#[test]
fn doctor_says_what_it_found_and_what_is_missing() {
    let output = seaworthy(&["doctor"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for text in ["Docker daemon", "postgres", "redis-server", "data folder", "auto takes"] {
        assert!(said.contains(text), "{said}");
    }
    let mut without = seaworthy(&["doctor", "--json"]);
    without.env("DOCKER_HOST", "unix:///nowhere").env("SEAWORTHY_REDIS", "/nowhere/redis-server");
    let output = without.output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let diagnosis: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(diagnosis["provider"], serde_json::Value::Null);
    let redis =
        diagnosis["findings"].as_array().unwrap().iter().find(|finding| finding["what"] == "redis-server");
    assert!(redis.unwrap()["missing"].as_str().unwrap().contains("/nowhere/redis-server"));
}

#[test]
fn up_prints_urls_that_work_until_it_is_told_to_stop() {
    let folder = Folder::new("up");
    let mut command = seaworthy(&["up", "--provider", "native"]);
    let mut up = command.env("SEAWORTHY_DIR", folder.path()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(up.stdout.take().unwrap()).lines();
    // The last line comes when everything is ready.
    let mut exports = Vec::new();
    for line in lines {
        let line = line.unwrap();
        let last = line.starts_with("export WEBSOCKET_URL");
        exports.push(line);
        if last {
            break;
        }
    }
    let names: Vec<&str> =
        exports.iter().filter_map(|line| line.strip_prefix("export ")?.split('=').next()).collect();
    assert_eq!(
        names,
        [
            "DATABASE_URL",
            "DATABASE_DIRECT_URL",
            "REDIS_URL",
            "REDIS_DIRECT_URL",
            "SHOP_URL",
            "SHOP_DIRECT_URL",
            "WEBSOCKET_URL"
        ]
    );
    let address = exports.iter().find_map(|line| line.strip_prefix("export SHOP_URL='http://")).unwrap();
    assert!(std::net::TcpStream::connect(address.trim_end_matches('\'')).is_ok());
    let pid = nix::unistd::Pid::from_raw(i32::try_from(up.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert_eq!(up.wait().unwrap().code(), Some(130));
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0, "something is left");
}

#[test]
fn run_writes_a_report_that_reads_back_and_prints_the_record() {
    let folder = Folder::new("report");
    let report = format!("{}/report", folder.path());
    let args =
        ["run", "redis-failure", "--seed", "11", "--provider", "native", "--report", &report, "--json"];
    let output = seaworthy(&args).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(
        said.contains("seed 11") && said.contains("faults: redis kill -9") && said.contains("held"),
        "{said}"
    );

    let file = |name: &str| fs::read_to_string(Path::new(&report).join(name)).unwrap();
    assert!(
        String::from_utf8_lossy(&output.stdout) == file("run.json"),
        "the record on standard output is another one"
    );
    let run = Run::from_log(&file("events.jsonl")).unwrap();
    assert_eq!((run.seed, run.scenarios.len(), run.cut_short), (11, 1, false));
    assert!(run.environment.durability.starts_with("on"));
    assert_eq!(run.scenarios[0].replay, "seaworthy run redis-failure --seed 11 --provider native");
    assert!(run.scenarios[0].resources.series().any(|series| series.resource == "memory"));
    let renderings =
        [("html", "index.html"), ("markdown", "report.md"), ("junit", "junit.xml"), ("json", "run.json")];
    for (format, written) in renderings {
        let again = seaworthy(&["report", "render", &report, "--format", format]).output().unwrap();
        assert!(again.status.success(), "{}", stderr(&again));
        assert!(again.stdout == file(written).as_bytes(), "{format} is made from the log alone");
    }
    let page = file("index.html");
    for outside in ["src=\"", "@import", "<link", "url("] {
        assert!(!page.contains(outside), "the page needs something else: {outside}");
    }
}

#[test]
fn report_renders_compares_and_follows_the_logs_of_runs() {
    let folder = Folder::new("logs");
    for (name, seed) in [("monday", 1), ("tuesday", 2)] {
        let mut scenario = ScenarioRecord::new("disk-full", "The disk fills up.");
        scenario.checks.push(Check::new("nothing is lost", Verdict::Held, "all 3 are there"));
        let run = Run { seed, started_at: seed, scenarios: vec![scenario], ..Run::default() };
        fs::create_dir(folder.0.join(name)).unwrap();
        fs::write(folder.0.join(name).join("events.jsonl"), run.to_log()).unwrap();
    }
    let (monday, tuesday) =
        (format!("{}/monday", folder.path()), format!("{}/tuesday/events.jsonl", folder.path()));
    let said = |args: &[&str]| {
        let output = seaworthy(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(said(&["report", "render", &monday]).contains("held: 1 of 1 scenario held"));
    assert!(said(&["report", "compare", &monday, &tuesday]).contains("Seed: 1 → 2"));
    let page = format!("{}/trend.html", folder.path());
    assert_eq!(said(&["report", "trend", folder.path(), "--format", "html", "--output", &page]), "");
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("2 of 2 runs held.") && page.contains(">monday<"), "{page}");
}

#[test]
fn a_log_that_can_not_be_read_is_named() {
    let folder = Folder::new("no-logs");
    let (missing, other) = (format!("{}/missing", folder.path()), format!("{}/other.jsonl", folder.path()));
    fs::write(&other, "{}\n").unwrap();
    check(&mut seaworthy(&["report", "render", &missing]), 2, &[&missing, "seaworthy run --report"]);
    check(&mut seaworthy(&["report", "render", folder.path()]), 2, &["events.jsonl"]);
    check(&mut seaworthy(&["report", "render", &other]), 2, &[&other, "no event log", "run-started"]);
    check(
        &mut seaworthy(&["report", "trend", folder.path()]),
        2,
        &["left out", "other.jsonl", "no log of a run"],
    );
    check(&mut seaworthy(&["report", "trend", &missing]), 2, &[&missing]);
    let junit = ["report", "compare", &other, &other, "--format", "junit"];
    check(&mut seaworthy(&junit), 2, &["junit is a form for one run"]);
}

#[test]
fn what_can_not_be_played_again_is_named() {
    let folder = Folder::new("again");
    let schedule = folder.0.join("schedule.json");
    fs::write(&schedule, r#"{"events":[{"at_ms":0,"lasts_ms":9,"target":"redis","fault":"dwon"}]}"#).unwrap();
    let schedule = schedule.to_str().unwrap();
    check(&mut seaworthy(&["replay", folder.path()]), 2, &["events.jsonl", "No such file"]);
    check(
        &mut seaworthy(&["run", "redis-failure", "--schedule", schedule]),
        2,
        &["unknown variant `dwon`", "`down`"],
    );
    check(&mut seaworthy(&["run", "--schedule", schedule]), 2, &["unknown variant"]);
    fs::write(schedule, "{\"events\":[]}").unwrap();
    check(&mut seaworthy(&["run", "--schedule", schedule]), 2, &["a schedule is for one scenario"]);

    let mut run = Run { seed: 7, ..Run::default() };
    run.environment.provider = "native: Postgres 15 and Redis 7".to_owned();
    for (name, verdict) in [("worker-crash", Verdict::Held), ("redis-failure", Verdict::Held)] {
        let mut record = ScenarioRecord::new(name, "plays");
        record.checks = vec![Check::new("nothing is lost", verdict, "all is there")];
        run.scenarios.push(record);
    }
    fs::write(folder.0.join("events.jsonl"), run.to_log()).unwrap();
    check(
        &mut seaworthy(&["shrink", folder.path()]),
        2,
        &["no scenario of the run was violated", "worker-crash, redis-failure"],
    );
    check(&mut seaworthy(&["shrink", folder.path(), "--scenario", "x"]), 2, &["no scenario `x`"]);
    let held = ["shrink", folder.path(), "--scenario", "redis-failure"];
    check(&mut seaworthy(&held), 2, &["redis-failure was not violated in that run"]);
}

/// The shop with a bug that shows whenever connections to Postgres break, and a schedule of one fault.
#[test]
fn a_run_that_failed_is_played_again_with_its_own_faults() {
    let folder = Folder::new("replayed");
    let report = folder.0.join("report");
    let report = report.to_str().unwrap();
    let schedule = folder.0.join("schedule.json");
    fs::write(&schedule, r#"{"events":[{"at_ms":500,"lasts_ms":300,"target":"postgres","fault":"reset"}]}"#)
        .unwrap();
    let schedule = schedule.to_str().unwrap();
    let run = ["run", "postgres-connection-loss", "--seed", "7", "--schedule", schedule, "--report", report];
    let with_bug = |args: &[&str]| {
        let mut command = seaworthy(args);
        command.env("SHOP_BUG", "acknowledge-before-commit").env("SEAWORTHY_PROVIDER", "native");
        command
    };
    check(&mut with_bug(&run), 1, &["violated", "every accepted order is fulfilled"]);
    let output = with_bug(&["replay", report]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}{}", stderr(&output));
    assert!(
        said.contains("every accepted order is fulfilled") && said.contains("1 of 1 plays were violated"),
        "{said}"
    );
    let saved = fs::read_to_string(folder.0.join("report/postgres-connection-loss.schedule.json")).unwrap();
    assert!(saved.contains("\"at_ms\":500"), "{saved}");
}

#[test]
fn rounds_have_the_next_seeds_and_a_run_leaves_its_histories() {
    let folder = Folder::new("rounds");
    let report = folder.0.join("report");
    let report = report.to_str().unwrap();
    let schedule = folder.0.join("schedule.json");
    fs::write(&schedule, r#"{"events":[{"at_ms":100,"lasts_ms":100,"target":"redis","fault":"kill"}]}"#)
        .unwrap();
    let args =
        ["run", "redis-failure", "--seed", "7", "--rounds", "2", "--jobs", "2", "--provider", "native"];
    let mut run = seaworthy(&args);
    let output = run.args(["--report", report, "--schedule", schedule.to_str().unwrap()]).output().unwrap();
    let run = Run::from_log(&fs::read_to_string(folder.0.join("report/events.jsonl")).unwrap()).unwrap();
    let names: Vec<&str> = run.scenarios.iter().map(|record| record.name.as_str()).collect();
    assert_eq!(names, ["redis-failure", "redis-failure@8"], "{}", stderr(&output));
    assert!(
        run.scenarios
            .iter()
            .all(|record| record.faults.len() == 1 && record.operations.slices().next().is_some())
    );

    let history = folder.0.join("report/redis-failure@8.history.jsonl");
    let output = seaworthy(&["history", history.to_str().unwrap(), "--format", "edn"]).output().unwrap();
    let edn = String::from_utf8_lossy(&output.stdout).into_owned();
    let operations = run.scenarios[1].operations.total().counts.total() as usize;
    assert_eq!(edn.matches(":type :invoke, :f :place-order").count(), operations, "{}", stderr(&output));
    check(&mut seaworthy(&["history", schedule.to_str().unwrap()]), 2, &["line 1 of the history is wrong"]);
}

#[test]
fn an_interrupted_run_writes_its_report() {
    let folder = Folder::new("interrupted");
    let report = folder.0.join("report");
    let run =
        seaworthy(&["run", "worker-crash", "--provider", "native", "--report", report.to_str().unwrap()])
            .env("SEAWORTHY_DIR", folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
    let give_up = Instant::now() + Duration::from_secs(30);
    let log = || fs::read_to_string(report.join("events.jsonl")).unwrap_or_default();
    while !log().contains("fault-began") {
        assert!(Instant::now() < give_up, "no fault began: {}", log());
        std::thread::sleep(Duration::from_millis(20));
    }
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(run.id() as i32), nix::sys::signal::SIGINT).unwrap();
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    let run = Run::from_log(&log()).unwrap();
    assert!(!run.cut_short);
    assert_eq!(run.scenarios[0].status, Status::Interrupted("it was interrupted".to_owned()));
    assert!(run.scenarios[0].faults.len() == 1 && run.scenarios[0].count(OutcomeKind::Ok) > 0);
    assert!(report.join("index.html").is_file());
    let left: Vec<_> = fs::read_dir(&folder.0).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["report"], "something is left");
}

#[test]
fn faults_go_out_to_other_tools_and_come_back() {
    let folder = Folder::new("faults");
    let said = |args: &[&str]| {
        let output = seaworthy(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let file = |name: &str, text: &str| {
        let path = folder.0.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let shown = said(&["schedule", "show", "postgres-connection-loss", "--seed", "7"]);
    let faults = file("faults.json", &shown);
    let experiment =
        file("experiment.json", &said(&["schedule", "export", &faults, "--to", "chaos-toolkit"]));
    assert_eq!(said(&["schedule", "import", &experiment]), shown);
    let workflow = said(&["schedule", "export", &faults, "--to", "chaos-mesh", "--namespace", "shop"]);
    assert!(workflow.contains("\"kind\": \"Workflow\"") && workflow.contains("\"shop\""), "{workflow}");
    let full = file("full.json", &said(&["schedule", "show", "disk-full", "--seed", "7"]));
    check(
        &mut seaworthy(&["schedule", "export", &full, "--to", "chaos-toolkit"]),
        2,
        &["has no counterpart"],
    );
    check(&mut seaworthy(&["schedule", "export", &full, "--to", "chaos-mesh"]), 2, &["Cluster::volume"]);
    check(&mut seaworthy(&["schedule", "show", "nothing", "--seed", "7"]), 2, &["choose among worker-crash"]);
}
