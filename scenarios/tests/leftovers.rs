//! kill -9 of the command at any moment leaves nothing: no process, no folder, no mount, no container.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::RwLock,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// How long the guardian may take.
const DEADLINE: Duration = Duration::from_secs(10);

fn left_in(folder: &Path) -> Vec<String> {
    let mut left: Vec<String> = Vec::new();
    left.extend(fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path().display().to_string()));
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder)) {
            left.push(format!("process {}", entry.file_name().display()));
        }
    }
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let text = folder.display().to_string();
    left.extend(mounts.lines().filter(|line| line.contains(&text)).map(str::to_owned));
    left
}

fn containers() -> Vec<String> {
    let listing = Command::new("docker").args(["ps", "-aq", "--filter", "label=seaworthy.stack"]).output();
    let listing =
        listing.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    listing.lines().map(str::to_owned).collect()
}

/// Kills a run at moments from `seed`, spread over start-up, faults and load.
fn kill_at_random_moments(provider: &str, scenario: &str, seed: u64, times: u32, latest: Duration) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let folder =
        std::env::temp_dir().join(format!("seaworthy-left-{provider}-{scenario}-{}", std::process::id()));
    // What a daemon that was stopped in the middle of its work left behind is not ours.
    let before = if provider == "docker" { containers() } else { Vec::new() };
    for _ in 0..times {
        fs::create_dir_all(&folder).unwrap();
        let moment = Duration::from_secs_f64(random.random_range(0.0..latest.as_secs_f64()));
        let mut run = Command::new(env!("CARGO_BIN_EXE_seaworthy"))
            .args(["run", scenario, "--seed", "1", "--provider", provider])
            .arg("--report")
            .arg(folder.with_extension("report"))
            .env("SEAWORTHY_DIR", &folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Not to wait for anything: this is the moment.
        std::thread::sleep(moment);
        run.kill().unwrap();
        run.wait().unwrap();
        let give_up = Instant::now() + DEADLINE;
        loop {
            let mut left = left_in(&folder);
            if provider == "docker" {
                left.extend(containers().into_iter().filter(|container| !before.contains(container)));
            }
            if left.is_empty() {
                break;
            }
            assert!(
                Instant::now() < give_up,
                "killed after {moment:?}, and left after {DEADLINE:?}: {left:#?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        fs::remove_dir(&folder).unwrap();
    }
}

/// The daemon makes and removes containers in its own time, so that test has the machine for itself.
static MACHINE: RwLock<()> = RwLock::new(());

#[test]
fn kill_9_of_a_native_run_leaves_nothing() {
    let _shared = MACHINE.read();
    kill_at_random_moments("native", "worker-crash", 1, 6, Duration::from_secs(3));
}

#[test]
fn kill_9_of_a_native_run_with_a_supervisor_leaves_nothing() {
    let _shared = MACHINE.read();
    kill_at_random_moments("native", "graceful-restart", 4, 4, Duration::from_secs(4));
}

#[test]
fn kill_9_of_a_native_run_with_a_mounted_disk_leaves_nothing() {
    let _shared = MACHINE.read();
    if nix::unistd::Uid::effective().is_root() {
        kill_at_random_moments("native", "disk-full", 2, 4, Duration::from_secs(4));
    }
}

#[test]
fn kill_9_of_a_run_in_containers_leaves_nothing() {
    let _alone = MACHINE.write();
    let docker = Command::new("docker").arg("info").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if docker.is_ok_and(|status| status.success()) {
        kill_at_random_moments("docker", "worker-crash", 3, 3, Duration::from_secs(4));
    } else {
        assert!(
            std::env::var_os("SEAWORTHY_REQUIRE_DOCKER").is_none(),
            "SEAWORTHY_REQUIRE_DOCKER is set and no daemon answers"
        );
        eprintln!("skipped: no Docker daemon answers");
    }
}

/// A run that is killed while services are paused, cut off and killed: its guardian ends them all, so that nobody is left in that state.
#[test]
fn kill_9_in_the_middle_of_faults_heals_within_two_seconds() {
    let _shared = MACHINE.read();
    const HEALED: Duration = Duration::from_secs(2);
    let folder = std::env::temp_dir().join(format!("seaworthy-heals-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let (schedule, report) = (folder.with_extension("json"), folder.with_extension("report"));
    let event = |target: &str, fault: &str| {
        format!(r#"{{"at_ms":100,"lasts_ms":60000,"target":"{target}","fault":"{fault}"}}"#)
    };
    let events = [
        event("postgres", "pause"),
        event("redis", "down"),
        event("worker-1", "kill"),
        event("worker-2", "pause"),
    ];
    fs::write(&schedule, format!(r#"{{"events":[{}]}}"#, events.join(","))).unwrap();
    let mut run = Command::new(env!("CARGO_BIN_EXE_seaworthy"))
        .args(["run", "worker-crash", "--provider", "native", "--schedule"])
        .args([&schedule, Path::new("--report"), &report])
        .env("SEAWORTHY_DIR", &folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The log says when the last fault is on.
    let log = report.join("events.jsonl");
    let give_up = Instant::now() + Duration::from_secs(30);
    while fs::read_to_string(&log).unwrap_or_default().matches("fault-began").count() < events.len() {
        assert!(Instant::now() < give_up, "the faults did not begin: {:?}", fs::read_to_string(&log));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!left_in(&folder).is_empty());
    run.kill().unwrap();
    run.wait().unwrap();
    let killed = Instant::now();
    while !left_in(&folder).is_empty() {
        assert!(killed.elapsed() < HEALED, "left after {HEALED:?}: {:#?}", left_in(&folder));
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("all of it was gone after {:?}", killed.elapsed());
    fs::remove_dir(&folder).unwrap();
}
