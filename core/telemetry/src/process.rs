//! What the system says of this process. On Linux from `/proc`; elsewhere most of it is not known.

use std::{fs, time::Duration};

/// What the process has used up to now.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Usage {
    /// Processor time of all threads, in the program and in the system for it.
    pub cpu: Duration,
    /// Memory that is in use, in bytes.
    pub resident_memory: u64,
    /// Address space, in bytes.
    pub virtual_memory: u64,
    /// Threads.
    pub threads: u64,
    /// Open file handles.
    pub open_files: u64,
    /// How many there may be.
    pub max_files: u64,
    /// When the process started, from the Unix epoch.
    pub started: Duration,
}

/// What this process has used up to now; `None` where the system does not tell.
pub fn usage() -> Option<Usage> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name, in parentheses, may hold anything.
    let after_name = &stat[stat.rfind(')')? + 1..];
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    // Numbered from 3 in proc_pid_stat(5).
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let ticks = rustix::param::clock_ticks_per_second().max(1);
    let seconds = |ticks_passed: u64| Duration::from_secs_f64(ticks_passed as f64 / ticks as f64);
    Some(Usage {
        cpu: seconds(field(14)? + field(15)?),
        resident_memory: resident_memory()?,
        virtual_memory: field(23)?,
        threads: field(20)?,
        open_files: fs::read_dir("/proc/self/fd").ok()?.count() as u64,
        max_files: max_files()?,
        started: boot_time()? + seconds(field(22)?),
    })
}

/// Memory that this process has in use, in bytes.
pub fn resident_memory() -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// The memory that this process may use, in bytes: the limit of its control group (version 2), or else all that the machine has.
pub fn memory_limit() -> Option<u64> {
    let group = || {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
        let folder = format!("/sys/fs/cgroup{}", path.trim_end_matches('/'));
        fs::read_to_string(format!("{folder}/memory.max")).ok()?.trim().parse::<u64>().ok()
    };
    let machine = kibibytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")?;
    Some(group().map_or(machine, |limit| limit.min(machine)))
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}

fn max_files() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

fn boot_time() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let seconds = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    #[test]
    fn a_process_knows_what_it_uses() {
        let usage = super::usage().unwrap();
        assert!(
            usage.resident_memory > 1 << 20 && usage.resident_memory <= usage.virtual_memory,
            "{usage:?}"
        );
        assert!(
            usage.threads >= 1 && usage.open_files >= 3 && usage.open_files <= usage.max_files,
            "{usage:?}"
        );
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let age = now.abs_diff(usage.started);
        assert!(age.as_secs() < 3600, "{age:?}");
        assert!(super::memory_limit().unwrap() > usage.resident_memory);
    }
}
