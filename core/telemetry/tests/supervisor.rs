//! The supervisor and its processes, as real processes: this very program, started again as one or the other.

#![cfg(target_os = "linux")]

use std::{
    env, fs,
    net::{TcpListener, TcpStream},
    os::fd::OwnedFd,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, routing::get};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use seaworthy_telemetry::lifecycle::{Server, Supervisor, told_to_stop};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};

/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(10);

/// As long as a process of a test that failed may outlive it.
const FOR_EVER: Duration = Duration::from_secs(30);

/// Where the server of these tests reads how it is to behave.
const MODE_FILE: &str = "SUPERVISOR_TEST_MODE";
const ADDRESS: &str = "SUPERVISOR_TEST_ADDRESS";

/// Not a test: the server, when the supervisor runs this program.
#[test]
#[ignore = "it is run by the other tests"]
fn the_server() {
    let mode = fs::read_to_string(env::var_os(MODE_FILE).unwrap()).unwrap();
    in_a_runtime(async {
        match mode.trim() {
            "crashes" => std::process::exit(7),
            "hangs" => sleep(FOR_EVER).await,
            "stubborn" => {
                let _deaf = signal(SignalKind::terminate()).unwrap();
                Server::new(Router::new()).serve(sleep(FOR_EVER)).await.unwrap();
            }
            _ => {}
        }
        let router = Router::new()
            .route("/", get(async || std::process::id().to_string()))
            .route("/crash", get(async || -> String { std::process::exit(8) }));
        Server::new(router).linger(Duration::from_millis(150)).serve(told_to_stop()).await.unwrap();
    });
}

/// Not a test: the supervisor.
#[test]
#[ignore = "it is run by the other tests"]
fn the_supervisor() {
    in_a_runtime(async {
        let supervisor = Supervisor::new(env::current_exe().unwrap())
            .args(["the_server", "--exact", "--ignored", "--nocapture"])
            .address(env::var(ADDRESS).unwrap())
            .ready_within(Duration::from_secs(1))
            .stop_within(Duration::from_secs(5));
        if let Err(error) = supervisor.run().await {
            eprintln!("{error}");
            std::process::exit(3);
        }
    });
}

fn in_a_runtime(future: impl Future<Output = ()>) {
    let _ = tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).try_init();
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(future);
}

