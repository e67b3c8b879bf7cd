//! Somebody watches a queue on a terminal, which is as it was before when the watch has ended.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::fd::OwnedFd,
    os::unix::ffi::OsStringExt,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};
use seaworthy_harness::Env;
use seaworthy_queue::NewJob;
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use crate::operator::{self, DEADLINE, Operator};

const ENTERED: &str = "\x1b[?1049h";
const LEFT: &str = "\x1b[?25h\x1b[?1049l";

/// A pseudo-terminal with a program on it.
struct Terminal {
    keyboard: File,
    /// Kept open, so that it can be asked how it is when the program has ended.
    line: File,
    seen: Arc<Mutex<String>>,
    program: Child,
}

impl Terminal {
    fn new(operator: &Operator, args: &[&str]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = std::ffi::OsString::from_vec(ptsname(&master, Vec::new()).unwrap().into_bytes());
        let line = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let own = || OwnedFd::from(line.try_clone().unwrap());
        // A session of its own, whose terminal this is: Ctrl-C becomes a signal.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(env!("CARGO_BIN_EXE_seaworthy-queue")).args(args);
        command
            .env("DATABASE_URL", &operator.url)
            .stdin(own())
            .stdout(own())
            .stderr(own())
            .kill_on_drop(true);
        let keyboard = File::from(master);
        let terminal = Terminal { seen: Arc::default(), keyboard, line, program: command.spawn().unwrap() };
        terminal.resize(80, 24);
        let (mut screen, seen) = (terminal.keyboard.try_clone().unwrap(), terminal.seen.clone());
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = screen.read(&mut bytes) {
                seen.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
        });
        terminal
    }

    fn resize(&self, columns: u16, lines: u16) {
        let size = Winsize { ws_col: columns, ws_row: lines, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.keyboard, size).unwrap();
    }

    /// Waits until this is written behind what was there before, and says where it ends.
    async fn until(&self, text: &str, from: usize) -> usize {
        let give_up = Instant::now() + DEADLINE;
        loop {
            let seen = self.seen.lock().unwrap().clone();
            if let Some(at) = seen.get(from..).and_then(|seen| seen.find(text)) {
                return from + at + text.len();
            }
            assert!(Instant::now() < give_up, "`{text:?}` was not written: {seen:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn shows_what_is_typed(&self) -> bool {
        tcgetattr(&self.line).unwrap().local_modes.contains(LocalModes::ECHO | LocalModes::ICANON)
    }

    async fn ended(&mut self) -> Option<i32> {
        timeout(DEADLINE, self.program.wait()).await.expect("the program ends").unwrap().code()
    }
}

/// The watch ends in this way, with this code, and gives the terminal back.
async fn check(env: &Env, end: impl FnOnce(&mut Terminal), code: i32) {
    let operator = Operator::of(env).await;
    operator.enqueue(NewJob::new("good", &()).unwrap().on_queue("mail")).await;
    let mut terminal = Terminal::new(&operator, &["watch", "--every", "100ms"]);
    let entered = terminal.until(ENTERED, 0).await;
    terminal.until("mail", entered).await;
    assert!(!terminal.shows_what_is_typed());
    end(&mut terminal);
    assert_eq!(terminal.ended().await, Some(code));
    let left = terminal.until(LEFT, entered).await;
    assert!(terminal.shows_what_is_typed());
    let seen = terminal.seen.lock().unwrap();
    assert_eq!(&seen[left..], "", "nothing comes after it: {seen:?}");
}

#[seaworthy_harness::test(schema = operator::schema(), connections = 12)]
async fn ctrl_c_ends_a_watch_and_gives_the_terminal_back(env: Env) {
    check(&env, |terminal| terminal.keyboard.write_all(b"\x03").unwrap(), 130).await;
}

#[seaworthy_harness::test(schema = operator::schema(), connections = 12)]
async fn a_q_ends_a_watch_and_gives_the_terminal_back(env: Env) {
    check(&env, |terminal| terminal.keyboard.write_all(b"xq").unwrap(), 0).await;
}

#[seaworthy_harness::test(schema = operator::schema(), connections = 12)]
async fn sigterm_ends_a_watch_and_gives_the_terminal_back(env: Env) {
    let terminate = |terminal: &mut Terminal| {
        let pid = rustix::process::Pid::from_raw(terminal.program.id().unwrap().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    };
    check(&env, terminate, 130).await;
}

#[seaworthy_harness::test(schema = operator::schema(), connections = 12)]
async fn a_picture_changes_in_place_and_with_the_size_of_the_terminal(env: Env) {
    let operator = Operator::of(&env).await;
    operator.enqueue(NewJob::new("good", &()).unwrap().on_queue("mail")).await;
    let terminal = Terminal::new(&operator, &["watch", "--every", "100ms"]);
    let first = terminal.until("mail", 0).await;
    operator.enqueue(NewJob::new("good", &()).unwrap().on_queue("reports")).await;
    let second = terminal.until("reports", first).await;
    let seen = terminal.seen.lock().unwrap().clone();
    assert_eq!(seen.matches(ENTERED).count(), 1);
    assert!(seen[first..second].contains("\x1b[H") && !seen.contains("\x1b[2J"), "{seen:?}");
    terminal.resize(40, 3);
    // A frame of three lines, from its beginning to its end.
    let give_up = Instant::now() + DEADLINE;
    let three = |seen: &str| {
        seen.split("\x1b[H").any(|frame| frame.ends_with("\x1b[J") && frame.lines().count() == 3)
    };
    while !three(&terminal.seen.lock().unwrap()) {
        assert!(Instant::now() < give_up);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
