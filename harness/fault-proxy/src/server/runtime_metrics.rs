//! The process in Prometheus' text format, under the names that its client libraries give these numbers.

#[cfg(target_os = "linux")]
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};

/// The lines of `/metrics`. What this system does not tell is left out.
pub(super) fn text() -> String {
    let build = format!(
        "# HELP seaworthy_fault_proxy_build_info The version of the server.\n\
         # TYPE seaworthy_fault_proxy_build_info gauge\n\
         seaworthy_fault_proxy_build_info{{version=\"{}\"}} 1\n",
        env!("CARGO_PKG_VERSION")
    );
    build + &process()
}

#[cfg(not(target_os = "linux"))]
fn process() -> String {
    String::new()
}

#[cfg(target_os = "linux")]
fn process() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().find_map(|word| word.parse::<f64>().ok())
    };
    let bytes = |name| field(name).map(|kibibytes| kibibytes * 1024.0);
    let rows = [
        ("process_cpu_seconds_total", "counter", "CPU time of the process, in seconds.", cpu_seconds()),
        (
            "process_resident_memory_bytes",
            "gauge",
            "Memory of the process in RAM, in bytes.",
            bytes("VmRSS:"),
        ),
        ("process_virtual_memory_bytes", "gauge", "Addresses of the process, in bytes.", bytes("VmSize:")),
        ("process_open_fds", "gauge", "Files and sockets that are open.", open_files()),
        ("process_max_fds", "gauge", "Files and sockets that can be open.", max_files()),
        ("process_threads", "gauge", "Threads of the process.", field("Threads:")),
    ];
    let told = rows.into_iter().filter_map(|(name, kind, help, value)| Some((name, kind, help, value?)));
    told.map(|(name, kind, help, value)| {
        format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n")
    })
    .collect()
}

/// Lets the process open as many files as it may: every connection takes two.
pub(super) fn raise_open_files() {
    #[cfg(target_os = "linux")]
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // What can't be raised stays as it is.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

#[cfg(target_os = "linux")]
fn cpu_seconds() -> Option<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Some(seconds(usage.user_time()) + seconds(usage.system_time()))
}

#[cfg(target_os = "linux")]
fn open_files() -> Option<f64> {
    // Reading the folder opens one more.
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

#[cfg(target_os = "linux")]
fn max_files() -> Option<f64> {
    getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(now, _)| now as f64)
}