fn this_program(role: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([role, "--exact", "--ignored", "--nocapture"]).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

struct Supervised {
    folder: PathBuf,
    address: String,
    process: Child,
}

impl Supervised {
    fn start(test: &str, mode: &str) -> Self {
        let folder = env::temp_dir().join(format!("seaworthy-supervisor-{test}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("mode"), mode).unwrap();
        // Free a moment ago, and nobody else here asks for a fixed one.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let process = this_program("the_supervisor")
            .env(MODE_FILE, folder.join("mode"))
            .env(ADDRESS, &address)
            .stderr(fs::File::create(folder.join("log")).unwrap())
            .spawn()
            .unwrap();
        Supervised { folder, address, process }
    }

    fn set_mode(&self, mode: &str) {
        fs::write(self.folder.join("mode"), mode).unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.process.id()).unwrap()), signal).unwrap();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap()
    }

    async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let give_up = Instant::now() + LIMIT;
        while !holds() {
            assert!(Instant::now() < give_up, "{what} did not come; the log:\n{}", self.log());
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn until_said(&self, text: &str, times: usize) {
        self.until(text, || self.log().matches(text).count() >= times).await;
    }

    /// The process that answers, on a connection of its own.
    async fn pid(&self) -> i32 {
        let answer = reqwest::Client::new().get(format!("http://{}/", self.address)).send().await.unwrap();
        answer.text().await.unwrap().parse().unwrap()
    }

    async fn end(&mut self) -> ExitStatus {
        let give_up = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < give_up, "it does not end; the log:\n{}", self.log());
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn lives(pid: i32) -> bool {
    // A zombie whom nobody waits for does not live.
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

const SERVES: &str = "a new process serves";

#[tokio::test(flavor = "multi_thread")]
async fn on_sighup_the_next_process_takes_over_and_no_request_is_lost() {
    const RESTARTS: usize = 5;
    let mut shop = Supervised::start("hup", "serves");
    shop.until_said(SERVES, 1).await;
    let over = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (over, answered, url) = (over.clone(), answered.clone(), format!("http://{}/", shop.address));
            tokio::spawn(async move {
                let http = reqwest::Client::new();
                while !over.load(Ordering::Relaxed) {
                    http.get(&url).send().await.unwrap().text().await.unwrap();
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut pids = vec![shop.pid().await];
    for restart in 0..RESTARTS {
        shop.signal(Signal::SIGHUP);
        shop.until_said(SERVES, restart + 2).await;
        let last = *pids.last().unwrap();
        shop.until("the end of the last process", || !lives(last)).await;
        pids.push(shop.pid().await);
    }
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    assert!(answered.load(Ordering::Relaxed) > 0);
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), RESTARTS + 1, "{pids:?}");

    shop.signal(Signal::SIGTERM);
    assert!(shop.end().await.success());
    assert!(pids.iter().all(|pid| !lives(*pid)));
    assert!(TcpStream::connect(&shop.address).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_next_process_that_is_not_ready_in_time_or_ends_leaves_the_last_one_in_place() {
    let shop = Supervised::start("late", "serves");
    shop.until_said(SERVES, 1).await;
    let first = shop.pid().await;
    for (mode, says) in [("hangs", "was not ready within 1s"), ("crashes", "ended with exit status: 7")] {
        shop.set_mode(mode);
        shop.signal(Signal::SIGHUP);
        shop.until_said(says, 1).await;
        assert_eq!(shop.pid().await, first);
    }
    shop.set_mode("serves");
    shop.signal(Signal::SIGHUP);
    shop.until_said(SERVES, 2).await;
    shop.until("the end of the first process", || !lives(first)).await;
    assert_ne!(shop.pid().await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_crashes_is_started_again() {
    let shop = Supervised::start("crash", "serves");
    shop.until_said(SERVES, 1).await;
    let first = shop.pid().await;
    let crash = reqwest::get(format!("http://{}/crash", shop.address)).await;
    assert!(crash.is_err());
    // The socket stays open meanwhile: this waits for the next process instead of being refused.
    assert_ne!(shop.pid().await, first);
    assert!(shop.log().contains("has ended by itself"), "{}", shop.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_that_is_killed_leaves_no_process_behind() {
    let mut shop = Supervised::start("kill", "serves");
    shop.until_said(SERVES, 1).await;
    let first = shop.pid().await;
    shop.signal(Signal::SIGKILL);
    shop.end().await;
    shop.until("the end of the orphan", || !lives(first)).await;
    assert!(TcpStream::connect(&shop.address).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_process_that_fails_is_an_error_of_the_supervisor() {
    let mut shop = Supervised::start("first", "crashes");
    assert_eq!(shop.end().await.code(), Some(3));
    let log = shop.log();
    assert!(log.contains("did not become ready: it ended with exit status: 7 before it was ready"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sigterm_does_not_wait() {
    let mut shop = Supervised::start("twice", "stubborn");
    shop.until_said(SERVES, 1).await;
    let mut status = None;
    let give_up = Instant::now() + LIMIT;
    while status.is_none() && Instant::now() < give_up {
        shop.signal(Signal::SIGTERM);
        sleep(Duration::from_millis(20)).await;
        status = shop.process.try_wait().unwrap();
    }
    assert!(status.is_some_and(|status| status.success()), "{}", shop.log());
    assert!(!shop.log().contains("did not stop in time"), "{}", shop.log());
}

/// Systemd's part, with a socket of this kind on descriptor 3.
fn with_handed_over(socket: impl Into<OwnedFd>, count: &str) -> String {
    let folder = env::temp_dir().join(format!("seaworthy-handed-over-{}", std::process::id()));
    fs::write(&folder, "serves").unwrap();
    let script = format!(r#"export LISTEN_FDS={count} LISTEN_PID=$$; exec "$@" 3<&0 0</dev/null"#);
    let output = Command::new("sh")
        .args(["-c", &script, "sh"])
        .arg(env::current_exe().unwrap())
        .args(["the_server", "--exact", "--ignored", "--nocapture"])
        .env(MODE_FILE, &folder)
        .stdin(Stdio::from(socket.into()))
        .output()
        .unwrap();
    let _ = fs::remove_file(&folder);
    assert!(!output.status.success());
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_socket_that_can_not_be_served_on_is_an_error_that_says_why() {
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    let connected = TcpStream::connect(listening.local_addr().unwrap()).unwrap();
    let no_listener = with_handed_over(connected, "1");
    assert!(no_listener.contains("it does not listen"), "{no_listener}");
    let no_socket = with_handed_over(fs::File::open("/dev/null").unwrap(), "1");
    assert!(no_socket.contains("not a socket"), "{no_socket}");
    for count in ["2", "many"] {
        let said = with_handed_over(listening.try_clone().unwrap(), count);
        assert!(said.contains(&format!(r#"LISTEN_FDS is \"{count}\""#)), "{said}");
    }
}
