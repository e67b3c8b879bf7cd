//! Every process of a native service, found by the folder that it runs in.

use std::path::Path;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// The processes whose working folder is `folder` or below it. Postgres and its backends, Redis and applications all
/// run in a folder of their stack, and take their children along.
#[cfg(target_os = "linux")]
pub(crate) fn running_in(folder: &Path, _leader: u32) -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(folder)))
        .map(Pid::from_raw)
        .collect()
}

/// The leader and its descendants: this system does not tell in which folder a process runs.
#[cfg(not(target_os = "linux"))]
pub(crate) fn running_in(_folder: &Path, leader: u32) -> Vec<Pid> {
    let listing = std::process::Command::new("ps").args(["-axo", "pid=,ppid="]).output();
    let listing =
        listing.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let parents: Vec<(i32, i32)> = listing
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().map(str::parse);
            Some((words.next()?.ok()?, words.next()?.ok()?))
        })
        .collect();
    let Ok(leader) = i32::try_from(leader) else { return Vec::new() };
    let mut found: Vec<i32> = parents.iter().map(|(pid, _)| *pid).filter(|pid| *pid == leader).collect();
    let mut at = 0;
    while at < found.len() {
        let parent = found[at];
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found.into_iter().map(Pid::from_raw).collect()
}

/// Sends a signal to each of them; one that is gone already is no error.
pub(crate) fn signal(pids: &[Pid], signal: Signal) -> nix::Result<()> {
    for pid in pids {
        match kill(*pid, signal) {
            Ok(()) | Err(nix::Error::ESRCH) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The memory that these processes have resident, in bytes. Pages that several processes share, as those of Postgres' buffers, are counted in
/// shares; where the system does not say that, whole.
#[cfg(target_os = "linux")]
pub(crate) fn memory(pids: &[Pid]) -> Option<u64> {
    let kib = |pid: &Pid, file: &str, field: &str| -> Option<u64> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
        text.lines().find_map(|line| line.strip_prefix(field))?.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    // A process that ends meanwhile has none.
    let sizes = pids
        .iter()
        .filter_map(|pid| kib(pid, "smaps_rollup", "Pss:").or_else(|| kib(pid, "status", "VmRSS:")));
    Some(sizes.sum::<u64>() * 1024).filter(|bytes| *bytes > 0)
}

/// The memory that these processes have resident, in bytes; pages that several of them share are counted for each.
#[cfg(not(target_os = "linux"))]
pub(crate) fn memory(pids: &[Pid]) -> Option<u64> {
    let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
    let listing =
        std::process::Command::new("ps").args(["-o", "rss=", "-p", &pids.join(",")]).output().ok()?;
    let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
    let kib: u64 = listing.split_whitespace().filter_map(|word| word.parse::<u64>().ok()).sum();
    Some(kib * 1024).filter(|bytes| *bytes > 0)
}

/// How many files, sockets and pipes these processes have open.
#[cfg(target_os = "linux")]
pub(crate) fn handles(pids: &[Pid]) -> Option<u64> {
    let open = pids.iter().filter_map(|pid| std::fs::read_dir(format!("/proc/{pid}/fd")).ok());
    Some(open.map(|entries| entries.count() as u64).sum()).filter(|open| *open > 0)
}

/// How many files, sockets and pipes these processes have open: this system does not say.
#[cfg(not(target_os = "linux"))]
pub(crate) fn handles(_pids: &[Pid]) -> Option<u64> {
    None
}
